"""Command lines are checked in one sentence, and whatever ends a program becomes one line and an exit status."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import wire
from wire.programs import cli, client
from wire.programs.cli import run_main
from wire.version import VERSION


def ended(main: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as caught:
        run_main(main, "prog")
    assert isinstance(caught.value.code, int)
    return caught.value.code


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_parser_error_is_one_line_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.Parser("prog")
    parser.add_argument("--number", type=cli.integer(1, 9))
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["--number", "1\n0"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "prog: argument --number: '1\\n0' is not a whole number from 1 to 9 (see prog --help)\n"
    )


def test_flags_cannot_be_abbreviated() -> None:
    parser = cli.Parser("prog")
    parser.add_argument("--number")
    with pytest.raises(SystemExit):
        parser.parse_args(["--num", "1"])


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (cli.integer(1, 9), "9", 9),
        (cli.seconds, "0.5", 0.5),
        (cli.metadata_item, "Key=a=b", ("key", "a=b")),
        (cli.metadata_item, "key=", ("key", "")),
        (cli.metadata_item, "key-bin=/+8", ("key-bin", b"\xff\xef")),
        (cli.address, "unix:/run/a", "unix:/run/a"),
        (cli.loop_name, "asyncio", "asyncio"),
    ],
)
def test_value_is_taken(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (cli.integer(1, 9), "0"),
        (cli.integer(1, 9), "10"),
        (cli.integer(1, 9), "x"),
        (cli.seconds, "0"),
        (cli.seconds, "nan"),
        (cli.seconds, "inf"),
        (cli.metadata_item, "key"),
        (cli.metadata_item, "=value"),
        (cli.metadata_item, "key=\n"),
        (cli.metadata_item, "te=trailers"),
        (cli.metadata_item, "key-bin=!"),
        (cli.address, "nowhere"),
        (cli.loop_name, "nothing"),
        (cli.readable_file, "/nonexistent"),
        (cli.process, "0"),
        (cli.process, str(2**31 - 1)),
    ],
)
def test_value_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (wire.RpcError(wire.StatusCode.NOT_FOUND, "no\x1b[31mthing"), 69, "prog: NOT_FOUND: no\\x1b[31mthing\n"),
        (wire.ConnectError("nobody is there"), 1, "prog: nobody is there\n"),
        (FileNotFoundError(2, "No such file or directory", "f"), 1, "prog: f: No such file or directory\n"),
        (ExceptionGroup("", [wire.UsageError("too late")]), 1, "prog: too late\n"),
        (MemoryError(), 1, "prog: there is not enough memory for this\n"),
        (wire.TlsError("set ClientTls.server_name"), 1, "prog: set --tls-server-name\n"),
        (ValueError("bug"), 1, "prog: internal error: ValueError: bug (WIRE_TRACEBACK=1 shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130, ""),
        (SystemExit(2), 2, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_what_ends_a_program_is_one_line_and_a_status(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == status
    assert capsys.readouterr().err == line


def test_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRE_TRACEBACK", "1")
    assert ended(raising(ValueError("bug"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_status_is_what_main_returns() -> None:
    assert ended(lambda: None) == 0
    assert ended(lambda: 3) == 3


def test_reader_that_goes_away_is_no_error() -> None:
    code = "from wire.programs.cli import run_main; run_main(lambda: print('x' * 100_000), 'prog')"
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.close()
    assert program.communicate()[1] == b""
    assert program.returncode == 141


def test_a_terminal_that_has_no_micro_sign_ends_no_program() -> None:
    command = [sys.executable, "-c", "from wire.programs import cli; cli.run_main(lambda: print('5 \\xb5s'), 'prog')"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "5 \\xb5s\n"


@pytest.mark.parametrize("name", ["bench", "client", "server", "tap"])
def test_a_program_is_run_as_a_module_too(name: str) -> None:
    command = [sys.executable, "-m", f"wire.programs.{name}", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"wire-{name} {VERSION}\n"


def test_help_is_no_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        client.main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
