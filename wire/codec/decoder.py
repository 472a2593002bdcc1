"""Writes the `decode` function of a message class: one loop over the tags, then one message built from local variables.

In: a class's fields. Out: source on a `Page`. Every field is read into a local variable that starts at its default.
What is unknown, or of a wire type that does not fit its declaration, is kept in `_unknown_fields`. A singular message
field stays bytes until the loop is over, because a second occurrence is merged with the first by concatenation.

The message is made without its __init__: by object.__new__, then one attribute store per field, the cheapest way there
is (a third cheaper than __init__, half as costly as replacing __dict__), and it leaves nothing out but __post_init__,
which in generated classes only clears `_unknown_fields` and warns the author of code that uses deprecated fields.
Imports `schema`, `source` and `decoding`.
"""

from __future__ import annotations

from wire.codec import decoding
from wire.codec.schema import STRUCTS, Field, Label, WireType
from wire.codec.source import Page

_CHAIN = 6
"""So many tags are compared one after the other; more are first split in halves by a comparison."""


class DecoderWriter:
    """Writes one class's `decode`, with a function for the entries of each map and for the members of each oneof."""

    __slots__ = ("_fields", "_groups", "_names", "_page", "_type_name")

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
        page = self._page
        for field in self._fields:
            if field.key and field.value:
                self._write_entry_reader(field, field.key, field.value)
        for group, members in self._groups.items():
            if any(member.kind == "message" for member in members):
                self._write_member_finisher(group, members)
        with page.block(f"def decode(data, depth={decoding.MAX_DEPTH}):"):
            page.line(f'"""bytes → {self._type_name}."""')
            with page.block("try:"):
                self._write_body()
            with page.block("except DECODE_FAILURES as error:"):
                page.line("raise decode_error(error) from error")

    # ------------------------------------------------------------------------------------------------ the message

    def _write_body(self) -> None:
        page = self._page
        with page.block("if data.__class__ is not bytes:"):
            page.line("data = as_bytes(data)")
        page.line("size = len(data)")
        self._write_depth_check()
        if len(self._fields) == 1:
            self._write_shortcut(self._fields[0])
        for field in self._fields:
            if not field.group:
                page.line(f"{self._names[field]} = {self._default(field)}")
        for group in self._groups:
            page.line(f"{self._names['oneof', group]} = 0  # the number of the member that is set")
            page.line(f"{self._names['member', group]} = None")
        page.lines('unknown = b""', "pos = 0")
        with page.block("while pos < size:"):
            page.line("start = pos")
            self._write_field_reading(self._fields)
            page.line("unknown = keep_unknown(unknown, tag, data[start:pos])")
        for field in self._fields:
            if field.kind == "message" and field.label is Label.OPTIONAL and not field.group:
                name = self._names[field]
                with page.about(field), page.block(f"if {name} is not None:"):
                    page.line(f"{name} = {self._decoded(field, name)}")
        for group, members in self._groups.items():
            if any(member.kind == "message" for member in members):
                with page.block(f"if {self._names['oneof', group]}:"):
                    page.line(f"{self._names['member', group]} = {self._finished(group)}")
        self._write_construction()

    def _write_construction(self) -> None:
        page = self._page
        page.line(f"message = new({self._type_name})")
        for field in self._fields:
            value = self._names[field]
            if field.group:
                number, member = self._group_locals(field.group)
                value = f"{member} if {number} == {field.number} else None"
            page.line(f"message.{field.name} = {value}")
        page.line('message._unknown_fields = bytes(unknown) if unknown else b""')
        page.line("return message")

    def _write_shortcut(self, field: Field) -> None:
        """The commonest message of all: one string or bytes field that is the whole buffer and shorter than 128 bytes.

        Measured: 40 ns of 310.
        """
        if field.kind not in {"string", "bytes"} or field.label is Label.REPEATED or field.tag > 127:
            return
        page = self._page
        with page.block(f"if 2 <= size < 130 and data[0] == {field.tag} and data[1] == size - 2:"):
            page.line(f"message = new({self._type_name})")
            with page.about(field):
                page.line(f"message.{field.name} = data[2:]{'.decode()' if field.kind == 'string' else ''}")
            page.line('message._unknown_fields = b""')
            page.line("return message")

    def _write_depth_check(self) -> None:
        with self._page.block("if depth < 0:"):
            self._page.line("raise too_deep()")

    # --------------------------------------------------------------------------------------------- one field

    def _write_field_reading(self, fields: tuple[Field, ...]) -> None:
        """Reads a tag at `pos` and what belongs to it, and goes on with the loop if this is one of the fields.

        The code behind it sees fields that are none of these, as data[start:pos].
        """
        page = self._page
        page.lines("tag = data[pos]", "pos += 1")
        with page.block("if tag > 127:"):
            page.line("tag, pos = read_tag(data, pos - 1)")
        opening = "if"
        for wire_type in (WireType.LEN, WireType.VARINT, WireType.FIXED32, WireType.FIXED64):
            tags = [(field.tag, field) for field in fields if field.wire_type is wire_type]
            if wire_type is WireType.LEN:
                packable = [
                    field for field in fields if field.label is Label.REPEATED and field.tag != field.packed_tag
                ]
                tags = sorted([*tags, *((field.packed_tag, field) for field in packable)], key=lambda pair: pair[0])
            if not tags:
                continue
            with page.block(f"{opening} tag & 7 == {wire_type.value}:"):
                self._write_value_reading(wire_type)
                self._write_tree(tags)
            opening = "elif"
        if opening == "if":
            page.line("pos = skip_field(data, tag, pos, depth)")
        else:
            with page.block("else:"):
                page.line("pos = skip_field(data, tag, pos, depth)")

    def _write_value_reading(self, wire_type: WireType) -> None:
        """Reads what follows a tag: a `chunk` or a `number`, or steps over a value of fixed size."""
        page = self._page
        if wire_type is WireType.LEN:
            page.lines("length = data[pos]", "pos += 1")
            with page.block("if length > 127:"):
                page.line("length, pos = read_length(data, pos - 1)")
            page.line("end = pos + length")
            with page.block("if end > size:"):
                page.line("raise EOFError")
            page.lines("chunk = data[pos:end]", "pos = end")
        elif wire_type is WireType.VARINT:
            page.lines("number = data[pos]", "pos += 1")
            with page.block("if number > 127:"):
                page.line("number, pos = read_varint(data, pos - 1)")
        else:
            page.line(f"pos += {4 if wire_type is WireType.FIXED32 else 8}")
            with page.block("if pos > size:"):
                page.line("raise EOFError")

    def _write_tree(self, tags: list[tuple[int, Field]]) -> None:
        page = self._page
        if len(tags) > _CHAIN:
            middle = len(tags) // 2
            with page.block(f"if tag < {tags[middle][0]}:"):
                self._write_tree(tags[:middle])
            with page.block("else:"):
                self._write_tree(tags[middle:])
            return
        for tag, field in tags:
            with page.about(field), page.block(f"if tag == {tag}:"):
                self._write_storing(tag, field)

    def _write_storing(self, tag: int, field: Field) -> None:
        page = self._page
        name = self._names[field]
        if field.key and field.value:
            page.line(f"entry = {self._names['entry', field]}(chunk, depth - 1)")
            with page.block("if entry is not None:"):
                page.lines("key, value = entry", f"{name}[key] = value", "continue")
            return
        if field.group:
            self._write_member(field, field.group)
        elif field.label is Label.REPEATED and tag != field.tag:
            page.line(f"{name} += {self._unpacked(field)}")
        elif field.label is Label.REPEATED:
            page.line(
                f"{name}.append({self._decoded(field, 'chunk') if field.kind == 'message' else self._value(field)})"
            )
        elif field.kind == "message":
            page.line(f"{name} = chunk if {name} is None else join_occurrences({name}, chunk)")
        else:
            page.line(f"{name} = {self._value(field)}")
        page.line("continue")

    def _write_member(self, field: Field, group: str) -> None:
        """Setting a member of a oneof clears the one set before, which must have been valid all the same."""
        page = self._page
        number, member = self._group_locals(group)
        if any(other.kind == "message" for other in self._groups[group] if other is not field):
            with page.block(f"if {number} not in (0, {field.number}):"):
                page.line(self._finished(group))
        if field.kind == "message":
            page.line(f"{member} = join_occurrences({member}, chunk) if {number} == {field.number} else chunk")
        else:
            page.line(f"{member} = {self._value(field)}")
        page.line(f"{number} = {field.number}")

    # ------------------------------------------------------------------------------------------------ expressions

    def _value(self, field: Field) -> str:
        """A scalar's value, from the `number` or `chunk` just read, or from the bytes just stepped over."""
        match field.kind:
            case "string":
                return "chunk.decode()"
            case "bytes":
                return "chunk"
            case "int32":
                return "number if number < 0x80000000 else signed32(number)"
            case "int64":
                return "number if number < 0x8000000000000000 else number - 0x10000000000000000"
            case "uint32":
                return "number & 0xFFFFFFFF"
            case "uint64":
                return "number"
            case "sint32":
                return "(number & 0xFFFFFFFF) >> 1 ^ -(number & 1)"
            case "sint64":
                return "number >> 1 ^ -(number & 1)"
            case "bool":
                return "number != 0"
            case "enum":
                return f"{self._members(field)}[number if number < 0x80000000 else signed32(number)]"
            case _:
                reader = self._page.constant(f"read_{field.kind}", STRUCTS[field.kind].unpack_from)
                return f"{reader}(data, pos - {STRUCTS[field.kind].size})[0]"

    def _unpacked(self, field: Field) -> str:
        unpack = self._page.constant(f"unpack_{field.kind}", decoding.UNPACK[field.kind])
        if field.kind == "enum":
            return f"[{self._members(field)}[number] for number in {unpack}(chunk)]"
        return f"{unpack}(chunk)"

    def _decoded(self, field: Field, chunk: str) -> str:
        decoded = f"{self._names['decode', field.python_type]}({chunk}, depth - 1)"
        return f"{self._names['to_python', field.python_type]}({decoded})" if field.converted else decoded

    def _finished(self, group: str) -> str:
        number, member = self._group_locals(group)
        return f"{self._names['finish', group]}({number}, {member}, depth)"

    def _group_locals(self, group: str) -> tuple[str, str]:
        return self._names["oneof", group], self._names["member", group]

    def _members(self, field: Field) -> str:
        return self._names["members", field.python_type]

    def _default(self, field: Field) -> str:
        if field.label is Label.REPEATED:
            return "[]"
        if field.label is Label.OPTIONAL or field.kind == "message":
            return "None"
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

    # ------------------------------------------------------------------------------------------ parts of a message

    def _write_entry_reader(self, field: Field, key: Field, value: Field) -> None:
        """A map's entry is a message of its own, in which an absent key or value means the default.

        An entry with unknown fields in it is kept as unknown as a whole, as google's decoder (upb) does.
        """
        page = self._page
        with page.block(f"def {self._names['entry', field]}(data, depth):"):
            page.line(f'"""The key and value of an entry of {field.name}, or None for one with unknown fields."""')
            self._write_depth_check()
            page.line(f"key = {self._default(key)}")
            page.line(f"value = {self._default(value)}")
            page.lines("known = True", "size = len(data)", "pos = 0")
            with page.block("while pos < size:"):
                self._write_field_reading((key, value))
                page.lines("check_number(tag)", "known = False")
            if value.kind == "message":
                page.line('chunk = b"" if value is None else value')
                page.line(f"value = {self._decoded(value, 'chunk')}")
            page.line("return (key, value) if known else None")
        page.lines("", "")

    def _write_member_finisher(self, group: str, members: list[Field]) -> None:
        page = self._page
        with page.block(f"def {self._names['finish', group]}(number, value, depth):"):
            page.line(
                f'"""The value of the oneof {group}, given the member that is set: messages are still bytes here."""'
            )
            for member in members:
                if member.kind == "message":
                    with page.about(member), page.block(f"if number == {member.number}:"):
                        page.line(f"return {self._decoded(member, 'value')}")
            page.line("return value")
        page.lines("", "")
