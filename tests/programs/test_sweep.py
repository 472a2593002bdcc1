"""A sweep measures values in turn, and says which differ from the first by more than the noise."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from wire.programs.knobs import KnobError
from wire.programs.sweep import parse_sweep, sweep, sweep_as_json, sweep_as_text


def report(rate: float) -> dict[str, Any]:
    return {"throughput_per_s": rate, "latency_ms": {"p50": 1000 / rate, "p99": 2000 / rate}, "interrupted": False}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("http2.stream_window_bytes=64KiB..512KiB", ("64KiB", "128KiB", "256KiB", "512KiB")),
        ("http2.stream_window_bytes=64KiB..300000", ("64KiB", "128KiB", "256KiB", "300000")),
        ("calls.compression=none,gzip", ("none", "gzip")),
        ("connections=1..4", ("1", "2", "4")),
        ("http2.max_continuation_frames=0..4", ("0", "1", "2", "4")),
        ("client.connect_retries=1,2", ("1", "2")),
        ("server.grace_s=0.5..2", ("0.5", "1", "2")),
    ],
)
def test_values_are_doubled_or_named(text: str, values: tuple[str, ...]) -> None:
    assert parse_sweep(text).texts == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http2.stream_window=1..2", "did you mean http2.stream_window_bytes"),
        ("http2.stream_window_bytes=1..64KiB", "it is 65,535 to"),
        ("http2.stream_window_bytes=64KiB", "are not 2 to 100 different values"),
        ("http2.stream_window_bytes=1MiB..64KiB", "name them as A,B,C"),
        ("calls.compression=gzip..zstd", "name them as A,B,C"),
        ("engine=h2,h2", "are not 2 to 100 different values"),
        ("engine", "is not of the form name=value"),
    ],
)
def test_what_cannot_be_swept_is_refused(text: str, said: str) -> None:
    with pytest.raises(KnobError, match=said):
        parse_sweep(text)


def test_what_differs_beyond_the_noise_is_named() -> None:
    generator, asked = random.Random(3), []

    def measure(name: str, text: str) -> dict[str, Any]:
        asked.append(text)
        rate = {"1": 1000, "2": 1000, "4": 1300}[text] * (1 + len(asked) / 100)  # the machine gets faster all the time
        return report(rate * generator.gauss(1, 0.01))

    result = sweep(parse_sweep("connections=1..4"), 5, measure)
    assert asked == ["1", "2", "4"] * 5
    text = sweep_as_text(result)
    assert "* 4: rate +" in text
    assert "* 4: p99 -" in text
    assert "* 2:" not in text
    [first, second, third] = json.loads(json.dumps(sweep_as_json(result)))["sweep"]["values"]
    assert first["against_first"] == {}
    assert third["against_first"]["rate"]["low"] > 1
    assert second["against_first"]["rate"]["low"] < 1
    assert len(third["rounds"]) == 5


def test_nothing_that_differs_is_said_too() -> None:
    generator = random.Random(3)
    texts = []
    for _ in range(200):
        result = sweep(parse_sweep("connections=1..4"), 4, lambda name, text: report(generator.gauss(1000, 50)))
        texts.append(sweep_as_text(result))
    silent = ["no value differs from 1 by more than the noise of 4 rounds" in text for text in texts]
    assert 0.9 <= sum(silent) / len(silent) <= 0.99


def test_interrupt_keeps_whole_rounds() -> None:
    calls = 0

    def measure(name: str, text: str) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return {**report(1000.0 + calls), "interrupted": calls == 12}

    result = sweep(parse_sweep("connections=1..4"), 9, measure)
    assert result.interrupted
    assert [len(reports) for reports in result.reports] == [3, 3, 3]
    assert "3 rounds" in sweep_as_text(result)
    calls = 11
    assert "before the first round" in sweep_as_text(sweep(parse_sweep("connections=1..4"), 3, measure))


def test_rounds_without_answers_are_not_taken_for_equal() -> None:
    nothing = {"throughput_per_s": 0.0, "latency_ms": {}, "interrupted": False}
    result = sweep(parse_sweep("connections=1..2"), 3, lambda name, text: nothing)
    assert "no figure was measured in every round" in sweep_as_text(result)
