"""Programs run as processes, on another package and on wire in its place, in all pairings of client and server."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any


def names(file: Path) -> list[str]:
    """The programs of a file, without running it: functions decorated with `program`."""
    return [
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(ast.unparse(decorator) == "program" for decorator in node.decorator_list)
    ]


class Pairings:
    """Servers, started when first asked for, and what clients said to them.

    `runners`: by name, what stands between `python` and the program. `paths`: where programs import from.
    """

    def __init__(self, exits: ExitStack, runners: dict[str, list[str]], paths: list[Path], certificates: Path) -> None:
        self._exits = exits
        self._runners = runners
        self._certificates = certificates
        self._environment = dict(os.environ, PYTHONPATH=os.pathsep.join([*map(str, paths), os.getcwd()]))
        self._ports: dict[tuple[Path, str], dict[str, Any]] = {}
        self._said: dict[tuple[Path, Path, str, str], dict[str, list[str]]] = {}

    def _command(self, runner: str, file: Path, argument: str) -> list[str]:
        return [sys.executable, *self._runners[runner], str(file), argument]

    def ports(self, server_file: Path, runner: str) -> dict[str, Any]:
        """What the server printed first."""
        key = server_file, runner
        if key not in self._ports:
            process = subprocess.Popen(
                self._command(runner, server_file, str(self._certificates)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=self._environment,
            )
            self._exits.callback(_end, process)
            assert process.stdout is not None
            self._ports[key] = json.loads(process.stdout.readline())
        return self._ports[key]

    def said(self, client_file: Path, server_file: Path, client: str, server: str) -> dict[str, list[str]]:
        """By program, the lines that a client's process printed."""
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


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate("", timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
