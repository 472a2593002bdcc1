"""Load: calls made as fast as answers come (closed loop), or when they are due whatever the answers do (open loop).

In: exchanges (an async function that makes one call and returns when it is answered) and a `Load`. Out: a `Tally`. The
clock is `time.monotonic`, which the processes of a machine share. Imports `latency`, `ticker` and of wire `RpcError`.

Open loop, as wrk2 does it: each connection has a timetable, and latency counts from the time when a request was due, so
that a server that stalls cannot hide it by not being asked meanwhile. There is no task for each request: a caller that
waits is handed the next request when it is due, and a caller whose answer comes late takes one that is overdue.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from wire.inspect import LayerCosts
from wire.programs.latency import Counts, Recorder, add_up
from wire.programs.shapes import Shape
from wire.programs.ticker import tick
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future, Runtime

Exchange = Callable[[], Awaitable[Any]]
NewExchange = Callable[[], Exchange]
"""Makes what one caller calls again and again, so that each may keep a stream of its own."""

_NEVER = math.inf
_POLL_S = 0.05
_PARTS = 100
_PAUSE_S = 0.05
"""After UNAVAILABLE in a closed loop, so that a server that is gone is not called as fast as errors come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one process is to do.

    `callers`: most calls in flight, spread over the connections. `shape`: when requests are due; None: a
    closed loop. The first `warmup_s` leave no trace. Measuring ends after `duration_s`, or with `requests` calls.
    `phase` (from 0 to below 1): this process's place in the timetable of several. `grace_s`: for calls in flight then.
    `part_s`: what is counted by itself, too.
    """

    callers: int
    shape: Shape | None = None
    warmup_s: float = 0.0
    duration_s: float = _NEVER
    requests: int | None = None
    phase: float = 0.0
    grace_s: float = 5.0
    part_s: float = 1.0


@dataclass(slots=True)
class Part:
    """What came of it in a while: `seconds` from `at_s` after measuring began."""

    at_s: float
    seconds: float
    answered: Counts
    errors: Counter[str]
    cpu_s: float


@dataclass(slots=True)
class Tally:
    """What came of it after the warm-up, in `seconds` of wall time and `cpu_s` of this process.

    `answered`: calls by latency. `errors`: others by gRPC code. `unanswered`: calls given up at the end. `unsent`:
    requests that were due, but `callers` were in flight. `lateness`: how long after they were due requests were sent.
    `costs`: by layer, in a share of the time, where that was asked for.
    """

    answered: Counts = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    unsent: int = 0
    lateness: Counts = field(default_factory=dict)
    seconds: float = 0.0
    cpu_s: float = 0.0
    parts: list[Part] = field(default_factory=list)
    costs: LayerCosts | None = None


@dataclass(slots=True)
class _Lane:
    """One connection, and in an open loop its timetable: the next request is number `number`, and `due` then.

    It has every `step`th request of the process. `callers`: tasks that have not ended. `waiting`: those that have no
    request at the moment.
    """

    new_exchange: NewExchange
    callers: int
    shape: Shape | None = None
    from_s: float = _NEVER
    number: float = 0.0
    step: int = 1
    due: float = _NEVER
    waiting: list[Future[float]] = field(default_factory=list)

    def advance(self, requests: int = 1) -> None:
        """To the next request, or one further on."""
        assert self.shape is not None
        self.number += requests * self.step
        self.due = self.from_s + self.shape.time_of(self.number)

    @property
    def in_flight(self) -> int:
        return self.callers - len(self.waiting)


class LoadRun:
    """One run of a load over connections. `progress` and `stop` may be called from another thread."""

    def __init__(self, load: Load, connections: list[NewExchange], runtime: Runtime) -> None:
        self._load = load
        self._runtime = runtime
        self._tally = Tally()
        self._answers = Recorder()
        self._lateness = Recorder()
        self._part_from, self._part_cpu_s = _NEVER, 0.0
        self._part_errors = Counter[str]()
        self._done = 0
        self._left = _NEVER if load.requests is None else load.requests
        self._stopped = False
        self._start = self._from = self._last = 0.0
        self._until = self._stop_at = _NEVER  # no request is due from the one on, none is sent from the other on
        share, more = divmod(load.callers, len(connections))
        self._lanes = [_Lane(connection, share + (index < more)) for index, connection in enumerate(connections)]

    def progress(self) -> int:
        """Calls that have ended, well or not, since the warm-up."""
        return self._done

    def stop(self) -> None:
        """Start no more calls; those in flight may end."""
        self._stopped = True
        self._stop_at = self._until = min(self._stop_at, time.monotonic())

    async def run(self, start_s: float) -> Tally:
        """Begin at `start_s`; returns when all calls have ended or were given up."""
        load, tally = self._load, self._tally
        self._start = start_s
        self._from = start_s + load.warmup_s
        if load.shape is not None:
            self._draw_up_timetable(load.shape)
        self._stop_at = self._from + load.duration_s
        self._until = min(self._until, self._stop_at)
        call = self._call_closed if load.shape is None else self._call_open
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._begin_measuring)
            for lane in self._lanes:
                for _ in range(lane.callers):
                    tasks.start_soon(call, lane)
            if load.shape is not None:
                tasks.start_soon(self._keep_timetable, load.shape)
            await self._wait_for_end()
            tally.cpu_s = time.process_time() - tally.cpu_s
            tally.unanswered = sum(lane.in_flight for lane in self._lanes)
            tasks.cancel_scope.cancel()
        until = min(self._until, self._stop_at)
        if load.shape is not None and until < _NEVER:
            due = load.shape.count(until - self._from)
            tally.unsent = sum(max(0, math.ceil((due - lane.number) / lane.step)) for lane in self._lanes)
        ended = self._last if self._stop_at == _NEVER else max(self._last, self._stop_at)
        tally.seconds = max(0.0, ended - self._from)
        self._end_part()
        for part, counts in zip(tally.parts, self._answers.parts(), strict=False):
            part.answered = counts
        tally.answered = add_up(part.answered for part in tally.parts)
        tally.lateness = self._lateness.counts()
        return tally

    async def _begin_measuring(self) -> None:
        await _sleep_until(self._from)
        for lane in self._lanes:
            if lane.due < self._from:  # what the warm-up left over is nobody's latency
                lane.advance(math.ceil(-lane.number / lane.step))
        self._tally.cpu_s = self._part_cpu_s = time.process_time()
        self._part_from = self._from
        part_s = self._load.part_s
        while self._part_from < self._until:  # what ends later is a part by itself, as no more is sent
            await _sleep_until(min(self._part_from + part_s, self._until))
            self._end_part()
            if len(self._tally.parts) % _PARTS == 0:  # nobody said how long it would last
                part_s *= 2

    def _end_part(self) -> None:
        if self._part_from == _NEVER:  # it never came to measuring
            return
        now, cpu_s, tally = time.monotonic(), time.process_time(), self._tally
        at_s, seconds = self._part_from - self._from, now - self._part_from
        tally.parts.append(Part(at_s, seconds, {}, self._part_errors, cpu_s - self._part_cpu_s))
        self._part_from, self._part_cpu_s, self._part_errors = now, cpu_s, Counter()
        self._answers.split()

    async def _wait_for_end(self) -> None:
        """Until no call is in flight and none is to come, or the grace time has passed."""
        while (left_s := self._stop_at - time.monotonic()) > 0 and self._more_to_come():
            await anyio.sleep(min(_POLL_S, left_s))
        give_up_at = time.monotonic() + self._load.grace_s
        while any(lane.in_flight for lane in self._lanes) and time.monotonic() < give_up_at:
            await anyio.sleep(_POLL_S)

    def _more_to_come(self) -> bool:
        if self._load.shape is None:
            return self._left > 0
        return any(lane.due < self._until for lane in self._lanes)

    async def _call_closed(self, lane: _Lane) -> None:
        exchange, clock, record = lane.new_exchange(), time.monotonic, self._answers.record
        await _sleep_until(self._start)
        now = clock()
        while now < self._stop_at:
            started = now
            if started >= self._from:
                if self._left <= 0:
                    break
                self._left -= 1
            try:
                await exchange()
            except RpcError as error:
                self._failed(error, started)
                if error.code is StatusCode.UNAVAILABLE:
                    await anyio.sleep(_PAUSE_S)
                now = clock()
                continue
            now = clock()
            if started >= self._from:
                record(now - started)
                self._done += 1
        self._last = max(self._last, now)
        lane.callers -= 1

    async def _call_open(self, lane: _Lane) -> None:
        exchange, clock, record = lane.new_exchange(), time.monotonic, self._answers.record
        now = 0.0
        while True:
            if now >= self._stop_at:
                break
            due = lane.due
            if due <= now:
                lane.advance()
            else:
                waiter: Future[float] = self._runtime.future()
                lane.waiting.append(waiter)
                due = await waiter
            if due >= self._until or self._stopped:
                break
            try:
                await exchange()
            except RpcError as error:
                now = clock()
                self._failed(error, due)
            else:
                now = clock()
                if due >= self._from:
                    record(now - due)
                    self._done += 1
            self._last = now
        lane.callers -= 1

    def _draw_up_timetable(self, shape: Shape) -> None:
        rate_per_s = shape.first_rate_per_s
        early = round(self._load.warmup_s * rate_per_s)
        # Requests lie half an interval behind whole numbers, so that rounding does not decide which ones are measured.
        self._from = self._start + early / rate_per_s + self._load.phase / rate_per_s
        if self._load.requests is not None:
            self._until = self._from + shape.time_of(self._load.requests)
        for index, lane in enumerate(self._lanes):
            lane.shape, lane.from_s, lane.step = shape, self._from, len(self._lanes)
            lane.number = index - early + 0.5 - lane.step
            lane.advance()

    async def _keep_timetable(self, shape: Shape) -> None:
        """Hand each request, when it is due, to a caller of its connection that waits."""
        lanes, clock, record = self._lanes, time.monotonic, self._lateness.record

        def send_due() -> bool:
            now = clock()
            for lane in lanes:
                while lane.due <= now and lane.due < self._until and lane.waiting:
                    lane.waiting.pop().set_result(lane.due)
                    if lane.due >= self._from:
                        record(now - lane.due)
                    lane.advance()
            return not self._more_to_come()

        first_s = min(lane.due for lane in lanes)
        await tick(first_s, 1 / shape.peak_rate_per_s, send_due, on_asyncio=self._runtime.name != "trio")

    def _failed(self, error: RpcError, due: float) -> None:
        if due >= self._from:
            self._tally.errors[error.code.name] += 1
            self._part_errors[error.code.name] += 1
            self._done += 1


async def _sleep_until(time_s: float) -> None:
    await anyio.sleep(max(0.0, time_s - time.monotonic()))
