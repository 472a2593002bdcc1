"""Ticks more precise than an event loop's timers, for sending requests when they are due.

asyncio, uvloop and trio round their timers up to a millisecond, many times what an echo takes. A timerfd is a file
that becomes readable when it expires (timerfd_create(2)), to some 50 µs. Without one, the loop's own timer has to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

import anyio

SHORTEST_S = 100e-6
"""A tick costs some 20 µs of CPU; closer ones would take more than the requests that they send."""

_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    def __init__(self, time_s: float) -> None:
        super().__init__(int(time_s), int(time_s % 1 * 1e9))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timer(first_s: float, interval_s: float) -> int:
    """A timerfd that expires at `first_s` of the monotonic clock, then each `interval_s`. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    times = _Itimerspec(_Timespec(interval_s), _Timespec(first_s))
    if libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(times), None):
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), "timerfd_settime")
    return descriptor


async def tick(first_s: float, interval_s: float, on_tick: Callable[[], bool], *, on_asyncio: bool) -> None:
    """Call `on_tick` at `first_s` of `time.monotonic`, then each `interval_s`, until it returns True. It may not raise.

    Ticks that were missed are one. `on_asyncio`: the running loop is asyncio's or uvloop's, not trio's.
    """
    interval_s = max(interval_s, SHORTEST_S)
    if sys.platform != "linux":
        await anyio.sleep(max(0.0, first_s - time.monotonic()))
        while not on_tick():
            await anyio.sleep(interval_s)
        return
    descriptor = _timer(first_s, interval_s)
    try:
        if on_asyncio:
            await _tick_on_asyncio(descriptor, on_tick)
        else:
            while True:
                await anyio.wait_readable(descriptor)
                os.read(descriptor, 8)
                if on_tick():
                    return
    finally:
        os.close(descriptor)


async def _tick_on_asyncio(descriptor: int, on_tick: Callable[[], bool]) -> None:
    """Half of what `anyio.wait_readable` costs, which registers the descriptor anew for each tick."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def readable() -> None:
        os.read(descriptor, 8)
        if not done.done() and on_tick():
            done.set_result(None)

    loop.add_reader(descriptor, readable)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
