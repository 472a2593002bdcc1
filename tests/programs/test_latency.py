"""Latencies are counted to three digits at every scale, and merged without loss."""

from __future__ import annotations

import pytest

from wire.programs.latency import UNITS_PER_S, Recorder, merge, summary_ms

pytest.importorskip("hdrh.histogram", reason="hdrhistogram is not installed")


@pytest.mark.parametrize("latency_s", [2e-6, 71.3e-6, 0.0123, 0.0131072, 0.4567, 13.4, 13.5, 900.0])
def test_a_latency_comes_back_to_a_thousandth(latency_s: float) -> None:
    recorder = Recorder()
    recorder.record(latency_s)
    assert sum(recorder.counts().values()) == 1
    assert summary_ms(merge([recorder.counts()]))["p50"] == pytest.approx(latency_s * 1000, rel=2e-3, abs=1e-4)


def test_percentiles_are_those_of_all_parts_together() -> None:
    fast, slow = Recorder(), Recorder()
    for index in range(1, 91):
        fast.record(index / 1e5)
    for index in range(91, 101):
        slow.record(index / 1e3)
    figures = summary_ms(merge([fast.counts(), slow.counts()]))
    assert figures["p50"] == pytest.approx(0.5, rel=2e-3)
    assert figures["p90"] == pytest.approx(0.9, rel=2e-3)
    assert figures["p99"] == pytest.approx(99, rel=2e-3)
    assert figures["max"] == pytest.approx(100, rel=2e-3)


def test_no_latencies_have_no_percentiles() -> None:
    assert summary_ms(merge([Recorder().counts()])) == {}


def test_counts_are_in_histogram_units() -> None:
    recorder = Recorder()
    for _ in range(3):
        recorder.record(0.001)
    assert recorder.counts() == {UNITS_PER_S // 1000: 3}
