"""A process that makes load, and its parent's handle on it.

The two talk over a pipe: the child connects and says `Ready`, the parent says when to start, the child reports now and
then how many calls have ended, and at last its `Tally`; or, at any time, `Failed`. Signals to the whole process group,
as Ctrl-C and timeout(1) send them, are the parent's to see: it tells the children to stop and still gets their tallies.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Final, Protocol

import anyio

import wire
from wire.inspect import LayerCosts, Sampler, Samples, add_up, layer_costs
from wire.programs.load import Load, LoadRun, NewExchange, Tally
from wire.programs.tracing import TraceFlags

_REPORT_EACH_S = 0.2


class Workload(Protocol):
    """What is called. It is sent to another process, so it must be picklable."""

    @property
    def services(self) -> Sequence[wire.Service]:
        """Those whose messages a trace shows by name."""

    def exchanges(self, channel: wire.Channel) -> NewExchange:
        """Calls on one connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one process needs to know."""

    target: str
    tls: wire.ClientTls | None
    config: wire.ChannelConfig
    loop: wire.transport.runtime.LoopName
    connections: int
    workload: Workload
    load: Load
    trace: TraceFlags | None = None
    breakdown: bool = False
    """Take samples of the layers, in the times of `sampled_times`."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Every connection has answered a call."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The process gives up; `reason` is for the user."""

    reason: str


Report = Ready | int | Tally | Failed
"""An int is how many calls have ended."""


class LoadProcess:
    """A child that carries out a plan."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_main, args=(plan, child), daemon=True)
        resource_tracker.ensure_running()  # which unblocks SIGINT when it starts, as it would below
        # What is blocked here stays so in the child: Ctrl-C, which the terminal sends to both.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child.close()

    def start(self, start_s: float) -> None:
        """Begin at that time of `time.monotonic`."""
        self._tell(start_s)

    def stop(self) -> None:
        """Start no more calls, and report."""
        self._tell(None)

    def receive(self) -> Report:
        """The next report; waits for it."""
        try:
            report: Report = self.connection.recv()
        except (EOFError, ConnectionResetError):
            return Failed("a load process has died")
        return report

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.terminate()
        self.process.join()
        self.connection.close()

    def _tell(self, message: float | None) -> None:
        try:
            self.connection.send(message)
        except OSError:
            pass  # it has ended, as `receive` will say


def _main(plan: Plan, connection: Connection) -> None:
    os.setpgid(0, 0)
    try:
        wire.run(_carry_out, plan, connection, loop=plan.loop)
    except BaseException as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        known = isinstance(error, wire.WireError)
        _report(connection, Failed(str(error) if known else f"internal error: {type(error).__name__}: {error}"))


async def _carry_out(plan: Plan, connection: Connection) -> None:
    trace = None if plan.trace is None else plan.trace.trace(plan.workload.services, several=True)
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(wire.Channel(plan.target, tls=plan.tls, config=plan.config, trace=trace))
            for _ in range(plan.connections)
        ]
        connections = [plan.workload.exchanges(channel) for channel in channels]
        for new_exchange in connections:
            await new_exchange()()
        run = LoadRun(plan.load, connections, channels[0].runtime)
        sampling = _Sampling(run)
        _report(connection, Ready())
        start_s = await anyio.to_thread.run_sync(connection.recv)
        if start_s is None:
            return
        threading.Thread(target=_stop_when_told, args=(connection, run), daemon=True).start()
        wire.tune_process()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_report_progress, connection, run)
            if plan.breakdown:
                tasks.start_soon(sampling.run, start_s + plan.load.warmup_s, plan.load.duration_s)
            tally = await run.run(start_s)
            tasks.cancel_scope.cancel()
        tally.costs = sampling.costs()
        _report(connection, tally)


def _report(connection: Connection, report: Report) -> None:
    try:
        connection.send(report)
    except OSError:
        pass  # the parent has gone, and nobody wants to know


_SAMPLED: Final = ((0.1, 0.275), (0.4, 0.575), (0.7, 0.875))
_LONGEST_SAMPLED_S: Final = 9.0  # a server ends at ten by itself


def sampled_times(duration_s: float) -> list[tuple[float, float]]:
    """From when until when samples are taken in a run, in seconds. In between none are, so that what changes on the
    machine changes both."""
    times = [(begin * duration_s, end * duration_s) for begin, end in _SAMPLED]
    return [(begin_s, min(end_s, begin_s + _LONGEST_SAMPLED_S)) for begin_s, end_s in times]


class _Sampling:
    """Samples of a run, while it lasts."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run
        self._taken: list[tuple[Samples, int]] = []

    async def run(self, from_s: float, duration_s: float) -> None:
        for begin_s, end_s in sampled_times(duration_s):
            await anyio.sleep(max(0.0, from_s + begin_s - time.monotonic()))
            sampler, before = Sampler(), self._run.progress()
            sampler.start()
            try:
                await anyio.sleep(max(0.0, from_s + end_s - time.monotonic()))
            finally:
                self._taken.append((sampler.stop(), self._run.progress() - before))

    def costs(self) -> LayerCosts | None:
        """Adding up takes a while: not while the load goes on."""
        return add_up([layer_costs(samples, calls) for samples, calls in self._taken])


async def _report_progress(connection: Connection, run: LoadRun) -> None:
    while True:
        await anyio.sleep(_REPORT_EACH_S)
        _report(connection, run.progress())


def _stop_when_told(connection: Connection, run: LoadRun) -> None:
    """In a thread of its own, which costs the event loop nothing while it waits for the parent."""
    try:
        connection.recv()
    except (EOFError, OSError):
        pass  # the parent has gone
    run.stop()
