"""--find-limit: the highest open-loop rate at which a percentile of the latency stays below a bound.

In: what measures a rate. Out: a `Limit`. Imports `bench_report`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wire.errors import ConfigurationError
from wire.programs.bench_report import show_time

_FIRST_RATE: Final = 500.0
_CLOSE_ENOUGH: Final = 1.05
_HIGHEST_RATE: Final = 1e6
_MOST_ERRORS: Final = 0.001
"""The share of calls that may fail, or not be sent."""

Measure = Callable[[float], dict[str, Any]]
"""Calls a second → the report of a run at that rate."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`percentile`: as a report names it, "p99". `most_ms`: what it has to stay below."""

    percentile: str
    most_ms: float


def parse_bound(text: str) -> Bound:
    """`p99=5ms`: one of p50, p90, p99, p99.9, max and mean, and a time in us, ms or s."""
    found = re.fullmatch(r"(p50|p90|p99|p99\.9|max|mean)=([0-9.]+)(us|µs|ms|s)", text)
    per_ms = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
    if found is None or found[2].count(".") > 1 or not float(found[2].strip(".") or 0):
        raise ConfigurationError(f"{text!r} is not a bound such as p99=5ms, of p50, p90, p99, p99.9, max or mean")
    return Bound(found[1], float(found[2]) * per_ms[found[3]])


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate that was tried. `why_not`: empty where it held."""

    rate_per_s: float
    value_ms: float | None
    why_not: str


@dataclass(frozen=True, slots=True)
class Limit:
    """`report`: of the highest rate that held; None where none did. `load_was_late`: the load itself, not the server,
    kept a rate from holding."""

    bound: Bound
    probes: list[Probe]
    report: dict[str, Any] | None
    load_was_late: bool
    interrupted: bool

    @property
    def rate_per_s(self) -> float | None:
        """The limit, to 5 %; None where no rate held."""
        return max((probe.rate_per_s for probe in self.probes if not probe.why_not), default=None)


def find_limit(bound: Bound, measure: Measure) -> Limit:
    """Double the rate until it does not hold, then halve the gap in ratio to 5 %. A rate that failed is tried once
    more, as a single pause of the machine is no limit."""
    probes: list[Probe] = []
    best: dict[str, Any] | None = None
    low, high = 0.0, float("inf")
    rate, late = _FIRST_RATE, False
    interrupted = False
    while rate <= _HIGHEST_RATE and not interrupted:
        for _ in range(2):
            report = measure(rate)
            probe, late_now = _judge(bound, rate, report)
            probes.append(probe)
            interrupted = report["interrupted"]
            if not probe.why_not or interrupted:
                break
        if interrupted:
            break
        if not probe.why_not:
            low, best = rate, report
        else:
            high, late = rate, late_now
        if high / max(low, 1e-9) <= _CLOSE_ENOUGH or high < 1:
            break
        rate = rate * 2 if high == float("inf") else (rate / 4 if not low else (low * high) ** 0.5)
    return Limit(bound, probes, best, late, interrupted)


def _judge(bound: Bound, rate_per_s: float, report: dict[str, Any]) -> tuple[Probe, bool]:
    """Whether a rate held; and where it did not, whether the load was to blame."""
    value_ms = report["latency_ms"].get(bound.percentile)
    failed = sum(report["errors"].values()) + report["unanswered"] + report["unsent"]
    all_calls = report["answered"] + failed
    late_ms = report["lateness_ms"].get(bound.percentile, 0.0)
    why_not = ""
    if value_ms is None:
        why_not = "no call was answered"
    elif failed > all_calls * _MOST_ERRORS:
        shown = ", ".join(report["errors"]) or "not sent in time"
        why_not = f"{failed / all_calls:.1%} of the calls failed ({shown})"
    elif value_ms > bound.most_ms:
        why_not = f"{bound.percentile} is above {show_time(bound.most_ms)}"
    return Probe(rate_per_s, value_ms, why_not), bool(why_not) and late_ms > bound.most_ms / 2


def limit_as_json(limit: Limit) -> dict[str, Any]:
    """The report of the highest rate that held, and every probe."""
    probes = [{"rate_per_s": p.rate_per_s, "value_ms": p.value_ms, "why_not": p.why_not} for p in limit.probes]
    found = {
        "bound": {limit.bound.percentile: limit.bound.most_ms},
        "rate_per_s": limit.rate_per_s,
        "load_was_late": limit.load_was_late,
        "probes": probes,
    }
    return {**(limit.report or {}), "limit": found, "interrupted": limit.interrupted}


def limit_as_text(limit: Limit) -> str:
    """A line for each probe, then the limit."""
    lines = []
    for probe in limit.probes:
        value = "" if probe.value_ms is None else f"{limit.bound.percentile} {show_time(probe.value_ms)}"
        lines.append(f"{probe.rate_per_s:>10,.0f} calls/s   {value:<14} {probe.why_not or 'holds'}")
    bound = f"{limit.bound.percentile} below {show_time(limit.bound.most_ms)}"
    if limit.rate_per_s is None:
        lines.append(f"no rate keeps {bound}")
    else:
        lines.append(f"limit       {limit.rate_per_s:,.0f} calls/s with {bound}, to 5 %")
    if limit.load_was_late:
        lines.append("the load itself was late beyond it: more --processes, or a machine of its own, may find more")
    return "\n".join(lines) + "\n"
