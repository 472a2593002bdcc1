"""bin.tap as its users run it: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wire
from bin import client, tap
from tests.bin.programs import ROOT, ServerProcess
from tests.certificates import Certificates
from wire.programs import cli


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("--listen", "127.0.0.1:0", "--rsa-bits", "none") as program:
        yield program


def tapped(server: ServerProcess, *flags: str) -> ServerProcess:
    arguments = ("--listen", "127.0.0.1:0", "--target", server.address, *flags)
    return ServerProcess(*arguments, module="bin.tap", stdout=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_call_is_printed_and_a_signal_ends_it(
    server: ServerProcess, number: signal.Signals, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with tapped(server) as program:
        client.main(["--target", program.address, "echo", "hello"])
        assert capsysbinary.readouterr().out == b"hello\n"
        assert program.end(number) == 0
    assert "payload: b'hello'" in program.stdout
    assert "CALL /echo.v1.EchoService/Echo OK" in program.stdout
    assert "\x1b" not in program.stdout
    assert "Traceback" not in program.stderr


def test_trace_goes_to_a_file_as_lines_of_json(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with tapped(server, "--trace-file", str(path), "--trace", "frame=CALL,DATA") as program:
        client.main(["--target", program.address, "echo", "hello"])
        assert program.end(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["DATA", "DATA", "CALL"]
    assert lines[0]["messages"][0]["content"] == {"payload": "aGVsbG8="}
    assert program.stdout == ""


def test_quiet_tap_prints_nothing(server: ServerProcess) -> None:
    with tapped(server, "--quiet") as program:
        client.main(["--target", program.address, "echo", "hello"])
        assert program.end(signal.SIGTERM) == 0
    assert program.stdout == ""


def test_target_whose_certificate_does_not_fit_is_said_with_the_flag_that_helps(certificates: Certificates) -> None:
    flags = ("--tls-cert", str(certificates.server), "--tls-key", str(certificates.server_key))
    with ServerProcess("--listen", "unix:" + str(certificates.ca.parent / "s"), "--rsa-bits", "none", *flags) as server:
        trust = ("--target-tls-ca", str(certificates.ca), "--target-tls-server-name", "elsewhere")
        with tapped(server, *trust) as program:
            with pytest.raises(wire.RpcError):
                client.main(["--target", program.address, "--timeout", "5", "echo", "hello"])
            assert program.end(signal.SIGTERM) == 0
    assert "--target-tls-server-name says which name to expect" in program.stderr


def test_reader_that_goes_away_ends_it(server: ServerProcess) -> None:
    with tapped(server) as program:
        assert program.process.stdout is not None
        program.process.stdout.close()
        program.process.stdout = None
        with pytest.raises(Exception, match="UNAVAILABLE"):
            client.main(["--target", program.address, "--timeout", "5", "echo", "hello"])
        assert program.process.wait(60) == cli.BROKEN_PIPE
        assert program.process.stderr is not None
        assert "Traceback" not in program.process.stderr.read()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--target", "127.0.0.1:1"], "--listen and --target are needed, or --pcapng"),
        (["--listen", "127.0.0.1:0"], "--listen and --target are needed, or --pcapng"),
        (["--trace", "frame=X"], '"X" is not one of DATA'),
        (["--throttle", "fast"], "is not a number of bytes, such as 1000 or 64KiB"),
        (["--cut-after", "0"], "is not a number of bytes"),
        (["--delay", "-1"], "is not a number of seconds from 0 to 3600"),
        (["--target-tls-cert", __file__], "--target-tls-cert and --target-tls-key go together"),
        (["--tls-key", __file__], "--tls-cert and --tls-key go together"),
        (["--tls-client-ca", __file__], "--tls-client-ca needs --tls-cert and --tls-key"),
        (["--descriptors", "/nowhere"], "cannot read '/nowhere'"),
    ],
)
def test_wrong_command_line_is_one_sentence(flags: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "--target" not in flags and "--listen" not in flags:
        flags = [*flags, "--listen", "127.0.0.1:0", "--target", "127.0.0.1:1"]
    with pytest.raises(SystemExit) as caught:
        tap.main(flags)
    assert caught.value.code == cli.USAGE
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--listen", "unix:/no/such/directory/x"], "cannot listen on unix:/no/such/directory/x: its directory"),
        (["--listen", "127.0.0.1:0", "--descriptors", __file__], "these are no descriptors of protobuf"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(flags: list[str], reason: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bin.tap", "--target", "127.0.0.1:1", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == cli.FAILED
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_capture_is_shown_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.inspect.test_capture import ethernet, file_of, whole

    path = tmp_path / "capture.pcapng"
    path.write_bytes(file_of(map(ethernet, whole().packets)).read())
    assert tap.main(["--pcapng", str(path), "--trace", "frame=CALL"]) == 0
    output = capsys.readouterr()
    assert output.out.count("\n") == 1
    assert "CALL /echo.v1.EchoService/Echo OK" in output.out
    assert output.err == "packets: 10, connections of HTTP/2 in the clear: 1\n"


def test_what_is_no_capture_is_one_sentence() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bin.tap", "--pcapng", __file__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == cli.FAILED
    assert result.stderr == f"bin.tap: cannot read {__file__}: this is no capture: neither pcapng nor pcap\n"
