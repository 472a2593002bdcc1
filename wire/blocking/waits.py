"""What connecting waits for, where there is no event loop (`transport.waits.Waits`). Imports its siblings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Protocol

from wire.blocking.futures import ThreadFuture
from wire.blocking.poller import READ, WRITE
from wire.transport.contract import Timer


class Loop(Protocol):
    """What is needed of the runtime."""

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer: ...

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> Any: ...

    def future(self) -> ThreadFuture: ...

    async def sleep(self, delay_s: float) -> None: ...

    def watch(self, sock: socket.socket, interest: int, handler: Callable[[int], None]) -> None: ...

    def forget_socket(self, sock: socket.socket) -> None: ...


class ThreadWaits:
    """The waits of one attempt to connect, which are one after the other."""

    def __init__(self, runtime: Loop) -> None:
        self._runtime = runtime
        self._present: ThreadFuture | None = None
        self._late = False

    @contextmanager
    def fail_after(self, delay: float) -> Iterator[None]:
        timer = self._runtime.call_later(delay, self._time_out)
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        self._late = True
        if self._present is not None and not self._present.finished:
            self._present.set_exception(TimeoutError())

    async def sleep(self, delay: float) -> None:
        future = self._runtime.future()
        timer = self._runtime.call_later(delay, finish, future)
        try:
            await self._wait(future)
        finally:
            timer.cancel()

    async def wait_readable(self, obj: socket.socket, /) -> None:
        await self._ready(obj, READ)

    async def wait_writable(self, obj: socket.socket, /) -> None:
        await self._ready(obj, WRITE)

    async def _ready(self, sock: socket.socket, interest: int) -> None:
        future = self._runtime.future()
        self._runtime.watch(sock, interest, lambda ready: finish(future))
        try:
            await self._wait(future)
        finally:
            self._runtime.forget_socket(sock)

    async def getaddrinfo(self, host: str, port: int, *, family: int, type: int) -> list[Any]:  # noqa: A002
        """In a thread that nobody waits for longer than they want to."""
        future = self._runtime.future()

        def look_up() -> None:
            try:
                found: Any = socket.getaddrinfo(host, port, family, type)
                failure = None
            except Exception as error:
                found, failure = None, error
            try:
                self._runtime.call_soon_threadsafe(finish, future, found, failure)
            except RuntimeError:  # the channel was closed meanwhile
                pass
            del failure  # its traceback holds this frame

        Thread(target=look_up, name="wire-getaddrinfo", daemon=True).start()
        return list(await self._wait(future))

    async def _wait(self, future: ThreadFuture) -> Any:
        if self._late:
            raise TimeoutError
        self._present = future
        try:
            return await future
        finally:
            self._present = None


def finish(future: ThreadFuture, result: Any = None, failure: BaseException | None = None) -> None:
    """Have it done, unless it is."""
    if future.finished:
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
