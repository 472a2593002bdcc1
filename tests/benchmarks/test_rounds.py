"""Samples are taken in turns; a ratio is the median of the rounds' ratios to the best rival."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.measures import Lab, Opener, Sample, Sampled
from benchmarks.processes import UnavailableError
from benchmarks.rounds import Result, measure
from benchmarks.scenarios import SCENARIOS, Goal, Scenario

LAB = Lab(1.0)


def scripted(*values: float | str) -> Opener:
    """Gives these samples one after the other; a text is why there is none."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        left = iter(values)

        def sample() -> Sampled:
            value = next(left)
            if isinstance(value, str):
                raise UnavailableError(value)
            return Sampled(value, cpu_us=1e6 / value)

        yield sample

    return opened


@contextmanager
def absent(lab: Lab) -> Iterator[Sample]:
    raise UnavailableError("it is not installed")
    yield


def result_of(goals: tuple[Goal, ...], *, lower_is_better: bool = False, **contenders: Opener) -> Result:
    scenario = Scenario("name", "title", "unit", contenders, goals, lower_is_better)
    return measure(scenario, LAB, 3, lambda what: None)


def test_contenders_take_turns() -> None:
    steps: list[str] = []
    scenario = Scenario("s", "title", "unit", {"a": scripted(1, 1), "b": scripted(1, 1)}, ())
    measure(scenario, LAB, 2, steps.append)
    assert steps == ["s: a", "s: b"] * 3  # starting, then two rounds


def test_ratio_is_the_median_of_the_rounds_ratios_to_the_best_rival() -> None:
    goal = Goal("ours", ("slow", "fast"), 4)
    result = result_of((goal,), ours=scripted(100, 10, 50), fast=scripted(25, 5, 10), slow=scripted(1, 1, 1))
    (verdict,) = result.verdicts()
    assert verdict.against == "fast"
    assert verdict.figure == 4  # of 4, 2 and 5
    assert verdict.by_cpu == pytest.approx(4)
    assert verdict.reached


def test_the_best_rival_is_the_least_where_less_is_better() -> None:
    goal = Goal("ours", ("slow", "fast"), 0.5, at_most=True)
    contenders = {"ours": scripted(6, 6, 6), "fast": scripted(10, 10, 10), "slow": scripted(100, 100, 100)}
    (verdict,) = result_of((goal,), lower_is_better=True, **contenders).verdicts()
    assert (verdict.against, verdict.figure, verdict.reached) == ("fast", 0.6, False)


def test_a_goal_about_cpu_time_compares_it_with_the_rival_that_takes_least() -> None:
    goal = Goal("ours", ("slow", "fast"), 0.5, at_most=True, cpu=True)
    (verdict,) = result_of((goal,), ours=scripted(8, 4, 4), fast=scripted(2, 2, 2), slow=scripted(1, 1, 1)).verdicts()
    assert (verdict.against, verdict.figure, verdict.reached) == ("fast", 0.5, True)


def test_a_goal_without_rivals_is_about_the_median_itself() -> None:
    (verdict,) = result_of((Goal("ours", (), 2, at_most=True),), ours=scripted(1, 9, 2)).verdicts()
    assert (verdict.against, verdict.figure, verdict.reached) == (None, 2, True)


def test_who_is_missing_is_named_with_the_reason_and_decides_no_goal() -> None:
    goals = (Goal("ours", ("gone",), 1), Goal("ours", ("failing",), 1), Goal("ours", (), 1))
    result = result_of(goals, ours=scripted(1, 1, 1), gone=absent, failing=scripted(1, "it crashed"))
    assert result.missing == {"gone": "it is not installed", "failing": "it crashed"}
    assert set(result.samples) == {"ours"}
    assert [verdict.goal for verdict in result.verdicts()] == [goals[2]]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_goals_are_about_contenders_of_their_scenario(scenario: Scenario) -> None:
    for goal in scenario.goals:
        assert {goal.contender, *goal.against} <= set(scenario.contenders)
