"""A socket that threads send to and receive from, each time without the runtime's lock. Imports `transport`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import islice
from threading import get_ident
from typing import Any, Protocol

from wire.blocking.poller import READ, WRITE
from wire.config import TransportConfig
from wire.transport.contract import Peer, TransportProtocol
from wire.transport.runtime_base import RuntimeBase
from wire.transport.socket_transport import BUFFERS_PER_SEND, SocketTransport


class Unlocked(Protocol):
    """What a transport needs of its runtime."""

    senders: set[int]
    """The threads that send."""

    def outside(self, function: Callable[..., int | bytes], *args: Any) -> Any:
        """Call the system without the lock."""

    def has_unsent(self, transport: ThreadTransport) -> None:
        """`send_queued` is to be called before the lock is let go of."""

    def watch(self, sock: socket.socket, interest: int, handler: Callable[[int], None]) -> None: ...

    def forget_socket(self, sock: socket.socket) -> None: ...


class ThreadTransport(SocketTransport):
    """A `Transport` whose bytes leave when the thread that wrote them does, and whose reads are the leader's.

    While a thread is in a system call with the socket another one may lose it: it is closed when they are out of it,
    since its number may be another's from then on.
    """

    __slots__ = ("_calls", "_close_due", "_interest", "_sending", "_unlocked")

    def __init__(
        self,
        sock: socket.socket,
        protocol: TransportProtocol,
        peer: Peer,
        config: TransportConfig,
        runtime: RuntimeBase,
        unlocked: Unlocked,
    ) -> None:
        super().__init__(sock, protocol, peer, config, runtime)
        self._unlocked = unlocked
        self._interest = 0
        self._sending = False
        self._calls = 0  # threads in a system call with the socket
        self._close_due = False

    def handle(self, ready: int) -> None:
        """What the poller says."""
        if ready & WRITE and self._interest & WRITE:
            self._watch(self._interest & ~WRITE)
            self.send_queued()
        if ready & READ and self._interest & READ:
            self._read_ready()

    def _call(self, function: Callable[..., Any], argument: Any) -> Any:
        """A system call, without the lock. None when there is nothing, or the transport was lost."""
        self._calls += 1
        try:
            result = self._unlocked.outside(function, argument)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self._lose(error)
            return None
        except BaseException:  # a signal's handler raised it: nobody knows what was sent or received
            self._lose(None)
            raise
        finally:
            self._calls -= 1
            if self._close_due:
                self._close_socket()
        return None if self._lost else result

    # Reading: by the leader alone.

    def _read_ready(self) -> None:
        data = self._call(self._sock.recv, self._next_read_bytes)
        if data is not None:
            self._received(data)

    # Writing: by one thread at a time.

    def write(self, data: bytes) -> None:
        if self._closing or not data:
            return
        if not self._queue:
            self._unlocked.has_unsent(self)
        self._queue.append(data)
        self._queued_bytes += len(data)

    def send_queued(self) -> None:
        """Send what is queued, and what other threads queue meanwhile, until the socket takes no more."""
        if self._sending or self._interest & WRITE:
            return
        queue = self._queue
        self._sending = True
        thread = get_ident()
        self._unlocked.senders.add(thread)
        try:
            while queue:
                if len(queue) == 1:
                    sent = self._call(self._sock.send, queue[0])
                else:
                    sent = self._call(self._sock.sendmsg, list(islice(queue, BUFFERS_PER_SEND)))
                if sent is None:
                    if not self._lost:
                        self._watch(self._interest | WRITE)
                    break
                if sent == self._queued_bytes:
                    self._queued_bytes = 0
                    queue.clear()
                    if self._closing or self._writing_paused:
                        self._sent(0)
                else:
                    self._sent(sent)
        finally:
            self._sending = False
            self._unlocked.senders.discard(thread)
        if self._queued_bytes > self._high_bytes and not self._writing_paused and not self._closing:
            self._writing_paused = True
            self._protocol.pause_writing()

    # Watching.

    def _watch(self, interest: int) -> None:
        self._interest = interest
        self._unlocked.watch(self._sock, interest, self.handle)

    def _watch_reads(self) -> None:
        if not self._interest & READ:
            self._watch(self._interest | READ)

    def _unwatch_reads(self) -> None:
        if self._interest & READ:
            self._watch(self._interest & ~READ)

    def _watch_writes(self) -> None:
        raise AssertionError("`write` only queues")

    def _unwatch_writes(self) -> None:
        if self._interest & WRITE:
            self._watch(self._interest & ~WRITE)

    def abandon(self) -> None:
        """Let go of the socket, which is another process's."""
        self._lost = self._closing = True
        self._sock.close()

    def _close_socket(self) -> None:
        if self._calls:
            self._close_due = True
            return
        self._close_due = False
        self._unlocked.forget_socket(self._sock)
        super()._close_socket()
