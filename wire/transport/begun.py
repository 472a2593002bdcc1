"""A coroutine that whoever has it has begun, and that waits now; an asynchronous generator likewise.

Imports nothing of wire.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from sys import get_asyncgen_hooks, set_asyncgen_hooks
from typing import Any, Generic, TypeVar

T = TypeVar("T")
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


def begun_generator(generator: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The generator, past its first `yield`, before which it must not wait.

    The event loop does not know of it: the loop's hooks would close in a task what is left before its end."""
    hooks = get_asyncgen_hooks()
    set_asyncgen_hooks(None, None)
    try:
        generator.__anext__().send(None)
    except StopIteration:
        pass
    finally:
        set_asyncgen_hooks(*hooks)
    return generator
