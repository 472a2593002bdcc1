"""Sockets that a service manager hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.support import run

ROOT = Path(__file__).parent.parent.parent
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "bin.server", "--listen", "systemd:", "--rsa-bits", "none"])
"""


def test_a_server_takes_the_socket_it_is_handed_and_what_waits_in_its_queue() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        async def main() -> None:
            async with wire.Channel(f"127.0.0.1:{port}") as channel:
                call = EchoServiceStub(channel).echo(EchoRequest(payload=b"early"), timeout=30.0, wait_for_ready=True)
                process = subprocess.Popen(
                    [sys.executable, "-c", START, str(listening.fileno())],
                    cwd=ROOT,
                    pass_fds=[listening.fileno()],
                    stderr=subprocess.PIPE,
                )
                try:
                    assert (await call).payload == b"early"
                finally:
                    process.terminate()
                    _, said = process.communicate(timeout=60)
                assert f"listening on ipv4:127.0.0.1:{port}" in said.decode()
                assert process.returncode == 0

        run(main)


def _bin_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bin.server", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_manager_there_is_one_clear_sentence() -> None:
    done = _bin_server("--listen", "systemd:", "--rsa-bits", "none")
    assert done.returncode == 1
    assert "no socket was handed over: LISTEN_FDS" in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_cannot_share_what_is_handed_over() -> None:
    done = _bin_server("--listen", "systemd:", "--workers", "2")
    assert done.returncode == 2
    assert "--listen systemd: is for one worker" in done.stderr


def test_what_is_no_listening_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from wire.server import activation

    left, right = socket.socketpair()
    with left, right:
        monkeypatch.setattr(activation, "_FIRST_DESCRIPTOR", os.dup(left.fileno()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        with pytest.raises(wire.ListenError, match="is no stream socket that listens"):
            wire.inherited_sockets()
        assert "LISTEN_FDS" not in os.environ
