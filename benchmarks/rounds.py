"""Rounds of samples, and what they say about the goals. In: a scenario. Out: a `Result`. No I/O of its own."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.measures import Lab, Sample
from benchmarks.processes import UnavailableError
from benchmarks.scenarios import Goal, Scenario


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a goal: `figure` is the ratio to `against` (the best of the goal's), or the median itself."""

    goal: Goal
    against: str | None
    figure: float

    @property
    def reached(self) -> bool:
        return self.figure <= self.goal.bound if self.goal.at_most else self.figure >= self.goal.bound


@dataclass(frozen=True, slots=True)
class Result:
    """`samples` of each contender, one a round; `missing`: why others have none."""

    scenario: Scenario
    samples: dict[str, list[float]]
    missing: dict[str, str]

    def median(self, contender: str) -> float:
        return statistics.median(self.samples[contender])

    def verdicts(self) -> list[Verdict]:
        """Of the goals whose contenders were all measured. A ratio is the median of the rounds' ratios."""
        verdicts = []
        for goal in self.scenario.goals:
            rivals = [name for name in goal.against if name in self.samples]
            if goal.contender not in self.samples or len(rivals) < len(goal.against):
                continue
            ours = self.samples[goal.contender]
            if not rivals:
                verdicts.append(Verdict(goal, None, statistics.median(ours)))
                continue
            best = (min if self.scenario.lower_is_better else max)(rivals, key=self.median)
            ratios = [mine / theirs for mine, theirs in zip(ours, self.samples[best], strict=True)]
            verdicts.append(Verdict(goal, best, statistics.median(ratios)))
        return verdicts


def measure(scenario: Scenario, lab: Lab, rounds: int, step: Callable[[str], None]) -> Result:
    """Take `rounds` samples of each contender, in turns. `step` is told who is about to be measured.

    A contender that fails is left out from then on, its samples with it.
    """
    missing: dict[str, str] = {}
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        takers: dict[str, Sample] = {}
        for name, opener in scenario.contenders.items():
            step(f"{scenario.name}: {name}")
            try:
                takers[name] = stack.enter_context(opener(lab))
                samples[name] = []
            except UnavailableError as error:
                missing[name] = str(error)
        for _ in range(rounds):
            for name in list(takers):
                step(f"{scenario.name}: {name}")
                try:
                    samples[name].append(takers[name]())
                except UnavailableError as error:
                    missing[name] = str(error)
                    del takers[name], samples[name]
    return Result(scenario, samples, missing)
