"""Wire's contenders run on other interpreters too, with the goals of those."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.interpreters import Interpreter, among, interpreter
from benchmarks.measures import Lab, Sample, Sampled
from benchmarks.processes import UnavailableError
from benchmarks.scenarios import SCENARIOS, Kind, Scenario

HERE = Interpreter(None, "Python 3.11.0", Kind.CPYTHON)
PYPY = Interpreter("/pypy", "PyPy 3.11.11", Kind.PYPY)


def test_this_interpreter_is_known_by_its_name() -> None:
    here = interpreter(sys.executable)
    assert here.path == sys.executable
    assert here.label.rpartition(" ")[2].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")


def test_an_interpreter_that_cannot_run_wire_is_refused_with_a_sentence(tmp_path: Path) -> None:
    script = tmp_path / "python"
    with pytest.raises(UnavailableError, match="cannot be started"):
        interpreter(str(script))
    script.write_text("#!/bin/sh\necho 'no such module' >&2; exit 1\n")
    script.chmod(0o755)
    with pytest.raises(UnavailableError, match=r"does not run wire: no such module$"):
        interpreter(str(script))


def test_ours_is_measured_on_the_other_interpreter_after_a_warm_up() -> None:
    samples: list[str | None] = []

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        def sample() -> Sampled:
            samples.append(lab.interpreter)
            return Sampled(1.0)

        yield sample

    scenario = Scenario("name", "title", "unit", {"wire-tuned": opened, "tonic": opened}, ())
    contenders = among(scenario, HERE, [PYPY]).contenders
    assert list(contenders) == ["wire-tuned", "tonic", "wire-tuned, PyPy 3.11.11"]
    for opener in contenders.values():
        with opener(Lab(1.0)) as sample:
            sample()
            samples.append("left")
    assert samples[:4] == [None, "left", None, "left"]
    assert set(samples[4:-1]) == {"/pypy"}
    assert len(samples[4:-1]) > 1


@pytest.mark.parametrize(
    ("here", "bounds"), [(Kind.CPYTHON, [0.9]), (Kind.NEW, [0.75, 1.0]), (Kind.PYPY, [0.2, 0.4, 0.5])]
)
def test_goals_are_those_of_the_interpreter(here: Kind, bounds: list[float]) -> None:
    goals = among(SCENARIOS["unary-1x1"], Interpreter(None, "", here), []).goals
    assert [goal.bound for goal in goals] == bounds


def test_goals_of_both_are_in_the_table() -> None:
    goals = among(SCENARIOS["client"], HERE, [PYPY]).goals
    other = "wire-tuned, PyPy 3.11.11"
    assert [(goal.contender, goal.bound) for goal in goals] == [
        ("wire-tuned", 8),
        ("wire-tuned", 0.9),
        (other, 8),
        (other, 0.5),
    ]
