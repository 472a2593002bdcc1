"""--sweep: one knob at several values, each measured in several rounds, and which of them differ by more than the
noise.

The values take turns within a round, so that what changes with time changes all of them; they are compared with the
first value within each round (a paired test), and the confidence is that of all values of a figure together
(Bonferroni). Imports `compare`, `confidence` and `knobs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from wire.programs.compare import FIGURES, Figure
from wire.programs.confidence import Estimate, mean, paired_ratio
from wire.programs.knob_flags import SIDES
from wire.programs.knobs import Knob, KnobError, assignment, find_knob, knobs_of

FEWEST_ROUNDS: Final = 3
"""To know the noise."""
_CONFIDENCE: Final = 0.95
_MOST_VALUES: Final = 100
NOT_MEASURED: Final = "no figure was measured in every round: a longer --duration is needed, or calls fail"

Measure = Callable[[str, str], dict[str, Any]]
"""(a knob's name, a value's text) → the report of a run with it."""


@dataclass(frozen=True, slots=True)
class Swept:
    """`name`: as --set takes it. `texts`: values in order; differences are told against the first."""

    name: str
    texts: tuple[str, ...]


@dataclass(slots=True)
class Sweep:
    """`reports`: for each value, in the order of `swept.texts`, one of each round that was finished."""

    swept: Swept
    reports: list[list[dict[str, Any]]] = field(default_factory=list)
    interrupted: bool = False

    def values(self, figure: Figure) -> list[list[float]] | None:
        """For each value of the knob what was measured in each round; None where it was not measured each time."""
        found = [[figure.of(report) for report in reports] for reports in self.reports]
        if any(each is None for values in found for each in values):
            return None
        return [[each for each in values if each is not None] for values in found]

    def against_first(self, figure: Figure) -> list[Estimate] | None:
        """How many times as much it is as with the first value, for each further value."""
        values = self.values(figure)
        if values is None or len(values) < 2:
            return None
        confidence = 1 - (1 - _CONFIDENCE) / (len(values) - 1)
        return [paired_ratio(each, values[0], confidence) for each in values[1:]]


def parse_sweep(text: str) -> Swept:
    """`NAME=LOW..HIGH`, by doubling (numbers from 0: 0, 1, 2, 4…), or `NAME=A,B,C`. Raises `KnobError`."""
    name, values = assignment(text)
    knob = _knob(name)
    low, separator, high = values.partition("..")
    if separator:
        texts = _doubled(knob, knob.read(low), knob.read(high))
    else:
        texts = [knob.show(knob.read(each)) for each in values.split(",")]
    if not 1 < len(set(texts)) == len(texts) <= _MOST_VALUES:
        raise KnobError(f"{text!r} are not 2 to {_MOST_VALUES} different values")
    return Swept(name, tuple(texts))


def _knob(name: str) -> Knob:
    """Of a channel or a server; a name may begin with the side."""
    side, _, rest = name.partition(".")
    if side in SIDES:
        return find_knob(knobs_of(SIDES[side]), rest)
    both = {**knobs_of(SIDES["server"]), **knobs_of(SIDES["client"])}
    return find_knob(both, name)


def _doubled(knob: Knob, low: Any, high: Any) -> list[str]:
    if isinstance(low, bool) or not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low >= high:
        raise KnobError(f"{knob.name} has no values from {knob.show(low)} to {knob.show(high)}: name them as A,B,C")
    values = [low]
    while (following := values[-1] * 2 or 1) < high and len(values) <= _MOST_VALUES:
        values.append(following)
    return [knob.show(value) for value in (*values, high)]


def sweep(swept: Swept, rounds: int, measure: Measure) -> Sweep:
    """Measure every value in every round. Ends with the last whole round when it is interrupted (Ctrl-C)."""
    result = Sweep(swept, [[] for _ in swept.texts])
    for _ in range(rounds):
        reports = []
        for text in swept.texts:
            reports.append(measure(swept.name, text))
            if reports[-1]["interrupted"]:
                result.interrupted = True
                return result
        for kept, report in zip(result.reports, reports, strict=True):
            kept.append(report)
    return result


def sweep_as_json(result: Sweep) -> dict[str, Any]:
    """Each value with the figures of its rounds, and what differs from the first."""
    values = []
    for index, (text, reports) in enumerate(zip(result.swept.texts, result.reports, strict=True)):
        against = {}
        for figure in FIGURES if index and reports else ():
            estimates = result.against_first(figure)
            if estimates is not None:
                estimate = estimates[index - 1]
                against[figure.name] = {"ratio": estimate.value, "low": estimate.low, "high": estimate.high}
        rounds = [{figure.name: figure.of(report) for figure in FIGURES} for report in reports]
        values.append({"value": text, "rounds": rounds, "against_first": against})
    first = next((reports[0] for reports in result.reports if reports), {})
    return {
        "sweep": {"knob": result.swept.name, "values": values},
        "began": first.get("began", ""),
        "settings": first.get("settings", {}),
        "machine": first.get("machine", {}),
        "interrupted": result.interrupted,
    }


def sweep_as_text(result: Sweep) -> str:
    """A table of means, and a sentence for what differs."""
    if not result.reports[0]:
        return "interrupted before the first round was over\n"
    figures = [figure for figure in FIGURES if result.values(figure) is not None]
    if not figures:
        return NOT_MEASURED + "\n"
    width = max(len(result.swept.name), *map(len, result.swept.texts)) + 1
    lines = ["".join([f"{result.swept.name:<{width}}", *(f"{figure.name:>16}" for figure in figures)])]
    for index, text in enumerate(result.swept.texts):
        cells = []
        for figure in figures:
            values, against = result.values(figure), result.against_first(figure)
            assert values is not None
            differs = index > 0 and against is not None and against[index - 1].excludes(1.0)
            cells.append(f"{figure.show(mean(values[index]).value) + (' *' if differs else '  '):>16}")
        lines.append("".join([f"{text:<{width}}", *cells]).rstrip())
    return "\n".join([*lines, "", *_sentences(result, figures)]) + "\n"


def _sentences(result: Sweep, figures: list[Figure]) -> list[str]:
    rounds = len(result.reports[0])
    found = []
    for figure in figures:
        for text, estimate in zip(result.swept.texts[1:], result.against_first(figure) or (), strict=True):
            if estimate.excludes(1.0):
                span = f"{estimate.low - 1:+.1%} to {estimate.high - 1:+.1%}"
                found.append(f"* {text}: {figure.name} {estimate.value - 1:+.1%} ({span})")
    if not found:
        return [f"no value differs from {result.swept.texts[0]} by more than the noise of {rounds} rounds"]
    return [
        f"differs from {result.swept.texts[0]} by more than the noise of {rounds} rounds (95 % for each figure):",
        *found,
    ]
