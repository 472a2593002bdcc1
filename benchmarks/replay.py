"""A load generator that sends prebuilt frames, so that every header block can be chosen byte by byte.

h2load sends the same fields each time. Real clients send a grpc-timeout (and trace ids, and tokens) that varies, and
encode it in one of two ways: as a literal, or inserted into HPACK's dynamic table, as grpc-go does. Both are encoded
here ahead of time by PyPI's hpack, so that a run is nothing but sends of slices and a walk over frame headers.

In: an address. Out: the replies, counted by END_STREAM. Speaks HTTP/2 over blocking sockets, from one thread.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import accumulate

from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

from benchmarks.processes import UnavailableError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WHOLE_WINDOW = 2**31 - 1
_MAX_FRAME_BYTES = 1 << 14
_TIMEOUT_S = 20.0


class Timeout(Enum):
    """How a grpc-timeout goes with each request."""

    SAME = "the same in each request"
    LITERAL = "different each time, a literal"
    INSERTED = "different each time, inserted into the dynamic table"


@dataclass(frozen=True, slots=True)
class Requests:
    """Unary requests of one connection, in order, as one `blob`; request i is blob[ends[i]:ends[i + 1]]."""

    blob: bytes
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ends) - 1


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBL", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream_id) + payload


def _fields(path: str) -> list[HeaderTuple]:
    """What grpc-go sends, in its order."""
    return [
        HeaderTuple(":method", "POST"),
        HeaderTuple(":scheme", "http"),
        HeaderTuple(":path", path),
        HeaderTuple(":authority", "localhost"),
        HeaderTuple("content-type", "application/grpc"),
        HeaderTuple("user-agent", "benchmark/1"),
        HeaderTuple("te", "trailers"),
    ]


def _echo_message(payload_bytes: int) -> bytes:
    """One gRPC message: EchoRequest with a payload, behind the length prefix."""
    length, rest = bytearray(), payload_bytes
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    message = b"\x0a" + bytes(length) + bytes(payload_bytes)
    return struct.pack(">BI", 0, len(message)) + message


def _data(stream_id: int, data: bytes) -> bytes:
    """DATA frames that end the stream."""
    pieces = [data[at : at + _MAX_FRAME_BYTES] for at in range(0, len(data), _MAX_FRAME_BYTES)]
    flags = [0] * (len(pieces) - 1) + [_END_STREAM]
    return b"".join(_frame(_DATA, flag, stream_id, piece) for flag, piece in zip(flags, pieces, strict=True))


def request_bytes(payload_bytes: int) -> bytes:
    """What one unary request puts on the wire once its fields are in the dynamic table."""
    encoder = Encoder()
    encoder.encode(_fields("/echo.v1.EchoService/Echo"))
    block = encoder.encode(_fields("/echo.v1.EchoService/Echo"))
    return _frame(_HEADERS, _END_HEADERS, 1, block) + _data(1, _echo_message(payload_bytes))


@cache
def unary_requests(timeout: Timeout, count: int, payload_bytes: int = 16) -> Requests:
    """`count` requests of Echo for a connection that has carried nothing yet."""
    encoder, fields = Encoder(), _fields("/echo.v1.EchoService/Echo")
    message = _echo_message(payload_bytes)
    requests = []
    for index in range(count):
        # Seven digits and the unit, as grpc-go writes what is left of 10 s; values repeat no sooner than it would.
        value = "9999999u" if timeout is Timeout.SAME else f"{9_999_999 - index * 7 % 9_000_000:07d}u"
        kind = NeverIndexedHeaderTuple if timeout is Timeout.LITERAL else HeaderTuple
        block = encoder.encode([*fields, kind("grpc-timeout", value)])
        stream_id = 2 * index + 1
        requests.append(_frame(_HEADERS, _END_HEADERS, stream_id, block) + _data(stream_id, message))
    return Requests(b"".join(requests), tuple(accumulate(map(len, requests), initial=0)))


class Connection:
    """A blocking HTTP/2 client connection that knows what it sent; `close` it."""

    def __init__(self, address: str) -> None:
        if address.startswith("unix:"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self._socket = socket.create_connection((host, int(port)))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(_TIMEOUT_S)
        self._left = b""
        window = struct.pack(">HL", 4, _WHOLE_WINDOW)
        grow = struct.pack(">L", _WHOLE_WINDOW - 65_535)
        self._socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HL", 2, 0) + window) + _frame(_WINDOW_UPDATE, 0, 0, grow)
        )
        while not any(kind == _SETTINGS and not flags & _ACK for kind, flags, _ in self._frames()):
            pass  # no request before the server's SETTINGS: it may allow fewer streams than we mean to open

    def close(self) -> None:
        self._socket.close()

    def replay(self, requests: Requests, in_flight: int) -> int:
        """Send all of `requests`, `in_flight` at a time; returns how many bytes came back."""
        blob, ends, total = requests.blob, requests.ends, len(requests)
        sent = min(in_flight, total)
        self._socket.sendall(blob[: ends[sent]])
        done = received = 0
        while done < total:
            finished = 0
            for kind, flags, payload_bytes in self._frames():
                received += payload_bytes
                if flags & _END_STREAM and kind <= _HEADERS:
                    finished += 1
            done += finished
            until = min(sent + finished, total)
            if until > sent:
                self._socket.sendall(blob[ends[sent] : ends[until]])
                sent = until
        return received

    def open_streams(self, count: int, path: str) -> None:
        """Open `count` streams that send nothing and stay open, and wait until the server has read them all."""
        encoder = Encoder()
        self._socket.sendall(
            b"".join(_frame(_HEADERS, _END_HEADERS, 2 * i + 1, encoder.encode(_fields(path))) for i in range(count))
            + _frame(_PING, 0, 0, b"all read")
        )
        while not any(kind == _PING and flags & _ACK for kind, flags, _ in self._frames()):
            pass

    def _frames(self) -> list[tuple[int, int, int]]:
        """(type, flags, payload length) of the frames that one read completes; SETTINGS and PING are answered."""
        data = self._socket.recv(1 << 18)
        if not data:
            raise UnavailableError("the server closed a connection of the replay generator")
        data = self._left + data
        frames = []
        position, end = 0, len(data)
        while position + 9 <= end:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            following = position + 9 + length
            if following > end:
                break
            kind, flags = data[position + 3], data[position + 4]
            if kind in (_GOAWAY, _RST_STREAM):
                what = "GOAWAY" if kind == _GOAWAY else "RST_STREAM"
                raise UnavailableError(f"the server sent {what}: {data[position + 9 : following]!r}")
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                payload = data[position + 9 : following] if kind == _PING else b""
                self._socket.sendall(_frame(kind, _ACK, 0, payload))
            frames.append((kind, flags, length))
            position = following
        self._left = data[position:]
        return frames


def replay(address: str, requests: Requests, in_flight: int) -> float:
    """Requests a second over one new connection. Raises `UnavailableError` for replies too short for echoes."""
    connection = Connection(address)
    try:
        started = time.perf_counter()
        received = connection.replay(requests, in_flight)
        elapsed_s = time.perf_counter() - started
    finally:
        connection.close()
    if received < len(requests) * len(_echo_message(1)):
        raise UnavailableError(f"{received} bytes came back for {len(requests)} requests: these are no echoes")
    return len(requests) / elapsed_s
