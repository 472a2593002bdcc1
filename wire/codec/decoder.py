"""Writes the `decode` function of a message class: one loop over the tags, then one message built from local variables.

In: a class's fields. Out: source on a `Page`. Every field is read into a local variable that starts at its default.
What is unknown, or of a wire type that does not fit its declaration, is kept in `_unknown_fields`.

A message inside a message is read where it stands: `decode` gets the one bytes object, and where in it the message
begins and ends. Nothing is copied but what ends in a field. A singular message field is decoded when the loop is over,
because it may occur again: `more` holds where, and reading on there merges all occurrences (protobuf.dev, Encoding,
"Last One Wins").

`budget` is a list of one number, the bytes of memory that the objects of this message may still take; it is shared by
all messages in it. What can cost much more memory than its encoding is charged: messages, entries of maps, further
occurrences of a message, members that an enum does not know. All else takes at most 20 bytes for each that it is
encoded in. A short message has no budget, and saves 30 ns for each message in it.

The message is made without its __init__: by object.__new__, then one attribute store per field, the cheapest way there
is (a third cheaper than __init__, half as costly as replacing __dict__), and it leaves nothing out but __post_init__,
which in generated classes only clears `_unknown_fields` and warns the author of code that uses deprecated fields.
Imports `schema`, `source` and `decoding`.
"""

from __future__ import annotations

from wire.codec import decoding, encoding
from wire.codec.schema import STRUCTS, Field, Label, WireType
from wire.codec.source import Page

_CHAIN = 6
"""So many tags are compared one after the other; more are first split in halves by a comparison."""


_CHARGED = frozenset({"message", "map", "enum"})
"""Kinds whose reading takes from the budget."""


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
        page.namespace["known_tags"] = frozenset(
            tag
            for field in self._fields
            for tag in ((field.tag, field.packed_tag) if field.label is Label.REPEATED else (field.tag,))
        )
        with page.block(f"def decode(data, pos=0, size=-1, more=None, depth={decoding.MAX_DEPTH}, budget=None):"):
            page.line(f'"""bytes → {self._type_name}."""')
            with page.block("try:"):
                self._write_body()
            with page.block("except DECODE_FAILURES as error:"):
                page.line("raise decode_error(error) from error")

    # ------------------------------------------------------------------------------------------------ the message

    def _write_body(self) -> None:
        page = self._page
        with page.block("if size < 0:  # the outermost message"):
            with page.block("if data.__class__ is not bytes:"):
                page.line("data = as_bytes(data)")
            page.line("size = len(data)")
            if len(self._fields) == 1:
                self._write_shortcut(self._fields[0])
            if any(field.kind in _CHARGED for field in self._fields):
                with page.block(f"if size > {decoding.UNCHARGED_BYTES} and budget is None:"):
                    page.line(f"budget = [max({decoding.MAX_DECODED_BYTES}, size * {decoding.DECODED_RATIO})]")
        with page.block("else:"):
            self._write_depth_check()
            self._write_charge(decoding.message_bytes(self._fields))
        for field in self._fields:
            if not field.group:
                page.line(f"{self._names[field]} = {self._default(field)}")
        for group in self._groups:
            page.line(f"{self._names['oneof', group]} = 0  # the number of the member that is set")
            page.line(f"{self._names['member', group]} = None")
        page.line("unknown = None")
        with page.block("while True:"):
            with page.block("while pos < size:"):
                page.line("start = pos")
                self._write_field_reading(self._fields)
                page.line("pos = skip_unknown(data, start, size, known_tags, depth)")
                with page.block("if unknown is None:"):
                    page.line("unknown = bytearray()")
                page.line("unknown += data[start:pos]")
            self._write_end_check()
            with page.block("if not more:"):
                page.line("break")
            page.line("pos, size = more.popleft()")
        for field in self._fields:
            if field.kind == "message" and field.label is Label.OPTIONAL and not field.group:
                name = self._names[field]
                with page.about(field), page.block(f"if {name} is not None:"):
                    page.line(f"{name} = {self._decoded(field, self._span(name))}")
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
        page.line('message._unknown_fields = b"" if unknown is None else bytes(unknown)')
        page.line("return message")

    def _write_shortcut(self, field: Field) -> None:
        """The commonest message of all: one string or bytes field that is the whole buffer.

        Measured: comparing the two bytes before a short field and slicing behind them takes twice as many instructions.
        """
        if field.kind not in {"string", "bytes"} or field.label is Label.REPEATED or field.tag > 127:
            return
        page = self._page
        starts = encoding.one_byte(field.tag)
        # By the buffer's size. Less than two bytes begin with none of these.
        heads = page.constant("heads", (*starts[:2], *starts))
        value = f"chunk{'.decode()' if field.kind == 'string' else ''}"
        page.line(
            f"chunk = data.removeprefix({heads}[size] if size < {len(starts) + 2} else long_head({field.tag}, size))"
        )
        with page.block("if len(chunk) != size:"):
            page.line(f"message = new({self._type_name})")
            with page.about(field):
                page.line(f"message.{field.name} = {value}")
            page.line('message._unknown_fields = b""')
            page.line("return message")

    def _write_depth_check(self) -> None:
        with self._page.block("if depth < 0:"):
            self._page.line("raise too_deep()")

    def _write_charge(self, size_bytes: int) -> None:
        page = self._page
        with page.block("if budget:"):
            page.line(f"budget[0] -= {size_bytes}")
            with page.block("if budget[0] < 0:"):
                page.line("raise too_large()")

    def _write_end_check(self) -> None:
        """One check for all varints and values of fixed size, which may have been read past the end of the span."""
        with self._page.block("if pos > size:"):
            self._page.line("raise EOFError")

    # --------------------------------------------------------------------------------------------- one field

    def _write_field_reading(self, fields: tuple[Field, ...]) -> None:
        """Reads a tag at `pos` and what belongs to it, and goes on with the loop if this is one of the fields.

        The code behind it sees fields that are none of these, which begin at `start`.
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

    def _write_value_reading(self, wire_type: WireType) -> None:
        """Reads what follows a tag: the `end` of a chunk that starts at `pos`, or a `number`, or steps over a value of
        fixed size."""
        page = self._page
        if wire_type is WireType.LEN:
            page.lines("length = data[pos]", "pos += 1")
            with page.block("if length > 127:"):
                page.line("length, pos = read_length(data, pos - 1)")
            page.line("end = pos + length")
            with page.block("if end > size:"):
                page.line("raise EOFError")
        elif wire_type is WireType.VARINT:
            page.lines("number = data[pos]", "pos += 1")
            with page.block("if number > 127:"):
                page.line("number, pos = read_varint(data, pos - 1)")
        else:
            page.line(f"pos += {4 if wire_type is WireType.FIXED32 else 8}")

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
            page.line(f"entry = {self._names['entry', field]}(data, pos, end, depth - 1, budget)")
            with page.block("if entry is not None:"):
                page.lines("key, value = entry", f"{name}[key] = value", "pos = end", "continue")
            return
        if field.group:
            self._write_member(field, field.group)
        elif field.label is Label.REPEATED and tag != field.tag:
            page.line(f"{name} += {self._unpacked(field)}")
        elif field.label is Label.REPEATED:
            value = self._decoded(field, "pos, end, None") if field.kind == "message" else self._value(field)
            page.line(f"{name}.append({value})")
        elif field.kind == "message":
            self._write_span(name)
        else:
            page.line(f"{name} = {self._value(field)}")
        if tag & 7 == WireType.LEN:
            page.line("pos = end")
        page.line("continue")

    def _write_span(self, name: str) -> None:
        """Notes where a singular message stands: `name` is None while it has not occurred."""
        page = self._page
        with page.block(f"if {name} is None:"):
            page.line(f"{name} = pos, end, None")
        with page.block("else:"):
            page.line(f"{name} = join_spans({name}, pos, end, budget)")

    def _write_member(self, field: Field, group: str) -> None:
        """Setting a member of a oneof clears the one set before, which must have been valid all the same."""
        page = self._page
        number, member = self._group_locals(group)
        if any(other.kind == "message" for other in self._groups[group] if other is not field):
            with page.block(f"if {number} not in (0, {field.number}):"):
                page.line(self._finished(group))
        if field.kind == "message":
            joined = f"join_spans({member}, pos, end, budget)"
            page.line(f"{member} = {joined} if {number} == {field.number} else (pos, end, None)")
        else:
            page.line(f"{member} = {self._value(field)}")
        page.line(f"{number} = {field.number}")

    # ------------------------------------------------------------------------------------------------ expressions

    def _value(self, field: Field) -> str:
        """A scalar's value, from the `number` just read, the chunk at `pos`, or the bytes just stepped over."""
        match field.kind:
            case "string":
                return "data[pos:end].decode()"
            case "bytes":
                return "data[pos:end]"
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
                number = "number if number < 0x80000000 else signed32(number)"
                if field.label is Label.REPEATED:
                    return f"enum_member({self._members(field)}, {number}, budget)"
                return f"{self._members(field)}[{number}]"
            case _:
                reader = self._page.constant(f"read_{field.kind}", STRUCTS[field.kind].unpack_from)
                return f"{reader}(data, pos - {STRUCTS[field.kind].size})[0]"

    def _unpacked(self, field: Field) -> str:
        unpack = self._page.constant(f"unpack_{field.kind}", decoding.UNPACK[field.kind])
        if field.kind == "enum":
            return f"enum_members({self._members(field)}, {unpack}(data[pos:end]), budget)"
        return f"{unpack}(data[pos:end])"

    def _decoded(self, field: Field, span: str) -> str:
        decoded = f"{self._names['decode', field.python_type]}(data, {span}, depth - 1, budget)"
        return f"{self._names['to_python', field.python_type]}({decoded})" if field.converted else decoded

    def _span(self, name: str) -> str:
        return f"{name}[0], {name}[1], {name}[2]"

    def _finished(self, group: str) -> str:
        number, member = self._group_locals(group)
        return f"{self._names['finish', group]}({number}, {member}, data, depth, budget)"

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
        tags = page.constant(f"{self._names['entry', field]}_tags", frozenset((key.tag, value.tag)))
        with page.block(f"def {self._names['entry', field]}(data, pos, size, depth, budget):"):
            page.line(f'"""The key and value of an entry of {field.name}, or None for one with unknown fields."""')
            self._write_depth_check()
            self._write_charge(decoding.ENTRY_BYTES)
            page.line(f"key = {self._default(key)}")
            page.line(f"value = {self._default(value)}")
            page.line("known = True")
            with page.block("while pos < size:"):
                page.line("start = pos")
                self._write_field_reading((key, value))
                page.lines(f"pos = skip_unknown(data, start, size, {tags}, depth)", "known = False")
            self._write_end_check()
            if value.kind == "message":
                with page.block("if value is None:"):
                    page.line("value = pos, pos, None")
                page.line(f"value = {self._decoded(value, self._span('value'))}")
            page.line("return (key, value) if known else None")
        page.lines("", "")

    def _write_member_finisher(self, group: str, members: list[Field]) -> None:
        page = self._page
        with page.block(f"def {self._names['finish', group]}(number, value, data, depth, budget):"):
            page.line(
                f'"""The value of the oneof {group}, given the member that is set: where it stands, for a message."""'
            )
            for member in members:
                if member.kind == "message":
                    with page.about(member), page.block(f"if number == {member.number}:"):
                        page.line(f"return {self._decoded(member, self._span('value'))}")
            page.line("return value")
        page.lines("", "")
