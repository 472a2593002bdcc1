"""A transport that drives a non-blocking socket itself: bytes in and out, back-pressure, closing.

How it learns that the socket can be read or written is left to its two kinds: `asyncio_transport` watches with
`add_reader` (AF_VSOCK, which uvloop's transports refuse), `anyio_transport` with tasks that wait (trio). Imports
`sockets`, `config` and `contract`.
"""

from __future__ import annotations

import logging
import socket
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from wire.config import TransportConfig
from wire.transport.contract import Peer, SocketCounters, Timer, TransportProtocol
from wire.transport.sockets import local_address, lost_error, tcp_counters

if TYPE_CHECKING:
    from wire.transport.runtime_base import RuntimeBase

logger = logging.getLogger("wire.transport")

BUFFERS_PER_SEND: Final = 64  # well under IOV_MAX, and more than the socket's buffer is likely to take
_FILLED_READ_FACTOR: Final = 4


class SocketTransport:
    """A `Transport`. Two kinds derive from it, which add how to watch the socket."""

    __slots__ = (
        "_at_eof",
        "_closing",
        "_high_bytes",
        "_least_read_bytes",
        "_linger_s",
        "_linger_timer",
        "_lost",
        "_next_read_bytes",
        "_protocol",
        "_queue",
        "_queued_bytes",
        "_reading_paused",
        "_runtime",
        "_sock",
        "_writing_paused",
        "peer",
    )

    def __init__(
        self,
        sock: socket.socket,
        protocol: TransportProtocol,
        peer: Peer,
        config: TransportConfig,
        runtime: RuntimeBase,
    ) -> None:
        self.peer = peer
        self._sock = sock
        self._protocol = protocol
        self._runtime = runtime
        self._least_read_bytes = self._next_read_bytes = config.read_bytes
        self._high_bytes = config.write_buffer_bytes
        self._linger_s = config.linger_s
        self._linger_timer: Timer | None = None
        self._queue: deque[bytes | memoryview] = deque()
        self._queued_bytes = 0
        self._writing_paused = False
        self._reading_paused = False
        self._at_eof = False
        self._closing = (
            False  # `close` or `abort` was called, or it broke: the protocol's next call is `connection_lost`
        )
        self._lost = False  # `connection_lost` is due

    @abstractmethod
    def _watch_reads(self) -> None:
        """Call `_read_ready` whenever the socket can be read, until `_unwatch_reads`."""

    @abstractmethod
    def _unwatch_reads(self) -> None: ...

    @abstractmethod
    def _watch_writes(self) -> None:
        """Call `_write_ready` whenever the socket can be written, until `_unwatch_writes`."""

    @abstractmethod
    def _unwatch_writes(self) -> None: ...

    def start(self) -> None:
        """Make the protocol's first call, then read."""
        self._protocol.connection_made(self)
        self._update_reads()

    def write(self, data: bytes) -> None:
        if self._closing or not data:
            return
        rest: bytes | memoryview = data
        if not self._queue:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            if sent == len(data):
                return
            if sent:
                rest = memoryview(data)[sent:]
            self._watch_writes()
        self._queue.append(rest)
        self._queued_bytes += len(rest)
        if self._queued_bytes > self._high_bytes and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return tcp_counters(self._sock.fileno())

    def local_address(self) -> str | None:
        return local_address(self._sock)

    def unsent_bytes(self) -> int:
        return self._queued_bytes

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._update_reads()  # what comes from now on is dropped
        if not self._queue:
            self._linger()

    def abort(self) -> None:
        self._lose(None)

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._update_reads()

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._update_reads()

    def _update_reads(self) -> None:
        if self._lost:
            return  # the number of its descriptor may be another's by now
        if self._at_eof or (self._reading_paused and not self._closing):
            self._unwatch_reads()
        else:
            self._watch_reads()

    def _read_ready(self) -> None:
        try:
            data = self._sock.recv(self._next_read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._received(data)

    def _received(self, data: bytes) -> None:
        """A read has brought `data`, or the peer's end."""
        # After a read that was filled, larger ones: 64 KiB messages took an eighth less CPU time so. Not always,
        # since the memory of a large read is mapped afresh for it, however little came.
        least = self._least_read_bytes
        self._next_read_bytes = least if len(data) < least else least * _FILLED_READ_FACTOR
        if not data:
            self._at_eof = True
            self._unwatch_reads()
        try:
            if not self._closing:
                if data:
                    self._protocol.data_received(data)
                else:
                    self._protocol.eof_received()
            elif not data and not self._queue:
                self._lose(None)
        except Exception as error:
            logger.exception("a protocol raised; its connection is closed")
            self._lose(error)

    def _write_ready(self) -> None:
        try:
            sent = self._sock.sendmsg(list(islice(self._queue, BUFFERS_PER_SEND)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        self._sent(sent)

    def _sent(self, sent: int) -> None:
        """The socket has taken so many of the queued bytes."""
        queue = self._queue
        self._queued_bytes -= sent
        while sent:
            first = queue.popleft()
            if len(first) > sent:
                queue.appendleft(memoryview(first)[sent:])
                break
            sent -= len(first)
        if not queue:
            self._unwatch_writes()
            if self._closing:
                self._linger()
        if self._writing_paused and self._queued_bytes <= self._high_bytes // 4 and not self._closing:
            self._writing_paused = False
            self._protocol.resume_writing()

    def _linger(self) -> None:
        """All is written: close our side, and wait for the peer to close its own (see `TransportConfig.linger_s`)."""
        if self._at_eof:
            self._lose(None)
            return
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone
            self._lose(None)
            return
        self._linger_timer = self._runtime.call_later(self._linger_s, self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        if self._closing:
            error = None  # nobody waits for what the peer might have sent
        self._lost = self._closing = True
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._unwatch_reads()
        self._unwatch_writes()
        self._queue.clear()
        self._queued_bytes = 0
        self._runtime.call_soon(self._report_loss, error)

    def _report_loss(self, error: Exception | None) -> None:
        self._close_socket()
        try:
            self._protocol.connection_lost(None if error is None else lost_error(self.peer, error))
        finally:
            self._runtime.forget(self)
            del self._protocol  # it may hold this transport

    def _close_socket(self) -> None:
        self._sock.close()
