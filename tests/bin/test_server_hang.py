"""A worker of bin.server whose event loop stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.support import run, status_of
from wire.transport.runtime import LoopName

ROOT = Path(__file__).parent.parent.parent
OPTIONS = ("--listen", "127.0.0.1:0", "--grace", "0", "--rsa-bits", "none", "--workers", "2")


@pytest.mark.skipif(sys.platform == "win32", reason="several workers need a system that can fork")
def test_worker_that_a_handler_holds_up_is_replaced(loop: LoopName) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bin.blocking_server", *OPTIONS, "--loop", loop],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None

    async def main(address: str) -> None:
        async with wire.Channel(address) as channel:
            stub = EchoServiceStub(channel)
            assert (await stub.echo(EchoRequest(payload=b"x"))).payload == b"x"
            code, _ = await status_of(stub.echo(EchoRequest(payload=b"block")))
            assert code is wire.StatusCode.UNAVAILABLE
            assert (await stub.echo(EchoRequest(payload=b"y"), wait_for_ready=True)).payload == b"y"

    try:
        while not (line := process.stderr.readline()).startswith("listening on "):
            assert line, "it did not start"
        run(main, line.split()[-1])
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert log.count("has hung for 1 s and was killed; another takes its place") == 1
        assert process.returncode == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a worker that is held up would not end with its supervisor
        process.communicate()
