"""Programs written for grpclib, run on it and on wire in all pairings of client and server: they must say the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.dropin.pairings import Pairings, names

for needed in ("grpc_tools", "grpclib", "google.rpc", "betterproto2_compiler"):
    try:
        found = find_spec(needed)
    except ModuleNotFoundError:
        found = None
    if not found:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

PROGRAMS = Path(__file__).parent / "grpclib_programs"
PLAIN = PROGRAMS / "client.py", PROGRAMS / "server.py"
BETTERPROTO2 = PROGRAMS / "betterproto2_client.py", PROGRAMS / "betterproto2_server.py"
ODD_ANSWERS = PROGRAMS / "odd_answers.py", PLAIN[1]
RUNNERS = {"grpclib": [], "wire": ["-m", "wire.grpclib"]}
PAIRINGS = [(client, server) for client in RUNNERS for server in RUNNERS]


def generate(directory: Path) -> None:
    """The code that grpclib's and betterproto2's plugins for protoc make of the programs' service."""
    betterproto2 = directory / "betterproto2_code"
    betterproto2.mkdir()
    tools = Path(sys.executable).parent
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROGRAMS}"),
            f"--plugin=protoc-gen-grpclib_python={shutil.which('protoc-gen-grpclib_python', path=str(tools))}",
            f"--python_out={directory}",
            f"--grpclib_python_out={directory}",
            f"--python_betterproto2_out={betterproto2}",
            "--python_betterproto2_opt=server_generation=async,client_generation=async",
            "cafe.proto",
        ],
        env=dict(os.environ, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}"),  # where it finds ruff, too
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def pairings(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairings]:
    generated = tmp_path_factory.mktemp("generated")
    generate(generated)
    with ExitStack() as exits:
        yield Pairings(exits, RUNNERS, [generated, PROGRAMS], certificates.ca.parent)


def compare(pairings: Pairings, files: tuple[Path, Path], program: str, client: str, server: str) -> None:
    expected = pairings.said(*files, "grpclib", "grpclib")[program]
    assert not expected[-1].startswith("FAILED"), expected[-1]
    assert pairings.said(*files, client, server)[program] == expected


@pytest.mark.parametrize(("client", "server"), PAIRINGS[1:])
@pytest.mark.parametrize("program", names(PLAIN[0]))
def test_a_program_says_the_same(pairings: Pairings, program: str, client: str, server: str) -> None:
    compare(pairings, PLAIN, program, client, server)


@pytest.mark.parametrize(("client", "server"), PAIRINGS[1:])
@pytest.mark.parametrize("program", names(BETTERPROTO2[0]))
def test_a_program_with_betterproto2s_code_says_the_same(
    pairings: Pairings, program: str, client: str, server: str
) -> None:
    compare(pairings, BETTERPROTO2, program, client, server)


@pytest.mark.parametrize("program", names(ODD_ANSWERS[0]))
def test_a_client_makes_the_same_of_odd_answers(pairings: Pairings, program: str) -> None:
    compare(pairings, ODD_ANSWERS, program, "wire", "grpclib")
