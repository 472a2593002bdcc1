"""The task of a handler that waits for its turn (`turns`).

Imports transport's contract.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, Protocol

from wire.transport.contract import Task


class Call(Protocol):
    def begin_task(self, task: Task | None) -> None:
        """Its task has begun; None: it will not, since it was cancelled."""


class PostponedTask:
    """In the place of a task, until that begins. `start` makes it of `run`, which is for `response`, what the handler
    has returned."""

    __slots__ = ("_call", "_response", "_run", "_start")

    def __init__(self, call: Call, start: Callable[[], Task], run: Coroutine[Any, Any, None], response: Any) -> None:
        self._call: Call | None = call
        self._start: Callable[[], Task] | None = start
        self._run = run
        self._response = response

    def begin(self) -> None:
        call, start = self._call, self._start
        self._call = self._start = None
        if call is not None:
            call.begin_task(None if start is None else start())

    def cancel(self) -> None:
        """The handler's own code has not begun, and will not."""
        if self._start is not None:
            self._start = None
            self._run.close()
            if isinstance(self._response, CoroutineType):
                self._response.close()  # else it would warn that it was never awaited
