"""Programs written for grpcio, run on it and on wire in all pairings of client and server: they must say the same."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates

if not find_spec("grpc_tools"):
    pytest.skip("grpcio-tools is not installed", allow_module_level=True)

PROGRAMS = Path(__file__).parent / "programs"
RUNNERS = {"grpcio": [], "wire": ["-m", "wire.grpcio"]}
PAIRINGS = [(client, server) for client in RUNNERS for server in RUNNERS]


def names(file: str) -> list[str]:
    """The programs of a file, without running it."""
    tree = ast.parse((PROGRAMS / file).read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(ast.unparse(decorator) == "program" for decorator in node.decorator_list)
    ]


class World:
    """The servers, started when first asked for, and what the clients said to them."""

    def __init__(self, exits: ExitStack, certificates: Certificates, generated: Path) -> None:
        self._exits = exits
        self._certificates = certificates.ca.parent
        self._environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(generated), str(PROGRAMS), os.getcwd()]))
        self._ports: dict[tuple[str, str], dict[str, Any]] = {}
        self._said: dict[tuple[str, str, str, str], dict[str, list[str]]] = {}

    def _command(self, runner: str, file: str, argument: str) -> list[str]:
        return [sys.executable, *RUNNERS[runner], str(PROGRAMS / file), argument]

    def ports(self, file: str, runner: str) -> dict[str, Any]:
        if (file, runner) not in self._ports:
            process = subprocess.Popen(
                self._command(runner, file, str(self._certificates)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment,
            )
            self._exits.callback(self._end, process)
            assert process.stdout is not None
            self._ports[file, runner] = json.loads(process.stdout.readline())
        return self._ports[file, runner]

    def _end(self, process: subprocess.Popen[str]) -> None:
        try:
            process.communicate("", timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def said(self, client_file: str, server_file: str, client: str, server: str) -> dict[str, list[str]]:
        key = client_file, server_file, client, server
        if key not in self._said:
            arguments = {**self.ports(server_file, server), "certificates": str(self._certificates)}
            done = subprocess.run(
                self._command(client, client_file, json.dumps(arguments)),
                capture_output=True,
                text=True,
                env=self._environment,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            self._said[key] = json.loads(done.stdout.splitlines()[-1])
        return self._said[key]


@pytest.fixture(scope="module")
def world(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from grpc_tools import protoc

    generated = tmp_path_factory.mktemp("generated")
    options = [f"-I{PROGRAMS}", f"--python_out={generated}", f"--grpc_python_out={generated}"]
    assert protoc.main(["protoc", *options, str(PROGRAMS / "echo.proto")]) == 0
    with ExitStack() as exits:
        yield World(exits, certificates, generated)


KINDS = {"asyncio": ("aio_client.py", "aio_server.py"), "sync": ("sync_client.py", "sync_server.py")}


@pytest.mark.parametrize(("client", "server"), PAIRINGS[1:])
@pytest.mark.parametrize(("kind", "program"), [(kind, name) for kind in KINDS for name in names(KINDS[kind][0])])
def test_a_program_says_the_same(world: World, kind: str, program: str, client: str, server: str) -> None:
    expected = world.said(*KINDS[kind], "grpcio", "grpcio")[program]
    assert not expected[-1].startswith("FAILED "), expected[-1]
    assert world.said(*KINDS[kind], client, server)[program] == expected
