"""HPACK encoding (RFC 7541): header lists to blocks.

A list flagged `shared` is encoded once: its fields enter the peer's dynamic table when it is first sent, so that from
then on its block is one byte a field, and kept. The table only ever grows: when it is full, what would have entered
it stays a literal, and nothing is evicted. An insertion shifts the indices in blocks made before, so it drops those
that were kept. All other fields are literals without indexing (§6.2.2), except that a name seen for the first time
enters the table with its first value, so that its later uses are short; credentials are never indexed (§6.2.3).
Strings are sent as they are, not in Huffman code, which would save a few bytes of what varies at ten times the time.

Imports the contract's `HeaderList`, and `decoder`'s static table.
"""

from __future__ import annotations

from typing import Any, Final

from wire.http2.engine import Fields, HeaderList
from wire.http2.tuned.decoder import DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES, STATIC_ENTRIES, STATIC_TABLE
from wire.http2.tuned.fields import Field

MAX_BLOCKS: Final = 256
"""Shared lists whose blocks are kept; more than a process has methods in use on one connection."""
MAX_NAMES: Final = 256
MAX_SEED_BYTES: Final = 128
"""Largest entry that a field which is not shared may put into the table, for its name's sake."""

_SENSITIVE: Final = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))

# The first of several static entries of one name serves for the name.
_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE, 1)))}
_STATIC_BLOCKS: Final = {field: bytes((0x80 | index,)) for index, field in enumerate(STATIC_TABLE, 1)}


def _integer(value: int, prefix: int, first: int) -> bytes:
    """RFC 7541 §5.1: `value` behind the bits of `first`; `prefix` is the largest value that the first byte can hold,
    plus one."""
    if value < prefix:
        return bytes((first | value,))
    encoded = bytearray((first | prefix,))
    value -= prefix
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_LENGTHS: Final = tuple(bytes((length,)) for length in range(0x7F))


def _string(text: bytes) -> bytes:
    """RFC 7541 §5.2, without Huffman coding."""
    size = len(text)
    return (_LENGTHS[size] if size < 0x7F else _integer(size, 0x7F, 0)) + text


class Encoder:
    """One direction's HPACK state. `changed`: set when blocks made earlier are no longer valid; whoever keeps some
    clears it. `kept`: a place for what a sender makes of lists whose blocks are kept, emptied when they are not."""

    __slots__ = (
        "_blocks",
        "_fields",
        "_inserted",
        "_names",
        "_prefixes",
        "_room_bytes",
        "_table_bytes",
        "_update",
        "changed",
        "kept",
    )

    def __init__(self) -> None:
        self.changed = False
        self.kept: dict[HeaderList, Any] = {}
        self._blocks: dict[HeaderList, bytes] = {}
        self._prefixes: dict[bytes, bytes] = {}  # how a literal of each name begins
        self._fields: dict[Field, int] = {}  # in the dynamic table; the how-manieth insertion it was
        self._names: dict[bytes, int] = {}
        self._inserted = 0
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._room_bytes = DEFAULT_TABLE_BYTES
        self._update = b""

    def limit_table(self, size_bytes: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. We never use more than the default.

        A different size is announced at the head of the next block, through 0, so that the table starts afresh on
        both sides (RFC 7541 §4.2: the smallest size since the last block, then the final one)."""
        size_bytes = min(size_bytes, DEFAULT_TABLE_BYTES)
        if size_bytes == self._table_bytes:
            return
        self._update = b"\x20" + (_integer(size_bytes, 0x1F, 0x20) if size_bytes else b"")
        self._table_bytes = self._room_bytes = size_bytes
        self._fields.clear()
        self._names.clear()
        self._forget_blocks()

    def encode(self, headers: HeaderList, extra: Fields = ()) -> bytes:
        """The block of `headers` with `extra` behind them. Blocks must be sent in the order in which they were made."""
        block = self._blocks.get(headers)
        if block is None:
            block = self._encode_list(headers)
        if extra:
            return block + b"".join([self._literal(name, value) for name, value in extra])
        return block

    def keeps(self, headers: HeaderList) -> bool:
        """Whether the block of this list is known, and stays what it is until `changed` is set."""
        return headers in self._blocks

    def _encode_list(self, headers: HeaderList) -> bytes:
        update = self._update
        self._update = b""
        inserted = self._inserted
        encode = self._indexed if headers.shared else self._plain
        block = update + b"".join([encode(field) for field in headers.fields])
        if headers.shared and not update and inserted == self._inserted:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
                self.kept.clear()
            self._blocks[headers] = block
        return block

    def _indexed(self, field: Field) -> bytes:
        """A field of a shared list: an index, if need be after putting it into the table, or at last a literal."""
        block = _STATIC_BLOCKS.get(field)
        if block is not None:
            return block
        number = self._fields.get(field)
        if number is not None:
            return _integer(STATIC_ENTRIES + self._inserted - number, 0x7F, 0x80)
        size_bytes = len(field[0]) + len(field[1]) + ENTRY_OVERHEAD_BYTES
        return self._insert(field, size_bytes) if size_bytes <= self._room_bytes else self._literal(*field)

    def _plain(self, field: Field) -> bytes:
        """A field of a list that is not shared."""
        block = _STATIC_BLOCKS.get(field)
        return self._literal(*field) if block is None else block

    def _literal(self, name: bytes, value: bytes) -> bytes:
        prefix = self._prefixes.get(name)
        if prefix is None:
            index = self._name_index(name)
            sensitive = name in _SENSITIVE
            if not index and not sensitive:
                size_bytes = len(name) + len(value) + ENTRY_OVERHEAD_BYTES
                if size_bytes <= MAX_SEED_BYTES and size_bytes * 2 <= self._room_bytes:
                    return self._insert((name, value), size_bytes)
            prefix = (
                _integer(index, 0x0F, 0x10 if sensitive else 0)
                if index
                else (b"\x10" if sensitive else b"\0") + _string(name)
            )
            if len(self._prefixes) >= MAX_NAMES:
                self._prefixes.clear()
            self._prefixes[name] = prefix
        size = len(value)
        return prefix + _LENGTHS[size] + value if size < 0x7F else prefix + _string(value)

    def _insert(self, field: Field, size_bytes: int) -> bytes:
        """RFC 7541 §6.2.1."""
        name, value = field
        index = self._name_index(name)
        block = (_integer(index, 0x3F, 0x40) if index else b"\x40" + _string(name)) + _string(value)
        self._room_bytes -= size_bytes
        self._inserted += 1
        # Numbered so that the newest entry, of number `inserted - 1`, has the index after the static table's last.
        self._fields[field] = self._names[name] = self._inserted - 1
        self._forget_blocks()
        return block

    def _name_index(self, name: bytes) -> int:
        """The index of an entry of that name, or 0."""
        index = _STATIC_NAMES.get(name)
        if index is not None:
            return index
        number = self._names.get(name)
        return 0 if number is None else STATIC_ENTRIES + self._inserted - number

    def _forget_blocks(self) -> None:
        self._blocks.clear()
        self.kept.clear()
        self._prefixes.clear()
        self.changed = True
