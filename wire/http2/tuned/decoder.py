"""HPACK decoding (RFC 7541): header blocks to field sections, validated.

`sections` maps the bytes of a block to its section, for as long as the same bytes mean the same: a block enters it if
it left the dynamic table alone, and any change of the table empties it. So a peer whose requests repeat costs one
dict look-up each. One whose values vary pays for a plain loop over the block's bytes, in which each field that comes
from a table is a tuple made earlier: field, size (§4.1) and mark. Judging a field and decoding Huffman happen only
where a literal is met. What precedes a block's first literal is kept as well, for the next block that starts with it.
And the last block with a single literal is the pattern of those that differ from it in nothing but the literal's value,
as requests do whose timeouts, trace ids or tokens vary: see `pattern`.

Imports `fields`, `pattern`, `huffman`, hpack's static table, and `limits`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hpack.table import HeaderTable

from wire.http2.codes import ErrorCode
from wire.http2.limits import HARD_HEADER_FACTOR, MAX_TABLE_UPDATES
from wire.http2.tuned import huffman
from wire.http2.tuned.fields import (
    BAD,
    CONTENT_LENGTH,
    HOST,
    KINDS,
    MALFORMED,
    OVERSIZE,
    PADDED,
    PSEUDO,
    SECTION_MARKS,
    Field,
    Section,
    Variant,
    kind_of,
    mark,
    plain_value,
)
from wire.http2.tuned.pattern import MAX_VALUE_BYTES, Pattern, pattern_of

DEFAULT_TABLE_BYTES: Final = 4096  # RFC 9113 §6.5.2
ENTRY_OVERHEAD_BYTES: Final = 32  # RFC 7541 §4.1
STATIC_TABLE: Final[tuple[Field, ...]] = tuple(HeaderTable.STATIC_TABLE)  # appendix A
STATIC_ENTRIES: Final = len(STATIC_TABLE)

MAX_SECTIONS: Final = 1024
"""Blocks remembered: more than the methods that one peer calls in turn."""
MAX_SEEN: Final = 256
"""Values of blocks that followed the last pattern: one that comes again is remembered."""
MAX_REMEMBERED_BYTES: Final = 1 << 19
"""Of all the blocks and sections remembered by a connection: 512 KiB, so that one of many metadata fields is, too."""
SECTION_OVERHEAD_BYTES: Final = 256
"""What a section takes as objects, besides its block and its fields."""
MAX_SECTION_BYTES: Final = MAX_REMEMBERED_BYTES // 8
"""Of one block and its section."""
MAX_HEAD_BYTES: Final = 2048
"""Of what precedes a block's first literal, where that is remembered."""
MAX_STRINGS: Final = 1024
MAX_STRINGS_BYTES: Final = 1 << 17
MIN_STRING_BYTES: Final = 9
MAX_STRING_BYTES: Final = 2048
"""Huffman strings remembered, how many bytes of them in all, and which: not timeouts, but tokens."""
MAX_NAMES: Final = 128
MAX_NAME_BYTES: Final = 64
"""Names of literals remembered to be legal."""

_Entry = tuple[Field, int, int]
"""A field, its size in bytes, its mark."""


_Head = tuple[bytes, tuple[Field, ...], int, int, int, int | None]
"""The bytes of a block in front of its first literal, and what `decode` knows behind them."""


def _entry(name: bytes, value: bytes) -> _Entry:
    return (name, value), len(name) + len(value) + ENTRY_OVERHEAD_BYTES, mark(name, value)


# Index 0 is an error (RFC 7541 §6.1); its place is filled so that the others have their own numbers. A few static
# entries are not legal fields as they stand, such as `:status` of an empty value would be; they are marked like any
# other.
_STATIC: Final[tuple[_Entry, ...]] = (((b"", b""), 0, BAD), *(_entry(*field) for field in STATIC_TABLE))


class ConnectionFault(Exception):  # noqa: N818 - says what the peer did; not an error of ours
    """The peer broke a rule that costs the connection. Raised and caught within the engine."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def _bad_block(reason: str) -> ConnectionFault:
    """RFC 9113 §4.3: a block that cannot be decoded leaves the compression state unknown."""
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, reason)


def _far_too_large() -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a field section is far too large")


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """RFC 7541 §5.1: the rest of an integer whose prefix was all ones, and the position behind it. At most 2³² or
    so."""
    value = prefix
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise _bad_block("an HPACK integer is too long")


class Decoder:
    """HPACK state for what one peer sends; `client` is our role. `max_list_bytes` and `max_fields` bound a section
    that is to be used; one past them is `OVERSIZE`, and one past `HARD_HEADER_FACTOR` × `max_list_bytes`, encoded or
    decoded, is a fault (ENHANCE_YOUR_CALM)."""

    __slots__ = (
        "_hard_bytes",
        "_head",
        "_max_fields",
        "_max_list_bytes",
        "_must_shrink",
        "_ordinary_names",
        "_pattern",
        "_remembered_bytes",
        "_section_marks",
        "_strings",
        "_strings_bytes",
        "_table",
        "_table_bytes",
        "_table_limit_bytes",
        "max_table_bytes",
        "sections",
    )

    def __init__(self, client: bool, max_list_bytes: int, max_fields: int) -> None:
        self.sections: dict[bytes, Section] = {}
        self._remembered_bytes = 0
        self.max_table_bytes = DEFAULT_TABLE_BYTES  # what we allow the peer
        self._table_limit_bytes = DEFAULT_TABLE_BYTES  # what the peer uses of it
        self._must_shrink = False
        self._head: _Head | None = None
        self._pattern: Pattern | None = None
        self._table: deque[_Entry] = deque()  # newest last
        self._table_bytes = 0
        self._strings: dict[bytes, bytes] = {}
        self._strings_bytes = 0
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        # A client lets white space around values through: servers send `grpc-message` as it is.
        self._section_marks = SECTION_MARKS & ~PADDED if client else SECTION_MARKS
        self._ordinary_names: set[bytes] = set()
        self._hard_bytes = max_list_bytes * HARD_HEADER_FACTOR

    def allow_table(self, size_bytes: int) -> None:
        """The largest dynamic table that the peer may use from now on. A smaller one must be confirmed by its next
        block."""
        self.max_table_bytes = size_bytes
        self._must_shrink = size_bytes < self._table_limit_bytes
        if self._must_shrink:
            self._forget()

    def decode(self, block: bytes) -> Section:
        """The section that a complete header block holds. Raises `ConnectionFault`; the connection is over then.

        Of a request's block of 8 fields, the last of them a new literal, the pattern leaves a third of the work.
        """
        end = len(block)
        if end > self._hard_bytes:
            raise _far_too_large()
        strings = self._strings
        pattern = self._pattern
        if pattern is not None:
            between = block.removeprefix(pattern.before)
            if pattern.after:
                between = between.removesuffix(pattern.after)
            fits = len(between) == pattern.value_bytes and end == pattern.block_bytes
            raw = between if fits else pattern.aim(block)
            if raw is not None:
                if pattern.text:
                    ending = pattern.endings.get(raw)
                    if ending is None:
                        ending = huffman.finish(pattern.state, raw)
                        if ending is None:
                            raise _bad_block("an invalid Huffman string")
                    value = pattern.text + ending
                elif not pattern.huffman:
                    value = raw
                elif len(raw) >= MIN_STRING_BYTES:
                    value = strings.get(raw) or self._decode_huffman(raw)
                else:
                    value = huffman.decode(raw) or self._decode_huffman(raw)
                    pattern.expect(raw)
                if value.isalnum() or plain_value(value):
                    variant: Section = Variant()
                    variant.model = model = pattern.model
                    variant.value = value
                    variant.parsed = None
                    variant.shared = False
                    variant.kind = model.kind
                    variant.content_length = model.content_length
                    if pattern.inserts:
                        if self.sections or self._head is not None:
                            self._forget()
                        name = pattern.name
                        self._insert(((name, value), len(name) + len(value) + ENTRY_OVERHEAD_BYTES, 0))
                        entries = len(self._table)
                        if pattern.rest_depth > entries:
                            raise _bad_block("a header block names a table entry that does not exist")
                        self._pattern = pattern if pattern.shift(entries) else None
                    elif raw in pattern.seen:
                        self._remember(block, variant, pattern.size_bytes)
                    else:
                        pattern.seen.add(raw)
                        if len(pattern.seen) > MAX_SEEN:
                            pattern.seen.clear()
                    return variant
        table = self._table
        unchanged = fresh = True
        literals = value_end = 0
        head = self._head
        if head is not None and block.startswith(head[0]):
            fresh = False
            head_block, known, pseudo_fields, size_bytes, marks, content_length = head
            at = len(head_block)
            fields = list(known)
        else:
            fields = []
            at = pseudo_fields = size_bytes = marks = resizes = 0
            content_length = None
        try:
            while at < end:
                byte = block[at]
                at += 1
                if byte > 0x80:  # indexed field (RFC 7541 §6.1)
                    if byte < 0xBE:
                        field, field_bytes, field_mark = _STATIC[byte - 0x80]
                    else:
                        index = byte - 0x80
                        if index == 0x7F:
                            index, at = _integer(block, at, 0x7F)
                        field, field_bytes, field_mark = table[STATIC_ENTRIES - index]
                elif byte == 0x80:
                    raise _bad_block("index 0 in a header block")
                elif byte & 0xE0 == 0x20:  # dynamic table size update (§6.3)
                    if fields:
                        raise _bad_block("a dynamic table size update behind a field")
                    resizes += 1
                    literals += 1  # so that it is no pattern
                    if resizes > MAX_TABLE_UPDATES:
                        raise _bad_block("more dynamic table size updates than there is a use for")
                    unchanged = False
                    size, at = _integer(block, at, 0x1F) if byte == 0x3F else (byte & 0x1F, at)
                    self._resize(size)
                    continue
                else:  # literal field: with incremental indexing (§6.2.1), without (§6.2.2), never indexed (§6.2.3)
                    literals += 1
                    literal_at = at - 1
                    if byte >= 0x40:
                        prefix = 0x3F
                    else:
                        prefix = 0x0F
                        if fresh and unchanged and 1 < at <= MAX_HEAD_BYTES:
                            fresh = False
                            self._head = (
                                block[: at - 1],
                                tuple(fields),
                                pseudo_fields,
                                size_bytes,
                                marks,
                                content_length,
                            )
                    index = byte & prefix
                    if index == prefix:
                        index, at = _integer(block, at, prefix)
                    if index == 0:
                        name, at = self._string(block, at)
                        field_mark = name not in self._ordinary_names
                    elif index <= STATIC_ENTRIES:
                        (name, _), _, field_mark = _STATIC[index]
                    else:
                        (name, _), _, field_mark = table[STATIC_ENTRIES - index]
                    # The value, as `_string` would read it.
                    value_at = at
                    first = block[at]
                    length = first & 0x7F
                    at += 1
                    if length == 0x7F:
                        length, at = _integer(block, at, 0x7F)
                    start = at
                    at += length
                    if at > end:
                        raise _bad_block("a string runs past its header block")
                    value = block[start:at]
                    if first >= 0x80:
                        value = strings.get(value) or self._decode_huffman(value)
                    field = (name, value)
                    field_bytes = len(name) + len(value) + ENTRY_OVERHEAD_BYTES
                    if field_mark or not value.isalnum():
                        field_mark = self._mark(name, value)
                    varies_at = len(fields)
                    value_end = at if field_mark == 0 else 0
                    inserts = byte >= 0x40
                    if inserts:
                        unchanged = False
                        self._forget()
                        self._insert((field, field_bytes, field_mark))
                if field_mark:
                    if field_mark & PSEUDO:
                        # RFC 9113 §8.3: each once, and in front of all other fields.
                        if field_mark & marks & PSEUDO or pseudo_fields != len(fields):
                            marks |= BAD
                        pseudo_fields += 1
                    elif field_mark & CONTENT_LENGTH:
                        if content_length is not None:  # RFC 9110 §8.6 lets us take a repeated one for malformed
                            marks |= BAD
                        content_length = int(field[1])
                    marks |= field_mark
                fields.append(field)
                size_bytes += field_bytes
        except (IndexError, ConnectionFault) as error:
            if size_bytes > self._hard_bytes:
                raise _far_too_large() from None
            if isinstance(error, ConnectionFault):
                raise
            # A read past the block's end, or an index past the dynamic table's.
            raise _bad_block("a header block is cut short, or names a table entry that does not exist") from None
        if size_bytes > self._hard_bytes:
            raise _far_too_large()
        if self._must_shrink:
            raise _bad_block("the dynamic table was not made smaller")  # RFC 7541 §4.2
        if size_bytes > self._max_list_bytes or len(fields) > self._max_fields:
            return Section((), OVERSIZE, None)
        section_fields = tuple(fields)
        if marks & HOST:
            kind = kind_of(section_fields, marks & (self._section_marks | HOST))
        else:
            kind = KINDS.get(marks & self._section_marks, MALFORMED)
        section = Section(section_fields, kind, content_length)
        if unchanged:
            self._remember(block, section, size_bytes)
        if (
            literals == 1
            and value_end
            and (unchanged or inserts)
            and size_bytes <= self._max_list_bytes - MAX_VALUE_BYTES
        ):
            section.varies_at = varies_at
            self._pattern = pattern_of(block, literal_at, value_at, value_end, section, inserts, len(table))
        return section

    def _remember(self, block: bytes, section: Section, size_bytes: int) -> None:
        held_bytes = len(block) + size_bytes + SECTION_OVERHEAD_BYTES
        if held_bytes > MAX_SECTION_BYTES:
            return
        self._remembered_bytes += held_bytes
        if len(self.sections) >= MAX_SECTIONS or self._remembered_bytes > MAX_REMEMBERED_BYTES:
            self.sections.clear()
            self._remembered_bytes = held_bytes
        self.sections[block] = section

    def _mark(self, name: bytes, value: bytes) -> int:
        """`fields.mark`; the names of ordinary fields are remembered."""
        field_mark = mark(name, value)
        if not field_mark and len(name) <= MAX_NAME_BYTES:
            if len(self._ordinary_names) >= MAX_NAMES:
                self._ordinary_names.clear()
            self._ordinary_names.add(name)
        return field_mark

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """RFC 7541 §5.2: the string literal at `at`, and the position behind it."""
        first = block[at]
        length = first & 0x7F
        at += 1
        if length == 0x7F:
            length, at = _integer(block, at, 0x7F)
        stop = at + length
        if stop > len(block):
            raise _bad_block("a string runs past its header block")
        text = block[at:stop]
        if first >= 0x80:
            text = self._strings.get(text) or self._decode_huffman(text)
        return text, stop

    def _decode_huffman(self, raw: bytes) -> bytes:
        """A Huffman string that is not among those remembered."""
        text = huffman.decode(raw)
        if text is None:
            raise _bad_block("an invalid Huffman string")
        # The shortest are decoded about as fast as kept, and are the ones that vary most.
        if MIN_STRING_BYTES <= len(raw) <= MAX_STRING_BYTES:
            self._strings_bytes += len(raw) + len(text)
            if len(self._strings) >= MAX_STRINGS or self._strings_bytes > MAX_STRINGS_BYTES:
                self._strings.clear()
                self._strings_bytes = len(raw) + len(text)
            self._strings[raw] = text
        return text

    def _insert(self, entry: _Entry) -> None:
        """RFC 7541 §4.4: older entries make room; an entry larger than the whole table empties it. What is remembered
        has to be forgotten."""
        table = self._table
        table.append(entry)
        size_bytes = self._table_bytes + entry[1]
        while size_bytes > self._table_limit_bytes:
            size_bytes -= table.popleft()[1]
        self._table_bytes = size_bytes

    def _forget(self) -> None:
        """The table changes: the same bytes no longer mean the same."""
        self._head = self._pattern = None
        if self.sections:
            self.sections.clear()
            self._remembered_bytes = 0

    def _resize(self, size_bytes: int) -> None:
        """RFC 7541 §4.3, §6.3."""
        if size_bytes > self.max_table_bytes:
            raise _bad_block("a dynamic table size over SETTINGS_HEADER_TABLE_SIZE")
        self._forget()
        self._must_shrink = False
        self._table_limit_bytes = size_bytes
        while self._table_bytes > size_bytes:
            self._table_bytes -= self._table.popleft()[1]
