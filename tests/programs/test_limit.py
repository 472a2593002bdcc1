"""The highest rate that holds is found to 5 %, and what keeps it from more is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wire.errors import ConfigurationError
from wire.programs.limit import Bound, find_limit, limit_as_json, limit_as_text, parse_bound

BOUND = Bound("p99", 5.0)


class Server:
    """Answers in 1 ms up to a rate, and in 100 ms beyond."""

    def __init__(self, limit: float, **changes: Any) -> None:
        self.limit = limit
        self.changes = changes
        self.rates: list[float] = []

    def measure(self, rate: float) -> dict[str, Any]:
        self.rates.append(rate)
        overloaded = rate > self.limit
        report = {
            "latency_ms": {"p99": 100.0 if overloaded else 1.0},
            "lateness_ms": {"p99": 0.1},
            "answered": 1000,
            "errors": {},
            "unanswered": 0,
            "unsent": 0,
            "interrupted": False,
        }
        return {**report, **self.changes} if overloaded else report


@pytest.mark.parametrize("limit", [3.0, 70.0, 501.0, 12_345.0])
def test_limit_is_found_to_five_percent(limit: float) -> None:
    found = find_limit(BOUND, Server(limit).measure)
    assert found.rate_per_s is not None
    assert limit / 1.051 <= found.rate_per_s <= limit
    assert len(found.probes) < 60
    text = limit_as_text(found)
    assert "p99 is above 5 ms" in text
    assert f"limit       {found.rate_per_s:,.0f} calls/s with p99 below 5 ms, to 5 %" in text
    assert json.loads(json.dumps(limit_as_json(found)))["limit"]["rate_per_s"] == found.rate_per_s


def test_no_rate_may_hold() -> None:
    found = find_limit(BOUND, Server(0.0).measure)
    assert found.rate_per_s is None
    assert "no rate keeps p99 below 5 ms" in limit_as_text(found)


def test_one_bad_run_is_no_limit() -> None:
    server = Server(4000.0)
    bad = {2000.0}

    def measure(rate: float) -> dict[str, Any]:
        report = server.measure(rate)
        if rate in bad:
            bad.remove(rate)
            return {**report, "latency_ms": {"p99": 50.0}}
        return report

    found = find_limit(BOUND, measure)
    assert found.rate_per_s is not None
    assert found.rate_per_s > 3800


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"errors": {"UNAVAILABLE": 50}, "latency_ms": {"p99": 1.0}}, r"4\.8% of the calls failed \(UNAVAILABLE\)"),
        ({"unsent": 2, "latency_ms": {"p99": 1.0}}, r"failed \(not sent in time\)"),
        ({"latency_ms": {}, "answered": 0}, "no call was answered"),
        ({"lateness_ms": {"p99": 90.0}}, "the load itself was late"),
    ],
)
def test_what_kept_a_rate_from_holding_is_said(changes: dict[str, Any], said: str) -> None:
    import re

    assert re.search(said, limit_as_text(find_limit(BOUND, Server(2000.0, **changes).measure)))


def test_interrupt_ends_the_search() -> None:
    found = find_limit(BOUND, Server(600.0, interrupted=True).measure)
    assert found.interrupted
    assert found.rate_per_s == 500


@pytest.mark.parametrize(
    ("text", "bound"),
    [("p99=5ms", Bound("p99", 5.0)), ("p99.9=0.5s", Bound("p99.9", 500.0)), ("mean=80us", Bound("mean", 0.08))],
)
def test_bounds_are_read(text: str, bound: Bound) -> None:
    assert parse_bound(text) == bound


@pytest.mark.parametrize("text", ["p99", "p98=5ms", "p99=5", "p99=0ms", "p99=.ms", "p99=1.2.3ms", "p99=fastms"])
def test_what_is_no_bound_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a bound such as p99=5ms"):
        parse_bound(text)
