"""Frames made ahead of time, so that a load generator does nothing but send them.

h2load sends the same fields each time. Real clients send fields whose values vary (a timeout, a trace id, a token), and
encode them in one of two ways: as a literal, or inserted into HPACK's dynamic table, as grpc-go does. Both are made
here, byte by byte, by PyPI's hpack. Imports nothing of wire.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import accumulate
from typing import Final

from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ECHO_PATH: Final = "/echo.v1.EchoService/Echo"
STREAM_PATH: Final = "/echo.v1.EchoService/EchoStream"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8  # RFC 9113 §6
END_STREAM, END_HEADERS, ACK = 1, 4, 1

_MAX_FRAME_BYTES = 1 << 14


class Varying(Enum):
    """How the value of a request's last field goes from one request to the next."""

    SAME = "the same in each request"
    LITERAL = "different each time, a literal"
    INSERTED = "different each time, inserted into the dynamic table"


VALUES: Final[dict[str, Callable[[int], str]]] = {
    "grpc-timeout": lambda number: f"{1_000_000 + number % 9_000_000}u",
    "traceparent": lambda number: f"00-{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}-{number + 1:016x}-01",
    "authorization": lambda number: f"Bearer {number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 160):040x}",
}
"""Fields that vary in real requests, with the value of each request by its number."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Unary requests of one connection, in order, as one `blob`; request i is blob[ends[i]:ends[i + 1]]."""

    blob: bytes
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def part(self, first: int, after: int) -> bytes:
        """Those from `first` on, `after` no more."""
        return self.blob[self.ends[first] : self.ends[after]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One HTTP/2 frame (RFC 9113 §4.1)."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream_id) + payload


def request_fields(path: str = ECHO_PATH) -> list[HeaderTuple]:
    """What grpc-go sends, in its order."""
    return [
        HeaderTuple(":method", "POST"),
        HeaderTuple(":scheme", "http"),
        HeaderTuple(":path", path),
        HeaderTuple(":authority", "127.0.0.1:50051"),
        HeaderTuple("content-type", "application/grpc"),
        HeaderTuple("user-agent", "grpc-go/1.70.0"),
        HeaderTuple("te", "trailers"),
    ]


def many_paths(count: int) -> tuple[str, ...]:
    """Paths of a server with many methods, all of which echo."""
    return tuple(f"/echo.v1.ManyService/Echo{number}" for number in range(count))


def echo_message(payload_bytes: int) -> bytes:
    """One gRPC message: EchoRequest (or EchoResponse) with a payload, behind the length prefix."""
    length, rest = bytearray(), payload_bytes
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    message = b"\x0a" + bytes(length) + bytes(payload_bytes)
    return struct.pack(">BI", 0, len(message)) + message


def data_frames(stream_id: int, data: bytes) -> bytes:
    """DATA frames that end the stream."""
    pieces = [data[at : at + _MAX_FRAME_BYTES] for at in range(0, len(data), _MAX_FRAME_BYTES)]
    flags = [0] * (len(pieces) - 1) + [END_STREAM]
    return b"".join(frame(DATA, flag, stream_id, piece) for flag, piece in zip(flags, pieces, strict=True))


def request_bytes(payload_bytes: int) -> bytes:
    """What one unary request puts on the wire once its fields are in the dynamic table."""
    encoder = Encoder()
    encoder.encode(request_fields())
    block = encoder.encode(request_fields())
    return frame(HEADERS, END_HEADERS, 1, block) + data_frames(1, echo_message(payload_bytes))


@cache
def unary_requests(
    varying: Varying,
    count: int,
    *,
    payload_bytes: int = 16,
    field: str = "grpc-timeout",
    extra_fields: int = 0,
    paths: tuple[str, ...] = (ECHO_PATH,),
) -> Requests:
    """`count` requests of Echo for a connection that has carried nothing yet.

    The last field's value, one of VALUES, goes as `varying` says. `extra_fields`: more metadata, the same each time.
    Several `paths` take turns; they are literals, so that the table holds none of them.
    """
    encoder, message = Encoder(), echo_message(payload_bytes)
    metadata = [HeaderTuple(f"x-field-{number}", f"value {number}") for number in range(extra_fields)]
    requests = []
    for number in range(count):
        fields = request_fields()
        if len(paths) > 1:
            fields[2] = NeverIndexedHeaderTuple(":path", paths[number % len(paths)])
        value = VALUES[field](0 if varying is Varying.SAME else number)
        last = (NeverIndexedHeaderTuple if varying is Varying.LITERAL else HeaderTuple)(field, value)
        block = encoder.encode([*fields, *metadata, last])
        stream_id = 2 * number + 1
        requests.append(frame(HEADERS, END_HEADERS, stream_id, block) + data_frames(stream_id, message))
    return Requests(b"".join(requests), tuple(accumulate(map(len, requests), initial=0)))
