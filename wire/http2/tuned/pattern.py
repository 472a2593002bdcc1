"""Header blocks that differ from the last one in nothing but the value of one literal (RFC 7541).

A client whose timeouts, trace ids or tokens vary sends the same indexed fields each time, with a literal among them.
Where the literal stays out of the dynamic table, the bytes around its value repeat. Where it enters the table, it moves
every other entry one place further, and so each index behind the static table is one more in the next block, and the
literal's name is found in the entry that is now the newest. Both can be said beforehand, so that of such a block only
the value has to be decoded. Imports `fields`.
"""

from __future__ import annotations

import re
from typing import Final

from wire.http2.tuned.fields import Field, Section

_STATIC_ENTRIES: Final = 61
_DEEPEST_INDEX: Final = 0x7F + 0x7E  # of one byte more behind a prefix that is all ones, with room for one place

MAX_VALUE_BYTES: Final = 0x7F * 8 // 5
"""What a value can be at most, decoded, whose length is one byte: the shortest Huffman code has 5 bits."""

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
    """A block is `before`, at `value_at` the literal's value behind its length, and `after`; `around` is the length of
    all but the value, which is short. The fields are `first`, the one with `name`, and `rest`, of `size_bytes` with the
    value that `model` has: the section that the pattern was made of, of whose `kind` and `content_length` all of them
    are. `inserts`: whether the literal enters the dynamic table. `rest_depth`: how many entries that has to have behind
    it for `after`. `seen`: the last values, as they travelled: a block that comes again is worth remembering.
    """

    __slots__ = (
        "_depth",
        "_header",
        "_prefix",
        "after",
        "around",
        "before",
        "content_length",
        "first",
        "inserts",
        "kind",
        "model",
        "name",
        "rest",
        "rest_depth",
        "seen",
        "size_bytes",
        "value_at",
    )

    def __init__(self, block: bytes, literal_at: int, value_at: int, end: int, model: Section, inserts: bool) -> None:
        """The value is at `value_at`, where its length stands, to `end`; `model.varies_at` says which field it is."""
        at = model.varies_at
        self.model = model
        self.kind = model.kind
        self.content_length = model.content_length
        self.name = model.fields[at][0]
        self.first: tuple[Field, ...] = model.fields[:at]
        self.rest: tuple[Field, ...] = model.fields[at + 1 :]
        self.size_bytes = sum(len(name) + len(text) + 32 for name, text in model.fields)
        self.inserts = inserts
        self.seen: set[bytes] = set()
        self.before = block[:value_at]
        self.value_at = value_at
        self.after = block[end:]
        self.around = value_at + 1 + len(self.after)
        self._prefix = block[:literal_at]
        self._header = block[literal_at:value_at]
        if inserts and not 0x40 < self._header[0] <= 0x40 + _STATIC_ENTRIES:
            self._header = _NEWEST_NAME
        self._depth = _depth(self._prefix)
        self.rest_depth = _depth(self.after)

    def shift(self, entries: int) -> bool:
        """The literal has entered the table, which now has so many entries. False when the next block cannot be said
        beforehand."""
        if self._depth:
            self._depth += 1
            self._prefix = self._prefix.translate(_MOVED).replace(_MARKED, _SPREAD)
        if self.rest_depth:
            self.rest_depth += 1
            self.after = self.after.translate(_MOVED).replace(_MARKED, _SPREAD)
        self.before = self._prefix + self._header
        self.value_at = len(self.before)
        self.around = self.value_at + 1 + len(self.after)
        return (
            0 < entries >= self._depth
            and self._depth < _DEEPEST_INDEX - _STATIC_ENTRIES
            and self.rest_depth < _DEEPEST_INDEX - _STATIC_ENTRIES
        )


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
