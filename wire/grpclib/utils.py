"""`grpclib.utils`: waking coroutines with an error, and ending a server by signals."""

from __future__ import annotations

import asyncio
import signal
import warnings
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, NoReturn

from wire.grpclib._typing import ICheckable, IClosable
from wire.grpclib.metadata import Deadline


class Wrapper(AbstractContextManager[None]):
    """Wakes whoever waits within it: `cancel(error)` ends the waits, and raises the error there and ever after.

    `cancelled`: True once `cancel` was called. `cancel_failed`: whether a task within did not let its cancellation
    through.
    """

    cancelled: bool | None = None
    cancel_failed: bool | None = None

    def __init__(self) -> None:
        self._error: Exception | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> None:
        if self._error is not None:
            raise self._error
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("Called not inside a task")
        self._tasks.add(task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)
        if self._error is not None:
            self.cancel_failed = kind is not asyncio.CancelledError
            raise self._error

    def cancel(self, error: Exception) -> None:
        self._error = error
        for task in self._tasks:
            task.cancel()
        self.cancelled = True


class DeadlineWrapper(Wrapper):
    """A `Wrapper` that a deadline cancels, with asyncio.TimeoutError, while `start` lasts."""

    @contextmanager
    def start(self, deadline: Deadline) -> Iterator[None]:
        timeout = deadline.time_remaining()
        if not timeout:
            raise TimeoutError("Deadline exceeded")
        timer = asyncio.get_running_loop().call_later(timeout, self.cancel, TimeoutError("Deadline exceeded"))
        try:
            yield
        finally:
            timer.cancel()


def _service_name(service: ICheckable) -> str:
    """The full name of a service, read off the path of its first method."""
    return next(iter(service.__mapping__())).split("/")[1]


@contextmanager
def graceful_exit(
    servers: Collection[IClosable],
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    signals: Collection[int] = (signal.SIGINT, signal.SIGTERM),
) -> Iterator[None]:
    """End servers by signals while the block lasts: the first closes them, so that `wait_closed` returns; a second one,
    or a first one that comes before they were started, raises SystemExit(128 + number)."""
    if loop is not None:
        warn_of_loop(3)
    loop = loop or asyncio.get_event_loop()
    closed = False

    def end(number: int) -> NoReturn:
        raise SystemExit(128 + number)

    def handle(number: int) -> None:
        nonlocal closed
        if closed:
            end(number)
        closed = True
        not_started = False
        for server in servers:
            try:
                server.close()
            except RuntimeError:  # not started, and now it must not be
                not_started = True
        if not_started:
            end(number)

    for number in set(signals):
        loop.add_signal_handler(number, handle, number)
    try:
        yield
    finally:
        for number in set(signals):
            loop.remove_signal_handler(number)


def warn_of_loop(level: int) -> None:
    """Say that an argument `loop` was given, which does nothing more than to be used."""
    warnings.warn(
        "The loop argument is deprecated and scheduled for removal in grpclib 0.5",
        DeprecationWarning,
        stacklevel=level + 1,
    )
