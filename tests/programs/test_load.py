"""Closed loops keep so many calls in flight, open loops keep a timetable that a slow server cannot change."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

import wire
from tests.support import run
from wire.programs.latency import UNITS_PER_S
from wire.programs.load import Load, LoadRun, NewExchange, Tally
from wire.programs.shapes import Constant
from wire.transport.runtime import LoopName, open_runtime

AsyncExchange = Callable[[], Coroutine[Any, Any, None]]


def carry_out(load: Load, *exchanges: AsyncExchange, loop: LoopName = "asyncio") -> Tally:
    """The tally of a load over one connection for each exchange."""
    connections: list[NewExchange] = [lambda each=each: each for each in exchanges]  # type: ignore[misc]

    async def main() -> Tally:
        async with open_runtime() as runtime:
            return await LoadRun(load, connections, runtime).run(time.monotonic())

    return run(main, loop=loop)


def shape_of(rate_per_s: float | None) -> Constant | None:
    return None if rate_per_s is None else Constant(rate_per_s)


class Peer:
    """Answers after a turn of the loop, and counts."""

    def __init__(self) -> None:
        self.calls = self.in_flight = self.most_in_flight = 0

    async def answer(self) -> None:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await anyio.sleep(0)
        self.in_flight -= 1


def test_closed_loop_makes_exactly_the_requests_with_all_callers_in_flight(loop: LoopName) -> None:
    one, other = Peer(), Peer()
    tally = carry_out(Load(callers=7, requests=500), one.answer, other.answer, loop=loop)
    assert one.calls + other.calls == sum(tally.answered.values()) == 500
    assert (one.most_in_flight, other.most_in_flight) == (4, 3)
    assert tally.unanswered == tally.unsent == 0


def test_open_loop_makes_exactly_the_requests_spread_over_connections(loop: LoopName) -> None:
    one, other = Peer(), Peer()
    tally = carry_out(Load(callers=10, shape=Constant(2000), requests=100), one.answer, other.answer, loop=loop)
    assert sum(tally.answered.values()) == 100
    assert one.calls == other.calls == 50


def test_open_loop_sends_no_request_before_it_is_due() -> None:
    sent: list[float] = []

    async def answer() -> None:
        sent.append(time.monotonic())

    begun = time.monotonic()
    carry_out(Load(callers=10, shape=Constant(1000), requests=30), answer)
    assert all(at >= begun + index / 1000 - 1e-6 for index, at in enumerate(sent))


def test_open_loop_counts_a_stall_for_every_request_that_was_due_meanwhile(loop: LoopName) -> None:
    stalled = False

    async def stall_once() -> None:
        nonlocal stalled
        if not stalled:
            stalled = True
            await anyio.sleep(0.1)

    # One call in flight: a closed loop would see one slow call, and 99 fast ones.
    tally = carry_out(Load(callers=1, shape=Constant(1000), requests=100), stall_once, loop=loop)
    slow = sum(count for units, count in tally.answered.items() if units >= 0.05 * UNITS_PER_S)
    assert slow >= 50
    assert sum(tally.answered.values()) == 100


def test_requests_that_a_server_was_too_slow_for_are_unsent() -> None:
    async def slow() -> None:
        await anyio.sleep(0.03)

    tally = carry_out(Load(callers=1, shape=Constant(1000), duration_s=0.1), slow)
    assert sum(tally.answered.values()) + tally.unsent == 100
    assert tally.unsent >= 96


def test_warm_up_leaves_no_trace() -> None:
    begun = 0.0

    async def answer() -> None:
        if time.monotonic() < begun + 0.05:
            raise wire.RpcError(wire.StatusCode.INTERNAL)

    async def main() -> Tally:
        nonlocal begun
        async with open_runtime() as runtime:
            begun = time.monotonic()
            load = Load(callers=1, shape=Constant(1000), warmup_s=0.05, requests=20)
            return await LoadRun(load, [lambda: answer], runtime).run(begun)

    tally = run(main)
    assert not tally.errors
    assert sum(tally.answered.values()) == 20


def test_requests_that_the_warm_up_left_over_are_not_made_up_for() -> None:
    peer = Peer()

    async def stall_once() -> None:
        if peer.calls == 0:
            await anyio.sleep(0.1)  # past the warm-up, and all that is due afterwards
        await peer.answer()

    tally = carry_out(Load(callers=1, shape=Constant(1000), warmup_s=0.05, requests=20), stall_once)
    assert sum(tally.answered.values()) == 20
    assert peer.calls == 21


def test_requests_that_were_due_while_the_event_loop_was_busy_are_sent_at_the_end() -> None:
    blocked = False

    async def block_once() -> None:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.25)  # not anyio.sleep: nothing else runs

    tally = carry_out(Load(callers=30, shape=Constant(100), duration_s=0.2), block_once)
    assert sum(tally.answered.values()) == 20
    assert tally.unsent == 0


def test_after_stop_no_request_is_sent_although_some_are_overdue() -> None:
    calls = 0

    async def main() -> Tally:
        async with open_runtime() as runtime:
            load_run = LoadRun(Load(callers=30, shape=Constant(1000)), [lambda: block_and_stop], runtime)

            async def block_and_stop() -> None:
                nonlocal calls
                calls += 1
                time.sleep(0.02)  # not anyio.sleep: nothing else runs
                load_run.stop()

            return await load_run.run(time.monotonic())

    run(main)
    assert calls == 1


@pytest.mark.parametrize("rate_per_s", [None, 5000.0])
def test_errors_are_counted_by_code(rate_per_s: float | None) -> None:
    codes = iter([wire.StatusCode.INTERNAL, wire.StatusCode.INTERNAL, wire.StatusCode.UNAVAILABLE])

    async def fail() -> None:
        if code := next(codes, None):
            raise wire.RpcError(code)

    tally = carry_out(Load(callers=1, shape=shape_of(rate_per_s), requests=10), fail)
    assert tally.errors == {"INTERNAL": 2, "UNAVAILABLE": 1}
    assert sum(tally.answered.values()) == 7


@pytest.mark.parametrize("rate_per_s", [None, 1000.0])
def test_calls_that_are_never_answered_are_given_up(rate_per_s: float | None, loop: LoopName) -> None:
    load = Load(callers=3, shape=shape_of(rate_per_s), requests=3, grace_s=0.01)
    tally = carry_out(load, anyio.sleep_forever, loop=loop)
    assert tally.unanswered == 3
    assert not tally.answered


@pytest.mark.parametrize("rate_per_s", [None, 1000.0])
def test_stop_ends_a_load_without_an_end(rate_per_s: float | None, loop: LoopName) -> None:
    peer = Peer()

    async def main() -> tuple[Tally, int]:
        async with open_runtime() as runtime:
            load_run = LoadRun(Load(callers=2, shape=shape_of(rate_per_s)), [lambda: stop_after_ten], runtime)

            async def stop_after_ten() -> None:
                await peer.answer()
                if peer.calls >= 10:
                    load_run.stop()

            return await load_run.run(time.monotonic()), load_run.progress()

    tally, ended = run(main, loop=loop)
    assert ended == sum(tally.answered.values()) == peer.calls
    assert 10 <= peer.calls <= 11
    assert tally.unanswered == 0
