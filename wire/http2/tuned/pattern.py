"""Header blocks that differ from the last one in nothing but the value of one literal (RFC 7541).

A client whose timeouts, trace ids or tokens vary sends the same indexed fields each time, with a literal among them.
Where the literal stays out of the dynamic table, the bytes around its value repeat. Where it enters the table, it moves
every other entry one place further, and so each index behind the static table is one more in the next block, and the
literal's name is found in the entry that is now the newest. Both can be said beforehand, so that of such a block only
the value has to be decoded. Imports `fields` and `huffman`.
"""

from __future__ import annotations

import re
from typing import Final

from wire.http2.tuned import huffman
from wire.http2.tuned.fields import Section

_STATIC_ENTRIES: Final = 61
_WIDE: Final = 0x7F - _STATIC_ENTRIES  # the place in the dynamic table from which on an index takes two bytes
_DEEPEST: Final = 0x7F + 0x7E - _STATIC_ENTRIES  # and from which on it may soon take three

MAX_VALUE_BYTES: Final = 0x7F * 8 // 5
"""What a value can be at most, decoded, whose length is one byte: the shortest Huffman code has 5 bits."""

_ENDING_BYTES: Final = 3
"""Of a short value, that differ from the one before: three digits of a timeout, and its unit."""

_NEWEST_NAME: Final = b"\x7e"
"""A literal that enters the table, named as the newest entry."""

_only_indexed = re.compile(rb"(?:[\x81-\xfe]|\xff[\x00-\x7e])*").fullmatch

# Of indexed fields (RFC 7541 §6.1), each index that is not the static table's becomes one more. A byte of 0xff has the
# rest of its index in the byte behind it; what needs that from now on is marked by 0x80, which is no field, and spread.
_MOVED: Final = bytes(
    byte + 1 if byte < 0x7F or 0x80 + _STATIC_ENTRIES < byte < 0xFE else 0x80 if byte == 0xFE else byte
    for byte in range(0x100)
)
_MARKED: Final = b"\x80"
_SPREAD: Final = b"\xff\x00"


class Pattern:
    """A block of `block_bytes` is `before`, `value_bytes` of the literal's value, which is short, and `after`. The
    fields are those of `model`, the section that the pattern was made of, whose kind and content-length all of them
    have, but for the value of the one with `name`; with the one that `model` has they are of `size_bytes`. `huffman`:
    whether the value is in Huffman code. `inserts`: whether the literal enters the dynamic table. `rest_depth`: how
    many entries that has to have behind it for `after`. `seen`: the last values, as they travelled: a block that comes
    again is worth remembering.

    Short values often begin like the one before, as timeouts do. Where two did, what they begin with belongs to
    `before`: it is `text`, `state` is where decoding stands behind it, and `endings` are those known of it.
    """

    __slots__ = (
        "_begun",
        "_depth",
        "_literal",
        "_middle",
        "_prefix",
        "after",
        "before",
        "block_bytes",
        "endings",
        "huffman",
        "inserts",
        "model",
        "name",
        "rest_depth",
        "seen",
        "size_bytes",
        "state",
        "text",
        "value_bytes",
    )

    def __init__(self, block: bytes, literal_at: int, value_at: int, end: int, model: Section, inserts: bool) -> None:
        """The value is at `value_at`, where its length stands, to `end`; `model.varies_at` says which field it is."""
        self.model = model
        self.name = model.fields[model.varies_at][0]
        self.size_bytes = sum(len(name) + len(text) + 32 for name, text in model.fields)
        self.inserts = inserts
        self.huffman = False
        self.seen: set[bytes] = set()
        self.after = block[end:]
        self._prefix = block[:literal_at]
        self._literal = block[literal_at:value_at]
        if inserts and not 0x40 < self._literal[0] <= 0x40 + _STATIC_ENTRIES:
            self._literal = _NEWEST_NAME
        self._depth = _depth(self._prefix)
        self.rest_depth = _depth(self.after)
        self.before = self.text = self._middle = self._begun = b""
        self.block_bytes = 0
        self.value_bytes = -1  # as that of no block: the first one is given to `aim`

    def aim(self, block: bytes) -> bytes | None:
        """The value of a block that follows the pattern, as it travelled, whose length or beginning is another than
        before, and is expected from now on. None where the block does not follow it."""
        rest = block.removeprefix(self._prefix + self._literal)
        size = len(rest) - 1 - len(self.after)
        if len(rest) == len(block) or not 0 <= size < 0x7F or rest[0] & 0x7F != size or not rest.endswith(self.after):
            return None
        self.huffman = rest[0] >= 0x80
        self.text = b""
        self._middle = self._literal + rest[:1]
        self.before = self._prefix + self._middle
        self.value_bytes = size
        self.block_bytes = len(block)
        return rest[1 : 1 + size]

    def expect(self, value: bytes) -> None:
        """The last block had this short value in Huffman code, as a whole. Where it begins like the one before, the
        next one is expected to."""
        begun = value[:-_ENDING_BYTES]
        if begun != self._begun:
            self._begun = begun
        elif begun:
            self.state, self.text = huffman.begin(begun)
            self.endings = huffman.endings(self.state)
            if self.text:
                self._middle += begun
                self.before += begun
                self.value_bytes = _ENDING_BYTES

    def shift(self, entries: int) -> bool:
        """The literal has entered the table, which now has so many entries. False when the next block cannot be said
        beforehand."""
        if self._depth:
            self._depth += 1
            self._prefix = self._prefix.translate(_MOVED)
            self.before = self._prefix + self._middle
        if self.rest_depth:
            self.rest_depth += 1
            self.after = self.after.translate(_MOVED)
        if self._depth >= _WIDE or self.rest_depth >= _WIDE:
            self._prefix = self._prefix.replace(_MARKED, _SPREAD)
            self.after = self.after.replace(_MARKED, _SPREAD)
            self.before = self._prefix + self._middle
            self.block_bytes = len(self.before) + self.value_bytes + len(self.after)
            if self._depth >= _DEEPEST or self.rest_depth >= _DEEPEST:
                return False
        return 0 < entries >= self._depth


def pattern_of(
    block: bytes, literal_at: int, value_at: int, end: int, model: Section, inserts: bool, entries: int
) -> Pattern | None:
    """The pattern of a block with one literal, of an ordinary field, that was decoded, and left so many entries in the
    dynamic table. None where there is none."""
    if inserts and not (_only_indexed(block, 0, literal_at) and _only_indexed(block, end)):
        return None
    pattern = Pattern(block, literal_at, value_at, end, model, inserts)
    return pattern if not inserts or pattern.shift(entries) else None


def _depth(block: bytes) -> int:
    """The place in the dynamic table, from 1, of its oldest entry that these indexed fields name; 0: none."""
    deepest = at = 0
    while at < len(block):
        index = block[at] & 0x7F
        if index == 0x7F and at + 1 < len(block):
            at += 1
            index += block[at]
        at += 1
        deepest = max(deepest, index)
    return max(deepest - _STATIC_ENTRIES, 0)
