"""Connections within one process, without sockets: `memory:NAME`, for services that are tested or embedded.

Each end is a `Transport` of its own, and belongs to the loop or thread that made it; bytes go from one to the other as
callbacks of the other's runtime, so that the two may run in different threads. Flow is as over a socket: what a reader
has not taken counts as unsent at the writer. Who listens where is known to the whole process. Imports `accepting`'s
guard, `contract` and `sockets`; no event loop.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from wire.config import TransportConfig
from wire.transport.accepting import Guard
from wire.transport.address import MemoryAddress
from wire.transport.contract import Peer, SocketCounters, Timer, Transport, TransportProtocol
from wire.transport.sockets import connect_error, listen_error, lost_error

logger = logging.getLogger("wire.transport")

_listeners: dict[MemoryAddress, MemoryListener] = {}
_numbers = count(1)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_listeners.clear)  # what serves them runs in the parent alone


class Turned(Protocol):
    """What an end needs of the runtime that it belongs to."""

    turned_by: object
    """What runs the callbacks: the same for all runtimes of one event loop."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any: ...

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> Any: ...

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer: ...

    def forget(self, transport: Transport) -> None: ...


def name_memory(address: MemoryAddress) -> MemoryAddress:
    """The address itself, or one that nobody has where it leaves the name open."""
    return address if address.name else MemoryAddress(f"{os.getpid()}-{next(_numbers)}")


def connect_memory(address: MemoryAddress, runtime: Turned) -> MemoryTransport:
    """This side's end of a new connection to whoever listens there. Raises `ConnectError`."""
    listener = _listeners.get(address)
    if listener is None or not listener.runs():
        raise connect_error(address, ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
    ours, theirs = MemoryTransport(runtime), MemoryTransport(listener.runtime)
    ours.other, theirs.other = theirs, ours
    listener.arrive(theirs, ours)
    return ours


class MemoryListener:
    """A `Listener` of one name. `accepted` takes each end over, as with `accepting.AcceptLoop`."""

    __slots__ = ("_accepted", "_address", "_closed", "_guard", "_waiting", "arriving", "on_arrived", "runtime")

    def __init__(
        self,
        address: MemoryAddress,
        runtime: Turned,
        guard: Guard,
        accepted: Callable[[MemoryTransport, Peer, MemoryListener], None],
        closed: Callable[[MemoryListener], None],
    ) -> None:
        """Raises `ListenError` when somebody in this process listens there; one whose loop has ended is replaced."""
        before = _listeners.get(address)
        if before is not None and before.runs():
            raise listen_error(address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        _listeners[address] = self
        self._address = address
        self._guard = guard
        self._accepted = accepted
        self._closed = closed
        self._waiting: deque[MemoryTransport] = deque()
        self.runtime = runtime
        self.arriving = 0
        self.on_arrived: Callable[[], object] | None = None

    def runs(self) -> bool:
        """Whether the loop that it accepts in is still there; from any thread."""
        try:
            self.runtime.call_soon_threadsafe(_nothing)
        except RuntimeError:
            return False
        return True

    def arrive(self, end: MemoryTransport, caller: MemoryTransport) -> None:
        """Take a new connection; from any thread."""
        self._waiting.append(end)
        caller.post(self._accept_waiting)

    def arrived(self) -> None:
        """A connection that was accepted has its protocol, or has failed."""
        self.arriving -= 1
        if self.on_arrived is not None:
            self.on_arrived()

    def drain(self) -> None:
        self._accept_waiting()
        self.close()

    def close(self) -> None:
        if _listeners.get(self._address) is self:
            del _listeners[self._address]
            self._closed(self)
        while self._waiting:
            self._waiting.popleft().abort()

    def _accept_waiting(self) -> None:
        guard = self._guard
        peer = Peer(str(MemoryAddress("")))
        while self._waiting:
            end = self._waiting.popleft()
            reason = guard.refusal(peer)
            if reason is None and _listeners.get(self._address) is not self:
                reason = "the server has stopped"
            if reason is not None:
                guard.warnings.warning(f"refused: {reason}", "refused %s: %s", self._address, reason)
                end.abort()
                continue
            guard.open += 1
            self.arriving += 1
            self._accepted(end, peer, self)


def _nothing() -> None:
    pass


class MemoryTransport:
    """A `Transport`: one end. Everything but `post` is for its own thread."""

    __slots__ = (
        "_at_eof",
        "_closing",
        "_delivery_due",
        "_eof_came",
        "_high_bytes",
        "_incoming",
        "_linger_s",
        "_linger_timer",
        "_lost",
        "_peer_lost",
        "_protocol",
        "_read_bytes",
        "_reading_paused",
        "_runtime",
        "_unsent_bytes",
        "_writing_paused",
        "other",
        "peer",
    )

    def __init__(self, runtime: Turned) -> None:
        self.other: MemoryTransport
        self.peer: Peer
        self._runtime = runtime
        self._protocol: TransportProtocol | None = None  # until `start`, and from the loss on
        self._incoming: deque[bytes | memoryview] = deque()
        self._unsent_bytes = 0  # that the other end has not read
        self._writing_paused = False
        self._reading_paused = False
        self._delivery_due = False
        self._eof_came = False  # it may stand behind bytes that were not read
        self._at_eof = False  # and the protocol knows
        self._closing = False  # `close` or `abort` was called, or it broke
        self._lost = False  # `connection_lost` is due
        self._peer_lost = False
        self._linger_timer: Timer | None = None

    def start(self, protocol: TransportProtocol, peer: Peer, config: TransportConfig) -> None:
        """Make the protocol's first call, then read. Raises OSError when the other end is gone already."""
        if self._lost:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self.peer = peer
        self._protocol = protocol
        self._read_bytes = config.read_bytes
        self._high_bytes = config.write_buffer_bytes
        self._linger_s = config.linger_s
        protocol.connection_made(self)
        self._deliver_soon()

    # The transport.

    def write(self, data: bytes) -> None:
        if self._closing or not data:
            return
        if self._peer_lost:
            self._lose(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
            return
        self._unsent_bytes += len(data)
        self.post(self.other.receive, data)
        if self._unsent_bytes > self._high_bytes and not self._writing_paused and not self._closing:
            self._writing_paused = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return None

    def local_address(self) -> str | None:
        return self.peer.address

    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self.post(self.other.receive_eof)
        self._deliver_soon()  # what has come, and what comes from now on, is dropped
        if not self._unsent_bytes:
            self._linger()

    def abort(self) -> None:
        self._lose(None)

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._deliver_soon()

    # What the other end posts.

    def post(self, callback: Callable[..., Any], *args: Any) -> None:
        """Have the other end's loop or thread call this."""
        theirs = self.other._runtime
        if theirs.turned_by is self._runtime.turned_by:
            theirs.call_soon(callback, *args)
            return
        try:
            theirs.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # their loop has ended
            self._peer_lost = True
            self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def receive(self, data: bytes) -> None:
        """The other end has written."""
        if not self._lost:
            self._incoming.append(data)
            self._deliver()

    def receive_eof(self) -> None:
        """It has written all that it will."""
        self._eof_came = True
        self._deliver()

    def taken(self, size: int) -> None:
        """It has read so many bytes."""
        self._unsent_bytes -= size
        if self._closing:
            if not self._unsent_bytes and not self._lost:
                self._linger()
        elif self._writing_paused and self._unsent_bytes <= self._high_bytes // 4:
            self._writing_paused = False
            if self._protocol is not None:
                self._protocol.resume_writing()

    def peer_gone(self, with_unread: bool) -> None:
        """It is no more. As over TCP that is a reset when it leaves bytes unread, else the end of what it wrote."""
        self._peer_lost = True
        self._incoming.clear()
        if with_unread or self._unsent_bytes:
            self._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        else:
            self.receive_eof()

    # Reading.

    def _deliver_soon(self) -> None:
        if not self._delivery_due and (self._incoming or self._eof_came):
            self._delivery_due = True
            self._runtime.call_soon(self._deliver_due)

    def _deliver_due(self) -> None:
        self._delivery_due = False
        self._deliver()

    def _deliver(self) -> None:
        """One read: what has come, up to so many bytes, or the end of it."""
        protocol = self._protocol
        if self._lost or protocol is None or self._delivery_due or (self._reading_paused and not self._closing):
            return
        try:
            if self._incoming:
                data = self._read()
                self.post(self.other.taken, len(data))
                if not self._closing:
                    protocol.data_received(data)
            elif not self._eof_came:
                return
            elif self._closing:
                if not self._unsent_bytes:
                    self._lose(None)
                return
            elif not self._at_eof:
                self._at_eof = True
                protocol.eof_received()
                return
            else:
                return
        except Exception as error:
            logger.exception("a protocol raised; its connection is closed")
            self._lose(error)
            return
        self._deliver_soon()

    def _read(self) -> bytes:
        incoming, most = self._incoming, self._read_bytes
        first = incoming.popleft()
        if not incoming and len(first) <= most and isinstance(first, bytes):
            return first
        parts: list[bytes | memoryview] = []
        while True:
            if len(first) > most:
                view = memoryview(first)
                incoming.appendleft(view[most:])
                first = view[:most]
            parts.append(first)
            most -= len(first)
            if not (incoming and most):
                return b"".join(parts)
            first = incoming.popleft()

    # The end.

    def _linger(self) -> None:
        """All is read: wait for the peer to close its side (see `TransportConfig.linger_s`)."""
        if self._eof_came:
            self._lose(None)
        else:
            self._linger_timer = self._runtime.call_later(self._linger_s, self._lose, None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        if self._closing:
            error = None  # nobody waits for what the peer might have sent
        self._lost = self._closing = True
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        with_unread = bool(self._incoming)
        self._incoming.clear()
        self._unsent_bytes = 0
        if not self._peer_lost:
            self.post(self.other.peer_gone, with_unread)
        if self._protocol is not None:
            self._runtime.call_soon(self._report_loss, error)

    def _report_loss(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        assert protocol is not None
        try:
            protocol.connection_lost(None if error is None else lost_error(self.peer, error))
        finally:
            self._runtime.forget(self)
            del self.other  # which may hold this one
