"""Coroutines that are begun before they have a task of their own (`Runtime.begin`): by a spare task, where asyncio's
tasks are written in C, and by an early one, where they are in Python, as in PyPy. On CPython both are tested."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any

import anyio
import pytest

from wire.transport.begun import Begun

VARIABLE: ContextVar[str] = ContextVar("VARIABLE", default="outside")
CPYTHON = sys.implementation.name == "cpython"
KINDS = [*(["spare"] if CPYTHON else []), *(["early"] if sys.version_info < (3, 12) else [])]


class Lab:
    """Begins coroutines as the event loop's callbacks do, outside of every task."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loop = asyncio.get_running_loop()
        self.close: Callable[[], object] = lambda: None
        if kind == "early":
            from wire.transport import early_task

            self._begin: Callable[..., Any] = partial(early_task.begin, self._loop)
        else:
            from wire.transport.spare_task import SpareTask

            spare = SpareTask(self._loop)
            self._begin = spare.begin
            self.close = spare.close

    async def callback(self, function: Callable[[], Any]) -> Any:
        done = self._loop.create_future()

        def call() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        self._loop.call_soon(call)
        return await done

    async def begin(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        begun = await self.callback(lambda: self._begin(coroutine, copy_context()))
        assert begun is not coroutine
        return begun

    async def ready(self) -> None:
        """Until coroutines can be begun."""
        while True:
            coroutine = ends()
            found = await self.callback(partial(self._begin, coroutine, copy_context()))
            if found is not coroutine:
                return
            coroutine.close()

    async def spawn(self, coroutine: Coroutine[Any, Any, Any], ended: list[Any]) -> Any:
        """The task of one that waits, as a server has it go on."""

        async def run(begun: Any) -> None:
            try:
                ended.append(await begun)
            except BaseException as error:
                ended.append(str(error))
                raise

        def call() -> Any:
            begun = self._begin(coroutine, copy_context())
            assert type(begun) is Begun
            return begun.spawn(run(begun))

        return await self.callback(call)


@asynccontextmanager
async def lab(kind: str) -> AsyncIterator[Lab]:
    found = Lab(kind)
    await found.ready()
    try:
        yield found
    finally:
        found.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture(params=KINDS)
def running(request: pytest.FixtureRequest) -> Callable[[Callable[[Lab], Awaitable[None]]], None]:
    def run(test: Callable[[Lab], Awaitable[None]]) -> None:
        async def main() -> None:
            async with lab(request.param) as found, asyncio.timeout(10):
                await test(found)

        asyncio.run(main())

    return run


Running = Callable[[Callable[[Lab], Awaitable[None]]], None]


async def ends() -> str:
    return "over"


def current() -> Any:
    return asyncio.current_task()


def test_one_that_does_not_wait_gives_what_it_returns(running: Running) -> None:
    async def test(lab: Lab) -> None:
        tasks = asyncio.all_tasks()
        for _ in range(3):
            assert await lab.begin(ends()) == "over"
        assert asyncio.all_tasks() == tasks

    running(test)


def test_one_that_raises_raises(running: Running) -> None:
    async def test(lab: Lab) -> None:
        async def fails() -> None:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            await lab.begin(fails())
        await lab.ready()

    running(test)


def test_one_that_waits_goes_on_in_the_task_in_which_it_was_begun(running: Running) -> None:
    async def test(lab: Lab) -> None:
        steps: list[Any] = []
        ended: list[Any] = []
        waited = asyncio.get_running_loop().create_future()

        async def work() -> str:
            steps.append(current())
            assert isinstance(current(), asyncio.Task if lab.kind == "spare" else asyncio.tasks._PyTask)  # type: ignore[attr-defined]
            steps.append(await waited)
            await asyncio.sleep(0)
            steps.append(current())
            return "over"

        task = await lab.spawn(work(), ended)
        await lab.ready()
        assert await lab.begin(ends()) == "over"  # another one meanwhile
        waited.set_result("value")
        await task
        assert steps == [task, "value", task]
        assert ended == ["over"]

    running(test)


def test_one_that_is_remembered_by_its_task_has_it_for_itself(running: Running) -> None:
    async def test(lab: Lab) -> None:
        tasks: list[Any] = []
        told: list[Any] = []

        async def remembered() -> str:
            tasks.append(current())
            return "over"

        async def watched() -> None:
            current().add_done_callback(told.append)

        for _ in range(3):
            assert await lab.begin(remembered()) == "over"
            await lab.ready()
        assert len(set(map(id, tasks))) == 3
        await asyncio.sleep(0)
        if lab.kind == "spare":  # the other is a task only once it is asked anything
            assert all(each.done() for each in tasks)
        await lab.begin(watched())
        while not told:
            await asyncio.sleep(0)
        assert told[0].done()
        assert told[0] not in tasks

    running(test)


def test_a_cancellation_reaches_it_where_it_waits(running: Running) -> None:
    async def test(lab: Lab) -> None:
        for turns in range(3):
            ended: list[Any] = []
            waited = asyncio.get_running_loop().create_future()

            async def work(waited: Any = waited) -> None:
                try:
                    await waited
                except asyncio.CancelledError:
                    await asyncio.sleep(0)
                    raise ValueError("cleaned up") from None

            await lab.ready()
            task = await lab.spawn(work(), ended)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(ValueError, match="cleaned up"):
                await task
            assert waited.cancelled()
            assert ended == ["cleaned up"]

    running(test)


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(0), lambda: asyncio.get_running_loop().create_future()])
def test_one_that_cancels_itself_sees_it_at_its_first_wait(
    running: Running, wait: Callable[[], Awaitable[None]]
) -> None:
    async def test(lab: Lab) -> None:
        ended: list[Any] = []
        steps: list[str] = []

        async def work() -> None:
            current().cancel()
            steps.append("goes on")
            await wait()
            steps.append("never")

        task = await lab.spawn(work(), ended)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert steps == ["goes on"]

    running(test)


def test_one_that_cancels_itself_and_ends_harms_no_other(running: Running) -> None:
    async def test(lab: Lab) -> None:
        async def work() -> str:
            current().cancel()
            return "over"

        async def late() -> str:
            await asyncio.sleep(0)
            return "late"

        assert await lab.begin(work()) == "over"
        await lab.ready()
        ended: list[Any] = []
        task = await lab.spawn(late(), ended)
        await task
        assert ended == ["late"]

    running(test)


def test_timeouts_and_scopes_that_its_first_step_enters(running: Running) -> None:
    async def test(lab: Lab) -> None:
        never = asyncio.get_running_loop().create_future()

        async def timeout() -> str:
            try:
                async with asyncio.timeout(0.001):
                    await never
            except TimeoutError:
                return "in time"
            return "never"

        async def scope() -> str:
            with anyio.move_on_after(0.001):
                await anyio.sleep_forever()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep, 0)
            return "in time"

        for work in (timeout, scope)[: 2 if lab.kind == "spare" or not CPYTHON else 1]:
            ended: list[Any] = []
            await lab.ready()
            await (await lab.spawn(work(), ended))
            assert ended == ["in time"]

    running(test)


def test_a_scope_that_ends_within_its_first_step(running: Running) -> None:
    async def test(lab: Lab) -> None:
        async def work() -> str:
            async with asyncio.timeout(1000):
                pass
            with anyio.fail_after(1000):
                return "over"

        for _ in range(3):
            assert await lab.begin(work()) == "over"
            await lab.ready()

    running(test)


def test_it_has_a_context_of_its_own_throughout(running: Running) -> None:
    async def test(lab: Lab) -> None:
        async def work() -> str:
            token = VARIABLE.set("inside")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen = VARIABLE.get()
            VARIABLE.reset(token)  # which no other context takes
            return seen

        ended: list[Any] = []
        task = await lab.spawn(work(), ended)
        await task
        assert ended == ["inside"]
        assert VARIABLE.get() == "outside"

    running(test)


def test_the_users_own_tasks_come_first(running: Running) -> None:
    async def test(lab: Lab) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options))
        lab.close()  # the task that there is
        coroutine = ends()
        assert await lab.callback(lambda: lab._begin(coroutine, copy_context())) is coroutine
        assert await coroutine == "over"

    running(test)


@pytest.mark.skipif(not CPYTHON, reason="this interpreter does not count references")
def test_nothing_is_left_to_the_collector(running: Running) -> None:
    async def test(lab: Lab) -> None:
        async def fails() -> None:
            raise ValueError

        async def waits() -> None:
            await asyncio.sleep(0)

        async def waits_for(futures: list[asyncio.Future[None]]) -> None:
            await futures.pop()

        def failing() -> None:
            with suppress(ValueError):
                lab._begin(fails(), copy_context())

        gc.collect()
        gc.disable()
        try:
            await lab.callback(failing)
            await lab.begin(ends())
            ended: list[Any] = []
            await (await lab.spawn(waits(), ended))
            if lab.kind == "spare":  # asyncio's own tasks in Python hold themselves
                cancelled = await lab.spawn(anyio.sleep_forever(), ended)
                cancelled.cancel()
                while not cancelled.done():
                    await asyncio.sleep(0)
                awaited = asyncio.get_running_loop().create_future()
                failed = await lab.spawn(waits_for([awaited]), ended)
                awaited.set_exception(ValueError())
                while not failed.done():
                    await asyncio.sleep(0)
                assert isinstance(failed.exception(), ValueError)
                del cancelled, awaited, failed
            await lab.ready()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            assert not [each for each in gc.garbage if type(each).__module__.startswith(("wire", "_asyncio"))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    running(test)


@pytest.mark.skipif(not CPYTHON, reason="the other kind has no task before it is needed")
def test_closing_ends_the_task() -> None:
    async def main() -> None:
        async with lab("spare") as found:
            spare = asyncio.all_tasks() - {current()}
            assert len(spare) == 1
            assert "SpareTask" in repr(spare)
            assert current() not in spare
            found.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {current()}

    asyncio.run(main())
