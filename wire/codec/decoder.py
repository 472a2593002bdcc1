"""Writes the `decode` function of a message class: one loop over the tags, then one message built from local variables.

In: a class's fields. Out: source on a `Page`. Every field is read into a local variable that starts at its default. A
singular message field is kept as bytes until the loop is over, because a second occurrence is merged with the first by concatenation.
Fields that are unknown, or of a wire type that does not fit their declaration, are kept in `_unknown_fields`. The message is made
without its __init__: a class with __new__, then one plain attribute store per field, measured as the fastest way
(a fifth faster than __init__, and half the time of replacing __dict__).
Imports `schema`, `source` and `runtime`.
"""

from __future__ import annotations

from collections.abc import Callable

from wire.codec import runtime
from wire.codec.schema import Field, Label, WireType
from wire.codec.source import Page

_CHAIN = 6  # tags that are compared one after the other, before a comparison splits them in halves


class DecoderWriter:
    """Writes one class's `decode`, with a function for the entries of each map and the members of each oneof."""

    def __init__(self, page: Page, type_name: str, fields: tuple[Field, ...]) -> None:
        self._page = page
        self._type_name = type_name
        self._fields = fields
        self._names = page.names
        self._groups: dict[str, list[Field]] = {}
        for field in fields:
            if field.group:
                self._groups.setdefault(field.group, []).append(field)

    def write(self) -> None:
        for field in self._fields:
            if field.key and field.value:
                self._write_entry_reader(field, field.key, field.value)
        for group, members in self._groups.items():
            if any(member.kind == "message" for member in members):
                self._write_member_finisher(group, members)
        page = self._page
        with page.block(f"def decode(data, depth={runtime.MAX_DEPTH}):"):
            page.line(f'"""bytes → {self._type_name}."""')
            with page.block("try:"):
                self._write_body()
            with page.block("except DECODE_FAILURES as error:"):
                page.line("raise decode_error(error) from error")

    # ------------------------------------------------------------------------------------------------ the message

    def _write_body(self) -> None:
        page = self._page
        page.line("size = len(data)")
        if len(self._fields) == 1:
            self._write_single_field_shortcut(self._fields[0])
        self._write_depth_check()
        for field in self._fields:
            if not field.group:
                page.line(f"{self._names[field.name]} = {self._default(field)}")
        for group in self._groups:
            page.line(f"{self._names['oneof', group]} = 0  # the number of the member that is set")
        page.line('unknown = b""')
        page.line("pos = 0")
        with page.block("while pos < size:"):
            page.line("start = pos")
            self._write_tag_reading("start")
            self._write_dispatch(self._fields)
            page.line("pos = skip_field(data, tag, pos, depth)")
            with page.block("if not unknown:"):
                page.line("unknown = bytearray()")
            page.line("unknown += data[start:pos]")
        for field in self._fields:
            if field.kind == "message" and field.label is Label.OPTIONAL and not field.group:
                name = self._names[field.name]
                with page.about(field), page.block(f"if {name} is not None:"):
                    page.line(f"{name} = {self._decoded(field, name)}")
        for group, members in self._groups.items():
            if any(member.kind == "message" for member in members):
                number, value = self._group_locals(group)
                page.line(f"{value} = finish_{group}({number}, {value}, depth) if {number} else None")
        page.line(f"message = new({self._type_name})")
        for field in self._fields:
            if field.group:
                number, value = self._group_locals(field.group)
                page.line(f"message.{field.name} = {value} if {number} == {field.number} else None")
            else:
                page.line(f"message.{field.name} = {self._names[field.name]}")
        page.line('message._unknown_fields = bytes(unknown) if unknown else b""')
        page.line("return message")

    def _write_single_field_shortcut(self, field: Field) -> None:
        """The commonest message of all: one string or bytes field that is the whole buffer and shorter than 128 bytes."""
        if field.kind not in {"string", "bytes"} or field.label is Label.REPEATED or field.tag > 127:
            return
        page = self._page
        with page.block(f"if 2 <= size < 130 and data[0] == {field.tag} and data[1] == size - 2:"):
            page.line(f"message = new({self._type_name})")
            page.line(f"message.{field.name} = data[2:]{'.decode()' if field.kind == 'string' else ''}")
            page.line('message._unknown_fields = b""')
            page.line("return message")

    def _write_depth_check(self) -> None:
        with self._page.block("if depth < 0:"):
            self._page.line("raise too_deep()")

    def _write_tag_reading(self, position: str) -> None:
        page = self._page
        page.line(f"tag = data[{position}]")
        page.line("pos += 1")
        with page.block("if tag > 127:"):
            page.line("tag, pos = read_tag(data, pos - 1)")

    # ------------------------------------------------------------------------------------------------- dispatching

    def _write_dispatch(self, fields: tuple[Field, ...]) -> None:
        """For each tag a block that ends in `continue`; what follows them is for tags that are none of these."""
        readers: list[tuple[int, Field, Callable[[Field], None]]] = []
        for field in fields:
            if field.label is Label.REPEATED and field.wire_type is not WireType.LEN:
                readers.append((field.packed_tag, field, self._read_packed))
            readers.append((field.tag, field, self._read))
        self._write_tree(readers)

    def _write_tree(self, readers: list[tuple[int, Field, Callable[[Field], None]]]) -> None:
        page = self._page
        if len(readers) > _CHAIN:
            middle = len(readers) // 2
            with page.block(f"if tag < {readers[middle][1].number << 3}:"):
                self._write_tree([reader for reader in readers if reader[1].number < readers[middle][1].number])
            with page.block("else:"):
                self._write_tree([reader for reader in readers if reader[1].number >= readers[middle][1].number])
            return
        for tag, field, read in readers:
            with page.about(field), page.block(f"if tag == {tag}:"):
                read(field)
                page.line("continue")

    # ------------------------------------------------------------------------------------------------- one field

    def _read(self, field: Field) -> None:
        page = self._page
        name = self._names[field.name]
        if field.group:
            self._read_member(field, field.group)
        elif field.key and field.value:
            self._read_chunk("chunk", "data[pos:end]")
            page.line(f"key, item = read_{field.name}_entry(chunk, depth - 1)")
            page.line(f"{name}[key] = item")
        elif field.label is Label.REPEATED:
            self._read_value(field, "item")
            if field.kind == "message":
                page.line(f"{name}.append({self._decoded(field, 'item')})")
            else:
                page.line(f"{name}.append(item)")
        elif field.kind == "message":
            self._read_value(field, "chunk")
            page.line(f"{name} = chunk if {name} is None else join_occurrences({name}, chunk)")
        else:
            self._read_value(field, name)

    def _read_member(self, field: Field, group: str) -> None:
        """Setting a member of a oneof clears the one set before, which must have been valid all the same."""
        page = self._page
        number, value = self._group_locals(group)
        others = [m for m in self._groups[group] if m.kind == "message" and m is not field]
        if others:
            with page.block(f"if {number} and {number} != {field.number}:"):
                page.line(f"finish_{group}({number}, {value}, depth)")
        if field.kind == "message":
            self._read_value(field, "chunk")
            page.line(f"{value} = join_occurrences({value}, chunk) if {number} == {field.number} else chunk")
        else:
            self._read_value(field, value)
        page.line(f"{number} = {field.number}")

    def _read_value(self, field: Field, target: str) -> None:
        """Reads one value into a local variable; a message's as its bytes."""
        page = self._page
        if field.kind == "string":
            self._read_chunk(target, "data[pos:end].decode()")
        elif field.wire_type is WireType.LEN:
            self._read_chunk(target, "data[pos:end]")
        elif field.struct_format:
            reader = page.constant(f"read_{field.kind}", runtime.STRUCTS[field.kind].unpack_from)
            page.line(f"({target},) = {reader}(data, pos)")
            page.line(f"pos += {runtime.STRUCTS[field.kind].size}")
        else:
            self._read_varint(field, target)

    def _read_chunk(self, target: str, expression: str) -> None:
        page = self._page
        page.line("length = data[pos]")
        page.line("pos += 1")
        with page.block("if length > 127:"):
            page.line("length, pos = read_length(data, pos - 1)")
        page.line("end = pos + length")
        with page.block("if end > size:"):
            page.line("raise EOFError")
        page.line(f"{target} = {expression}")
        page.line("pos = end")

    def _read_varint(self, field: Field, target: str) -> None:
        page = self._page
        page.line(f"{target} = data[pos]")
        page.line("pos += 1")
        with page.block(f"if {target} > 127:"):
            page.line(f"{target}, pos = read_varint(data, pos - 1)")
            match field.kind:
                case "int32" | "enum":
                    page.line(f"{target} = signed32({target})")
                case "int64":
                    page.line(f"{target} = signed64({target})")
                case "uint32" | "sint32":
                    page.line(f"{target} &= 0xFFFFFFFF")
        match field.kind:
            case "bool":
                page.line(f"{target} = {target} != 0")
            case "sint32" | "sint64":
                page.line(f"{target} = {target} >> 1 ^ -({target} & 1)  # zigzag")
            case "enum":
                page.line(f"{target} = {self._members(field)}[{target}]")

    def _read_packed(self, field: Field) -> None:
        page = self._page
        name = self._names[field.name]
        self._read_chunk("chunk", "data[pos:end]")
        unpack = page.constant(f"unpack_{field.kind}", runtime.UNPACK[field.kind])
        if field.kind == "enum":
            page.line(f"{name} += [{self._members(field)}[number] for number in {unpack}(chunk)]")
        else:
            page.line(f"{name} += {unpack}(chunk)")

    # ------------------------------------------------------------------------------------------ parts of a message

    def _write_entry_reader(self, field: Field, key: Field, value: Field) -> None:
        """A map's entry is a message with fields 1 and 2; what else it holds is dropped, as google's decoder does."""
        page = self._page
        with page.about(field), page.block(f"def read_{field.name}_entry(data, depth):"):
            page.line("size = len(data)")
            self._write_depth_check()
            page.line(f"key = {self._default(key)}")
            page.line(f"value = {'None' if value.kind == 'message' else self._default(value)}")
            page.line("pos = 0")
            with page.block("while pos < size:"):
                self._write_tag_reading("pos")
                with page.block(f"if tag == {key.tag}:"):
                    self._read_value(key, "key")
                    page.line("continue")
                with page.block(f"if tag == {value.tag}:"):
                    if value.kind == "message":
                        self._read_value(value, "chunk")
                        page.line("value = chunk if value is None else join_occurrences(value, chunk)")
                    else:
                        self._read_value(value, "value")
                    page.line("continue")
                page.line("pos = skip_field(data, tag, pos, depth)")
            if value.kind == "message":
                page.line('value = b"" if value is None else value')
                page.line(f"return key, {self._decoded(value, 'value')}")
            else:
                page.line("return key, value")
        page.lines("", "")

    def _write_member_finisher(self, group: str, members: list[Field]) -> None:
        page = self._page
        with page.block(f"def finish_{group}(number, value, depth):"):
            page.line(f'"""The value of the oneof {group}, of which messages are still bytes."""')
            for member in members:
                if member.kind == "message":
                    with page.about(member), page.block(f"if number == {member.number}:"):
                        page.line(f"return {self._decoded(member, 'value')}")
            page.line("return value")
        page.lines("", "")

    def _decoded(self, field: Field, chunk: str) -> str:
        """The expression that decodes a message field's bytes, which are a bytearray if they were joined."""
        if field.label is not Label.REPEATED:
            chunk = f"bytes({chunk})"
        decoded = f"{self._names['decode', field.python_type]}({chunk}, depth - 1)"
        return f"{decoded}.to_wrapped()" if field.converted else decoded

    def _group_locals(self, group: str) -> tuple[str, str]:
        return self._names["oneof", group], self._names["member", group]

    def _members(self, field: Field) -> str:
        return self._names["members", field.python_type]

    def _default(self, field: Field) -> str:
        if field.label is Label.OPTIONAL:
            return "None"
        if field.label is Label.REPEATED:
            return "[]"
        match field.kind:
            case "map":
                return "{}"
            case "string":
                return '""'
            case "bytes":
                return 'b""'
            case "bool":
                return "False"
            case "float" | "double":
                return "0.0"
            case "enum":
                return f"{self._members(field)}[0]"
            case _:
                return "0"
