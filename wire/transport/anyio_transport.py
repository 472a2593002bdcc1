"""The event loop of trio, through anyio: transports driven by tasks that wait for their socket, and the runtime that
makes them.

Callbacks and timers run in one task, the pump; everything spawned runs in one task group. Cancellation from outside
ends what was spawned, and the pump only when the runtime closes. It works on anyio's asyncio backend as well, which
the contract tests make use of. Imports `anyio` and its siblings.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel

from wire.config import TransportConfig
from wire.errors import UsageError
from wire.transport.accepting import Guard
from wire.transport.contract import Peer, Task, Timer, Transport, TransportProtocol
from wire.transport.runtime_base import RuntimeBase
from wire.transport.socket_transport import SocketTransport

logger = logging.getLogger("wire.transport")

_LEAST_TIMERS = 64


class AnyioTransport(SocketTransport):
    """A socket that one task waits to read from, and a second one to write to while it is full."""

    __slots__ = ("_read_task", "_reads_wanted", "_write_task", "_writes_wanted")

    def __init__(
        self,
        sock: socket.socket,
        protocol: TransportProtocol,
        peer: Peer,
        config: TransportConfig,
        runtime: AnyioRuntime,
    ) -> None:
        super().__init__(sock, protocol, peer, config, runtime)
        self._reads_wanted = self._writes_wanted = False
        self._read_task: Task | None = None
        self._write_task: Task | None = None

    def _watch_reads(self) -> None:
        self._reads_wanted = True
        if self._read_task is None:
            self._read_task = self._runtime.spawn(self._read())

    def _unwatch_reads(self) -> None:
        self._reads_wanted = False

    def _watch_writes(self) -> None:
        self._writes_wanted = True
        if self._write_task is None:
            self._write_task = self._runtime.spawn(self._write())

    def _unwatch_writes(self) -> None:
        self._writes_wanted = False

    async def _read(self) -> None:
        try:
            while self._reads_wanted:
                await anyio.wait_readable(self._sock)
                if self._reads_wanted:
                    self._read_ready()
        except anyio.ClosedResourceError:  # told by `_close_socket`
            pass
        finally:
            self._read_task = None

    async def _write(self) -> None:
        try:
            while self._writes_wanted:
                await anyio.wait_writable(self._sock)
                if self._writes_wanted:
                    self._write_ready()
        except anyio.ClosedResourceError:
            pass
        finally:
            self._write_task = None

    def _close_socket(self) -> None:
        anyio.notify_closing(self._sock)
        self._sock.close()


class AnyioFuture:
    """A `Future` for one waiter."""

    __slots__ = ("_done", "_event", "_exception", "_result")

    def __init__(self) -> None:
        self._done = False
        self._event: anyio.Event | None = None
        self._exception: BaseException | None = None
        self._result: Any = None

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._done:
            self._event = anyio.Event()
            try:
                yield from self._event.wait().__await__()
            except BaseException:
                self._done = True
                raise
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self._exception = None  # its traceback holds this frame, and so this future
        return self._result

    def done(self) -> bool:
        return self._done

    def set_result(self, result: Any, /) -> None:
        self._finish()
        self._result = result

    def set_exception(self, exception: BaseException, /) -> None:
        self._finish()
        self._exception = exception

    def _finish(self) -> None:
        if self._done:
            raise UsageError("the future is done already")
        self._done = True
        if self._event is not None:
            self._event.set()


class AnyioTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        self.callback = None


class AnyioRuntime(RuntimeBase):
    """A `Runtime` whose tasks live in one task group, and wait for it until there is one (`in_group`)."""

    def __init__(self, name: str) -> None:
        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_run():
            token = trio.lowlevel.current_trio_token()
            super().__init__(name, token)
            self._call_in_loop: Callable[..., Any] = token.run_sync_soon
        else:
            loop = asyncio.get_running_loop()
            super().__init__(name, loop)
            self._call_in_loop = loop.call_soon_threadsafe
        self.cancelled = anyio.get_cancelled_exc_class()
        self.now = anyio.current_time
        self.future = AnyioFuture
        self._group: anyio.abc.TaskGroup | None = None
        self._unborn: list[tuple[Context, Coroutine[Any, Any, Any], anyio.CancelScope]] = []
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, AnyioTimer]] = []
        self._timers_looked_at = _LEAST_TIMERS  # their number at which the cancelled ones are dropped
        self._order = count()  # timers due at the same time run in the order they were made
        self._idle: anyio.Event | None = None  # what the pump waits on
        self.pumping = anyio.CancelScope(shield=True)
        """Cancelled when the block is left. Until then callbacks and timers run, whatever is cancelled around it: what
        cleans up in there waits for them."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._ready.append((callback, args))
        self._wake()

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        self._call_in_loop(self.call_soon, callback, *args)

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer:
        self._drop_cancelled()
        timer = AnyioTimer(partial(callback, *args))
        heappush(self._timers, (self.now() + delay_s, next(self._order), timer))
        self._wake()
        return timer

    def _drop_cancelled(self) -> None:
        """Forget cancelled timers each time that the heap has doubled: most are cancelled long before they are due."""
        timers = self._timers
        if len(timers) >= self._timers_looked_at:
            timers[:] = [entry for entry in timers if entry[2].callback is not None]
            heapify(timers)
            self._timers_looked_at = max(_LEAST_TIMERS, 2 * len(timers))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task:
        scope = anyio.CancelScope()
        if self._group is None:
            self._unborn.append((copy_context(), coroutine, scope))
            return scope
        try:
            self._group.start_soon(_run, coroutine, scope)
        except BaseException:
            coroutine.close()
            raise
        return scope

    @asynccontextmanager
    async def in_group(self) -> AsyncIterator[None]:
        """The block in which tasks run. Leaving it aborts the transports and cancels the tasks.

        An exception in the block comes out as it is, not wrapped in the task group's ExceptionGroup.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            self._group = group
            group.start_soon(self.pump)
            unborn, self._unborn = self._unborn, []
            for context, coroutine, scope in unborn:
                context.run(group.start_soon, _run, coroutine, scope)
            try:
                yield
            except Exception as error:
                failure = error
            finally:
                self.close()
                self.run_due()  # reports the transports lost
                self.pumping.cancel()
                group.cancel_scope.cancel()
        self._ready.clear()  # nothing will run what is left: it holds connections, and they this
        self._timers.clear()
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # its traceback holds this frame

    async def sleep(self, delay_s: float) -> None:
        await anyio.sleep(delay_s)

    async def pump(self) -> None:
        """Run callbacks and timers until the runtime closes. Callbacks added by callbacks run in the next round, after
        other tasks. What ends the program is raised by a task of its own: it cancels the others, and these go on."""
        with self.pumping:
            while True:
                try:
                    await self._wait_and_run()
                except (KeyboardInterrupt, SystemExit) as error:
                    assert self._group is not None
                    self._group.start_soon(_raise, error)

    async def _wait_and_run(self) -> None:
        if self._ready:
            await anyio.lowlevel.checkpoint()
        else:
            delay_s = self._timers[0][0] - self.now() if self._timers else math.inf
            self._idle = anyio.Event()
            with anyio.move_on_after(delay_s):
                await self._idle.wait()
            self._idle = None
        self.run_due()

    def run_due(self) -> None:
        """One round: the timers that are due, then the callbacks that were there when it began."""
        timers, ready = self._timers, self._ready
        now = self.now()
        for _ in range(len(ready)):
            callback, args = ready.popleft()
            _call(callback, *args)
        while timers and timers[0][0] <= now:
            due = heappop(timers)[2].callback
            if due is not None:
                _call(due)

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    async def _attach_socket(
        self, sock: socket.socket, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        transport = AnyioTransport(sock, protocol, peer, config, self)
        self._transports[transport] = guard
        transport.start()
        return transport


def _call(callback: Callable[..., Any], *args: Any) -> None:
    try:
        callback(*args)
    except Exception:
        logger.exception("a callback raised")


async def _raise(error: BaseException) -> None:
    raise error


async def _run(coroutine: Coroutine[Any, Any, Any], scope: anyio.CancelScope) -> None:
    with scope:
        try:
            await coroutine
        except Exception:
            logger.exception("a task raised")
        except BaseException as error:
            if anyio.current_effective_deadline() == -math.inf:  # this task is cancelled, or all of them are
                raise
            _raise_less_cancellation(error)


def _raise_less_cancellation(error: BaseException) -> None:
    """Raise what a task that is not cancelled raised, without cancellations. Those were kept from a scope that has
    ended: no scope of trio's would take them, so that they would end the program."""
    cancelled = anyio.get_cancelled_exc_class()
    rest: BaseException | None
    if isinstance(error, BaseExceptionGroup):
        rest = error.split(cancelled)[1]
    else:
        rest = None if isinstance(error, cancelled) else error
    if isinstance(rest, Exception):
        logger.error("a task raised", exc_info=rest)
    elif rest is not None:
        try:
            raise rest
        finally:
            del error, rest  # their tracebacks hold this frame


@asynccontextmanager
async def open_anyio_runtime(name: str) -> AsyncIterator[AnyioRuntime]:
    """A runtime with a task group of its own. Leaving the block aborts its transports and cancels its tasks."""
    runtime = AnyioRuntime(name)
    async with runtime.in_group():
        yield runtime


def start_trio_runtime() -> tuple[AnyioRuntime, Callable[[], Awaitable[None]]]:
    """A runtime without a block, and what closes it: its task group is in one of trio's system tasks, which ends with
    the program at the latest."""
    import trio

    runtime = AnyioRuntime("trio")
    closing = anyio.Event()
    closed = anyio.Event()

    async def host() -> None:
        try:
            async with runtime.in_group():
                await closing.wait()
        finally:
            closed.set()

    async def close() -> None:
        closing.set()
        with anyio.CancelScope(shield=True):
            await closed.wait()

    trio.lowlevel.spawn_system_task(host)
    return runtime, close
