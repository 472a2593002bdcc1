"""Confidence intervals of means and of ratios, by Student's t. Imports only the standard library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance

_STEPS = 400
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and the interval that holds the true one with the confidence that was asked for."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether it differs from `value` by more than the noise."""
        return not self.low <= value <= self.high


@lru_cache(256)  # a table has one number of rounds, and some milliseconds for each cell would add up
def t_quantile(probability: float, degrees: float) -> float:
    """Student's t: what it stays below with a probability from 0.5 to below 1; degrees of freedom need not be whole.

    With x = √ν tan θ the distribution is an integral of cos(θ)^(ν-1), smooth and over a finite range: Simpson's rule
    and halving give six digits.
    """
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    wanted = (probability - 0.5) / scale

    def integral(angle: float) -> float:
        step = angle / _STEPS
        values = [float(math.cos(index * step) ** (degrees - 1)) for index in range(_STEPS + 1)]
        return step / 3 * (values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2]))

    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if integral(middle) < wanted else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def mean(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of independent values; of a single one nothing is known about its noise, and the interval is endless."""
    value = fmean(values)
    if len(values) < 2:
        return Estimate(value, -math.inf, math.inf)
    reach = t_quantile((1 + confidence) / 2, len(values) - 1) * math.sqrt(variance(values) / len(values))
    return Estimate(value, value - reach, value + reach)


def ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Estimate:
    """How many times `theirs` `ours` is, by the means of logarithms (Welch's test). All values are above 0."""
    a, b = [math.log(each) for each in ours], [math.log(each) for each in theirs]
    difference = fmean(a) - fmean(b)
    if len(a) < 2 or len(b) < 2:
        return Estimate(math.exp(difference), 0.0, math.inf)
    of_a, of_b = variance(a) / len(a), variance(b) / len(b)
    if of_a + of_b == 0:
        return Estimate(*[math.exp(difference)] * 3)
    degrees = (of_a + of_b) ** 2 / (of_a**2 / (len(a) - 1) + of_b**2 / (len(b) - 1))
    return _around(difference, t_quantile((1 + confidence) / 2, degrees) * math.sqrt(of_a + of_b))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The same for values that were measured side by side, so that what disturbed both does not count."""
    differences = mean([math.log(a) - math.log(b) for a, b in zip(ours, theirs, strict=True)], confidence)
    if len(ours) < 2:
        return Estimate(math.exp(differences.value), 0.0, math.inf)
    return _around(differences.value, differences.high - differences.value)


def _around(difference: float, reach: float) -> Estimate:
    return Estimate(math.exp(difference), math.exp(difference - reach), math.exp(difference + reach))
