"""Shapes of load are timetables: when a request is due, and how many are by then, are each other's inverse."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.programs.shapes import Constant, Lines, Replay, ShapeError, parse_shape

RATES = st.floats(0.01, 1e5)


@given(st.lists(st.tuples(st.floats(0.01, 100), RATES, RATES), min_size=1, max_size=6), st.floats(-10, 1e4))
def test_times_and_counts_are_each_others_inverse(pieces: list[tuple[float, float, float]], number: float) -> None:
    points, at_s = [], 0.0
    for length_s, begins, ends in pieces:
        points += [(at_s, begins), (at_s + length_s, ends)]
        at_s += length_s
    shape = Lines(points)
    assert shape.count(shape.time_of(number)) == pytest.approx(number, rel=1e-6, abs=1e-6)
    assert shape.time_of(number + 1) > shape.time_of(number)


def test_steps_last_equally_long() -> None:
    shape = parse_shape("step:100,200,400", 3.0)
    assert [shape.count(time_s) for time_s in (0.5, 1.0, 2.0, 3.0)] == pytest.approx([50, 100, 300, 700])
    assert (shape.first_rate_per_s, shape.peak_rate_per_s) == (100, 400)


def test_ramp_goes_up_evenly() -> None:
    shape = parse_shape("ramp:100..300", 2.0)
    assert shape.count(2.0) == pytest.approx(400)
    assert shape.count(1.0) == pytest.approx(150)
    assert parse_shape("ramp:300..100", 2.0).count(1.0) == pytest.approx(250)


def test_spike_stands_in_the_middle_or_where_it_is_told_to() -> None:
    shape = parse_shape("spike:100..1000", 10.0)
    assert [shape.count(time_s) for time_s in (4.0, 6.0, 10.0)] == pytest.approx([400, 2400, 2800])
    shape = parse_shape("spike:100..1000@1+0.5", 10.0)
    assert shape.count(1.5) == pytest.approx(600)


def test_constant_rate_keeps_to_whole_nanoseconds() -> None:
    assert Constant(3).time_of(3) == pytest.approx(1, abs=2e-9)
    assert Constant(1000).count(0.5) == pytest.approx(500)


def test_processes_share_a_shape() -> None:
    for shape in (Constant(300), parse_shape("ramp:100..300", 2.0)):
        assert sum(shape.shared(3, index).count(1.5) for index in range(3)) == pytest.approx(shape.count(1.5))
    shares = [Replay([0, 1, 2, 3, 4]).shared(2, index) for index in range(2)]
    assert [share.count(10) for share in shares] == [3, 2]


def trace(path: Path, *calls: Any) -> Path:
    path.write_text("".join(f"{json.dumps(call)}\n" for call in [{"kind": "DATA"}, *calls]))
    return path


def test_trace_is_replayed_by_when_its_calls_began(tmp_path: Path) -> None:
    calls = [
        {"kind": "CALL", "method": m, "at_s": at, "took_s": 0.5}
        for m, at in (("/a/B", 2.5), ("/a/C", 2.0), ("/a/B", 3))
    ]
    shape = parse_shape(f"replay:{trace(tmp_path / 'f', *calls)}", 1.0)
    assert [shape.time_of(number) for number in (0.5, 1.5, 2.5, 3.5)] == [0.0, 0.5, 1.0, math.inf]
    assert parse_shape(f"replay:{tmp_path / 'f'}", 1.0, "/a/B").count(9) == 2
    assert shape.peak_rate_per_s == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wave:1..2", "is not a shape: step:"),
        ("step:1,x", "'x' is not a rate"),
        ("step:", "'' is not a rate"),
        ("ramp:5", "is not of the form R..R"),
        ("ramp:0..5", "'0' is not a rate"),
        ("spike:1..2@9+2", "does not lie within the 10 s"),
        ("replay:/nonexistent", "cannot read /nonexistent"),
        (f"replay:{__file__}", "is not a trace as --trace-file writes it"),
    ],
)
def test_what_is_no_shape_is_refused(text: str, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        parse_shape(text, 10.0)


def test_trace_without_calls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="has no two calls"):
        parse_shape(f"replay:{trace(tmp_path / 'f')}", 1.0)
