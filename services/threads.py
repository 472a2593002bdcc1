"""A few threads for work that is too long for the event loop and lets go of the interpreter lock, as signing does.

Leaner than `run_in_executor` and anyio's threads, whose hand-over costs several times as much
(docs/performance-details.md, "Signing"). Imports nothing of wire.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")

_Job = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]

NICENESS: Final = 10
"""Added to the threads' niceness: where cores are short, the event loop, on which every call waits, goes first."""


def available_cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """At most `count` threads, started when first needed, so that a process may still fork before."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._started = 0
        self._limiter: anyio.CapacityLimiter | None = None

    def run(self, function: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Call `function(*args)` in one of the threads; await the result in the event loop. A call whose waiter was
        cancelled before a thread took it is not made."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            if self._limiter is None:
                self._limiter = anyio.CapacityLimiter(self._count)
            return anyio.to_thread.run_sync(function, *args, limiter=self._limiter)
        if self._started < self._count:
            self._started += 1
            threading.Thread(target=self._work, name=f"wire-{self._started}", daemon=True).start()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, function, args))
        return future

    def _work(self) -> None:
        if sys.platform == "linux":  # there a thread has a niceness of its own
            nice = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(nice, 19))
        while True:
            _do(*self._jobs.get())  # in a function, so that an idle thread holds on to nothing


def _do(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    if future.cancelled():
        return
    try:
        settle, outcome = future.set_result, function(*args)
    except Exception as error:
        settle, outcome = future.set_exception, error
    try:
        loop.call_soon_threadsafe(_settle, future, settle, outcome)
    except RuntimeError:  # the event loop has ended meanwhile
        pass


def _settle(future: asyncio.Future[Any], settle: Callable[[Any], None], outcome: Any) -> None:
    if not future.done():
        settle(outcome)
