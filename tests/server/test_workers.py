"""Worker processes are spread over, replaced and drained, with real processes (tests/server/worker_program.py)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from wire.errors import ConfigurationError, ListenError
from wire.server.workers import FirstSignal, _Slot, _Supervisor, bind_for_workers, run_workers
from wire.transport import sockets
from wire.transport.address import TcpAddress, UnixAddress, parse_address
from wire.transport.runtime import LoopName

ROOT = Path(__file__).parent.parent.parent

Start = Callable[..., "Program"]


class Program:
    """A running worker_program."""

    def __init__(self, mode: str, address: str, count: int, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.worker_program", mode, address, str(count)],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        """What was bound; "" when it ended without that."""

    def connect(self) -> socket.socket:
        match parse_address(self.address):
            case TcpAddress(host, port):
                return socket.create_connection((host, port), timeout=30)
            case UnixAddress(path):
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(30)
                sock.connect(path)
                return sock
        raise AssertionError(self.address)

    def ask(self) -> int:
        """The process id of the worker that accepts a new connection."""
        with self.connect() as sock:
            return int(sock.recv(64))

    def ask_until(self, satisfied: Callable[[set[int]], bool]) -> set[int]:
        """Process ids of those who answer, until there are enough."""
        seen: set[int] = set()
        give_up = time.monotonic() + 30
        while not satisfied(seen):
            assert time.monotonic() < give_up, seen
            seen.add(self.ask())
        return seen

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Send signals to the supervisor; returns its exit status and its stderr, once all workers have gone too."""
        for number in signals:
            self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=60)  # until every process has closed its copy of stdout
        return self.process.returncode, stderr

    def kill(self) -> None:
        """Leave nothing running, also where the supervisor is gone and its workers are not."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def start_program(mode: str, address: str, count: int, **environment: str) -> Program:
            program = Program(mode, address, count, environment)
            stack.callback(program.kill)
            return program

        yield start_program


@pytest.fixture(params=["tcp", "unix"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/s"


def test_connections_are_spread_over_all_workers(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 3)
    workers = program.ask_until(lambda seen: len(seen) == 3)
    assert program.process.pid not in workers


def test_sigterm_ends_all_workers_with_status_0(start: Start, address: str, tmp_path: Path) -> None:
    program = start("answer", address, 2)
    program.ask()
    assert program.end(signal.SIGTERM) == (0, "")
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        program.connect()
    assert list(tmp_path.iterdir()) == []  # the UNIX socket's file is gone


def test_ctrl_c_reaching_every_process_is_one_request_to_stop(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 2)
    os.killpg(program.process.pid, signal.SIGINT)
    assert program.end() == (0, "")


def test_killed_worker_is_replaced(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 2)
    before = program.ask_until(lambda seen: len(seen) == 2)
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    after = program.ask_until(lambda seen: len(seen - {victim}) == 2)
    assert before < after
    status, stderr = program.end(signal.SIGTERM)
    assert status == 0
    assert f"(process {victim}) was killed by SIGKILL" in stderr


def test_connection_that_a_killed_worker_had_not_accepted_is_not_lost(
    start: Start, address: str, tmp_path: Path
) -> None:
    marker = tmp_path / "deaf"
    program = start("deaf_at_first", address, 1, DEAF_WORKER=str(marker))
    deaf = int(marker.read_text())
    with program.connect() as waiting:
        os.kill(deaf, signal.SIGKILL)
        assert int(waiting.recv(64)) not in (deaf, program.process.pid)


def test_worker_that_is_stopped_is_killed_and_replaced(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 2, HANG_TIMEOUT_S="1")
    victim = program.ask_until(lambda seen: len(seen) == 2).pop()
    os.kill(victim, signal.SIGSTOP)
    program.ask_until(lambda seen: len(seen - {victim}) == 2)  # what the victim had not accepted waits for another
    status, stderr = program.end(signal.SIGTERM)
    assert status == 0
    assert f"(process {victim}) has hung for 1 s and was killed; another takes its place" in stderr
    assert stderr.count(str(victim)) == 1


def test_worker_whose_event_loop_does_not_turn_is_killed_and_replaced(
    start: Start, tmp_path: Path, loop: LoopName
) -> None:
    marker = tmp_path / "spinning"
    program = start("spinning_at_first", "127.0.0.1:0", 1, SPINNING_WORKER=str(marker), LOOP=loop, HANG_TIMEOUT_S="0.5")
    victim = int(marker.read_text())
    os.kill(victim, signal.SIGTERM)
    assert program.process.stdout is not None
    assert program.process.stdout.readline() == "spinning\n"
    assert program.ask() not in (victim, program.process.pid)
    status, stderr = program.end(signal.SIGTERM)
    assert status == 0
    assert f"(process {victim}) has hung" in stderr


class Hanging:
    """A supervisor of one worker, whose beats and kills are seen, at times that are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.killed: list[int] = []
        monkeypatch.setattr(os, "kill", lambda pid, number: self.killed.append(pid))
        self.slot = _Slot(0, pid=7)
        with socket.socket() as signals:
            self.supervisor = _Supervisor([self.slot], print, 0.0, signals, 10.0)
        self.supervisor._end_hung(100.0)

    def look(self, *times: float) -> list[int]:
        for now in times:
            self.supervisor._end_hung(now)
        return self.killed


def test_worker_that_never_beats_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Hanging(monkeypatch).look(*range(101, 200)) == []


def test_worker_hangs_when_its_beat_is_too_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(monkeypatch)
    hanging.slot.beat_at = 100.0
    assert hanging.look(102, 104, 106, 108, 109.9) == []
    assert hanging.look(110, 112) == [7]


def test_supervisor_that_was_itself_stopped_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = Hanging(monkeypatch)
    hanging.slot.beat_at = 100.0
    assert hanging.look(102, 500, 502, 504, 506, 508, 509.9) == []
    assert hanging.look(510) == [7]


def test_hang_timeout_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hang_timeout_s"):
        run_workers(["127.0.0.1:0"], 1, print, hang_timeout_s=0)


def test_second_signal_kills_workers_that_do_not_end(start: Start) -> None:
    status, stderr = start("stubborn", "127.0.0.1:0", 2).end(signal.SIGTERM, signal.SIGINT)
    assert status == 1
    assert "stopping at once: killing workers: 2" in stderr


def test_the_same_signal_a_moment_later_is_no_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    first = FirstSignal(signal.SIGTERM)
    assert first.is_echoed_by(signal.SIGTERM)
    assert not first.is_echoed_by(signal.SIGINT)
    now += 0.5
    assert not first.is_echoed_by(signal.SIGTERM)


def test_workers_that_do_not_end_in_time_are_killed(start: Start) -> None:
    status, stderr = start("late", "127.0.0.1:0", 2).end(signal.SIGTERM)
    assert status == 1
    assert "2 workers did not end in time" in stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_workers_do_not_outlive_a_killed_supervisor(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 2)
    program.ask()
    assert program.end(signal.SIGKILL)[0] == -signal.SIGKILL
    with pytest.raises(ConnectionRefusedError):
        program.connect()


def test_worker_that_fails_at_the_start_ends_all_with_status_1(start: Start) -> None:
    program = start("broken", "127.0.0.1:0", 2)
    assert program.address == ""
    assert program.end()[0] == 1


def test_port_of_other_workers_is_taken(start: Start) -> None:
    program = start("answer", "127.0.0.1:0", 2)
    with pytest.raises(ListenError, match="is taken"):
        bind_for_workers(program.address, 2)


def test_tcp_workers_have_a_socket_each_and_unix_workers_share_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        tcp = [stack.enter_context(sock) for (sock,) in bind_for_workers("127.0.0.1:0", 3)]
        assert len({sock.fileno() for sock in tcp}) == 3
        assert len({sockets.bound_address(sock) for sock in tcp}) == 1
        unix = bind_for_workers(f"unix:{tmp_path}/s", 3)
        stack.enter_context(unix[0][0])
        assert unix == [unix[0]] * 3
        both = [stack.enter_context(sock) for own in bind_for_workers("localhost:0", 2) for sock in own]
        assert len({sock.fileno() for sock in both}) == len(both)
        assert len({sock.getsockname()[1] for sock in both}) == 1
        assert [sock.family for sock in both] == [sock.family for sock in both[: len(both) // 2]] * 2


def test_number_of_workers_below_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        run_workers(["127.0.0.1:0"], 0, print)
