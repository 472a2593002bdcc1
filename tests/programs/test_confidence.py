"""Intervals hold the true value as often as they say."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from wire.programs.confidence import Estimate, mean, paired_ratio, ratio, t_quantile


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 4, 2.77645),
        (0.995, 4, 4.60409),
        (0.95, 10, 1.81246),
        (0.975, 30, 2.04227),
        (0.975, 1000, 1.96234),
        (0.9995, 3, 12.9240),
    ],
)
def test_quantiles_are_those_of_the_tables(probability: float, degrees: float, expected: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("estimate", [ratio, paired_ratio])
def test_true_ratio_is_within_as_often_as_said(estimate: Callable[..., Estimate]) -> None:
    generator = random.Random(7)
    runs, within = 400, 0
    for _ in range(runs):
        theirs = [math.exp(generator.gauss(1, 0.1)) for _ in range(5)]
        ours = [math.exp(generator.gauss(1.05, 0.1)) for _ in range(5)]
        within += not estimate(ours, theirs, 0.9).excludes(math.exp(0.05))
    assert 0.86 <= within / runs <= 0.94


def test_pairs_do_not_count_what_disturbed_both() -> None:
    theirs = [100.0, 50.0, 200.0, 80.0]
    ours = [each * 1.1 * (1 + index / 1e4) for index, each in enumerate(theirs)]
    assert paired_ratio(ours, theirs).excludes(1.0)
    assert not ratio(ours, theirs).excludes(1.0)


def test_one_value_says_nothing_of_the_noise() -> None:
    assert not mean([3.0]).excludes(1e9)
    assert not ratio([3.0], [1.0, 1.0]).excludes(100.0)
    assert not paired_ratio([3.0], [1.0]).excludes(100.0)


def test_values_without_noise_have_narrow_intervals() -> None:
    assert ratio([2.0, 2.0], [1.0, 1.0]) == Estimate(2.0, 2.0, 2.0)
    assert mean([1.0, 1.0, 1.0]) == Estimate(1.0, 1.0, 1.0)
