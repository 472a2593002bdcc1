"""Programs written for grpcio, run on it and on wire in all pairings of client and server: they must say the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.dropin.pairings import Pairings, names

if not find_spec("grpc_tools"):
    pytest.skip("grpcio-tools is not installed", allow_module_level=True)

PROGRAMS = Path(__file__).parent / "programs"
RUNNERS = {"grpcio": [], "wire": ["-m", "wire.grpcio"]}
PAIRINGS = [(client, server) for client in RUNNERS for server in RUNNERS]


@pytest.fixture(scope="module")
def pairings(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairings]:
    from grpc_tools import protoc

    generated = tmp_path_factory.mktemp("generated")
    options = [f"-I{PROGRAMS}", f"--python_out={generated}", f"--grpc_python_out={generated}"]
    assert protoc.main(["protoc", *options, str(PROGRAMS / "echo.proto")]) == 0
    with ExitStack() as exits:
        yield Pairings(exits, RUNNERS, [generated, PROGRAMS], certificates.ca.parent)


KINDS = {
    "asyncio": (PROGRAMS / "aio_client.py", PROGRAMS / "aio_server.py"),
    "sync": (PROGRAMS / "sync_client.py", PROGRAMS / "sync_server.py"),
}


@pytest.mark.parametrize(("client", "server"), PAIRINGS[1:])
@pytest.mark.parametrize(("kind", "program"), [(kind, name) for kind in KINDS for name in names(KINDS[kind][0])])
def test_a_program_says_the_same(pairings: Pairings, kind: str, program: str, client: str, server: str) -> None:
    expected = pairings.said(*KINDS[kind], "grpcio", "grpcio")[program]
    assert not expected[-1].startswith("FAILED "), expected[-1]
    assert pairings.said(*KINDS[kind], client, server)[program] == expected
