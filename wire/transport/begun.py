"""A coroutine that whoever has it has begun, and that waits now.

Imports nothing of wire.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

TaskT = TypeVar("TaskT")


class Begun(Generic[TaskT]):
    """What `Runtime.begin` gives for a coroutine that waits. `await` it once: it goes on where it waits, and gives what
    it returns."""

    __slots__ = ("_awaited", "_coroutine", "_spawn")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        awaited: object,
        spawn: Callable[[Coroutine[Any, Any, Any]], TaskT],
    ) -> None:
        self._coroutine = coroutine
        self._awaited = awaited
        self._spawn: Callable[[Coroutine[Any, Any, Any]], TaskT] | None = spawn

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> TaskT:
        """Have a coroutine that awaits this one run in the task in which this one was begun, and return that. To be
        called once, before the loop goes on."""
        spawn, self._spawn = self._spawn, None  # it holds the task, whose exception may hold a frame that holds this
        assert spawn is not None
        return spawn(coroutine)

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine = self._coroutine
        awaited, self._awaited = self._awaited, None
        while True:
            try:
                yield awaited
            except BaseException as error:
                awaited = None  # it may hold an exception, whose traceback holds this frame
                try:
                    awaited = coroutine.throw(error)
                except StopIteration as end:
                    return end.value
            else:
                awaited = None
                return (yield from coroutine.__await__())
