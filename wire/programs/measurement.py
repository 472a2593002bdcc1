"""One measurement: load processes that start together, and what they and the server's CPU time come to.

In: plans, one for each process. Out: a `Measured`. Imports `load_process`, `load` and `usage`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import wait

from wire.programs.load import Tally
from wire.programs.load_process import Failed, LoadProcess, Plan
from wire.programs.usage import cpu_s

_START_IN_S = 0.1  # time for every process to hear of it
_REFRESH_S = 0.1
_SAMPLE_EACH_S = 0.1

Sample = tuple[float, float]
"""Seconds since measuring began, and CPU seconds of the server until then."""

Show = Callable[[float, int], None]
"""Told the seconds since measuring began (below 0 before that) and how many calls have ended."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`server_cpu_s`: CPU seconds of the server while it was measured; None where it is not known. `server_samples`:
    its CPU seconds as they grew."""

    tallies: list[Tally]
    server_cpu_s: float | None = None
    interrupted: bool = False
    server_samples: list[Sample] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def answered(self) -> bool:
        """Whether any call was."""
        return any(tally.answered for tally in self.tallies)


def measure(
    plans: Iterable[Plan], server_pid: int | None, show: Show, timed: Sequence[tuple[float, Callable[[], object]]] = ()
) -> Measured:
    """Carry out the plans. Raises `SystemExit` with a sentence when a process cannot.

    `server_pid`: whose CPU time, with its descendants', is counted. `timed`: what to call when, in seconds since
    measuring began. An interrupt (Ctrl-C) ends it early; a second
    one is raised.
    """
    with ExitStack() as stack:
        processes = []
        for plan in plans:
            processes.append(LoadProcess(plan))
            stack.callback(processes[-1].close)
        return _Measurement(processes, plan.load.warmup_s, server_pid, show, timed).run()


class _Measurement:
    def __init__(
        self,
        processes: list[LoadProcess],
        warmup_s: float,
        server_pid: int | None,
        show: Show,
        timed: Sequence[tuple[float, Callable[[], object]]],
    ) -> None:
        self._timed = list(timed)
        self._processes = processes
        self._warmup_s = warmup_s
        self._server_pid = server_pid
        self._show = show

    def run(self) -> Measured:
        for process in self._processes:
            if isinstance(report := process.receive(), Failed):
                raise SystemExit(report.reason)
        began = datetime.now(UTC)
        samples: list[Sample] = []
        start_s = time.monotonic() + _START_IN_S
        measuring_s = start_s + self._warmup_s
        used_before_s = self._used_s()
        warming_up = self._warmup_s > 0
        for process in self._processes:
            process.start(start_s)
        talking = {process.connection: process for process in self._processes}
        calls = dict.fromkeys(self._processes, 0)
        tallies: list[Tally] = []
        interrupted = False
        while talking:
            try:
                before_s = measuring_s - time.monotonic()
                if warming_up and before_s <= 0:
                    warming_up = False
                    used_before_s = self._used_s()
                for ready in wait(list(talking), _REFRESH_S if before_s <= 0 else min(before_s, _REFRESH_S)):
                    process = talking[ready]  # type: ignore[index]
                    match process.receive():
                        case Tally() as tally:
                            tallies.append(tally)
                            del talking[process.connection]
                        case Failed() as failed:
                            raise SystemExit(failed.reason)
                        case int(ended):
                            calls[process] = ended
                elapsed_s = time.monotonic() - measuring_s
                if elapsed_s >= 0 and (not samples or elapsed_s - samples[-1][0] >= _SAMPLE_EACH_S):
                    used_s = self._used_s()
                    if used_s is not None:
                        samples.append((elapsed_s, used_s))
                while self._timed and elapsed_s >= self._timed[0][0] and not interrupted:
                    self._timed.pop(0)[1]()
                self._show(elapsed_s, sum(calls.values()))
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                for process in self._processes:
                    process.stop()
        used_s = self._used_s()
        used = None if used_s is None or used_before_s is None else used_s - used_before_s
        return Measured(tallies, used, interrupted, samples, began)

    def _used_s(self) -> float | None:
        return None if self._server_pid is None else cpu_s(self._server_pid)
