"""What bin.bench has measured, for people and for programs. In: tallies. Out: text, plain data. Imports `latency`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wire.programs.latency import merge, summary_ms
from wire.programs.measurement import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `settings`: name → value, as they are to be shown."""

    settings: dict[str, str]
    measured: Measured


def as_json(run: Run) -> dict[str, Any]:
    """Everything, latencies in milliseconds and as an HdrHistogram log entry in units of 100 ns."""
    tallies, server_cpu_s = run.measured.tallies, run.measured.server_cpu_s
    histogram = merge(tally.answered for tally in tallies)
    answered = histogram.get_total_count()
    errors = sum((tally.errors for tally in tallies), Counter[str]())
    ended = answered + sum(errors.values())
    seconds = max(tally.seconds for tally in tallies)
    client_cpu_s = sum(tally.cpu_s for tally in tallies)
    return {
        "settings": run.settings,
        "interrupted": run.measured.interrupted,
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
        "histogram": histogram.encode().decode(),
    }


def as_text(report: dict[str, Any]) -> str:
    """What `as_json` gives, as lines of a name and a value, none of which needs a wide terminal."""
    lines = list(report["settings"].items())
    cut = " (interrupted)" if report["interrupted"] else ""
    lines.append(("answered", f"{report['answered']:,} calls in {report['seconds']:.1f} s{cut}"))
    lines.append(("rate", f"{report['throughput_per_s']:,.0f} calls/s"))
    lines += _problems(report)
    lines += [(name, _time(value)) for name, value in report["latency_ms"].items()]
    if report["lateness_ms"]:
        lines.append(("sent late", f"{_time(report['lateness_ms']['p99'])} at p99, part of the latencies"))
    for side in ("client", "server"):
        cpu_us = report[f"{side}_cpu_us_per_call"]
        if cpu_us is not None:
            lines.append((f"{side} CPU", f"{cpu_us:.1f} µs a call"))
    return "".join(f"{name:<11} {value}\n" for name, value in lines)


def _problems(report: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for code, count in sorted(report["errors"].items(), key=lambda item: -item[1]):
        yield "error", f"{code} {count:,} times"
    if report["unanswered"]:
        yield "unanswered", f"{report['unanswered']:,} calls, given up at the end"
    if report["unsent"]:
        yield "unsent", f"{report['unsent']:,} calls: the rate was not reached"


def _time(value_ms: float) -> str:
    """Three digits and the unit that suits them."""
    for unit, per_ms in (("µs", 1000.0), ("ms", 1.0)):
        if value_ms * per_ms < 999.5:
            return f"{value_ms * per_ms:.3g} {unit}"
    return f"{value_ms / 1000:.3g} s"
