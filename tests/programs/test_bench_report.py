"""What was measured is added up over processes, and shown in lines that fit a narrow terminal."""

from __future__ import annotations

from collections import Counter

import pytest

from wire.programs.bench_report import Run, as_json, as_text
from wire.programs.latency import UNITS_PER_S
from wire.programs.load import Tally
from wire.programs.measurement import Measured

pytest.importorskip("hdrh.histogram", reason="hdrhistogram is not installed")

MS = UNITS_PER_S // 1000


def run_of(*tallies: Tally, server_cpu_s: float | None = None, interrupted: bool = False) -> Run:
    return Run(settings={"target": "unix:/s"}, measured=Measured(list(tallies), server_cpu_s, interrupted))


def test_processes_are_added_up() -> None:
    one = Tally(answered={2 * MS: 30}, errors=Counter(INTERNAL=2), unsent=1, seconds=2.0, cpu_s=0.001)
    other = Tally(answered={4 * MS: 10}, errors=Counter(INTERNAL=1), unanswered=3, seconds=1.9, cpu_s=0.003)
    report = as_json(run_of(one, other, server_cpu_s=0.0086))
    assert report["answered"] == 40
    assert report["throughput_per_s"] == 20
    assert report["errors"] == {"INTERNAL": 3}
    assert (report["unsent"], report["unanswered"]) == (1, 3)
    assert report["latency_ms"]["p50"] == pytest.approx(2, rel=2e-3)
    assert report["latency_ms"]["max"] == pytest.approx(4, rel=2e-3)
    assert report["client_cpu_us_per_call"] == pytest.approx(0.004e6 / 43)
    assert report["server_cpu_us_per_call"] == pytest.approx(200)


def test_text_names_every_problem() -> None:
    tally = Tally({MS: 5}, Counter(UNAVAILABLE=1234), unanswered=7, unsent=8, seconds=1.0)
    text = as_text(as_json(run_of(tally, interrupted=True)))
    for fact in ("5 calls in 1.0 s (interrupted)", "UNAVAILABLE 1,234 times", "7 calls, given up", "8 calls: the rate"):
        assert fact in text


def test_lines_fit_a_narrow_terminal() -> None:
    tally = Tally({MS: 10**9, 9 * MS: 1}, Counter(DEADLINE_EXCEEDED=10**9), 10**6, 10**9, {MS: 5}, 3600.0, 3000.0)
    text = as_text(as_json(run_of(tally, server_cpu_s=1.0)))
    assert max(map(len, text.splitlines())) <= 64


@pytest.mark.parametrize(
    ("latency_s", "shown"), [(71.3e-6, "71.3 µs"), (0.0012, "1.2 ms"), (0.25, "250 ms"), (2.5, "2.5 s")]
)
def test_a_time_is_shown_in_the_unit_that_suits_it(latency_s: float, shown: str) -> None:
    text = as_text(as_json(run_of(Tally({round(latency_s * UNITS_PER_S): 1}, seconds=1.0))))
    assert f"p50         {shown}\n" in text


def test_nothing_measured_is_no_division_by_zero() -> None:
    report = as_json(run_of(Tally(), server_cpu_s=0.0))
    assert report["answered"] == report["throughput_per_s"] == 0
    assert report["client_cpu_us_per_call"] is None
    assert "0 calls in 0.0 s" in as_text(report)
