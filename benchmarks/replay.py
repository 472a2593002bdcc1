"""A load generator that sends requests made ahead of time (`frames`), so that each header block can be chosen.

In: an address. Out: the replies, counted by END_STREAM. Speaks HTTP/2 over blocking sockets, from one thread; a run is
nothing but sends of slices and a walk over frame headers.
"""

from __future__ import annotations

import socket
import struct
import time

from hpack import Encoder

from benchmarks.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Requests,
    echo_message,
    frame,
    request_fields,
)
from benchmarks.processes import UnavailableError

_WHOLE_WINDOW = 2**31 - 1
_TIMEOUT_S = 20.0


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
            PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HL", 2, 0) + window) + frame(WINDOW_UPDATE, 0, 0, grow)
        )
        while not any(kind == SETTINGS and not flags & ACK for kind, flags, _ in self._frames()):
            pass  # no request before the server's SETTINGS: it may allow fewer streams than we mean to open

    def close(self) -> None:
        self._socket.close()

    def replay(self, requests: Requests, in_flight: int) -> int:
        """Send all of `requests`, `in_flight` at a time; returns how many bytes came back."""
        total = len(requests)
        sent = min(in_flight, total)
        self._socket.sendall(requests.part(0, sent))
        done = received = 0
        while done < total:
            finished = 0
            for kind, flags, payload_bytes in self._frames():
                received += payload_bytes
                if flags & END_STREAM and kind <= HEADERS:
                    finished += 1
            done += finished
            until = min(sent + finished, total)
            if until > sent:
                self._socket.sendall(requests.part(sent, until))
                sent = until
        return received

    def open_streams(self, count: int, path: str) -> None:
        """Open `count` streams that send nothing and stay open, and wait until the server has read them all."""
        encoder = Encoder()
        self._socket.sendall(
            b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, encoder.encode(request_fields(path))) for i in range(count))
            + frame(PING, 0, 0, b"all read")
        )
        while not any(kind == PING and flags & ACK for kind, flags, _ in self._frames()):
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
            if kind in (GOAWAY, RST_STREAM):
                what = "GOAWAY" if kind == GOAWAY else "RST_STREAM"
                raise UnavailableError(f"the server sent {what}: {data[position + 9 : following]!r}")
            if kind in (SETTINGS, PING) and not flags & ACK:
                payload = data[position + 9 : following] if kind == PING else b""
                self._socket.sendall(frame(kind, ACK, 0, payload))
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
    if received < len(requests) * len(echo_message(1)):
        raise UnavailableError(f"{received} bytes came back for {len(requests)} requests: these are no echoes")
    return len(requests) / elapsed_s
