"""The `Runtime` contract, held by every loop; choosing a runtime and running a loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.transport.harness import Recorder, quick, run_loop
from wire.errors import ConfigurationError, UsageError
from wire.transport import runtime as runtime_module
from wire.transport.anyio_transport import open_anyio_runtime
from wire.transport.contract import Runtime
from wire.transport.runtime import open_runtime, run


def test_call_soon_calls_in_order_later_and_never_within(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        calls: list[str] = []
        done = runtime.future()

        def first() -> None:
            calls.append("first")
            runtime.call_soon(calls.append, "third")
            runtime.call_soon(done.set_result, None)

        runtime.call_soon(first)
        runtime.call_soon(calls.append, "second")
        assert calls == []
        await done
        assert calls == ["first", "second", "third"]

    run_loop(loop, test)


def test_what_arrives_while_the_runtime_is_left_is_lost(loop: str) -> None:
    ours, theirs = socket.socketpair()

    async def test(runtime: Runtime) -> None:
        recorder = Recorder(runtime)
        config = quick()
        async with open_runtime() as inner:
            inner.take_over(theirs, lambda: recorder, tls=None, config=config, answer=None, arrived=lambda: None)
        await runtime.sleep(0)
        assert recorder.calls.count("made") == recorder.calls.count("lost")
        assert ours.recv(1) == b""

    ours.settimeout(5)
    with ours:
        run_loop(loop, test)


def test_timers_fire_in_the_order_of_their_times_unless_cancelled(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        calls: list[int] = []
        done = runtime.future()
        runtime.call_later(0.02, done.set_result, None)
        runtime.call_later(0.01, calls.append, 2)
        runtime.call_later(0, calls.append, 1)
        cancelled = runtime.call_later(0.005, calls.append, 0)
        cancelled.cancel()
        await done
        assert calls == [1, 2]
        cancelled.cancel()

    run_loop(loop, test)


def test_a_timer_made_while_the_loop_waits_for_a_later_one_is_in_time(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        runtime.call_later(1000, pytest.fail)
        await runtime.sleep(0.001)
        done = runtime.future()
        runtime.call_later(0.001, done.set_result, "in time")
        assert await done == "in time"

    run_loop(loop, test)


def test_a_callback_that_raises_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_anyio_runtime("trio") as runtime:
            done = runtime.future()
            runtime.call_soon(lambda: 1 // 0)
            runtime.call_soon(done.set_result, None)
            await done

    run(main, loop="trio")
    assert "division" in caplog.text


def test_a_spawned_task_runs_and_its_cancellation_is_raised_at_its_await(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        waiting, ended = runtime.future(), runtime.future()

        async def wait() -> None:
            try:
                waiting.set_result(None)
                await runtime.sleep(1000)
            except runtime.cancelled:
                ended.set_result("cancelled")
                raise

        task = runtime.spawn(wait())
        await waiting
        task.cancel()
        assert await ended == "cancelled"
        task.cancel()

    run_loop(loop, test)


def test_an_exception_that_escapes_a_task_is_logged_and_swallowed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with open_anyio_runtime("trio") as runtime:
            ended = runtime.future()

            async def fail() -> None:
                runtime.call_soon(ended.set_result, None)
                raise ValueError("from a task")

            runtime.spawn(fail())
            await ended

    run(main, loop="trio")
    assert "from a task" in caplog.text


def test_a_task_may_be_spawned_from_a_callback(loop: str) -> None:
    """Such as a handler's task from within a read: no task is current there."""

    async def test(runtime: Runtime) -> None:
        ended = runtime.future()

        async def handle() -> None:
            with anyio.move_on_after(1000):
                await runtime.sleep(0)
            ended.set_result("handled")

        runtime.call_soon(lambda: runtime.spawn(handle()))
        assert await ended == "handled"

    run_loop(loop, test)


def test_a_future_gives_its_waiter_the_result_or_raises_the_exception(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        for when in ("before", "after"):
            good, bad = runtime.future(), runtime.future()
            assert not good.done()
            finish: list[Callable[[], Any]] = [
                lambda good=good: good.set_result(5),  # type: ignore[misc]
                lambda bad=bad: bad.set_exception(KeyError("k")),  # type: ignore[misc]
            ]
            for call in finish:
                call() if when == "before" else runtime.call_soon(call)
            assert await good == 5
            with pytest.raises(KeyError):
                await bad
            assert good.done()
            assert bad.done()

    run_loop(loop, test)


def test_a_future_whose_waiter_was_cancelled_is_done(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        future, ended = runtime.future(), runtime.future()

        async def wait() -> None:
            try:
                await future
            finally:
                ended.set_result(None)

        task = runtime.spawn(wait())
        await runtime.sleep(0.001)
        assert not future.done()
        task.cancel()
        await ended
        assert future.done()

    run_loop(loop, test)


def test_an_exception_in_the_block_leaves_the_runtime_as_it_is(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        del runtime
        raise LookupError("from the block")

    with pytest.raises(LookupError, match="from the block"):
        run_loop(loop, test)


def test_leaving_a_runtime_on_trio_cancels_its_tasks() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with open_runtime() as runtime:

            async def wait() -> None:
                try:
                    await runtime.sleep(1000)
                except runtime.cancelled:
                    seen.append("cancelled")
                    raise

            runtime.spawn(wait())
            await runtime.sleep(0.001)

    run(main, loop="trio")
    assert seen == ["cancelled"]


def test_the_runtime_is_that_of_the_loop_that_runs() -> None:
    pytest.importorskip("uvloop")

    async def name() -> str:
        async with open_runtime() as runtime:
            return runtime.name

    assert run(name, loop="asyncio") == "asyncio"
    assert run(name, loop="uvloop") == "uvloop"
    assert run(name, loop="trio") == "trio"
    assert run(name) == "uvloop"
    assert asyncio.run(name()) == "asyncio"


def test_there_is_no_runtime_without_a_loop() -> None:
    with pytest.raises(UsageError, match="no event loop is running"):
        open_runtime()


def test_run_passes_arguments_and_exceptions_through(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("uvloop")
    caplog.set_level(logging.ERROR)

    async def divide(a: int, b: int) -> float:
        return a / b

    for loop in ("asyncio", "uvloop", "trio"):
        assert run(divide, 6, 3, loop=loop) == 2
        with pytest.raises(ZeroDivisionError):
            run(divide, 6, 0, loop=loop)
    assert caplog.text == ""


def test_ctrl_c_in_a_task_on_trio_is_a_plain_keyboard_interrupt() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with open_runtime() as runtime:
            runtime.spawn(interrupt())
            await runtime.sleep(1000)

    with pytest.raises(KeyboardInterrupt):
        run(main, loop="trio")


def test_auto_is_asyncio_where_uvloop_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "find_spec", lambda name: None)

    async def name() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(name).startswith("asyncio.")
    for loop in ("uvloop", "trio"):
        with pytest.raises(ConfigurationError, match=f"`pip install {loop}`"):
            run(name, loop=loop)


def test_run_takes_a_function_and_no_loop_around_it() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="runs in this thread already"):
            run(main)

    asyncio.run(main())
    with pytest.raises(UsageError, match="and not a coroutine"):
        run(main())  # type: ignore[arg-type]


def test_a_loop_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='no event loop is called "curio"'):
        run(open_runtime, loop="curio")  # type: ignore[arg-type]
