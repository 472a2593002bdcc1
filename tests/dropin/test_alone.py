"""Programs that are client and server in one, run on grpcio and on wire: they must say the same."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.certificates import Certificates

PROGRAMS = Path(__file__).parent / "alone"


def said(*arguments: str) -> list[str]:
    environment = dict(os.environ, PYTHONPATH=os.getcwd())
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


EVERYWHERE = """\
heard /test.Words/Say
hello me
heard /test.Words/Count
heard /test.Words/Join
heard /test.Words/Chat
[0, 1, 2] abc [xx, yy]
heard /test.Words/Say
_InactiveRpcError StatusCode.NOT_FOUND no such wörd _Metadatum(key='why', value='asked for')
heard /test.Words/Say
hello interceptor
heard /test.Words/Say
later None None
hello me
[0, 1, 2] abc
xx
True StatusCode.OK
StatusCode.NOT_FOUND no such wörd Metadata((('why', 'asked for'),))
StatusCode.DEADLINE_EXCEEDED Deadline Exceeded Metadata(())
True True
cancelled
"""


def test_it_runs_where_there_is_no_grpcio() -> None:
    """On PyPy, too: nothing of grpcio's is loaded."""
    assert said("-m", "wire.grpcio", str(PROGRAMS / "everywhere.py")) == EVERYWHERE.splitlines()


def test_so_it_does_on_grpcio() -> None:
    if not find_spec("grpc"):
        pytest.skip("grpcio is not installed")
    assert said(str(PROGRAMS / "everywhere.py")) == EVERYWHERE.splitlines()


@pytest.mark.skipif(not find_spec("grpc"), reason="grpcio is not installed")
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
