"""Rounds of samples, and what they say about the goals. In: a scenario. Out: a `Result`. No I/O of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.measures import Lab, Sample, Sampled
from benchmarks.processes import UnavailableError
from benchmarks.scenarios import Goal, Scenario


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal: `figure` is the ratio to `against` (the best of the goal's), or the median itself."""

    goal: Goal
    against: str | None
    figure: float
    by_cpu: float | None = None
    """The same ratio by CPU time instead of rates, where it was measured for both."""

    @property
    def reached(self) -> bool:
        return self.figure <= self.goal.bound if self.goal.at_most else self.figure >= self.goal.bound


@dataclass(frozen=True, slots=True)
class Result:
    """`samples` of each contender, one a round; `missing`: why others have none."""

    scenario: Scenario
    samples: dict[str, list[Sampled]]
    missing: dict[str, str]

    def values(self, contender: str) -> list[float]:
        return [sampled.value for sampled in self.samples[contender]]

    def cpu_us(self, contender: str) -> list[float]:
        """CPU microseconds a call of each round; empty where they were not measured."""
        return [sampled.cpu_us for sampled in self.samples[contender] if sampled.cpu_us is not None]

    def median(self, contender: str) -> float:
        return statistics.median(self.values(contender))

    def verdicts(self) -> list[Verdict]:
        """Of the goals whose contenders were all measured. A ratio is the median of the rounds' ratios."""
        verdicts = []
        for goal in self.scenario.goals:
            rivals = [name for name in goal.against if name in self.samples]
            if goal.contender not in self.samples or len(rivals) < len(goal.against):
                continue
            if not rivals:
                verdicts.append(Verdict(goal, None, self.median(goal.contender)))
                continue
            if goal.cpu:
                rivals = [name for name in rivals if self.cpu_us(name)]
                best = min(rivals, key=lambda name: statistics.median(self.cpu_us(name)))
                verdicts.append(Verdict(goal, best, _median_ratio(self.cpu_us(goal.contender), self.cpu_us(best))))
                continue
            best = (min if self.scenario.lower_is_better else max)(rivals, key=self.median)
            figure = _median_ratio(self.values(goal.contender), self.values(best))
            ours_us, theirs_us = self.cpu_us(goal.contender), self.cpu_us(best)
            by_cpu = _median_ratio(theirs_us, ours_us) if ours_us and theirs_us else None
            verdicts.append(Verdict(goal, best, figure, by_cpu))
        return verdicts


def _median_ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def measure(scenario: Scenario, lab: Lab, rounds: int, step: Callable[[str], None]) -> Result:
    """Take `rounds` samples of each contender, in turns. `step` is told who is about to be measured.

    A contender that fails is left out from then on, its samples with it.
    """
    missing: dict[str, str] = {}
    samples: dict[str, list[Sampled]] = {}
    with ExitStack() as stack:
        takers: dict[str, Sample] = {}
        for name, opener in scenario.contenders.items():
            step(f"{scenario.name}: {name}")
            try:
                takers[name] = stack.enter_context(opener(lab))
                samples[name] = []
            except (UnavailableError, OSError) as error:
                missing[name] = str(error)
        for _ in range(rounds):
            for name in list(takers):
                step(f"{scenario.name}: {name}")
                try:
                    samples[name].append(takers[name]())
                except (UnavailableError, OSError) as error:
                    missing[name] = str(error)
                    del takers[name], samples[name]
    return Result(scenario, samples, missing)
