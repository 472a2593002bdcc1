"""When requests are due in an open loop: a timetable for each shape of load.

Request number n is due at `time_of(n)` seconds after measuring began; numbers and times below 0 are the warm-up, at the
rate that the shape begins with. `count(t)` is the inverse. Numbers need not be whole: those of several processes lie
between each other's. Imports only `errors`.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

from wire.errors import ConfigurationError

HIGHEST_RATE = 1e7


class ShapeError(ConfigurationError):
    """A shape of load that cannot be read."""


class Shape(Protocol):
    """A timetable. `first_rate_per_s`: that of the warm-up. `peak_rate_per_s`: the highest."""

    @property
    def first_rate_per_s(self) -> float: ...
    @property
    def peak_rate_per_s(self) -> float: ...
    def time_of(self, number: float) -> float: ...
    def count(self, time_s: float) -> float: ...
    def shared(self, processes: int, index: int) -> Shape:
        """The share of one of several processes."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One rate. The interval is in whole nanoseconds, as a timer's is: the two would drift apart otherwise."""

    rate_per_s: float

    @property
    def interval_s(self) -> float:
        return round(1e9 / self.rate_per_s) / 1e9

    @property
    def first_rate_per_s(self) -> float:
        return self.rate_per_s

    @property
    def peak_rate_per_s(self) -> float:
        return self.rate_per_s

    def time_of(self, number: float) -> float:
        return number * self.interval_s

    def count(self, time_s: float) -> float:
        return time_s / self.interval_s

    def shared(self, processes: int, index: int) -> Shape:
        return Constant(self.rate_per_s / processes)


class Lines:
    """A rate that goes in straight lines from one point to the next: (seconds, calls a second), times that do not fall.

    After the last point the rate stays. Two points at one time are a jump.
    """

    __slots__ = ("_counts", "points")

    def __init__(self, points: Sequence[tuple[float, float]]) -> None:
        self.points = tuple(points)
        areas = ((t1 - t0) * (r0 + r1) / 2 for (t0, r0), (t1, r1) in pairwise(self.points))
        self._counts = list(accumulate(areas, initial=0.0))

    @property
    def first_rate_per_s(self) -> float:
        return self.points[0][1]

    @property
    def peak_rate_per_s(self) -> float:
        return max(rate for _, rate in self.points)

    def time_of(self, number: float) -> float:
        if number <= 0:
            return number / self.first_rate_per_s
        index = bisect_right(self._counts, number) - 1
        (t0, r0), left = self.points[index], number - self._counts[index]
        if index + 1 == len(self.points):
            return t0 + left / r0
        t1, r1 = self.points[index + 1]
        slope = (r1 - r0) / (t1 - t0)
        # left = r0 t + slope t² / 2, solved in the form that does not divide by a slope of 0.
        return t0 + 2 * left / (r0 + math.sqrt(max(0.0, r0 * r0 + 2 * slope * left)))

    def count(self, time_s: float) -> float:
        if time_s <= 0:
            return time_s * self.first_rate_per_s
        index = bisect_right([time for time, _ in self.points], time_s) - 1
        (t0, r0), passed_s = self.points[index], time_s - self.points[index][0]
        if index + 1 == len(self.points):
            return self._counts[index] + r0 * passed_s
        t1, r1 = self.points[index + 1]
        return self._counts[index] + passed_s * (r0 + (r1 - r0) / (t1 - t0) * passed_s / 2)

    def shared(self, processes: int, index: int) -> Shape:
        return Lines([(time, rate / processes) for time, rate in self.points])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines) and other.points == self.points

    def __hash__(self) -> int:
        return hash(self.points)


class Replay:
    """Requests at given times, ascending, in seconds from the first; there are no others, and no warm-up."""

    __slots__ = ("times_s",)

    def __init__(self, times_s: Sequence[float]) -> None:
        self.times_s = tuple(times_s)

    @property
    def first_rate_per_s(self) -> float:
        return len(self.times_s) / max(self.times_s[-1], 1e-3)

    @property
    def peak_rate_per_s(self) -> float:
        """By the shortest time that ten requests came in."""
        span = min(10, len(self.times_s) - 1)
        shortest = min((b - a for a, b in zip(self.times_s, self.times_s[span:], strict=False)), default=0.0)
        return min(HIGHEST_RATE, span / shortest) if span and shortest > 0 else self.first_rate_per_s

    def time_of(self, number: float) -> float:
        if number < 0:
            return -math.inf
        return self.times_s[int(number)] if number < len(self.times_s) else math.inf

    def count(self, time_s: float) -> float:
        return bisect_right(self.times_s, time_s)

    def shared(self, processes: int, index: int) -> Shape:
        return Replay(self.times_s[index::processes])


_SPIKE_AT = re.compile(r"(.*)@([0-9.]+)\+([0-9.]+)")


def parse_shape(text: str, duration_s: float, path: str = "") -> Shape:
    """A shape by its text, over a duration: step:R,R,…, ramp:R..R, spike:BASE..PEAK (with @START+LENGTH in seconds, or
    the middle fifth) or replay:FILE, of which only the calls of `path` count where it is given. Raises `ShapeError`."""
    kind, _, rest = text.partition(":")
    if kind == "step":
        rates = [_rate(each) for each in rest.split(",")]
        length_s = duration_s / len(rates)
        return Lines([(at * length_s, rate) for index, rate in enumerate(rates) for at in (index, index + 1)])
    if kind == "ramp":
        low, high = _two_rates(rest)
        return Lines([(0.0, low), (duration_s, high)])
    if kind == "spike":
        found = _SPIKE_AT.fullmatch(rest)
        base, peak = _two_rates(found[1] if found else rest)
        start_s, length_s = (float(found[2]), float(found[3])) if found else (duration_s * 0.4, duration_s * 0.2)
        if not 0 < start_s < start_s + length_s < duration_s:
            raise ShapeError(f"the spike of {text!r} does not lie within the {duration_s:g} s of --duration")
        end_s = start_s + length_s
        return Lines([(0.0, base), (start_s, base), (start_s, peak), (end_s, peak), (end_s, base)])
    if kind == "replay":
        return Replay(_recorded(Path(rest), path))
    raise ShapeError(f"{text!r} is not a shape: step:R,R,…  ramp:R..R  spike:R..R[@START+LENGTH]  replay:FILE")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= HIGHEST_RATE:
        raise ShapeError(f"{text!r} is not a rate of calls a second from 0.001 to {HIGHEST_RATE:g}")
    return rate


def _two_rates(text: str) -> tuple[float, float]:
    low, separator, high = text.partition("..")
    if not separator:
        raise ShapeError(f"{text!r} is not of the form R..R")
    return _rate(low), _rate(high)


def _recorded(file: Path, path: str) -> list[float]:
    """When calls began, in seconds from the first, by a trace that --trace-file wrote."""
    times = []
    try:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                if record.get("kind") == "CALL" and (not path or record.get("method") == path):
                    times.append(record["at_s"] - record["took_s"])
    except OSError as error:
        raise ShapeError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ShapeError(f"{file} is not a trace as --trace-file writes it") from None
    if len(times) < 2:
        raise ShapeError(f"{file} has no two calls{f' of {path}' if path else ''} to replay")
    first = min(times)
    return sorted(time - first for time in times)
