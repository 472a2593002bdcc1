"""bin.server listens where it is told, drains on a signal, and says in one line what it cannot do."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import wire
from bin import server
from proto.crypto.v1 import GetPublicKeyRequest, KeyType
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from tests.bin.programs import ServerProcess

ADDRESS = ("--listen", "127.0.0.1:0", "--rsa-bits", "none")
LOOPS = ["asyncio", "uvloop", "trio"]


async def echo(address: str, payload: bytes) -> bytes:
    async with wire.Channel(address) as channel:
        return (await EchoServiceStub(channel).echo(EchoRequest(payload=payload), timeout=30)).payload


async def key_id(address: str) -> str:
    async with wire.Channel(address) as channel:
        request = GetPublicKeyRequest(key_type=KeyType.P256)
        return (await CryptoServiceStub(channel).get_public_key(request, timeout=30)).key_id


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_calls_are_answered_and_sigterm_ends_with_status_0(loop: str, workers: str) -> None:
    pytest.importorskip(loop)
    with ServerProcess(*ADDRESS, "--loop", loop, "--workers", workers) as program:
        assert wire.run(echo, program.address, b"hello") == b"hello"
        assert program.end(signal.SIGTERM) == 0
        assert "Traceback" not in program.stderr


def test_every_address_is_listened_on(tmp_path: Path) -> None:
    unix = f"unix:{tmp_path}/s"
    with ServerProcess("--listen", "127.0.0.1:0", "--listen", unix, "--rsa-bits", "none") as program:
        assert program.addresses[1] == unix
        for address in program.addresses:
            assert wire.run(echo, address, b"hello") == b"hello"
        assert program.end(signal.SIGINT) == 0
    assert not (tmp_path / "s").exists()


def test_open_stream_ends_before_the_server_does() -> None:
    async def talk(program: ServerProcess) -> list[bytes]:
        async with wire.Channel(program.address) as channel:
            call = EchoServiceStub(channel).echo_stream()
            await call.send(EchoRequest(payload=b"before"))
            replies = [(await anext(aiter(call))).payload]
            program.process.send_signal(signal.SIGTERM)
            await call.send(EchoRequest(payload=b"after"))
            await call.end()
            return replies + [reply.payload async for reply in call]

    with ServerProcess(*ADDRESS) as program:
        assert wire.run(talk, program) == [b"before", b"after"]
        assert program.end() == 0


def test_second_signal_does_not_wait_for_open_calls() -> None:
    async def talk(program: ServerProcess) -> int:
        async with wire.Channel(program.address) as channel:
            call = EchoServiceStub(channel).echo_stream()
            await call.send(EchoRequest(payload=b"before"))
            await anext(aiter(call))
            return program.end(signal.SIGTERM, signal.SIGINT)

    with ServerProcess(*ADDRESS) as program:
        assert wire.run(talk, program) == 1
        assert "stopping at once" in program.stderr


def test_open_call_is_cut_off_after_the_grace_time() -> None:
    async def talk(program: ServerProcess) -> wire.StatusCode:
        async with wire.Channel(program.address) as channel:
            call = EchoServiceStub(channel).echo_stream()
            await call.send(EchoRequest(payload=b"before"))
            replies = aiter(call)
            await anext(replies)
            program.process.send_signal(signal.SIGTERM)
            with pytest.raises(wire.RpcError) as caught:
                await anext(replies)
            return caught.value.code

    with ServerProcess(*ADDRESS, "--grace", "0") as program:
        assert wire.run(talk, program) == wire.StatusCode.UNAVAILABLE
        assert program.end() == 0


def test_worker_that_is_killed_is_replaced_with_the_same_keys(tmp_path: Path) -> None:
    with ServerProcess("--listen", f"unix:{tmp_path}/s", "--rsa-bits", "none", "--workers", "1") as alone:
        assert alone.end(signal.SIGTERM) == 0
    psutil = pytest.importorskip("psutil")
    with ServerProcess(*ADDRESS, "--workers", "2") as program:
        before = wire.run(key_id, program.address)
        workers = psutil.Process(program.process.pid).children()
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
        assert wire.run(key_id, program.address) == before
        assert program.end(signal.SIGTERM) == 0


def test_keys_in_a_directory_outlive_the_server(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        with ServerProcess(*ADDRESS, "--keys", str(tmp_path)) as program:
            ids.add(wire.run(key_id, program.address))
            assert program.end(signal.SIGTERM) == 0
    assert len(ids) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_core_dump_can_hold_the_keys() -> None:
    with ServerProcess(*ADDRESS, "--workers", "2") as program:
        psutil = pytest.importorskip("psutil")
        for process in (program.process, *psutil.Process(program.process.pid).children()):
            [line] = [
                line for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines() if "core file" in line
            ]
            assert line.split()[4:6] == ["0", "0"]
            # Memory of a process that cannot be dumped belongs to root, whoever runs it.
            assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0
        assert program.end(signal.SIGTERM) == 0


def test_log_can_be_json() -> None:
    with ServerProcess(*ADDRESS, "--log-format", "json", "--log-level", "debug") as program:
        wire.run(echo, program.address, b"\r\n")
        assert program.end(signal.SIGTERM) == 0
    lines = [line for line in program.stderr.splitlines() if not line.startswith("listening on")]
    messages = [json.loads(line)["message"] for line in lines]
    assert any(message.endswith(r"2 bytes: b'\r\n'") for message in messages)


def failure(*arguments: str) -> tuple[int, str]:
    with ServerProcess("--log-level", "error", *arguments) as program:
        return program.end(), program.stderr


def test_port_that_is_taken_is_one_line_before_there_are_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = f"bin.server: cannot listen on ipv4:127.0.0.1:{port}: port {port} is taken by another program\n"
        for workers in ("1", "2"):
            arguments = ("--listen", f"127.0.0.1:{port}", "--keys", str(keys), "--workers", workers)
            assert failure(*arguments) == (1, line)
            assert not keys.exists()


def test_certificate_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no certificate")
    status, stderr = failure("--tls-cert", f"{tmp_path}/cert", "--tls-key", f"{tmp_path}/cert")
    assert status == 1
    assert stderr.startswith("bin.server: the certificate ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "nowhere"],
        ["--workers", "0"],
        ["--engine", "steam"],
        ["--loop", "hula"],
        ["--rsa-bits", "1024"],
        ["--grace", "-1"],
        ["--vsock-allow-cid", "3,x"],
        ["--tls-cert", "file"],
        ["--tls-client-ca", "file"],
        ["--no-such-flag"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_bad_flag_is_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        server.main(arguments)
    assert caught.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("bin.server: ")
    assert line.endswith("(see bin.server --help)")


def test_ctrl_c_while_starting_is_silent(tmp_path: Path) -> None:
    with ServerProcess("--rsa-bits", "4096", "--listen", f"unix:{tmp_path}/s") as program, suppress(ProcessLookupError):
        assert program.end(signal.SIGINT) in (0, 130)
        assert "Traceback" not in program.stderr


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="layer costs need CPython")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigusr2_has_each_worker_measure_its_layers(workers: str, tmp_path: Path) -> None:
    path = tmp_path / "costs.jsonl"
    with ServerProcess(*ADDRESS, "--workers", workers, "--costs-file", str(path)) as program:
        assert wire.run(echo, program.address, b"marker-of-a-payload") == b"marker-of-a-payload"
        program.process.send_signal(signal.SIGUSR2)
        assert program.process.stderr is not None
        begun = [program.process.stderr.readline() for _ in range(int(workers))]
        assert all("measuring layer costs for 10 s" in line for line in begun)
        program.process.send_signal(signal.SIGUSR2)
        told = [program.process.stderr.readline() for _ in range(int(workers))]
        assert all(f"layer costs are in {path}" in line for line in told)
        assert program.end(signal.SIGTERM) == 0
    lines = path.read_text().splitlines()
    assert len(lines) == int(workers)
    assert all(json.loads(line)["wall_s"] > 0 for line in lines)
    assert "marker" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="layer costs need CPython")
@pytest.mark.parametrize("loop", LOOPS)
def test_server_that_is_measured_still_ends_at_sigterm(loop: str) -> None:
    with ServerProcess(*ADDRESS, "--loop", loop) as program:
        program.process.send_signal(signal.SIGUSR2)
        assert program.process.stderr is not None
        assert "measuring layer costs" in program.process.stderr.readline()
        assert program.end(signal.SIGTERM) == 0


def test_costs_file_that_cannot_be_written_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        server.main(["--costs-file", "/nowhere/costs"])
    assert "argument --costs-file: cannot write '/nowhere/costs': No such file or directory" in capsys.readouterr().err
