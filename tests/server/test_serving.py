"""`wire.serve` as a program's last line: it listens, says so, drains on a signal, and gives an exit status."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

import wire

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import sys
from contextlib import asynccontextmanager
import wire

class Held(wire.Servicer):
    service = wire.Service("test.Held", [wire.UnaryStream("Hold", bytes, bytes)])

    async def hold(self, request, context):
        yield b"begun"
        print("held", flush=True)
        while not server.stopping:
            await anext(ticks())
        yield b"ended"

async def ticks():
    import anyio
    await anyio.sleep(0)
    yield

@asynccontextmanager
async def make_server():
    global server
    async with wire.Server([Held()]) as server:
        yield server
    print("closed", flush=True)

started = lambda bound: print(*bound, flush=True)
sys.exit(wire.serve(make_server, sys.argv[1], workers=int(sys.argv[2]), started=started, reuse_port=True))
"""

Start = Callable[[int], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(workers: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, "127.0.0.1:0", str(workers)]
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_lets_calls_end_and_closes_what_was_opened(start: Start, workers: int) -> None:
    process = start(workers)
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    async def main() -> None:
        async with wire.Channel(address) as channel:
            call = channel.unary_stream("/test.Held/Hold", request=bytes, response=bytes)(b"", timeout=30.0)
            assert await anext(call) == b"begun"
            wire.bind(address, reuse_port=True).close()
            process.send_signal(signal.SIGTERM)
            assert [response async for response in call] == [b"ended"]

    wire.run(main)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout.splitlines() == ["held", *["closed"] * workers]


def test_sockets_of_systemd_are_for_one_worker() -> None:
    with pytest.raises(wire.ConfigurationError, match=r'"systemd:" is for one worker, but there are 2'):
        wire.serve(lambda: wire.Server([]), "systemd:", workers=2)


@pytest.mark.parametrize(
    ("make_server", "addresses", "said"),
    [
        (wire.Server([]), "127.0.0.1:0", "make_server is a function"),
        (anyio.sleep_forever, "127.0.0.1:0", "make_server is a function"),
        (lambda: wire.Server([]), [], "there is no address"),
    ],
)
def test_what_cannot_be_served_is_said_so(make_server: Any, addresses: Any, said: str) -> None:
    with pytest.raises(wire.UsageError, match=said):
        wire.serve(make_server, addresses)


def test_only_the_main_thread_serves() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(wire.UsageError, match="as only the main thread can"),
    ):
        pool.submit(wire.serve, lambda: wire.Server([]), "127.0.0.1:0").result()


def test_a_handler_that_cannot_take_a_request_and_a_context_is_refused() -> None:
    class Short(wire.Servicer):
        service = wire.Service("test.Short", [wire.UnaryUnary("Get", bytes, bytes)])

        def get(self, request: bytes) -> bytes:
            return request

    with pytest.raises(wire.ServiceError, match=r"Short\.get takes \(request: .*, but is called with a request and a"):
        wire.Server([Short()])


def test_a_list_of_servicers_is_asked_for() -> None:
    with pytest.raises(wire.ServiceError, match=r"a list of servicers: \[Servicer\(\)\]"):
        wire.Server(wire.Servicer())  # type: ignore[arg-type]


def test_what_making_the_server_raises_passes_through() -> None:
    def make_server() -> wire.Server:
        raise wire.ServiceError("not today")

    with pytest.raises(wire.ServiceError, match="not today"):
        wire.serve(make_server, "127.0.0.1:0")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_taken_ends_the_program_with_one_sentence(workers: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as caught:
            wire.serve(lambda: wire.Server([]), f"127.0.0.1:{port}", workers=workers)
    assert caught.value.code == f"cannot listen on ipv4:127.0.0.1:{port}: port {port} is taken by another program"
    assert isinstance(caught.value.__cause__, wire.ListenError)
