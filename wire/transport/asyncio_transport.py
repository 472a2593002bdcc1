"""The event loop of asyncio and of uvloop: transports on `asyncio.Protocol`, and the runtime that makes them.

TCP and UNIX sockets are handed to the loop's own transports, with ours between these and the protocol. Ours costs no
call of its own: its `data_received` *is* the protocol's method, and its `write` that of the loop's transport. AF_VSOCK
is driven by `SocketTransport`, because uvloop's transports take no such sockets. Imports asyncio and its siblings.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import partial
from typing import Any, Final, cast

from wire.config import TransportConfig
from wire.transport.accepting import Guard
from wire.transport.contract import Future, Peer, Resumable, SocketCounters, Task, Timer, Transport, TransportProtocol
from wire.transport.light_future import LightFuture
from wire.transport.resumable import EAGER, ResumableTask
from wire.transport.runtime_base import RuntimeBase
from wire.transport.socket_transport import SocketTransport
from wire.transport.sockets import AF_VSOCK, local_address, lost_error, tcp_counters


class AsyncioTransport(asyncio.Protocol):
    """A `Transport` that is the asyncio protocol of one of the loop's own.

    `write` changes when the transport closes, so it is looked up at each call and never kept.
    """

    __slots__ = (
        "_at_eof",
        "_closing",
        "_config",
        "_full",
        "_linger_timer",
        "_lost",
        "_made",
        "_protocol",
        "_runtime",
        "_transport",
        "_unwritten",
        "data_received",
        "pause_writing",
        "peer",
        "resume_writing",
        "write",
        "writelines",
    )

    data_received: Callable[[bytes], None]  # type: ignore[assignment]
    pause_writing: Callable[[], None]
    resume_writing: Callable[[], None]
    write: Callable[[bytes], None]
    writelines: Callable[[Sequence[bytes | bytearray | memoryview]], None]

    def __init__(
        self, protocol: TransportProtocol, peer: Peer, config: TransportConfig, runtime: AsyncioRuntime
    ) -> None:
        self.peer = peer
        self.data_received = protocol.data_received
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing
        self.write = self.writelines = _drop
        self._protocol = protocol
        self._runtime = runtime
        self._config = config
        self._made = False
        self._lost = False
        self._at_eof = False
        self._closing = False
        self._full = False  # the loop's transport, where it is given no more than it holds well
        self._unwritten: deque[bytes] | None = None  # what it then is not given; None: it is given all
        self._linger_timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._closing:  # the runtime was left meanwhile; the two must not hold each other, see `leave`
            transport.abort()  # type: ignore[attr-defined]
            _unwind(transport)
            return
        self._transport = cast(asyncio.Transport, transport)
        self._made = True
        high_bytes = self._config.write_buffer_bytes
        self._transport.set_write_buffer_limits(high_bytes, high_bytes // 4)
        if hasattr(transport, "max_size"):  # asyncio's reads; its default of 256 KiB is slow, see TransportConfig
            transport.max_size = self._config.read_bytes
        if isinstance(getattr(transport, "_buffer", None), bytearray):
            self.pause_writing, self.resume_writing = self._pause, self._resume
        self.write = self._transport.write
        # asyncio's own joins them before Python 3.12, and raised after the connection's loss until 3.14 (gh-136234).
        self.writelines = self._join if hasattr(transport, "max_size") else self._transport.writelines
        self._protocol.connection_made(self)

    def _join(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    # asyncio before Python 3.12 joins what it holds in one bytearray, and copies that whenever it outgrows its place:
    # twice the memory, and 20 ms, for what handlers send to a peer that does not read. So it gets no more meanwhile.

    def _pause(self) -> None:
        self._full = True
        if self._unwritten is None:
            self._unwritten = deque()
            self.write = self._unwritten.append
            self._protocol.pause_writing()

    def _resume(self) -> None:
        self._full = False
        self._write_unwritten()
        if not self._full:
            self._unwritten = None
            self.write = self._transport.write
            self._protocol.resume_writing()

    def _write_unwritten(self) -> None:
        while self._unwritten and not self._full and not self._transport.is_closing():
            self._transport.write(self._unwritten.popleft())

    def eof_received(self) -> bool:
        self._at_eof = True
        self._protocol.eof_received()
        return True  # keeps the transport open for writing

    def connection_lost(self, error: Exception | None) -> None:
        if self._lost:  # the wait for the transport was cancelled, see `AsyncioRuntime._attach_socket`
            return
        self._lost = True
        self._unwritten = None
        if self._closing:
            error = None  # nobody waits for what the peer might have sent
        self._stop()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        try:
            if self._made:
                self._protocol.connection_lost(None if error is None else lost_error(self.peer, error))
        finally:
            self._runtime.forget(self)
            self._let_go()

    def _let_go(self) -> None:
        """Hold the protocol no more, which may hold this transport: nothing is left for the garbage collector."""
        self.data_received = _drop
        del self._protocol
        if self._made:
            _unwind(self._transport)

    def leave(self) -> None:
        """Have uvloop's transport hold this one no more, after a loss that it does not report."""
        if self._made and self._runtime.name == "uvloop":
            self._transport.set_protocol(asyncio.Protocol())

    def counters(self) -> SocketCounters | None:
        sock = None if self._lost or not self._made else self._transport.get_extra_info("socket")
        return None if sock is None else tcp_counters(sock.fileno())

    def local_address(self) -> str | None:
        sock = None if self._lost or not self._made else self._transport.get_extra_info("socket")
        return None if sock is None else local_address(sock)

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._unwritten or ()))

    def close(self) -> None:
        transport = self._transport
        if self._closing or transport.is_closing():
            return
        self._stop()
        self._full = False
        self._write_unwritten()
        if self._at_eof:
            transport.close()
            return
        # Close our side, and wait for the peer to close its own (see `TransportConfig.linger_s`).
        transport.set_protocol(_Lingering(self))
        transport.resume_reading()
        try:
            transport.write_eof()  # behind what is queued
        except OSError:  # the peer is gone
            transport.abort()
        self._linger()

    def abort(self) -> None:
        self._stop()
        self._unwritten = None
        if self._made:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._closing:
            self._transport.resume_reading()

    def _linger(self) -> None:
        self._linger_timer = self._runtime.loop.call_later(self._config.linger_s, self._stop_lingering)

    def _stop_lingering(self) -> None:
        if self._transport.get_write_buffer_size():
            self._linger()  # the time counts from when all is written
        else:
            self._transport.close()

    def _stop(self) -> None:
        """Transports warn about writes after `close`, and may still pause the protocol; a transport does neither."""
        self._closing = True
        self.write = self.writelines = _drop
        self.pause_writing = self.resume_writing = _ignore


class _Lingering(asyncio.Protocol):
    """Takes a closing transport's place: drops what comes, and closes the transport at the peer's end of file (both
    inherited)."""

    __slots__ = ("connection_lost",)

    def __init__(self, transport: AsyncioTransport) -> None:
        self.connection_lost = transport.connection_lost  # type: ignore[assignment, method-assign]


def _unwind(transport: Any) -> None:
    """asyncio's transport keeps a method of its own."""
    if hasattr(transport, "_read_ready_cb"):
        transport._read_ready_cb = None


def _drop(data: object) -> None:
    pass


def _ignore() -> None:
    pass


def _eager_spawn(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Task:
    if loop.get_task_factory() is not None:  # the user's own comes first
        return loop.create_task(coroutine)
    return asyncio.Task(coroutine, loop=loop, eager_start=True)  # type: ignore[call-arg, unused-ignore]


_IN_PYTHON: Final = asyncio.Future is asyncio.futures._PyFuture  # type: ignore[attr-defined]  # not so in CPython
# Not where threads run at once: there an object that another thread made is counted in two numbers.
_COUNTS_REFERENCES: Final = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
if _COUNTS_REFERENCES:
    from wire.transport.spare_task import SpareTask
if _IN_PYTHON:
    from wire.transport import early_task


class WatchedSocketTransport(SocketTransport):
    """A socket watched by the loop (`add_reader`, `add_writer`)."""

    __slots__ = ("_fd", "_loop", "_on_uvloop")

    def __init__(
        self,
        sock: socket.socket,
        protocol: TransportProtocol,
        peer: Peer,
        config: TransportConfig,
        runtime: AsyncioRuntime,
    ) -> None:
        super().__init__(sock, protocol, peer, config, runtime)
        self._loop = runtime.loop
        self._fd = sock.fileno()
        self._on_uvloop = runtime.name == "uvloop"

    def _watch_reads(self) -> None:
        self._loop.add_reader(self._fd, self._read_ready_on_uvloop if self._on_uvloop else self._read_ready)

    def _unwatch_reads(self) -> None:
        self._loop.remove_reader(self._fd)

    def _read_ready_on_uvloop(self) -> None:
        """libuv stops watching a socket that reports an error, even while there are bytes left to read from it.

        Asking for the error clears it (0.9 µs a read), so that the rest is read, up to the end of file.
        """
        self._read_ready()
        if not self._lost and self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._unwatch_reads()
            self._update_reads()

    def _watch_writes(self) -> None:
        self._loop.add_writer(self._fd, self._write_ready)

    def _unwatch_writes(self) -> None:
        self._loop.remove_writer(self._fd)


class AsyncioRuntime(RuntimeBase):
    """A `Runtime` on the running asyncio or uvloop event loop."""

    cancelled: type[BaseException] = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("uvloop" if type(loop).__module__.partition(".")[0] == "uvloop" else "asyncio", loop)
        self.loop = loop
        # The loop's own methods, so that a call of the runtime costs no more than one of the loop.
        self.now = loop.time
        self.call_soon = loop.call_soon
        self.call_soon_threadsafe = loop.call_soon_threadsafe
        self.future: Callable[[], Future[Any]] = partial(LightFuture, loop) if _IN_PYTHON else loop.create_future
        self.spawn = loop.create_task
        if sys.version_info >= (3, 12):  # a task that has run up to its first wait
            self.spawn = partial(_eager_spawn, loop)
        elif _IN_PYTHON:
            self.spawn = partial(early_task.spawn, loop)
        self._spare_task: SpareTask | None = None
        if _IN_PYTHON:
            self.begin = partial(early_task.begin, loop)  # type: ignore[method-assign]
        elif _COUNTS_REFERENCES:
            self._spare_task = SpareTask(loop)
            self.begin = self._spare_task.begin  # type: ignore[method-assign]

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer:
        return self.loop.call_later(delay_s, callback, *args)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)

    def close(self) -> None:
        super().close()
        if self._spare_task is not None:
            self._spare_task.close()

    async def aclose(self) -> None:
        """As `close`, and wait until the transports are gone."""
        self.close()
        for _ in range(2):  # one turn closes the sockets, one reports it
            await asyncio.sleep(0)

    def resumable(
        self, coroutine: Coroutine[Any, Any, None], context: Context, /
    ) -> tuple[Resumable, Callable[[], Task]] | None:
        if self.loop.get_task_factory() is not None:  # it may not know of contexts
            return None
        task = ResumableTask(self.loop, coroutine, context)
        return task, partial(asyncio.Task, task.driver, loop=self.loop, context=context, **EAGER)

    async def _attach_socket(
        self, sock: socket.socket, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        if sock.family == AF_VSOCK:
            watched = WatchedSocketTransport(sock, protocol, peer, config, self)
            self._transports[watched] = guard
            watched.start()
            return watched
        transport = AsyncioTransport(protocol, peer, config, self)
        self._transports[transport] = guard
        try:
            await self.loop.connect_accepted_socket(lambda: transport, sock)
        except BaseException:
            # uvloop closes a transport whose waiter was cancelled without `connection_lost`, also once it was made.
            transport.connection_lost(None)
            transport.leave()
            sock.close()
            raise
        return transport


@asynccontextmanager
async def open_asyncio_runtime() -> AsyncIterator[AsyncioRuntime]:
    """The runtime of the running loop. Leaving the block aborts the transports that are still open."""
    runtime = AsyncioRuntime(asyncio.get_running_loop())
    try:
        yield runtime
    finally:
        await runtime.aclose()
