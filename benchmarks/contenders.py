"""Who is measured: servers and clients by name, started as programs of their own. Peers in Go and Rust are built first.

`UnavailableError` says in one sentence why one cannot be had.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
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


def start(name: str) -> Subprocess:
    """The server `name` on the server's core: of `peers.servers.SERVERS`, "tonic", "grpc-go", or "bin.server" with
    flags."""
    if name == "grpc-go":
        return Subprocess([_grpc_go()], SERVER_CORE, env={"GOMAXPROCS": "1"})
    if name == "tonic":
        return Subprocess([tonic(), "serve"], SERVER_CORE)
    if name.startswith("bin.server"):
        flags = name.split()[1:]
        return Subprocess(
            python("-m", "bin.server", "--listen", "127.0.0.1:0", "--log-level", "warn", *flags), SERVER_CORE
        )
    return Subprocess(python("-m", "benchmarks.peers", "serve", name), SERVER_CORE)


def call(name: str, target: str, core: int = LOAD_CORE) -> Subprocess:
    """The client `name`, which takes a sample for each JSON line: of `peers.clients.CLIENTS`, or "tonic"."""
    if name == "tonic":
        return Subprocess([tonic(), "call", target], core, ask=True)
    return Subprocess(python("-m", "benchmarks.peers", "call", name, "--target", target), core, ask=True)
