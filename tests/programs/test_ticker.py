"""Ticks come when they are due, never before, on every loop."""

from __future__ import annotations

import time

import pytest

from tests.support import run
from wire.programs import ticker
from wire.transport.runtime import LoopName


def ticks(loop: LoopName, count: int, interval_s: float) -> tuple[float, list[float]]:
    """The time of the first tick that is asked for, and the times of `count` that came."""
    seen: list[float] = []

    def on_tick() -> bool:
        seen.append(time.monotonic())
        return len(seen) == count

    async def main() -> float:
        first_s = time.monotonic() + 0.005
        await ticker.tick(first_s, interval_s, on_tick, on_asyncio=loop != "trio")
        return first_s

    return run(main, loop=loop), seen


def test_ticks_are_not_early_and_end_when_told(loop: LoopName) -> None:
    first_s, seen = ticks(loop, 5, 0.002)
    assert len(seen) == 5
    assert all(at >= first_s + index * 0.002 - 1e-6 for index, at in enumerate(seen))


def test_where_there_is_no_timerfd_the_loop_ticks(loop: LoopName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    first_s, seen = ticks(loop, 3, 0.001)
    assert len(seen) == 3
    assert seen[0] >= first_s - 0.001  # what a loop's timer rounds


def test_a_timer_that_cannot_be_made_says_why() -> None:
    with pytest.raises(OSError, match="timerfd_settime"):
        ticker._timer(-1.0, 0.001)
