"""`--breakdown`: what each layer of server and client costs, by engine. In: runs of the bench. Out: tables, plain data,
a flame graph. Imports `bench_plan`, `measurement` and `wire.inspect`.

Each run samples in some of its time, and in the rest does not: what a call costs then is put beside what the layers
come to.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from wire.inspect import LayerCosts, add_up, costs_as_text, flame_graph, folded_lines
from wire.inspect.sampling import unsupported
from wire.programs import cli
from wire.programs.bench_plan import Target
from wire.programs.bench_report import show_time
from wire.programs.load_process import sampled_times
from wire.programs.measurement import Measured

ENGINES: Final = ("tuned", "h2")
_SETTLED: Final = 0.025
"""Of the duration: a server that adds its samples up is not what it is else."""
_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Broken:
    """One run. `report`: as of any run."""

    engine: str
    report: dict[str, Any]
    duration_s: float
    client: LayerCosts | None
    server: LayerCosts | None

    @property
    def sides(self) -> Iterator[tuple[str, LayerCosts, float | None]]:
        """Name, costs, and CPU microseconds a call while nothing was sampled, of each side that was."""
        for side, costs in (("server", self.server), ("client", self.client)):
            if costs is not None:
                yield side, costs, _unmeasured_us(self.report["parts"], side, self.duration_s)


def add_breakdown_flags(add: Callable[..., Any]) -> None:
    """By `add_argument` of a parser or a group."""
    add("--breakdown", action="store_true", help="CPU time by layer, with each engine (see below)")
    add("--flamegraph", type=cli.writable_file, metavar="F", help="draw it, to F.svg; to another F as folded stacks")


def check_breakdown_flags(parser: cli.Parser, args: argparse.Namespace) -> None:
    """Refuse what does not go together, and what this interpreter cannot do. Has `args.loop` be one that shows all."""
    if args.flamegraph and not args.breakdown:
        parser.error("--flamegraph goes with --breakdown")
    if not args.breakdown:
        return
    for flag, on in (
        ("--requests", args.requests),
        ("--rounds", args.rounds),
        ("--sweep", args.sweep),
        ("--find-limit", args.find_limit),
        ("--trace", args.trace is not None or args.trace_file),
    ):
        if on:
            parser.error(f"--breakdown and {flag} do not go together")
    if reason := unsupported():
        parser.error(reason)
    if args.loop == "auto":  # uvloop reads and writes where no sample sees it
        args.loop = "asyncio"


def server_signals(target: Target, duration_s: float) -> list[tuple[float, Callable[[], None]]]:
    """When a server of ours begins and ends to measure, in seconds."""
    if target.costs_file is None or target.pid is None:
        return []
    pid = target.pid
    return [(at_s, lambda: os.kill(pid, signal.SIGUSR2)) for times in sampled_times(duration_s) for at_s in times]


def broken_down(engine: str, target: Target, measured: Measured, report: dict[str, Any], duration_s: float) -> Broken:
    """What a run has told. Waits for a server that still adds its samples up."""
    client = add_up([tally.costs for tally in measured.tallies if tally.costs is not None])
    server = None
    if target.costs_file is not None and not measured.interrupted:
        server = _written(target.costs_file, len(sampled_times(duration_s)))
    if server is not None and client is not None:  # a server counts streams, where the client counts what is answered
        server = replace(server, calls=round(client.calls * server.wall_s / client.wall_s))
    return Broken(engine, report, duration_s, client, server)


def _written(path: Path, count: int) -> LayerCosts | None:
    """All that the server wrote, once it is so many lines."""
    until_s = time.monotonic() + _WAIT_S
    while time.monotonic() < until_s:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if len(lines) == count and lines[-1].endswith("\n"):
            return add_up([LayerCosts.from_json(json.loads(line)) for line in lines])
        time.sleep(0.05)
    return None


def _unmeasured_us(parts: Sequence[dict[str, Any]], side: str, duration_s: float) -> float | None:
    """CPU time a call in the parts that were not sampled."""
    sampled = [(begin_s, end_s + _SETTLED * duration_s) for begin_s, end_s in sampled_times(duration_s)]
    used_us = ended = 0.0
    for part in parts:
        us = part[f"{side}_cpu_us_per_call"]
        middle_s = part["at_s"] + part["seconds"] / 2
        if us is not None and not any(begin_s < middle_s < end_s for begin_s, end_s in sampled):
            calls = part["throughput_per_s"] * part["seconds"] + sum(part["errors"].values())
            used_us, ended = used_us + us * calls, ended + calls
    return used_us / ended if ended else None


def as_json(runs: Sequence[Broken]) -> dict[str, Any]:
    """The report of the first run, with all sides of all runs as `breakdown`."""
    breakdown = [
        {
            "title": f"{side}, {run.engine}",
            "rows": [[str(layer), costs.per_call_us(seconds)] for layer, seconds in costs.layers.items()],
            "cpu_us_per_call": unmeasured_us,
            "throughput_per_s": run.report["throughput_per_s"],
            "costs": costs.as_json(),
        }
        for run in runs
        for side, costs, unmeasured_us in run.sides
        if costs.calls
    ]
    return {**runs[0].report, "breakdown": breakdown}


def as_text(runs: Sequence[Broken]) -> str:
    """Settings, throughput of each engine, and a table for each side."""
    settings = {**runs[0].report["settings"], "engine": ", ".join(run.engine for run in runs)}
    lines = list(settings.items())
    for run in runs:
        latency = run.report["latency_ms"]
        times = ", ".join(f"{name} {show_time(latency[name])}" for name in ("p50", "p99") if name in latency)
        lines.append((f"rate, {run.engine}", f"{run.report['throughput_per_s']:,.0f} calls/s, {times}"))
    text = "".join(f"{name:<11} {value}\n" for name, value in lines)
    for name in ("server", "client"):
        of_side = [(run.engine, costs, us) for run in runs for side, costs, us in run.sides if side == name]
        if of_side:
            columns = [(engine, costs) for engine, costs, _ in of_side]
            text += f"\n{name}\n{costs_as_text(columns, [us for *_, us in of_side])}"
        elif name == "server" and not any(run.report["interrupted"] for run in runs):
            text += "\nserver: not started by this; SIGUSR2 has one of wire-server measure itself\n"
    return text


def write_flame_graph(path: Path, runs: Sequence[Broken]) -> None:
    """A picture where the name ends in .svg, else folded stacks."""
    folded = {
        f"{side}, {run.engine};{stack}": seconds
        for run in runs
        for side, costs, _ in run.sides
        for stack, seconds in costs.folded.items()
    }
    title = f"CPU time of {runs[0].report['settings']['method']}"
    text = flame_graph(folded, title) if path.suffix == ".svg" else folded_lines(folded)
    path.write_text(text, encoding="utf-8")
