"""Futures, tasks and timers of the runtime for threads.

A `ThreadFuture` is waited for by a coroutine or by a thread; a `ThreadTask` runs a coroutine by the runtime's
callbacks. All of it under the runtime's lock. Imports nothing of wire.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

logger = logging.getLogger("wire.blocking")


class CancelledError(BaseException):
    """A task was cancelled."""


class Wakes(Protocol):
    """What a future needs of its runtime."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any: ...

    def wake_thread(self, future: ThreadFuture) -> None:
        """Some thread may wait for `future`, which is done now."""


class ThreadFuture:
    """A `transport.contract.Future`. `finished` is `done()`, at the price of an attribute. `signal`: what the thread
    waits on that waits for it while another one reads from the sockets."""

    __slots__ = ("_exception", "_result", "_runtime", "_task", "finished", "signal")

    def __init__(self, runtime: Wakes) -> None:
        self._runtime = runtime
        self.finished = False
        self.signal: Any = None
        self._task: ThreadTask | None = None
        self._result: Any = None
        self._exception: BaseException | None = None

    def __await__(self) -> Generator[ThreadFuture, None, Any]:
        if not self.finished:
            yield self
        return self.result()

    def result(self) -> Any:
        """Its result or exception, once it is done."""
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self._exception = None  # its traceback holds this frame, and so this future
        return self._result

    def done(self) -> bool:
        return self.finished

    def set_result(self, result: Any, /) -> None:
        self._result = result
        self._finish()

    def set_exception(self, exception: BaseException, /) -> None:
        self._exception = exception
        self._finish()

    def _finish(self) -> None:
        self.finished = True
        if self._task is not None:
            self._runtime.call_soon(self._task.step)
            self._task = None
        else:
            self._runtime.wake_thread(self)

    def await_in(self, task: ThreadTask) -> None:
        """`task` goes on when this is done."""
        if self.finished:
            self._runtime.call_soon(task.step)
        else:
            self._task = task

    def give_up(self) -> None:
        """Its task was cancelled."""
        self._task = None
        self.finished = True


class ThreadTask:
    """A coroutine that callbacks of the runtime carry on."""

    __slots__ = ("_cancelled", "_coroutine", "_ended", "_runtime", "_waits_for")

    def __init__(self, runtime: Wakes, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._runtime = runtime
        self._coroutine = coroutine
        self._waits_for: ThreadFuture | None = None
        self._cancelled = False
        self._ended = False
        runtime.call_soon(self.step)

    def cancel(self) -> None:
        if self._ended or self._cancelled:
            return
        self._cancelled = True
        if self._waits_for is not None and not self._waits_for.finished:
            self._waits_for.give_up()
            self._runtime.call_soon(self.step)

    def step(self) -> None:
        """Go on up to the next wait."""
        self._waits_for = None
        try:
            if self._cancelled:
                self._cancelled = False
                future = self._coroutine.throw(CancelledError())
            else:
                future = self._coroutine.send(None)
        except StopIteration:
            self._ended = True
        except CancelledError:
            self._ended = True
        except Exception:
            self._ended = True
            logger.exception("a task raised")
        else:
            self._waits_for = future
            future.await_in(self)


class ThreadTimer:
    """Cancelled once its callback is None."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None
        self.args = ()
