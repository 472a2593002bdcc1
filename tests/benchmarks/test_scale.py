"""Costs are taken value by value, in turns; one that cannot be measured says why; all are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.measures import Lab, Opener, Sample, Sampled
from benchmarks.processes import UnavailableError
from benchmarks.scale import AXES, Axis, draw, measure


def test_values_take_turns_and_a_failing_one_is_left_out() -> None:
    asked: list[int] = []

    def cost(value: int) -> Opener:
        @contextmanager
        def opened(lab: Lab) -> Iterator[Sample]:
            asked.append(value)
            if value == 3:
                raise UnavailableError("it is too many")
            yield lambda: Sampled(value * lab.seconds)

        return opened

    costs, missing = measure(Axis("things", (1, 2, 3), cost), Lab(2.0), rounds=2)
    assert asked == [1, 2, 3, 1, 2]
    assert costs == {1: [2.0, 2.0], 2: [4.0, 4.0]}
    assert missing == {3: "it is too many"}


def test_every_axis_is_drawn_in_one_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "scale.svg"
    draw({name: {value: [1.0, 2.0, 3.0] for value in axis.values} for name, axis in AXES.items()}, file)
    assert file.read_text().count('id="axes_') == len(AXES)
