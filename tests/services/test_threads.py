"""Work in threads: results, errors and cancellation reach the event loop, and only as many run as were asked for."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable
from typing import Any

import anyio
import pytest

import wire
from services.threads import NICENESS, Threads
from wire.transport.runtime import LoopName


async def wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def test_result_comes_back(loop: LoopName) -> None:
    async def main() -> tuple[int, bool]:
        here = threading.get_ident()
        return await Threads(1).run(lambda a, b: (a + b, threading.get_ident() != here), 1, 2)

    assert wire.run(main, loop=loop) == (3, True)


def test_error_comes_back(loop: LoopName) -> None:
    async def main() -> None:
        await Threads(1).run(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        wire.run(main, loop=loop)


def test_no_more_run_at_once_than_were_asked_for(loop: LoopName) -> None:
    threads = Threads(2)
    meeting = threading.Barrier(2, timeout=30)  # breaks unless two are there at once
    lock = threading.Lock()
    running: list[int] = [0]
    most: list[int] = [0]

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        meeting.wait()
        with lock:
            running[0] -= 1

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(wait_for, threads.run(work))

    wire.run(main, loop=loop)
    assert most == [2]


def test_work_whose_waiter_was_cancelled_in_the_queue_is_not_done() -> None:
    done: list[str] = []
    blocked = threading.Event()

    async def main() -> None:
        threads = Threads(1)
        first = asyncio.ensure_future(wait_for(threads.run(blocked.wait, 30)))
        second = asyncio.ensure_future(wait_for(threads.run(done.append, "second")))
        third = asyncio.ensure_future(wait_for(threads.run(done.append, "third")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        blocked.set()
        await asyncio.wait([first, second, third])

    asyncio.run(main())
    assert done == ["third"]


def test_event_loop_that_ended_meanwhile_does_no_harm() -> None:
    threads = Threads(1)
    blocked = threading.Event()

    async def leave() -> None:
        threads.run(blocked.wait, 30)  # and nobody waits for it

    async def stay() -> str:
        return await threads.run(str, "still here")

    asyncio.run(leave())
    blocked.set()
    assert asyncio.run(stay()) == "still here"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_threads_give_way_to_the_event_loop() -> None:
    async def main() -> int:
        return await Threads(1).run(os.getpriority, os.PRIO_PROCESS, 0)

    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert asyncio.run(main()) == min(before + NICENESS, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
