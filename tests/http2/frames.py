"""Frames and field blocks by hand, for peers that say what no engine would. Shares no code with either engine.

`frame` and its kind build bytes; `parse` takes them apart again. Field blocks are literals without indexing or Huffman
coding (RFC 7541 §6.2.2) unless a test asks for an index; what engines send is decoded by PyPI's hpack.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hpack import Decoder

from wire.http2.codes import ErrorCode, FrameType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

Fields = tuple[tuple[bytes, bytes], ...]

REQUEST: Fields = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/echo.v1.EchoService/Echo"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)
RESPONSE: Fields = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Fields = ((b"grpc-status", b"0"),)


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """`length`: a lie about the payload's."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def _padded(payload: bytes, pad: int | None) -> bytes:
    return payload if pad is None else bytes([pad]) + payload + bytes(pad)


def data(stream_id: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    flags = (END_STREAM if end else 0) | (0 if pad is None else PADDED)
    return frame(FrameType.DATA, flags, stream_id, _padded(payload, pad))


def headers(
    stream_id: int,
    fields: Fields | bytes = REQUEST,
    *,
    end: bool = False,
    end_headers: bool = True,
    pad: int | None = None,
    priority: bytes = b"",
) -> bytes:
    """`fields`: as pairs, or as a block. `priority`: the five bytes of it."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
    flags |= (0 if pad is None else PADDED) | (PRIORITY if priority else 0)
    return frame(FrameType.HEADERS, flags, stream_id, _padded(priority + block(fields), pad))


def continuation(stream_id: int, fields: Fields | bytes = b"", *, end_headers: bool = True) -> bytes:
    return frame(FrameType.CONTINUATION, END_HEADERS if end_headers else 0, stream_id, block(fields))


def priority(stream_id: int, payload: bytes = b"\0\0\0\0\x10") -> bytes:
    return frame(FrameType.PRIORITY, 0, stream_id, payload)


def rst_stream(stream_id: int, code: int = ErrorCode.CANCEL) -> bytes:
    return frame(FrameType.RST_STREAM, 0, stream_id, struct.pack(">I", code))


def settings(values: Mapping[Any, int] | Iterable[tuple[int, int]] = (), *, ack: bool = False) -> bytes:
    pairs = values.items() if isinstance(values, Mapping) else values
    payload = b"".join(struct.pack(">HI", *pair) for pair in pairs)
    return frame(FrameType.SETTINGS, ACK if ack else 0, 0, payload)


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame(FrameType.PING, ACK if ack else 0, 0, payload)


def goaway(last_id: int = 0, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(FrameType.GOAWAY, 0, 0, struct.pack(">II", last_id, code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def _integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """RFC 7541 §5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal(name: bytes, value: bytes, *, indexing: bool = False) -> bytes:
    """A field in full (RFC 7541 §6.2.1, §6.2.2)."""
    start = b"\x40" if indexing else b"\x00"
    return start + _integer(len(name), 7) + name + _integer(len(value), 7) + value


def indexed(index: int) -> bytes:
    """A field by its place in the tables (§6.1); 62 is what was inserted last."""
    return _integer(index, 7, 0x80)


def table_size(size_bytes: int) -> bytes:
    """A dynamic table size update (§6.3)."""
    return _integer(size_bytes, 5, 0x20)


def block(fields: Fields | bytes) -> bytes:
    return fields if isinstance(fields, bytes) else b"".join(literal(name, value) for name, value in fields)


class Frame(NamedTuple):
    """One frame that an engine sent."""

    kind: FrameType
    flags: int
    stream_id: int
    payload: bytes

    @property
    def end(self) -> bool:
        return self.flags & END_STREAM != 0

    @property
    def code(self) -> ErrorCode:
        """Of RST_STREAM and GOAWAY."""
        return ErrorCode(int.from_bytes(self.payload[:4] if self.kind == FrameType.RST_STREAM else self.payload[4:8]))

    @property
    def number(self) -> int:
        """The first 32 bits: a WINDOW_UPDATE's increment, a GOAWAY's last stream id."""
        return int.from_bytes(self.payload[:4])


def parse(data: bytes) -> list[Frame]:
    """Whole frames; a client's preface before them is read past. Fails on anything left over."""
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    found = []
    while at < len(data):
        length = int.from_bytes(data[at : at + 3])
        kind, flags, stream_id = struct.unpack_from(">BBI", data, at + 3)
        end = at + 9 + length
        assert end <= len(data), "half a frame"
        found.append(Frame(FrameType(kind), flags, stream_id, data[at + 9 : end]))
        at = end
    return found


class FieldReader:
    """The receiving end of an engine's HPACK state."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    def read(self, frames: Iterable[Frame]) -> list[tuple[int, Fields, bool]]:
        """(stream id, fields, end?) of each field block in `frames`."""
        found = []
        block = b""
        start: Frame | None = None
        for each in frames:
            if each.kind == FrameType.HEADERS:
                start, block = each, b""
            if each.kind in {FrameType.HEADERS, FrameType.CONTINUATION}:
                assert start is not None
                block += each.payload
                if each.flags & END_HEADERS:
                    fields = tuple((bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True))
                    found.append((each.stream_id, fields, start.end))
        return found
