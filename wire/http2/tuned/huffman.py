"""HPACK's Huffman code (RFC 7541 §5.2 and appendix B), decoded a byte at a time.

PyPI's hpack has the code as a state machine over half bytes. Two of its steps make one of ours, worked out when first
needed and kept: at most 65,536 steps in a process, some hundreds in practice. Imports hpack's table.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

State = list[Any]
"""Where decoding stands after some bytes: for each next byte the state behind it and the symbols that it completed, or
None until it is needed; then, at `_NUMBER`, its number in hpack's table, at `_COMPLETE` whether a string may end here,
the bits since its last symbol being legal padding, and at `_ENDINGS` what `endings` says. A plain list: no other
object's items are got as quickly."""

_NUMBER: Final = 256
_COMPLETE: Final = 257
_ENDINGS: Final = 258

MAX_ENDINGS: Final = 1 << 13
"""Endings kept in a process: 1 to 2 MiB."""

_INVALID: Final = -1
_START: Final[State] = [*[None] * 256, 0, True, {}]
_states: Final[dict[int, State]] = {0: _START, _INVALID: [*[None] * 256, _INVALID, False, {}]}
_kept: Final[deque[tuple[dict[bytes, bytes], bytes]]] = deque()  # the endings of all states, newest last


def _step(state: State, byte: int) -> tuple[State, bytes]:
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
        _states[number] = [*[None] * 256, number, flags & HUFFMAN_COMPLETE != 0, {}]
    state[byte] = step = (_states[number], symbols)
    return step


def _run(state: State, data: bytes) -> tuple[State, bytes]:
    """Where decoding stands behind `data`, and the symbols that were completed in it."""
    found: list[bytes] = []
    for byte in data:
        state, symbols = state[byte] or _step(state, byte)
        found.append(symbols)
    return state, b"".join(found)


def decode(data: bytes) -> bytes | None:
    """The string that `data` encodes; None where RFC 7541 §5.2 forbids it (EOS, or padding that is not its prefix)."""
    state, text = _run(_START, data)
    return text if state[_COMPLETE] else None


def begin(data: bytes) -> tuple[State, bytes]:
    """The first bytes of a string: where decoding stands behind them, for `finish`, and the text that they hold."""
    return _run(_START, data)


def finish(state: State, data: bytes) -> bytes | None:
    """The text that the last bytes of a string hold, behind others; None as in `decode`. It is kept in `endings`."""
    behind, text = _run(state, data)
    if not behind[_COMPLETE]:
        return None
    known = endings(state)
    known[data] = text
    _kept.append((known, data))
    if len(_kept) > MAX_ENDINGS:
        known, data = _kept.popleft()
        known.pop(data, None)
    return text


def endings(state: State) -> dict[bytes, bytes]:
    """What was finished in that state. Strings that begin alike and differ in some digits, as timeouts do, have few."""
    found: dict[bytes, bytes] = state[_ENDINGS]
    return found
