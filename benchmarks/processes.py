"""Subprocesses pinned to a core: started, asked, measured by /proc, and stopped. Imports `wire.programs.usage`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from wire.programs.usage import cpu_s, process_tree

ROOT = Path(__file__).parent.parent


def _usable_cores() -> list[int]:
    """Cores that this process may run on (proc_pid_status(5): "0-3,8"). PyPy has no os.sched_getaffinity."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Cpus_allowed_list:"):
            ranges = [part.split("-") for part in line.split()[1].split(",")]
            return [core for part in ranges for core in range(int(part[0]), int(part[-1]) + 1)]
    return [0]


CORES = _usable_cores()
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[-1]

_READY = "listening on "
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


class UnavailableError(Exception):
    """A scenario or contender cannot run here. The text is one sentence that says why."""


class Subprocess:
    """One program pinned to `core`; its stderr goes to a file, whose last line explains a failure.

    Left as a context manager it is stopped by SIGTERM, and killed when that does not help.
    """

    def __init__(
        self, command: Sequence[str], core: int, *, ask: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self.command = command
        self.started_s = time.monotonic()
        pipe = subprocess.PIPE if ask else subprocess.DEVNULL
        self.popen = subprocess.Popen(
            pinned(command, core),
            stdin=pipe,
            stdout=pipe,
            stderr=self._stderr,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )
        self.pid = self.popen.pid

    def __enter__(self) -> Subprocess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what it no longer read
                    stream.close()
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._stderr.close()

    def address(self) -> str:
        """What it listens on, "127.0.0.1:40123" or "unix:/path", once it has said so on stderr."""
        deadline = self.started_s + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            for line in self._said():
                if _READY in line and line.endswith("\n"):  # some write it in parts
                    return line.split(_READY, 1)[1].split()[0].removeprefix("ipv4:")
            if self.popen.poll() is not None:
                break
            time.sleep(0.002)
        raise UnavailableError(self._failure("did not start"))

    def ask(self, **request: Any) -> dict[str, Any]:
        """One JSON line to its stdin, and the JSON line that comes back."""
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.write(json.dumps(request) + "\n")
            self.popen.stdin.flush()
            line = self.popen.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise UnavailableError(self._failure("ended early"))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def cpu_s(self) -> float:
        """CPU seconds of its process and the children of that, user and system."""
        return cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Resident memory of its process and the children of that."""
        return sum(_status_bytes(pid, "VmRSS") for pid in process_tree(self.pid))

    def peak_rss_bytes(self) -> int:
        """The most that was resident since it started, or since `reset_peak`."""
        return sum(_status_bytes(pid, "VmHWM") for pid in process_tree(self.pid))

    def reset_peak(self) -> None:
        """Let `peak_rss_bytes` begin again (proc_pid_clear_refs(5), value 5)."""
        for pid in process_tree(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _said(self) -> list[str]:
        # The child shares the file's position: to move it would let the child write over its own words.
        return os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace").splitlines(keepends=True)

    def _failure(self, what: str) -> str:
        said = [line.strip() for line in self._said() if line.strip()]
        return f"{' '.join(self.command[1:4])} {what}: {said[-1] if said else 'it said nothing'}"


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command on one core; its process is that of `command`."""
    return ["taskset", "--cpu-list", str(core), *command]


def python(*args: str, interpreter: str | None = None) -> list[str]:
    """A command that runs this interpreter, or the one named."""
    return [interpreter or sys.executable, *args]


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0
