"""Programs written for grpclib, run on it and on wire in all pairings of client and server: they must say the same."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.dropin.pairings import Pairings, names

for needed in ("grpc_tools", "grpclib", "google.rpc"):
    try:
        found = find_spec(needed)
    except ModuleNotFoundError:
        found = None
    if not found:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

PROGRAMS = Path(__file__).parent / "grpclib_programs"
RUNNERS = {"grpclib": [], "wire": ["-m", "wire.grpclib"]}
PAIRINGS = [(client, server) for client in RUNNERS for server in RUNNERS]


@pytest.fixture(scope="module")
def pairings(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairings]:
    from grpc_tools import protoc

    generated = tmp_path_factory.mktemp("generated")
    plugin = shutil.which("protoc-gen-grpclib_python", path=str(Path(sys.executable).parent))
    options = [f"-I{PROGRAMS}", f"--python_out={generated}", f"--grpclib_python_out={generated}"]
    assert protoc.main(["protoc", f"--plugin=protoc-gen-grpclib_python={plugin}", *options, "cafe.proto"]) == 0
    with ExitStack() as exits:
        yield Pairings(exits, RUNNERS, [generated, PROGRAMS], certificates.ca.parent)


@pytest.mark.parametrize(("client", "server"), PAIRINGS[1:])
@pytest.mark.parametrize("program", names(PROGRAMS / "client.py"))
def test_a_program_says_the_same(pairings: Pairings, program: str, client: str, server: str) -> None:
    files = PROGRAMS / "client.py", PROGRAMS / "server.py"
    expected = pairings.said(*files, "grpclib", "grpclib")[program]
    assert not expected[-1].startswith("FAILED"), expected[-1]
    assert pairings.said(*files, client, server)[program] == expected
