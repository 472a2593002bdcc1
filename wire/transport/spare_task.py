"""A task of asyncio in which coroutines are begun, one after the other, that mostly end without having waited.

A task costs 2 to 3 µs: it is made, registered, begun by a callback of the loop, and finalized. A handler that ends at
once needs none of that, but for `asyncio.current_task()`, which timeouts and cancel scopes ask for. So such coroutines
share a task that waits for nothing: each is run up to its first wait with this one as the current task, at 0.6 µs. One
that waits keeps the task, which goes on with it; and so it is where anybody remembers a coroutine by the task, as is
seen by counting references. So no two are ever known by the same task, but by its name.

For CPython, where references are counted; `early_task` does the same for PyPy. Imports `begun` and `resumable`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from sys import getrefcount
from typing import Any

from wire.transport.begun import Begun
from wire.transport.resumable import EAGER

_current_task: Callable[[Any], Any]
_enter_task: Callable[[Any, Any], object]
_leave_task: Callable[[Any, Any], object]
if sys.version_info >= (3, 12):  # for whoever drives a task ("Extending" in asyncio's manual)
    from asyncio.tasks import _enter_task, _leave_task
    from asyncio.tasks import current_task as _current_task
else:  # as these do, in half the time
    _current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]
    _enter_task = asyncio.tasks._current_tasks.__setitem__  # type: ignore[attr-defined]
    _leave_task = asyncio.tasks._current_tasks.pop  # type: ignore[attr-defined]


class SpareTask:
    """Begins coroutines on its event loop. `_waiting`: what the task waits for, once it does."""

    __slots__ = ("_driver", "_loop", "_task", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._driver: _Driver | None = None
        self._task: Any = None
        self._waiting: asyncio.Future[None] | None = None

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        """As `Runtime.begin`."""
        loop = self._loop
        waiting = self._waiting
        if waiting is None or waiting.done() or _current_task(loop) is not None:
            self._ensure()
            return coroutine
        task = self._task
        references = getrefcount(self._task)  # not of `task`: newer interpreters count no variable where they need not
        try:
            _enter_task(loop, task)
            try:
                awaited = context.run(coroutine.send, None)
            finally:
                _leave_task(loop, task)
        except BaseException as error:
            if getrefcount(self._task) != references or task._callbacks is not None:  # it is kept, and ends as well
                self._replace()
                if not waiting.done():
                    waiting.set_result(None)
            if error.__class__ is StopIteration:
                return error.value
            raise
        driver = self._driver
        self._replace()
        return Begun(coroutine, awaited, partial(driver.go_on, task, waiting, context))  # type: ignore[union-attr]

    def _ensure(self) -> None:
        if self._driver is None or (self._waiting is not None and self._waiting.done()):
            self._replace()

    def _replace(self) -> None:
        """Have another task, which soon waits."""
        self._driver = self._task = self._waiting = None
        if self._loop.get_task_factory() is None:  # the user's own comes first
            self._driver = _Driver(self)
            self._task = asyncio.Task(self._driver, loop=self._loop, **EAGER)
            self._task._log_destroy_pending = False

    def wait(self) -> asyncio.Future[None]:
        """What the task waits for, from its first step on."""
        self._waiting = waiting = self._loop.create_future()
        waiting._asyncio_future_blocking = True  # what `await` sets
        return waiting

    def close(self) -> None:
        """End the task, within the loop's next turns."""
        if self._task is not None:
            self._task.cancel()
        self._driver = self._task = self._waiting = None


class _Driver(Coroutine[Any, Any, Any]):
    """What the task runs: it waits, and then runs the coroutine that keeps the task, if one does."""

    __slots__ = ("_begun", "_coroutine", "_run", "_spare")

    def __init__(self, spare: SpareTask) -> None:
        self._spare: SpareTask | None = spare
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._run: Callable[..., Any]
        self._begun = False

    def go_on(
        self, task: Any, waiting: asyncio.Future[None], context: Context, coroutine: Coroutine[Any, Any, Any]
    ) -> asyncio.Task[Any]:
        """Have the task run this coroutine from its next step on, which waits for the one that was begun."""
        task._log_destroy_pending = True
        self._run = context.run
        self._coroutine = coroutine
        if not waiting.done():  # else it was cancelled by its own first step
            waiting.set_result(None)
        return task  # type: ignore[no-any-return]

    def send(self, value: Any) -> Any:
        if self._coroutine is not None:
            self._begun = True
            return self._run(self._coroutine.send, value)
        spare, self._spare = self._spare, None
        if spare is None:
            raise StopIteration
        return spare.wait()

    def throw(self, *args: Any) -> Any:
        try:
            if self._coroutine is None:
                raise args[0]
            if not self._begun:
                self._begun = True
                awaited = self._run(self._coroutine.send, None)
                if awaited is not None:
                    awaited.cancel()  # as a task does that is cancelled by its own first step
                    return awaited
            return self._run(self._coroutine.throw, *args)
        finally:
            del args  # an exception whose traceback holds this frame

    def close(self) -> None:
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise TypeError("it is run by its task, and not awaited")

    def __getattr__(self, name: str) -> Any:
        """What debuggers and anyio ask a task's coroutine: its state, its frame, its name."""
        return getattr(SpareTask if self._coroutine is None else self._coroutine, name)
