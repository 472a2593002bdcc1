"""A task goes on at once where it waits by `park`, and is an ordinary task of its loop everywhere else."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, cast

import anyio
import pytest

import wire
from tests.leftovers import COUNTED
from tests.support import TIMEOUT_S
from wire.transport.asyncio_transport import AsyncioRuntime
from wire.transport.contract import Resumable
from wire.transport.runtime import LoopName

Main = Callable[["Rig"], Coroutine[Any, Any, None]]


class Rig:
    """A task that runs `work(rig)`; `seen` is what it has said."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.runtime = AsyncioRuntime(asyncio.get_running_loop())
        self.resumable: Resumable
        self.task: asyncio.Task[None]

    async def start(self, work: Main) -> None:
        made = self.runtime.resumable(work(self), copy_context())
        assert made is not None
        self.resumable, start = made
        self.task = cast("asyncio.Task[None]", start())
        await asyncio.sleep(0)

    async def parked(self) -> Any:
        """What `resume` was given; None where something else has woken the task."""
        assert self.resumable.parking
        self.value: object = None
        await self.resumable.park
        value, self.value = self.value, None
        return value

    def go_on(self, value: object) -> bool:
        self.value = value
        return self.resumable.resume()

    async def resume(self, value: object) -> bool:
        """From a callback of the loop, as data comes."""
        resumed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: resumed.set_result(self.go_on(value)))
        return cast(bool, await resumed)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    loop: LoopName = request.param

    def run_in_time(main: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            with anyio.fail_after(TIMEOUT_S):
                await main()

        wire.run(limited, loop=loop)

    return run_in_time


async def take_three(rig: Rig) -> None:
    for _ in range(3):
        rig.seen.append(await rig.parked())


def test_it_goes_on_within_the_callback_to_its_end(run: Any) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start(take_three)
        seen: list[list[Any]] = []

        def three() -> None:
            for number in range(3):
                assert rig.go_on(number)
                seen.append(list(rig.seen))

        asyncio.get_running_loop().call_soon(three)
        await rig.task
        assert seen == [[0], [0, 1], [0, 1, 2]]
        assert not rig.go_on(3)

    run(main)


def test_other_waits_are_the_tasks_own(run: Any) -> None:
    async def work(rig: Rig) -> None:
        rig.seen.append(await rig.parked())
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is rig.task
        rig.seen.append(await rig.parked())

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        assert await rig.resume("first")
        assert not await rig.resume("lost")  # it waits elsewhere
        while not await rig.resume("second"):
            await asyncio.sleep(0.001)
        await rig.task
        assert rig.seen == ["first", "second"]

    run(main)


def test_its_future_wakes_it_with_nothing(run: Any) -> None:
    async def work(rig: Rig) -> None:
        rig.seen.append(await rig.parked())
        rig.seen.append(await rig.parked())

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        future = rig.resumable._future  # type: ignore[attr-defined]
        future.set_result(None)
        await asyncio.sleep(0)
        assert await rig.resume(1)
        await rig.task
        assert rig.seen == [None, 1]

    run(main)


def test_it_is_cancelled_where_it_waits(run: Any) -> None:
    async def work(rig: Rig) -> None:
        try:
            await rig.parked()
            await rig.parked()
        except asyncio.CancelledError:
            rig.seen.append("cancelled")
            raise

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        assert await rig.resume(1)
        rig.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rig.task
        assert rig.seen == ["cancelled"]

    run(main)


def test_a_cancellation_reaches_what_it_has_just_begun_to_wait_for(run: Any) -> None:
    waited: list[asyncio.Future[None]] = []

    async def work(rig: Rig) -> None:
        await rig.parked()
        waited.append(asyncio.get_running_loop().create_future())
        await waited[0]

    async def main() -> None:
        rig = Rig()
        await rig.start(work)

        def resume_and_cancel() -> None:
            assert rig.go_on(1)
            rig.task.cancel()

        asyncio.get_running_loop().call_soon(resume_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await rig.task
        assert waited[0].cancelled()

    run(main)


def test_timeouts_and_cancel_scopes_work_in_it(run: Any) -> None:
    async def work(rig: Rig) -> None:
        await rig.parked()
        with anyio.move_on_after(0.001) as scope:
            await rig.parked()
        rig.seen.append(scope.cancelled_caught)
        try:
            async with asyncio.timeout(0.001):
                await rig.parked()
        except TimeoutError:
            rig.seen.append("timeout")

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        assert await rig.resume(1)
        await rig.task
        assert rig.seen == [True, "timeout"]

    run(main)


def test_it_is_not_resumed_from_within_a_task_nor_waited_for_in_another(run: Any) -> None:
    async def work(rig: Rig) -> None:
        rig.seen.append(await asyncio.create_task(asyncio.sleep(0, rig.resumable.parking)))

        async def within_another() -> bool:
            return not rig.resumable.parking

        rig.seen.append(await asyncio.create_task(within_another()))
        rig.seen.append(await rig.parked())

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        while len(rig.seen) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not rig.go_on("by a task")
        assert await rig.resume("by a callback")
        await rig.task
        assert rig.seen == [True, True, "by a callback"]

    run(main)


def test_it_runs_in_its_context(run: Any) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="outside")

    async def work(rig: Rig) -> None:
        variable.set("inside")
        await rig.parked()
        rig.seen.append(variable.get())

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        assert await rig.resume(1)
        await rig.task
        assert (rig.seen, variable.get()) == (["inside"], "outside")

    run(main)


def test_what_it_raises_is_the_tasks(run: Any) -> None:
    async def work(rig: Rig) -> None:
        await rig.parked()
        raise ValueError("of the work")

    async def main() -> None:
        rig = Rig()
        await rig.start(work)
        assert await rig.resume(1)
        with pytest.raises(ValueError, match="of the work"):
            await rig.task

    run(main)


@COUNTED
def test_nothing_of_it_is_left_for_the_collector(run: Any) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.start(take_three)
        gone = weakref.ref(rig.task)
        gc.disable()
        try:
            for number in range(3):
                assert await rig.resume(number)
            await rig.task
            del rig
            await asyncio.sleep(0)
            assert gone() is None
        finally:
            gc.enable()

    run(main)


def test_a_task_factory_of_the_users_comes_first(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine, **options: asyncio.Task(coroutine, loop=loop, **options))
        try:
            coroutine = asyncio.sleep(0)
            assert AsyncioRuntime(loop).resumable(coroutine, copy_context()) is None
            coroutine.close()
        finally:
            loop.set_task_factory(None)

    run(main)
