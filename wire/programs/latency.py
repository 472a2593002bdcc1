"""Latencies as they are counted while a load runs, and as histograms afterwards. Imports hdrhistogram (extra `bench`).

A `Recorder` must cost the load next to nothing: it counts in plain buckets, 0.1-0.2 µs a request in constant memory,
where HdrHistogram's `record_value` takes 0.7-1.3 µs. `merge` makes one histogram of what every process counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

UNITS_PER_S = 10_000_000
"""A histogram counts in units of 100 ns."""

_FINE_BUCKETS = 1 << 17  # up to 13 ms
_COARSE_SHIFT = 7  # from there on in steps of 12.8 µs, which are three significant digits
_LONGEST_UNITS = 3600 * UNITS_PER_S
_DIGITS = 3

PERCENTILES = (50.0, 90.0, 99.0, 99.9)

Counts = dict[int, int]
"""Latency in histogram units → how many."""


class Recorder:
    """Counts latencies, in parts: `split` ends one and begins the next."""

    __slots__ = ("_coarse", "_ended", "_fine")

    def __init__(self) -> None:
        self._ended: list[tuple[array[int], Counts]] = []
        self._begin()

    def _begin(self) -> None:
        self._fine = array("I", bytes(array("I").itemsize * _FINE_BUCKETS))
        self._coarse: Counts = {}

    def split(self) -> None:
        """What follows is another part. Takes some 50 µs, and half a megabyte until the recorder is gone."""
        self._ended.append((self._fine, self._coarse))
        self._begin()

    def record(self, latency_s: float) -> None:
        units = int(latency_s * UNITS_PER_S)
        if units < _FINE_BUCKETS:
            self._fine[units] += 1
        else:
            step = units >> _COARSE_SHIFT
            self._coarse[step] = self._coarse.get(step, 0) + 1

    def parts(self) -> list[Counts]:
        """What was recorded in each part, the last one included."""
        middle = 1 << _COARSE_SHIFT - 1
        return [
            {units: count for units, count in enumerate(fine) if count}
            | {(step << _COARSE_SHIFT) + middle: count for step, count in coarse.items()}
            for fine, coarse in [*self._ended, (self._fine, self._coarse)]
        ]

    def counts(self) -> Counts:
        """What was recorded so far, in all parts together."""
        return add_up(self.parts())


def add_up(parts: Iterable[Counts]) -> Counts:
    """Several counts as one."""
    total: Counts = {}
    for part in parts:
        for units, count in part.items():
            total[units] = total.get(units, 0) + count
    return total


def merge(parts: Iterable[Counts]) -> Any:
    """One HdrHistogram of all parts, in units of 100 ns from 1 to an hour, to three digits."""
    from hdrh.histogram import HdrHistogram

    histogram = HdrHistogram(1, _LONGEST_UNITS, _DIGITS)
    for counts in parts:
        for units, count in counts.items():
            histogram.record_value(min(max(units, 1), _LONGEST_UNITS), count)
    return histogram


def summary_ms(histogram: Any) -> dict[str, float]:
    """p50, p90, p99, p99.9, max and mean in milliseconds; empty when nothing was recorded."""
    if not histogram.get_total_count():
        return {}
    per_ms = UNITS_PER_S / 1000
    values = histogram.get_percentile_to_value_dict(list(PERCENTILES))  # one pass over its buckets, as each takes ms
    figures = {f"p{percentile:g}": values[percentile] for percentile in PERCENTILES}
    figures |= {"max": histogram.get_max_value(), "mean": histogram.get_mean_value()}
    return {name: value / per_ms for name, value in figures.items()}
