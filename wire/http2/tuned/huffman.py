"""HPACK's Huffman code (RFC 7541 §5.2 and appendix B), decoded a byte at a time.

PyPI's hpack has the code as a state machine over half bytes. Two of its steps make one of ours, worked out when first
needed and kept: at most 65,536 steps in a process, some hundreds in practice. Imports hpack's table.
"""

from __future__ import annotations

from typing import Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE


class _State(dict[int, tuple["_State", bytes]]):
    """Where decoding stands after some bytes: the next byte → the state behind it, and the symbols it completed.

    `complete`: a string may end here, the bits since its last symbol being legal padding.
    """

    __slots__ = ("complete", "number")

    def __init__(self, number: int, complete: bool) -> None:
        self.number = number
        self.complete = complete

    def __missing__(self, byte: int) -> tuple[_State, bytes]:
        number = self.number
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
        state = _states.get(number)
        if state is None:
            state = _states[number] = _State(number, flags & HUFFMAN_COMPLETE != 0)
        step = self[byte] = (state, symbols)
        return step


_INVALID: Final = -1
_START: Final = _State(0, True)
_states: Final = {0: _START, _INVALID: _State(_INVALID, False)}


def decode(data: bytes) -> bytes | None:
    """The string that `data` encodes; None where RFC 7541 §5.2 forbids it (EOS, or padding that is not its prefix)."""
    state = _START
    found: list[bytes] = []
    for byte in data:
        state, symbols = state[byte]
        found.append(symbols)
    return b"".join(found) if state.complete else None
