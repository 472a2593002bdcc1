"""Results as text for people and as JSON for programs. In: `rounds.Result`s. Out: strings and plain data."""

from __future__ import annotations

import os
import platform
import statistics
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.processes import CORES, LOAD_CORE, SERVER_CORE
from benchmarks.rounds import Result, Verdict

_PACKAGES = ("betterproto2", "cryptography", "grpcio", "grpclib", "h2", "hpack", "protobuf", "uvloop")


def _number(value: float) -> str:
    """Three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def block(result: Result) -> str:
    """A scenario's contenders, best first: median, CPU time of a call where it is known, least and most."""
    scenario = result.scenario
    lines = [f"{scenario.name}: {scenario.title} ({scenario.unit})"]
    width = max(map(len, scenario.contenders)) + 1
    for name in sorted(result.samples, key=result.median, reverse=not scenario.lower_is_better):
        values, cpu_us = result.values(name), result.cpu_us(name)
        cost = f"{_number(statistics.median(cpu_us))} µs CPU" if cpu_us else ""
        spread = f"{_number(min(values))} … {_number(max(values))}"
        lines.append(f"  {name:<{width}}{_number(result.median(name)):>9}  {cost:>12}   {spread}")
    lines += [f"  {name:<{width}}{'–':>9}  {reason}" for name, reason in result.missing.items()]
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """The goals of all scenarios, one line each."""
    scenarios = max([len("scenario"), *(len(result.scenario.name) for result in results)])
    figures = max([len("figure"), *(len(_what(result, each)) for result in results for each in result.verdicts())])
    head = f"{'scenario':<{scenarios}} {'figure':<{figures}} {'is':>7}  {'target':>7}           {'by CPU':>7}"
    lines = [head, "-" * len(head)]
    for result in results:
        for verdict in result.verdicts():
            bound = f"{'≤' if verdict.goal.at_most else '≥'} {verdict.goal.bound:g}"
            what = f"{result.scenario.name:<{scenarios}} {_what(result, verdict):<{figures}}"
            line = f"{what} {_number(verdict.figure):>7}  {bound:>7}"
            by_cpu = _number(verdict.by_cpu) if verdict.by_cpu else ""
            lines.append(f"{line}  {'reached' if verdict.reached else 'missed':<7}  {by_cpu:>7}".rstrip())
        if len(result.verdicts()) < len(result.scenario.goals):
            reasons = "; ".join(dict.fromkeys(result.missing.values()))
            lines.append(f"{result.scenario.name:<{scenarios}} not all measured: {reasons}")
    return "\n".join(lines)


def _what(result: Result, verdict: Verdict) -> str:
    name = verdict.goal.contender
    if verdict.goal.cpu:
        return f"{name} ÷ {verdict.against}, CPU"
    return f"{name} ÷ {verdict.against}" if verdict.against else f"{name}, {result.scenario.unit}"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": CORES,
        "server_core": SERVER_CORE,
        "load_core": LOAD_CORE,
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def as_json(results: list[Result], rounds: int, seconds: float) -> dict[str, Any]:
    """Everything, samples included."""
    return {
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "scenarios": [
            {
                "name": result.scenario.name,
                "title": result.scenario.title,
                "unit": result.scenario.unit,
                "samples": {name: result.values(name) for name in result.samples},
                "cpu_us": {name: cpu_us for name in result.samples if (cpu_us := result.cpu_us(name))},
                "medians": {name: result.median(name) for name in result.samples},
                "missing": result.missing,
                "goals": [
                    {
                        "figure": _what(result, verdict),
                        "is": verdict.figure,
                        "by_cpu": verdict.by_cpu,
                        "at_most" if verdict.goal.at_most else "at_least": verdict.goal.bound,
                        "reached": verdict.reached,
                    }
                    for verdict in result.verdicts()
                ],
            }
            for result in results
        ],
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
