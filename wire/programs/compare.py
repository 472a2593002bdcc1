"""`bench compare A.json B.json`: what differs between two runs by more than their noise.

Of runs with --rounds each round is a measurement; of a single run each of its parts is (batch means), which says
nothing of what differs from one run to the next. Imports `confidence` and `bench_report`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any, Final

from wire.errors import ConfigurationError
from wire.programs import cli
from wire.programs.bench_report import show_time
from wire.programs.confidence import Estimate, ratio

_BATCHES: Final = 20
_FEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One of those that are compared. `path`: where it stands in a report, round or part. `more_is_better`."""

    name: str
    path: tuple[str, ...]
    more_is_better: bool = False

    def of(self, report: dict[str, Any]) -> float | None:
        value: Any = report
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        return float(value) if isinstance(value, (int, float)) and value > 0 else None

    def show(self, value: float) -> str:
        """A value with its unit."""
        if self.path[0] == "latency_ms":
            return show_time(value)
        return f"{value:,.0f} calls/s" if self.more_is_better else f"{value:.1f} µs"


FIGURES: Final = (
    Figure("rate", ("throughput_per_s",), more_is_better=True),
    *(Figure(name, ("latency_ms", name)) for name in ("p50", "p90", "p99", "p99.9")),
    Figure("client CPU", ("client_cpu_us_per_call",)),
    Figure("server CPU", ("server_cpu_us_per_call",)),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two runs. `ratio`: B by A."""

    figure: Figure
    before: float
    after: float
    ratio: Estimate

    @property
    def verdict(self) -> str:
        """ "better", "worse", or that there is no difference to be seen."""
        if not self.ratio.excludes(1.0):
            return "no difference to be seen"
        return "better" if (self.ratio.value > 1) == self.figure.more_is_better else "worse"

    @property
    def at_least_worse_by(self) -> float:
        """The share by which B is worse at least; 0 where it need not be."""
        certain = 1 / self.ratio.high if self.figure.more_is_better else self.ratio.low
        return max(0.0, certain - 1)


def compare(before: dict[str, Any], after: dict[str, Any], confidence: float = 0.95) -> Iterator[Comparison]:
    """Every figure that both have often enough."""
    for figure in FIGURES:
        a, b = _values(figure, before), _values(figure, after)
        first, second = _shown(figure, before), _shown(figure, after)
        if first is not None and second is not None and min(len(a), len(b)) >= _FEWEST:
            yield Comparison(figure, first, second, ratio(b, a, confidence))


def _shown(figure: Figure, report: dict[str, Any]) -> float | None:
    """Of a run its figure; of rounds the geometric mean, of which the ratio is one."""
    values = _values(figure, report) if "rounds" in report else []
    return geometric_mean(values) if values else figure.of(report)


def _values(figure: Figure, report: dict[str, Any]) -> list[float]:
    if "rounds" in report:
        return [value for each in report["rounds"] if (value := figure.of(each)) is not None]
    values = [value for each in report.get("parts", ()) if (value := figure.of(each)) is not None]
    size = max(1, len(values) // _BATCHES)  # neighbouring parts are alike; means of several less so
    batches = [values[index : index + size] for index in range(0, len(values) - size + 1, size)]
    return [sum(batch) / len(batch) for batch in batches]


def as_text(before: dict[str, Any], after: dict[str, Any], comparisons: Sequence[Comparison]) -> str:
    """Settings that differ, then a line for each figure."""
    lines = []
    for title in ("settings", "machine"):
        a, b = before.get(title, {}), after.get(title, {})
        for name in dict.fromkeys((*a, *b)):
            if a.get(name) != b.get(name):
                lines.append(f"{name:<11} A: {a.get(name, 'not set')}\n{'':<11} B: {b.get(name, 'not set')}")
    if lines:
        lines.append("")
    lines.append(f"{'':<11} {'A':>14} {'B':>14}   B/A, 95 % confidence")
    for each in comparisons:
        a, b = each.figure.show(each.before), each.figure.show(each.after)
        known = f"{each.ratio.value:.3f} ({each.ratio.low:.3f} to {each.ratio.high:.3f})"
        lines.append(f"{each.figure.name:<11} {a:>14} {b:>14}   {known}  {each.verdict}")
    for letter, report in (("A", before), ("B", after)):
        if report.get("errors"):
            lines.append(f"errors of {letter}: {', '.join(f'{code} {n:,}' for code, n in report['errors'].items())}")
    if "rounds" not in before or "rounds" not in after:
        lines.append("by parts of one run each: what differs from run to run is not seen; --rounds shows that")
    return "\n".join(lines) + "\n"


def main(arguments: list[str], prog: str) -> int:
    parser = cli.Parser(
        prog,
        description="Say what differs between two runs by more than their noise.",
        epilog="A and B are what --json wrote. Figures are B by A: of a rate more is better, of times less.",
    )
    parser.add_argument("before", metavar="A.json", type=cli.readable_file)
    parser.add_argument("after", metavar="B.json", type=cli.readable_file)
    parser.add_argument(
        "--fail-above",
        type=cli.number(0, 1000, unit=" of percent"),
        metavar="PERCENT",
        help="exit with status 1 when a figure is certain to be worse by more",
    )
    args: argparse.Namespace = parser.parse_args(arguments)
    before, after = (_report(path) for path in (args.before, args.after))
    comparisons = list(compare(before, after))
    if not comparisons:
        raise ConfigurationError("the runs are too short to compare: each needs three rounds, or parts with answers")
    print(as_text(before, after, comparisons), end="")
    if args.fail_above is not None and any(each.at_least_worse_by * 100 > args.fail_above for each in comparisons):
        return cli.FAILED
    return 0


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(report, dict) or "latency_ms" not in report or "settings" not in report:
            raise ValueError
    except ValueError:
        raise ConfigurationError(f"{path} is not a report, as --json writes it") from None
    return report
