"""Starting bin.server, and other programs that listen, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent.parent


class ServerProcess:
    """`python -m bin.server` (or `module`) with `arguments`; once entered, all of its addresses are listened on."""

    def __init__(self, *arguments: str, module: str = "bin.server", stdout: int | None = None) -> None:
        self._arguments = arguments
        self._module = module
        self._stdout = stdout
        self.addresses: list[str] = []
        self.stdout = ""
        """What it wrote there, if that is a pipe, once it has ended."""
        self.stderr = ""
        """What it wrote until it listened; all of it once it has ended."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self._module, *self._arguments],
            cwd=ROOT,
            stdout=self._stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line
            if line.startswith("listening on "):
                self.addresses.append(line.split()[-1])
                if len(self.addresses) == max(1, self._arguments.count("--listen")):
                    break
        return self

    @property
    def address(self) -> str:
        return self.addresses[0]

    def end(self, *signals: signal.Signals) -> int:
        """Send `signals`, wait; returns the exit status."""
        for number in signals:
            self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=60)
        self.stdout += stdout or ""
        self.stderr += stderr
        return self.process.returncode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
