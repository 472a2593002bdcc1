"""The server's end when a handler will not end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.support import run, status_of
from wire.transport.runtime import LoopName

ROOT = Path(__file__).parent.parent.parent
OPTIONS = ("--listen", "127.0.0.1:0", "--grace", "0", "--rsa-bits", "none")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_handlers_that_swallow_their_cancellation_are_named_and_left_behind(loop: LoopName, workers: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bin.stubborn_server", *OPTIONS, "--workers", workers, "--loop", loop],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = process.stdout, process.stderr

    async def call_and_stop(address: str) -> None:
        async with wire.Channel(address) as channel, anyio.create_task_group() as tasks:
            tasks.start_soon(status_of, EchoServiceStub(channel).echo(EchoRequest(payload=b"x")))
            assert await anyio.to_thread.run_sync(stdout.readline, abandon_on_cancel=True) == "entered\n"
            process.send_signal(signal.SIGTERM)

    try:
        while not (line := stderr.readline()).startswith("listening on "):
            assert line, "it did not start"
        run(call_and_stop, line.split()[-1])
        _, log = process.communicate(timeout=60)
        assert log.count("did not end when cancelled: /echo.v1.EchoService/") == 1
        assert process.returncode == 1
    finally:
        process.kill()
        process.communicate()
