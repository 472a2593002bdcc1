"""Programs that are client and server in one, run on grpcio and on wire: they must say the same."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.certificates import Certificates

if not find_spec("grpc"):
    pytest.skip("grpcio is not installed", allow_module_level=True)

PROGRAMS = Path(__file__).parent / "alone"


def said(*arguments: str) -> list[str]:
    environment = dict(os.environ, PYTHONPATH=os.getcwd())
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["bad_input", "names", "options"])
def test_a_program_says_the_same(certificates: Certificates, name: str) -> None:
    """Names that end in "?" are those of cases in which grpcio hangs, or gives another status."""
    arguments = str(PROGRAMS / f"{name}.py"), str(certificates.ca.parent)
    theirs, ours = said(*arguments), said("-m", "wire.grpcio", *arguments)
    assert len(ours) == len(theirs) > 0
    for expected, line in zip(theirs, ours, strict=True):
        assert not line.endswith((" hangs", " DEADLINE_EXCEEDED")) or line == expected
        asked, mark, _ = expected.partition("? ")
        assert line.startswith(asked + mark) if mark else line == expected
