"""Frames as bytes: the 9-byte header, types and flags as plain ints, and the frames that are built whole.

The members of an IntEnum cost a global and an attribute look-up each time; the engine's loops use these ints instead.
Imports `codes` and `limits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from struct import Struct
from typing import Final

from wire.http2.codes import FrameType
from wire.http2.limits import LEAST_DATA_BYTES

DATA: Final = int(FrameType.DATA)
HEADERS: Final = int(FrameType.HEADERS)
PRIORITY: Final = int(FrameType.PRIORITY)
RST_STREAM: Final = int(FrameType.RST_STREAM)
SETTINGS: Final = int(FrameType.SETTINGS)
PUSH_PROMISE: Final = int(FrameType.PUSH_PROMISE)
PING: Final = int(FrameType.PING)
GOAWAY: Final = int(FrameType.GOAWAY)
WINDOW_UPDATE: Final = int(FrameType.WINDOW_UPDATE)
CONTINUATION: Final = int(FrameType.CONTINUATION)

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

HEADER_BYTES: Final = 9

_STREAM_AT: Final = 5  # in the header

HEADER: Final = Struct(">IBI")
"""A frame header (RFC 9113 §4.1) as three ints: length << 8 | type, flags, reserved bit and stream identifier."""

WORD_AND_FLAGS: Final = Struct(">IB")
"""What of it is in front of the stream."""

MESSAGE_HEADER: Final = Struct(">IBIBI")
"""The same, and the length of the message that is the frame's DATA, in `LEAST_DATA_BYTES`: 0 and an int."""

UINT32: Final = Struct(">I")
SETTING: Final = Struct(">HI")
_LAST_AND_CODE: Final = Struct(">II")
_HEADER_AND_UINT32: Final = Struct(">IBII")


_FEW: Final = 4
_MOST_ALIKE: Final = 64
_ALIKE: Final = (2, 0, 1, 3, 4, *range(HEADER_BYTES, HEADER_BYTES + LEAST_DATA_BYTES))
"""What frames have in common, by where it is: length, with the byte that differs most first, type, flags, and how their
DATA begins."""


def count_alike(data: bytes, at: int, stop: int, size: int) -> int:
    """How many DATA frames there are from `at` on that are whole at `stop`, as long as the first, of `size` bytes, and
    carry one plain message each. 0 where they are few: then each is to be looked at, which takes four times as long."""
    step = HEADER_BYTES + size
    count = min((stop - at) // step, _MOST_ALIKE)
    start = at + HEADER_BYTES
    rest = size - LEAST_DATA_BYTES
    if count < _FEW or data[start : start + LEAST_DATA_BYTES] != rest.to_bytes(LEAST_DATA_BYTES, "big"):
        return 0
    for place in _ALIKE:
        column = data[at + place : at + count * step : step]
        if column != column[:1] * count:
            count -= len(column.lstrip(column[:1]))
            if count < _FEW:
                return 0
    return count


@cache
def unpack_alike(size: int) -> Callable[[memoryview], Iterator[tuple[int, bytes]]]:
    """For frames that are alike: gives the stream and the message of each."""
    return Struct(f">{_STREAM_AT}xI{LEAST_DATA_BYTES}x{size - LEAST_DATA_BYTES}s").iter_unpack


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS (§6.5) with `values` by identifier."""
    return HEADER.pack(6 * len(values) << 8 | SETTINGS, 0, 0) + b"".join(
        map(SETTING.pack, values.keys(), values.values())
    )


SETTINGS_ACK: Final = HEADER.pack(SETTINGS, ACK, 0)


def ping(payload: bytes, flags: int = 0) -> bytes:
    """PING (§6.7) with 8 bytes."""
    return HEADER.pack(8 << 8 | PING, flags, 0) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (§6.4)."""
    return _HEADER_AND_UINT32.pack(4 << 8 | RST_STREAM, 0, stream_id, code)


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (§6.9); stream 0 is the connection."""
    return _HEADER_AND_UINT32.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def goaway(last_stream_id: int, code: int, debug: bytes) -> bytes:
    """GOAWAY (§6.8)."""
    return HEADER.pack(8 + len(debug) << 8 | GOAWAY, 0, 0) + _LAST_AND_CODE.pack(last_stream_id, code) + debug


def header_block(stream_id: int, block: bytes, end_stream: bool, max_frame_bytes: int) -> bytes:
    """HEADERS (§6.2), followed by as many CONTINUATIONs (§6.10) as a block longer than `max_frame_bytes` takes."""
    size = len(block)
    if size <= max_frame_bytes:
        return HEADER.pack(size << 8 | HEADERS, END_HEADERS | end_stream, stream_id) + block
    parts = [HEADER.pack(max_frame_bytes << 8 | HEADERS, int(end_stream), stream_id), block[:max_frame_bytes]]
    for at in range(max_frame_bytes, size, max_frame_bytes):
        part = block[at : at + max_frame_bytes]
        flags = END_HEADERS if at + max_frame_bytes >= size else 0
        parts += HEADER.pack(len(part) << 8 | CONTINUATION, flags, stream_id), part
    return b"".join(parts)
