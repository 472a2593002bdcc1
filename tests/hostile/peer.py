"""A hostile peer: frames by hand over a blocking socket, read or left unread as the row wants it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Self

from hpack import Decoder

from tests.http2 import frames as f
from wire.http2.codes import ErrorCode, FrameType, Setting

PATIENCE_S = 60.0
"""How long anything may take that must happen, on however busy a machine; only a server that fails the row takes it."""

STALL_S = 0.25
"""A server that takes no byte for so long has stopped reading."""

SMALL, LARGEST_WINDOW = 1 << 14, 2**31 - 1
CLOSED = {Setting.INITIAL_WINDOW_SIZE: 0}
"""SETTINGS of a peer that lets nothing of a reply through."""


def path(method: str) -> f.Fields:
    """The fields of a request to a method of the hostile service, or to "/a/path"."""
    name = method if method.startswith("/") else f"/hostile.v1.Hostile/{method}"
    return tuple((field, name.encode()) if field == b":path" else (field, value) for field, value in f.REQUEST)


class Peer:
    """One connection. `reads`: whether it takes what the server sends; if not, nothing is known of that."""

    def __init__(
        self,
        port: int,
        *,
        settings: Mapping[int, int] | None = None,
        window_bytes: int = LARGEST_WINDOW,
        reads: bool = True,
        speaks: bool = True,
        acknowledges: bool = True,
        ca: str | None = None,
    ) -> None:
        """`window_bytes`: of the connection, granted at once (at least 65,535). `speaks`: sends the preface and
        SETTINGS; `acknowledges`: the server's. `ca`: over TLS."""
        self.reads = reads
        self._acknowledges = acknowledges
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.port: int = self.sock.getsockname()[1]
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.sock.setblocking(False)
        self.closed = False
        """The server has closed the connection, or broken it."""
        self.reset = False
        """It broke it."""
        self.received_bytes = 0
        self.raw = bytearray()
        self.goaways: list[tuple[ErrorCode, str]] = []
        self.resets: dict[int, ErrorCode] = {}
        self.statuses: dict[int, int] = {}
        """grpc-status by stream."""
        self.http_statuses: dict[int, int] = {}
        self.ended: set[int] = set()
        self.data_bytes: dict[int, int] = defaultdict(int)
        self._initial_bytes: int = 65_535
        self.windows: dict[int, int] = defaultdict(lambda: self._initial_bytes)
        """What the server still takes, by stream; 0 is the connection."""
        self.settings: dict[int, int] = {}
        self.windows[0] = 65_535
        self._acks: set[bytes] = set()
        self._pings = 0
        self._sending = False
        self._owed = b""
        self._decoder = Decoder()
        self._decoder.max_header_list_size = 1 << 24
        self._next_id = 1
        if speaks:
            more = window_bytes - 65_535
            self.send(
                f.PREFACE
                + f.settings({Setting.INITIAL_WINDOW_SIZE: LARGEST_WINDOW, **(settings or {})})
                + (f.window_update(0, more) if more > 0 else b"")
            )
            if reads:
                self.wait(lambda: Setting.MAX_CONCURRENT_STREAMS in self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def vanish(self) -> None:
        """As a killed machine's kernel does, or one that drops what was unread: a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    @property
    def code(self) -> ErrorCode | None:
        """Of the last GOAWAY."""
        return self.goaways[-1][0] if self.goaways else None

    def next_id(self) -> int:
        self._next_id += 2
        return self._next_id - 2

    # Sending.

    def send(self, data: bytes) -> bool:
        """All of it, while reading what comes; False when the server stopped taking it, or has closed.

        What it answers to what it reads goes out behind it.
        """
        if self._sending:
            self._owed += data
            return True
        self._sending = True
        sent = self._send(data)
        while sent and self._owed:
            owed, self._owed = self._owed, b""
            sent = self._send(owed)
        self._sending = False
        return sent

    def _send(self, data: bytes) -> bool:
        view = memoryview(data)
        stalled_at = time.monotonic() + STALL_S
        while view and not self.closed:
            readable, writable, _ = select.select([self.sock] if self.reads else [], [self.sock], [], STALL_S)
            if readable:
                self.read()
            if writable:
                try:
                    view = view[self.sock.send(view[: 1 << 18]) :]
                    stalled_at = time.monotonic() + STALL_S
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
                except OSError:
                    self._lost()
            if time.monotonic() > stalled_at and not self.reads:
                return False
            if time.monotonic() > stalled_at + PATIENCE_S:
                return False
        return not self.closed

    def request(self, method: str, body: bytes | None = None, *extra: tuple[bytes, bytes], end: bool = True) -> int:
        """Send a request, of which all is in one read; returns its stream. `body`: DATA as it is, not yet a message."""
        stream_id = self.next_id()
        head = f.headers(stream_id, path(method) + extra, end=end and body is None)
        size = f.data(stream_id, body, end=end) if body is not None else b""
        self.send(head + size)
        return stream_id

    def finish(self, stream_id: int) -> None:
        """END_STREAM, without more."""
        self.send(f.data(stream_id, end=True))

    def push(
        self, stream_id: int, size: int, *, frame_bytes: int = SMALL, first: bytes = b"", pad: int | None = None
    ) -> int:
        """DATA of `size` zeros, or of what begins with `first`, as far as the windows allow; returns what was sent."""
        return self.push_body(stream_id, first + bytes(size - len(first)), frame_bytes=frame_bytes, pad=pad)

    def push_body(self, stream_id: int, body: bytes, *, frame_bytes: int = SMALL, pad: int | None = None) -> int:
        """`body` in DATA, as far as the windows allow; returns how much of it was sent.

        It gives up when two PINGs in turn were answered and no window has been opened.
        """
        sent = closed = 0
        extra = 0 if pad is None else pad + 1
        while sent < len(body) and not self.closed and stream_id not in self.resets and stream_id not in self.ended:
            room = min(self.windows[0], self.windows[stream_id]) - extra
            if room <= 0:
                if closed == 2 or not self.barrier():
                    break
                closed += 1
                continue
            closed = batch = 0
            out = []
            while sent < len(body) and room > 0 and batch < 1 << 18:
                piece = body[sent : sent + min(frame_bytes, room)]
                out.append(f.data(stream_id, piece, pad=pad))
                spent = len(piece) + extra
                self.windows[0] -= spent
                self.windows[stream_id] -= spent
                room -= spent
                batch += spent + 9
                sent += len(piece)
            if not self.send(b"".join(out)):
                break
        return sent

    # Reading.

    def read(self) -> None:
        """What is there."""
        try:
            data = self.sock.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._lost()
            return
        if not data:
            self.closed = True
            return
        self.received_bytes += len(data)
        self.raw += data
        self._take_frames()

    def _lost(self) -> None:
        self.closed = self.reset = True

    def wait(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Read until it holds; False when the connection was closed first, or patience ran out."""
        give_up = time.monotonic() + patience_s
        while not condition():
            left_s = give_up - time.monotonic()
            if self.closed or left_s <= 0:
                return condition()
            pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
            if pending or select.select([self.sock], [], [], left_s)[0]:
                self.read()
        return True

    def wait_closed(self, patience_s: float = PATIENCE_S) -> bool:
        """Read to the end of the connection; False when it did not come."""
        return self.wait(lambda: self.closed, patience_s)

    def wait_ended(self, *stream_ids: int) -> bool:
        return self.wait(lambda: all(each in self.ended or each in self.resets for each in stream_ids))

    def barrier(self) -> bool:
        """Returns when the server has handled all that was sent to it; False when it closed instead."""
        self._pings += 1
        payload = b"%08d" % self._pings
        return self.send(f.ping(payload)) and self.wait(lambda: payload in self._acks)

    def _take_frames(self) -> None:
        raw = self.raw
        at = 0
        out = []
        while len(raw) - at >= 9:
            size = int.from_bytes(raw[at : at + 3])
            if len(raw) - at < 9 + size:
                break
            kind, flags, stream_id = struct.unpack_from(">BBI", raw, at + 3)
            payload = bytes(raw[at + 9 : at + 9 + size])
            at += 9 + size
            if kind > 9:  # no HTTP/2 at all: left for who wants to look at it
                return
            self._note(FrameType(kind), flags, stream_id, payload)
            if kind == FrameType.SETTINGS and not flags & f.ACK and self._acknowledges:
                out.append(f.settings(ack=True))
        del raw[:at]
        if out:
            self.send(b"".join(out))

    def _note(self, kind: FrameType, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == FrameType.DATA:
            self.data_bytes[stream_id] += len(payload)
        elif kind == FrameType.HEADERS:
            for name, value in self._decoder.decode(payload, raw=True):
                if name == b"grpc-status":
                    self.statuses[stream_id] = int(value)
                elif name == b":status":
                    self.http_statuses[stream_id] = int(value)
        elif kind == FrameType.WINDOW_UPDATE:
            self.windows[stream_id] += int.from_bytes(payload)
        elif kind == FrameType.RST_STREAM:
            self.resets[stream_id] = ErrorCode(int.from_bytes(payload))
        elif kind == FrameType.GOAWAY:
            self.goaways.append((ErrorCode(int.from_bytes(payload[4:8])), payload[8:].decode("latin-1")))
        elif kind == FrameType.PING and flags & f.ACK:
            self._acks.add(payload)
        elif kind == FrameType.SETTINGS and not flags & f.ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
            self._initial_bytes = self.settings.get(Setting.INITIAL_WINDOW_SIZE, 65_535)
        if kind in (FrameType.DATA, FrameType.HEADERS) and flags & f.END_STREAM:
            self.ended.add(stream_id)
