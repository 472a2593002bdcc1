"""HPACK's Huffman code (RFC 7541 §5.2 and appendix B), decoded a byte at a time.

PyPI's hpack has the code as a state machine over half bytes. Two of its steps make one of ours, worked out when first
needed and kept: at most 65,536 steps in a process, some hundreds in practice. Imports hpack's table."""

from __future__ import annotations

from typing import Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

_Step = tuple[int, bytes, int]
"""Next state × 256, the symbols that ended, and whether a string may end here (its padding is legal)."""

_INVALID: Final[_Step] = (-1, b"", 0)
_steps: Final[dict[int, _Step]] = {}


def _make_step(key: int) -> _Step:
    state, byte = divmod(key, 256)
    flags = 0
    symbols = b""
    for nibble in (byte >> 4, byte & 0xF):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            _steps[key] = _INVALID
            return _INVALID
        if flags & HUFFMAN_EMIT_SYMBOL:
            symbols += bytes((symbol,))
    step = _steps[key] = (state * 256, symbols, flags & HUFFMAN_COMPLETE)
    return step


def decode(data: bytes) -> bytes | None:
    """The string that `data` encodes; None where RFC 7541 §5.2 forbids it (EOS, or padding that is not its prefix)."""
    state = 0
    complete = HUFFMAN_COMPLETE
    decoded = b""
    symbols: list[bytes] = []
    add = symbols.append
    known = _steps.get
    for byte in data:
        state, decoded, complete = known(state + byte) or _make_step(state + byte)
        if state < 0:
            return None
        add(decoded)
    return b"".join(symbols) if complete else None
