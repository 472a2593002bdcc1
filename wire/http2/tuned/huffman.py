"""HPACK's Huffman code (RFC 7541 §5.2 and appendix B), decoded a byte at a time.

PyPI's hpack has the code as a state machine over half bytes. Two of its steps make one of ours, worked out when first
needed and kept: at most 65,536 steps in a process, some hundreds in practice. Imports hpack's table.
"""

from __future__ import annotations

from typing import Any, Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

_State = list[Any]
"""Where decoding stands after some bytes: for each next byte the state behind it and the symbols that it completed, or
None until it is needed; then, at `_NUMBER`, its number in hpack's table, and at `_COMPLETE` whether a string may end
here, the bits since its last symbol being legal padding. A plain list: no other object's items are got as quickly."""

_NUMBER: Final = 256
_COMPLETE: Final = 257

_INVALID: Final = -1
_START: Final[_State] = [*[None] * 256, 0, True]
_states: Final[dict[int, _State]] = {0: _START, _INVALID: [*[None] * 256, _INVALID, False]}


def _step(state: _State, byte: int) -> tuple[_State, bytes]:
    number = state[_NUMBER]
    symbols = b""
    flags = HUFFMAN_FAIL
    for nibble in (byte >> 4, byte & 0xF):
        if number == _INVALID:
            break
        number, flags, symbol = HUFFMAN_TABLE[number * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            number = _INVALID
        elif flags & HUFFMAN_EMIT_SYMBOL:
            symbols += bytes((symbol,))
    if number not in _states:
        _states[number] = [*[None] * 256, number, flags & HUFFMAN_COMPLETE != 0]
    state[byte] = step = (_states[number], symbols)
    return step


def decode(data: bytes) -> bytes | None:
    """The string that `data` encodes; None where RFC 7541 §5.2 forbids it (EOS, or padding that is not its prefix)."""
    state = _START
    found: list[bytes] = []
    for byte in data:
        state, symbols = state[byte] or _step(state, byte)
        found.append(symbols)
    return b"".join(found) if state[_COMPLETE] else None
