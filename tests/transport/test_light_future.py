"""Futures without a finalizer are to tasks, timeouts and groups of asyncio what its own are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from wire.transport.light_future import LightFuture


def running(test: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test(asyncio.get_running_loop()), 10)

    asyncio.run(main())


def test_a_task_gets_the_result_a_turn_of_the_loop_later() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)

        async def wait() -> str:
            return str(await future)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert not future.done()
        future.set_result("value")
        assert (future.done(), task.done()) == (True, False)
        assert await task == "value"
        assert await future == "value"  # which is done
        assert future.exception() is None

    running(test)


def test_an_exception_is_raised_where_it_is_awaited() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)
        loop.call_soon(future.set_exception, ValueError("mine"))
        with pytest.raises(ValueError, match="mine"):
            await future
        assert isinstance(future.exception(), ValueError)

    running(test)


def test_who_waits_is_cancelled_and_so_is_the_future() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)

        async def wait() -> None:
            await future

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (future.cancelled(), future.cancel()) == (True, False)
        with pytest.raises(asyncio.CancelledError, match="enough"):
            future.result()

    running(test)


def test_a_timeout_cancels_it() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.001)
        assert future.cancelled()

    running(test)


def test_it_may_be_waited_for_in_a_group() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        futures = [LightFuture(loop) for _ in range(3)]
        for number, future in enumerate(futures):
            loop.call_soon(future.set_result, number)
        assert await asyncio.gather(*futures) == [0, 1, 2]

    running(test)


def test_callbacks_are_called_once_in_order_unless_they_were_removed() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)
        called: list[int] = []
        callbacks = [lambda _, number=number: called.append(number) for number in range(3)]
        for callback in callbacks:
            future.add_done_callback(callback)
        assert future.remove_done_callback(callbacks[1]) == 1
        assert future.remove_done_callback(callbacks[1]) == 0
        future.set_result(None)
        assert called == []
        await asyncio.sleep(0)
        future.add_done_callback(callbacks[1])  # soon
        await asyncio.sleep(0)
        assert called == [0, 2, 1]

    running(test)


def test_what_is_done_cannot_be_done_again_and_what_is_not_has_no_result() -> None:
    async def test(loop: asyncio.AbstractEventLoop) -> None:
        future = LightFuture(loop)
        with pytest.raises(asyncio.InvalidStateError):
            future.result()
        future.set_result(1)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_result(2)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_exception(ValueError())
        assert future.get_loop() is loop

    running(test)
