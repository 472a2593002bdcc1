"""Who is measured: servers and clients by name, started as programs of their own. Peers in Go and Rust are built first.

`UnavailableError` says in one sentence why one cannot be had.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from benchmarks.processes import LOAD_CORE, ROOT, SERVER_CORE, Subprocess, UnavailableError, python

_CACHE = ROOT / ".cache" / "benchmarks"
_PEERS = ROOT / "benchmarks" / "peers"


@cache
def _grpc_go() -> str:
    """The Go server, built once. Its modules come from where Go gets modules from."""
    if shutil.which("go") is None:
        raise UnavailableError("grpc-go needs Go (https://go.dev/dl), which is not installed")
    binary = _CACHE / "grpc_go"
    _build("grpc-go", ["go", "build", "-o", str(binary), "."], _PEERS / "grpc_go")
    return str(binary)


@cache
def tonic() -> str:
    """The Rust server and load generator, built once; the first time takes a minute. Raises `UnavailableError`."""
    if shutil.which("cargo") is None:
        raise UnavailableError("tonic needs Rust's cargo (https://rustup.rs), which is not installed")
    folder = _CACHE / "tonic"
    _build("tonic", ["cargo", "build", "--locked", "--release", "--target-dir", str(folder)], _PEERS / "tonic")
    return str(folder / "release" / "tonic-peer")


def _build(name: str, command: list[str], sources: Path) -> None:
    built = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    if built.returncode:
        said = built.stderr.strip().splitlines() or ["it said nothing"]
        raise UnavailableError(f"{name} did not build: {said[-1].strip()}")


ON_WIRE = " on wire"
"""Ends the names of Python's other stacks' peers whose programs run, unchanged, on wire."""


def _peer(role: str, name: str, *flags: str, interpreter: str | None = None) -> list[str]:
    """The command of one of `peers`, by the stack that it is written for or by wire in its place."""
    written_for = name.removesuffix(ON_WIRE)
    package = written_for.partition("-")[0]  # grpcio or grpclib
    if package in ("grpcio", "grpclib") and find_spec("grpc" if package == "grpcio" else package) is None:
        raise UnavailableError(f"{package} is not installed (pip install {package})")
    instead = ["-m", f"wire.{package}"] if name.endswith(ON_WIRE) else []
    return python(*instead, "-m", "benchmarks.peers", role, written_for, *flags, interpreter=interpreter)


def start(name: str, interpreter: str | None = None) -> Subprocess:
    """The server `name` on the server's core: of `peers.servers.SERVERS`, with `ON_WIRE` or without, "tonic",
    "grpc-go", or "bin.server" with flags. Those in Python run on `interpreter`, or on this one."""
    if name == "grpc-go":
        return Subprocess([_grpc_go()], SERVER_CORE, env={"GOMAXPROCS": "1"})
    if name == "tonic":
        return Subprocess([tonic(), "serve"], SERVER_CORE)
    if name.startswith("bin.server"):
        flags = name.split()[1:]
        flags = ["--listen", "127.0.0.1:0", "--log-level", "warn", *flags]
        return Subprocess(python("-m", "bin.server", *flags, interpreter=interpreter), SERVER_CORE)
    return Subprocess(_peer("serve", name, interpreter=interpreter), SERVER_CORE)


def call(name: str, target: str, core: int = LOAD_CORE, interpreter: str | None = None) -> Subprocess:
    """The client `name`, which takes a sample for each JSON line: of `peers.clients.CLIENTS`, with `ON_WIRE` or
    without, or "tonic". One in Python runs on `interpreter`, or on this one."""
    if name == "tonic":
        return Subprocess([tonic(), "call", target], core, ask=True)
    return Subprocess(_peer("call", name, "--target", target, interpreter=interpreter), core, ask=True)
