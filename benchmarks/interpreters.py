"""Other interpreters than the one that runs the benchmark: what they are, and scenarios in which wire runs on them too.

In: a path, and scenarios of this interpreter. Out: the scenarios with further contenders, named "wire-tuned, PyPy
3.11.11", and the goals of that interpreter. An interpreter needs what the programs need that it is to run, and runs in
this folder; one in a container or a chroot may be a script that ends in `exec`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.measures import Lab, Opener, Sample
from benchmarks.processes import ROOT, UnavailableError, python
from benchmarks.scenarios import Kind, Scenario

_PYPY_WARM_UPS: Final = 4
"""Samples that are thrown away before those that count, so that the JIT compiler has done its work."""
_ASK: Final = (
    "import json, platform, sys; import wire, proto.echo.v1; "
    "print(json.dumps([platform.python_implementation(), platform.python_version(), sys.version_info[:2]]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`path`: None for this one. `label`: as people call it, "Python 3.14.0" or "PyPy 3.11.11"."""

    path: str | None
    label: str
    kind: Kind


def interpreter(path: str | None = None) -> Interpreter:
    """The one at `path`, or this one. Raises `UnavailableError` when it cannot run wire."""
    try:
        asked = subprocess.run(
            python("-c", _ASK, interpreter=path), capture_output=True, text=True, check=False, cwd=ROOT, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{path} cannot be started: {error}") from None
    if asked.returncode:
        said = asked.stderr.strip().splitlines() or ["it said nothing"]
        raise UnavailableError(f"{path or sys.executable} does not run wire: {said[-1]}")
    implementation, version, (major, minor) = json.loads(asked.stdout)
    kind = Kind.PYPY if implementation == "PyPy" else Kind.NEW if (major, minor) >= (3, 14) else Kind.CPYTHON
    return Interpreter(path, f"{'PyPy' if kind is Kind.PYPY else 'Python'} {version}", kind)


def among(scenario: Scenario, here: Interpreter, others: list[Interpreter]) -> Scenario:
    """The scenario with the goals of the interpreters, and with wire's contenders on `others` beside those `here`."""
    contenders = {
        name: _warmed(opener, here) if _ours(name) else opener for name, opener in scenario.contenders.items()
    }
    goals = [goal for goal in scenario.goals if here.kind in goal.kinds]
    for other in others:
        named = {name: f"{name}, {other.label}" for name in scenario.contenders if _ours(name)}
        contenders |= {named[name]: _warmed(scenario.contenders[name], other) for name in named}
        goals += [
            replace(goal, contender=named[goal.contender])
            for goal in scenario.goals
            if goal.contender in named and other.kind in goal.kinds
        ]
    return replace(scenario, contenders=contenders, goals=tuple(goals))


def _ours(name: str) -> bool:
    return name.startswith("wire-")


def _warmed(opener: Opener, on: Interpreter) -> Opener:
    """The contender on that interpreter, warmed up."""

    @contextmanager
    def opened(lab: Lab) -> Iterator[Sample]:
        with opener(replace(lab, interpreter=on.path)) as sample:
            if on.kind is Kind.PYPY:
                for _ in range(_PYPY_WARM_UPS):
                    sample()
            yield sample

    return opened
