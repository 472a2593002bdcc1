"""A future of asyncio's without a finalizer, where asyncio is written in Python, as in PyPy.

There an object with a finalizer costs 0.3 µs and outlives its use, with all that it refers to, until the collector has
come by twice. asyncio's futures have one, which says that nobody asked for an exception; nobody needs that of those
that wire waits for. Imports asyncio and nothing of wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from typing import Any, Final

_PENDING: Final = 0
_DONE: Final = 1
_CANCELLED: Final = 2


class LightFuture:
    """One value to come. Tasks, `asyncio.wait_for` and the like take it for a future (`asyncio.isfuture`)."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_callbacks",
        "_exception",
        "_loop",
        "_message",
        "_result",
        "_state",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._state = _PENDING
        self._asyncio_future_blocking = False
        self._callbacks: list[tuple[Callable[[Any], object], Context]] | None = None
        self._result: Any = None
        self._exception: BaseException | None = None
        self._message: tuple[Any, ...] = ()  # what it was cancelled with

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def done(self) -> bool:
        return self._state != _PENDING

    def cancelled(self) -> bool:
        return self._state == _CANCELLED

    def cancel(self, msg: Any = None) -> bool:
        if self._state != _PENDING:
            return False
        self._message = () if msg is None else (msg,)
        self._end(_CANCELLED)
        return True

    def set_result(self, result: Any) -> None:
        self._check_pending()
        self._result = result
        self._end(_DONE)

    def set_exception(self, exception: BaseException) -> None:
        self._check_pending()
        self._exception = exception
        self._end(_DONE)

    def result(self) -> Any:
        if self._state == _CANCELLED:
            raise asyncio.CancelledError(*self._message)
        if self._state == _PENDING:
            raise asyncio.InvalidStateError("Result is not ready.")
        if self._exception is not None:
            raise self._exception
        return self._result

    def exception(self) -> BaseException | None:
        if self._state == _DONE:
            return self._exception
        self.result()
        return None

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        context = copy_context() if context is None else context
        if self._state != _PENDING:
            self._loop.call_soon(callback, self, context=context)
        elif self._callbacks is None:
            self._callbacks = [(callback, context)]
        else:
            self._callbacks.append((callback, context))

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        before = self._callbacks or []
        self._callbacks = [each for each in before if each[0] != callback]
        return len(before) - len(self._callbacks)

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._state == _PENDING:
            self._asyncio_future_blocking = True
            yield self
        if self._state == _PENDING:
            raise RuntimeError("await wasn't used with future")
        return self.result()

    __iter__ = __await__  # for `yield from`

    def _check_pending(self) -> None:
        if self._state != _PENDING:
            raise asyncio.InvalidStateError("the future is done already")

    def _end(self, state: int) -> None:
        self._state = state
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is not None:
            for callback, context in callbacks:
                self._loop.call_soon(callback, self, context=context)
