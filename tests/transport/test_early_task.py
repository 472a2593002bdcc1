"""Tasks that begin at once, on asyncio's own implementation in Python: they behave as the eager ones of Python 3.12.

Where asyncio's tasks are written in C, those in Python are tested all the same.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

if sys.version_info >= (3, 12):
    pytest.skip("asyncio has eager tasks", allow_module_level=True)

from wire.transport.early_task import _EarlyTask, spawn

Task: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="outside")


def running(test: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(asyncio.get_running_loop()), 10)

    asyncio.run(main())


def current() -> Any:
    return asyncio.tasks._current_tasks.get(asyncio.get_running_loop())  # type: ignore[attr-defined]


def test_one_that_does_not_wait_is_over_when_spawn_returns_and_was_never_a_task() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        ran: list[Any] = []

        async def work() -> None:
            ran.append(current())
            assert isinstance(current(), Task)

        outer = current()
        task = spawn(loop, work())
        assert [type(each) for each in ran] == [_EarlyTask]
        assert (task.done(), task.cancel()) == (True, False)
        assert current() is outer

    running(test)


def test_one_that_waits_is_a_task_the_same_that_it_was_before() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        steps: list[Any] = []
        waited = loop.create_future()

        async def work() -> str:
            steps.append(current())
            steps.append(await waited)
            await asyncio.sleep(0)
            steps.append(current())
            return "over"

        task = spawn(loop, work())
        assert len(steps) == 1
        assert type(task) is Task
        assert task in asyncio.tasks._all_tasks  # type: ignore[attr-defined]
        waited.set_result("value")
        assert await task == "over"
        assert steps == [task, "value", task]

    running(test)


@pytest.mark.parametrize(
    "ask",
    [repr, lambda task: task.get_name(), lambda task: task.cancelling() == 0, lambda task: not task.done()],
)
def test_it_becomes_a_task_when_it_is_asked(ask: Callable[[Any], object]) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def work() -> str:
            assert ask(current())
            assert type(current()) is Task
            return "over"

        task = spawn(loop, work())
        assert task.done()
        assert task.result() == "over"

    running(test)


def test_what_it_raises_is_in_the_task() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def work() -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await spawn(loop, work())

    running(test)


def test_what_ends_the_program_is_let_through() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        outer = current()

        async def work() -> None:
            raise SystemExit(3)

        with pytest.raises(SystemExit):
            spawn(loop, work())
        assert current() is outer

    running(test)


@pytest.mark.parametrize("own", [False, True])
def test_it_is_cancelled_where_it_waits(own: bool) -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        ended: list[str] = []
        waited = loop.create_future()

        async def work() -> None:
            if own:
                current().cancel()
                ended.append("goes on")
            try:
                await waited
            finally:
                ended.append("ended")

        task = spawn(loop, work())
        if not own:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended[-1] == "ended"
        assert (waited.cancelled(), task.cancelled()) == (True, True)

    running(test)


def test_a_timeout_works_in_its_first_step() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def work() -> str:
            try:
                async with asyncio.timeout(0.001):
                    await loop.create_future()
            except TimeoutError:
                return "in time"
            return "never"

        task = spawn(loop, work())
        assert await task == "in time"
        assert task.cancelling() == 0

    running(test)


def test_it_has_a_context_of_its_own_throughout() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def work() -> str:
            token = VARIABLE.set("inside")
            await asyncio.sleep(0)
            seen = VARIABLE.get()
            VARIABLE.reset(token)  # which no other context takes
            return seen

        task = spawn(loop, work())
        assert VARIABLE.get() == "outside"
        assert await task == "inside"

    running(test)


def test_one_that_yields_goes_on_in_the_next_turn() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        steps: list[str] = []

        async def work() -> None:
            steps.append("begun")
            await asyncio.sleep(0)
            steps.append("over")

        task = spawn(loop, work())
        steps.append("spawned")
        await task
        assert steps == ["begun", "spawned", "over"]

    running(test)


def test_one_within_another() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        seen: list[Any] = []

        async def inner() -> None:
            seen.append(current())

        async def outer() -> None:
            before = current()
            spawn(loop, inner())
            assert current() is before
            seen.append(before)

        spawn(loop, outer())
        assert len(set(map(id, seen))) == 2

    running(test)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="this interpreter does not count references")
def test_nothing_is_left_to_the_collector() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        async def fails() -> None:
            raise ValueError

        async def ends() -> None: ...

        gc.collect()
        gc.disable()
        try:
            spawn(loop, ends())
            spawn(loop, fails()).exception()
            assert not [each for each in gc.get_objects() if type(each) in (_EarlyTask,)]
            assert gc.collect() == 0
        finally:
            gc.enable()

    running(test)
