"""What the bench has measured, for people and for programs. In: measurements. Out: text, plain data. Imports
`latency`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from statistics import median
from typing import Any

from wire.programs.confidence import mean
from wire.programs.latency import merge, summary_ms
from wire.programs.load import Part
from wire.programs.machine import describe_machine
from wire.programs.measurement import Measured, Sample
from wire.programs.shapes import Shape

FORMAT = 2
"""Of the JSON: 2 added parts, machine, began and rounds."""

_SHORTEST_PART = 0.5
"""Of the usual length; what is left over at the end is no measure of a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `settings`: name → value, as they are to be shown. `shape`: of an open loop."""

    settings: dict[str, str]
    measured: Measured
    shape: Shape | None = None


def as_json(run: Run) -> dict[str, Any]:
    """Everything, latencies in milliseconds and as an HdrHistogram log entry in units of 100 ns."""
    measured, tallies = run.measured, run.measured.tallies
    histogram = merge(tally.answered for tally in tallies)
    answered = histogram.get_total_count()
    errors = sum((tally.errors for tally in tallies), Counter[str]())
    ended = answered + sum(errors.values())
    seconds = max(tally.seconds for tally in tallies)
    client_cpu_s, server_cpu_s = sum(tally.cpu_s for tally in tallies), measured.server_cpu_s
    return {
        "format": FORMAT,
        "began": measured.began.isoformat(timespec="seconds"),
        "settings": run.settings,
        "machine": describe_machine(),
        "interrupted": measured.interrupted,
        "seconds": seconds,
        "answered": answered,
        "throughput_per_s": answered / seconds if seconds else 0.0,
        "errors": dict(errors),
        "unanswered": sum(tally.unanswered for tally in tallies),
        "unsent": sum(tally.unsent for tally in tallies),
        "latency_ms": summary_ms(histogram),
        "lateness_ms": summary_ms(merge(tally.lateness for tally in tallies)),
        "client_cpu_us_per_call": client_cpu_s * 1e6 / ended if ended else None,
        "server_cpu_us_per_call": server_cpu_s * 1e6 / ended if ended and server_cpu_s is not None else None,
        "parts": list(_parts([tally.parts for tally in tallies], measured.server_samples, run.shape)),
        "histogram": histogram.encode().decode(),
    }


def _parts(
    processes: Sequence[Sequence[Part]], samples: Sequence[Sample], shape: Shape | None
) -> Iterator[dict[str, Any]]:
    """The parts of all processes, which begin and end together but for a turn of their loops, added up by their
    place."""
    usual_s = median(part.seconds for part in processes[0]) if processes and processes[0] else 0.0
    last_s = max((parts[-1].at_s for parts in processes if parts), default=0.0)
    for several in zip_longest(*processes):
        parts = [part for part in several if part is not None]
        at_s, seconds = min(part.at_s for part in parts), max(part.seconds for part in parts)
        if seconds < usual_s * _SHORTEST_PART or (0 < at_s == last_s and seconds < usual_s):  # at the end none is sent
            continue
        histogram = merge(part.answered for part in parts)
        errors = sum((part.errors for part in parts), Counter[str]())
        ended = histogram.get_total_count() + sum(errors.values())
        server_cpu_s = _between(samples, at_s, at_s + seconds)
        yield {
            "at_s": round(at_s, 4),
            "seconds": round(seconds, 4),
            "throughput_per_s": sum(sum(part.answered.values()) / part.seconds for part in parts),
            "due_per_s": shape and (shape.count(at_s + seconds) - shape.count(at_s)) / seconds,
            "errors": dict(errors),
            "latency_ms": summary_ms(histogram),
            "client_cpu_us_per_call": sum(part.cpu_s for part in parts) * 1e6 / ended if ended else None,
            "server_cpu_us_per_call": server_cpu_s * 1e6 / ended if ended and server_cpu_s is not None else None,
        }


def _between(samples: Sequence[Sample], from_s: float, until_s: float) -> float | None:
    """What was used from one time to another, by readings that lie a little beside; None where there are none near."""
    if not samples or samples[0][0] > from_s + 0.1 * (until_s - from_s):
        return None

    def at(time_s: float) -> float:
        for (t0, v0), (t1, v1) in pairwise(samples):
            if t0 <= time_s <= t1 and t1 > t0:
                return v0 + (v1 - v0) * (time_s - t0) / (t1 - t0)
        return samples[0][1] if time_s < samples[0][0] else samples[-1][1]

    return at(until_s) - at(from_s)


def rounds_as_json(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one report: that of the median throughput, with the figures of all as `rounds`."""
    if len(reports) == 1:
        return reports[0]
    middle = median([report["throughput_per_s"] for report in reports])
    chosen = min(reports, key=lambda report: abs(report["throughput_per_s"] - middle))
    kept = ("throughput_per_s", "errors", "latency_ms", "client_cpu_us_per_call", "server_cpu_us_per_call")
    rounds = [{name: report[name] for name in kept} for report in reports]
    return {**chosen, "rounds": rounds, "interrupted": any(report["interrupted"] for report in reports)}


def as_text(report: dict[str, Any]) -> str:
    """What `as_json` gives, as lines of a name and a value, none of which needs a wide terminal."""
    lines = list(report["settings"].items())
    cut = " (interrupted)" if report["interrupted"] else ""
    lines.append(("answered", f"{report['answered']:,} calls in {report['seconds']:.1f} s{cut}"))
    lines.append(("rate", f"{report['throughput_per_s']:,.0f} calls/s"))
    lines += _problems(report)
    lines += [(name, show_time(value)) for name, value in report["latency_ms"].items()]
    if report["lateness_ms"]:
        lines.append(("sent late", f"{show_time(report['lateness_ms']['p99'])} at p99, part of the latencies"))
    for side in ("client", "server"):
        cpu_us = report[f"{side}_cpu_us_per_call"]
        if cpu_us is not None:
            lines.append((f"{side} CPU", f"{cpu_us:.1f} µs a call"))
    if "rounds" in report:
        rates = mean([each["throughput_per_s"] for each in report["rounds"]])
        lines.append(("rounds", f"{len(report['rounds'])}; this is the middle one"))
        lines.append(("mean rate", f"{rates.value:,.0f}, 95 %: {rates.low:,.0f} to {rates.high:,.0f} calls/s"))
    return "".join(f"{name:<11} {value}\n" for name, value in lines)


def _problems(report: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for code, count in sorted(report["errors"].items(), key=lambda item: -item[1]):
        yield "error", f"{code} {count:,} times"
    if report["unanswered"]:
        yield "unanswered", f"{report['unanswered']:,} calls, given up at the end"
    if report["unsent"]:
        yield "unsent", f"{report['unsent']:,} calls: the rate was not reached"


def show_time(value_ms: float) -> str:
    """Three digits and the unit that suits them."""
    for unit, per_ms in (("µs", 1000.0), ("ms", 1.0)):
        if value_ms * per_ms < 999.5:
            return f"{value_ms * per_ms:.3g} {unit}"
    return f"{value_ms / 1000:.3g} s"
