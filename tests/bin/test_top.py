"""`top` shows a server's connections: on a terminal, on a narrow one, and as text or JSON where there is none."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from concurrent import futures
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import anyio
import pytest

import wire
from bin import client
from tests.bin.programs import ROOT, ServerProcess
from tests.support import TIMEOUT_S, Probe, ProbeStub, end_of, run, serving
from wire.programs.live_rows import Row, Sample, rates_of
from wire.programs.top import View, _bytes, _count
from wire.standard import Channelz


class Terminal:
    """A program on a terminal of so many columns and lines."""

    def __init__(self, columns: int, lines: int, *command: str) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**environment, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.shown = ""

    def until(self, found: Callable[[str], bool]) -> None:
        end_s = time.monotonic() + TIMEOUT_S
        while not found(self.shown):
            ready, _, _ = select.select([self._master], [], [], max(0.0, end_s - time.monotonic()))
            assert ready, self.shown
            try:
                self.shown += os.read(self._master, 65536).decode()
            except OSError:  # the program has ended
                assert found(self.shown), self.shown

    def interrupt(self) -> int:
        """As Ctrl-C does; returns the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(TIMEOUT_S)
        self.until(lambda shown: shown.endswith("\x1b[?1049l"))  # the screen that was there before
        os.close(self._master)
        return status


def last_screen(shown: str) -> list[str]:
    """Its lines, without colours."""
    text = shown.rpartition("\x1b[?25h")[0].rpartition("\x1b[H")[2]
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).split("\r\n")]


def test_narrow_terminal_is_filled_and_left_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    with ServerProcess("--listen", f"unix:{tmp_path}/s", "--rsa-bits", "none") as server:
        terminal = Terminal(40, 12, "bin.client", "top", "--target", server.address, "--interval", "0.1")
        terminal.until(lambda shown: bool(re.search(r"unix: +\d+", shown)))
        server.end(signal.SIGTERM)
        terminal.until(lambda shown: "UNAVAILABLE" in shown)  # and it goes on
        assert terminal.interrupt() == 130
    assert terminal.shown.startswith("\x1b[?1049h")
    lines = last_screen(terminal.shown)
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 40
    assert re.fullmatch(r"connection from +calls/s +err/s +open", lines[6])


def test_text_and_json_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def refuses(request: bytes, context: wire.ServerContext) -> bytes:
        raise wire.RpcError(wire.StatusCode.NOT_FOUND, "no")

    async def main() -> tuple[str, str]:
        async with serving(Probe(ServerStream=refuses), Channelz()) as (_, address), wire.Channel(address) as channel:
            await ProbeStub(channel).unary(b"x")
            await end_of(ProbeStub(channel).server_stream(b"x"), "ServerStream")
            command = [sys.executable, "-m", "bin.client", "--target", address, "top", "--interval", "0.1"]
            text = await anyio.run_process(command, cwd=ROOT)
            lines = await anyio.run_process([*command, "--json", "--count", "2"], cwd=ROOT)
            return text.stdout.decode(), lines.stdout.decode()

    text, lines = run(main)
    assert "\x1b" not in text
    assert re.search(r"^connection from +calls/s +err/s +open +calls +in/s +out/s +may send", text, re.MULTILINE)
    first, second = map(json.loads, lines.splitlines())
    assert first["more_connections"] is False
    (own,) = [each for each in second["connections"] if (each["started"], each["failed"]) == (2, 1)]
    assert own["open"] == 0
    assert own["per_s"]["calls"] == 0
    assert own["send_window"] > 0
    if sys.platform == "linux":
        assert own["received"] > 100
        assert own["round_trip_s"] > 0
    asking = max(second["connections"], key=lambda each: each["number"])
    assert asking["per_s"]["calls"] > 0


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    serve = ("--listen", address, "--rsa-bits", "none")
    command = [sys.executable, "-m", "bin.client", "--target", address, "--json", "top"]
    command += ["--interval", "0.1", "--count", "1000000000"]
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(*serve))
        pipe = subprocess.PIPE
        top = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True))
        stack.callback(top.kill)
        assert top.stdout is not None
        assert top.stderr is not None
        assert json.loads(top.stdout.readline())["connections"]
        server.end(signal.SIGTERM)
        assert re.match(rf"{re.escape(address)}  \d\d:\d\d:\d\d  UNAVAILABLE: ", top.stderr.readline())
        away = datetime.now().astimezone()
        stack.enter_context(ServerProcess(*serve))
        assert any(datetime.fromisoformat(json.loads(line)["at"]) > away for line in top.stdout)
        top.send_signal(signal.SIGINT)
        assert top.wait(TIMEOUT_S) == 130


def test_servers_of_grpcio_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    grpc = pytest.importorskip("grpc", exc_type=ImportError)
    channelz = pytest.importorskip("grpc_channelz.v1.channelz")
    with futures.ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=[("grpc.enable_channelz", 1)])
        channelz.add_channelz_servicer(server)
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            assert client.main(["--target", address, "top", "--interval", "0.1"]) == 0
        finally:
            server.stop(0).wait()
    shown = capsys.readouterr().out
    assert re.search(r"^127\.0\.0\.1:\d+ +[\d.]+ +0 +\d+ +\d+ +0$", shown, re.MULTILINE)
    assert re.search(r"^127\.0\.0\.1:\d+ +[\d.]+ +0 +\d+ +\d+ +- ", shown, re.MULTILINE)  # which counts no bytes


def test_no_server_and_no_channelz_are_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(wire.RpcError, match="UNAVAILABLE"):
        client.main(["--target", f"unix:{tmp_path}/nobody", "top"])

    async def main() -> str:
        async with serving(Probe()) as (_, address):
            command = [sys.executable, "-m", "bin.client", "--target", address, "top"]
            ended = await anyio.run_process(command, cwd=ROOT, check=False)
            assert (ended.returncode, ended.stdout) == (1, b"")
            return ended.stderr.decode()

    said = run(main)
    assert said.count("\n") == 1
    assert "does not serve channelz" in said


def sample(at_s: float, started: int, connections: int = 1) -> Sample:
    rows = [
        Row(number=2 + n, name=f"ipv4:10.0.0.1:{5000 + n}", started=started * n, failed=n, open=n, held=0, received=n)
        for n in range(connections)
    ]
    servers = [Row(number=1, name="ipv4:0.0.0.0:50051, unix:/run/a/long/path/s", started=started, failed=0, open=1)]
    return Sample(at_s, 0.0005, 5, servers, rows, [])


def test_rates_are_of_the_time_between() -> None:
    rates = rates_of(sample(10.0, 100), sample(12.0, 300, 2))
    assert rates[1].calls == 100
    assert (rates[3].calls, rates[3].failed) == (150, 0.5)  # it was not there before
    assert rates[1].received is None


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_busiest_connections_are_shown_where_there_is_no_room_for_all(width: int) -> None:
    console = pytest.importorskip("rich.console").Console(width=width, height=14, color_system=None)
    now = sample(1.0, 10, 30)
    view = View("vsock:3:5000", now, rates_of(sample(0.0, 0, 30), now))
    with console.capture() as captured:
        console.print(view.as_screen(width, 14))
    lines = captured.get().splitlines()
    assert len(lines) <= 14
    assert all(len(line.rstrip()) <= width for line in lines)
    assert lines[7].startswith("10.0.0.1:5029 ")
    assert re.fullmatch(r"\d\d more", lines[-1].strip())


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (999, "999"), (1234, "1.23k"), (12345, "12k"), (999_999, "1.00M"), (None, "-")]
)
def test_counts_are_short(value: int | None, shown: str) -> None:
    assert _count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0B"), (-5, "-5B"), (65535, "64.0K"), (4 << 20, "4.0M"), (200 << 10, "200K"), (None, "-")]
)
def test_bytes_are_short(value: int | None, shown: str) -> None:
    assert _bytes(value) == shown
