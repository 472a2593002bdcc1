"""What the programs' command lines share: a parser whose errors are one sentence, argument types, flags that several
programs have, and `run_main`, which turns whatever ends a program into one line and an exit status.

    status   meaning
    0        done
    1        it could not be done: one line on stderr says why
    2        the command line is wrong
    64 + n   a call ended with the gRPC status n, as grpcurl has it
    130      interrupted (Ctrl-C)
    141      whoever read the output went away
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from wire.config import ServerConfig
from wire.errors import AddressError, MetadataError, WireError
from wire.metadata import Metadata
from wire.process import open_standard_descriptors
from wire.programs.logs import LEVELS, printable
from wire.status import RpcError
from wire.transport.address import parse_address
from wire.version import VERSION

ENGINES = ("h2", "tuned")
LOOPS = ("auto", "asyncio", "uvloop", "trio")

FAILED, USAGE, RPC_FAILED, INTERRUPTED, BROKEN_PIPE = 1, 2, 64, 130, 141


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a description as they are, but for those that are wider than the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            own = len(line) - len(line.lstrip())
            wrapped = textwrap.wrap(
                line,
                width,
                initial_indent=indent,
                subsequent_indent=indent + " " * (own + 2 if own else 0),
                break_long_words=False,
                break_on_hyphens=False,
            )
            lines += wrapped or [""]
        return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """An argument parser that neither abbreviates flags nor prints its whole usage at an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _Help)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")


# Argument types: text in, value out; ArgumentTypeError says in a few words what is wrong.


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return value

    return parse


def number(low: float, high: float, *, unit: str = "") -> Callable[[str], float]:
    """A finite number from `low` to `high`; `unit` is for the error's text, such as " of seconds"."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number{unit} from {low:g} to {high:g}")
        return value

    return parse


def process(text: str) -> int:
    """The id of a process that is alive."""
    pid = integer(1, 2**31 - 1)(text)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise argparse.ArgumentTypeError(f"there is no process {pid}") from None
    except PermissionError:
        pass  # somebody else's
    return pid


seconds = number(0.001, 86_400, unit=" of seconds")
"""A positive time; "0" is refused."""


def metadata_item(text: str) -> tuple[str, str | bytes]:
    """`key=value`; the value of a key ending in -bin is bytes, given in base64 as it is on the wire."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    item: tuple[str, str | bytes] = key.lower(), value
    try:
        if key.endswith("-bin"):
            item = key.lower(), base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        Metadata([item])
    except MetadataError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not base64, which a value of {key!r} has to be in") from None
    return item


def address(text: str) -> str:
    """An address in gRPC's name syntax, as it was written."""
    try:
        parse_address(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def loop_name(text: str) -> str:
    """An event loop that is installed."""
    if text not in LOOPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(LOOPS)}")
    if text not in ("auto", "asyncio") and find_spec(text) is None:
        raise argparse.ArgumentTypeError(f"{text} is not installed; `pip install {text}` does that")
    return text


def readable_file(text: str) -> Path:
    """The path of a file that can be opened for reading."""
    path = Path(text)
    try:
        path.open("rb").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error.strerror}") from None
    return path


def writable_file(text: str) -> Path:
    """The path of a file that can be opened for writing; one that does not exist is not left behind."""
    path = Path(text)
    existed = path.exists()
    try:
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: {error.strerror}") from None
    return path


# Flags that several programs have.


def add_version_flag(parser: argparse.ArgumentParser) -> None:
    """--version."""
    parser.add_argument("--version", action="version", version=f"{parser.prog} {VERSION}", help="print the version")


def add_log_flags(parser: argparse.ArgumentParser, *, level: str = "info") -> None:
    """--log-level and --log-format, for `logs.set_up_logging`."""
    parser.add_argument("--log-level", choices=LEVELS, default=level, help="log this and worse (%(default)s)")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="log as (%(default)s)")


def add_loop_flag(parser: argparse.ArgumentParser) -> None:
    """--loop, for `wire.run`."""
    parser.add_argument(
        "--loop",
        type=loop_name,
        default="auto",
        metavar="{" + ",".join(LOOPS) + "}",
        help="event loop; auto is uvloop where it is installed (%(default)s)",
    )


def add_engine_flag(add: Callable[..., Any]) -> None:
    """--engine, the knob of that name; by `add_argument` of a parser or a group."""
    add("--engine", default=None, choices=ENGINES, help=f"HTTP/2 engine ({ServerConfig().engine})")


def run_main(main: Callable[[], int | None], prog: str) -> NoReturn:
    """Call `main`, then exit with what it returns (None is 0), or with a line on stderr and a status of that table.

    Set WIRE_TRACEBACK=1 in the environment to see the traceback of an error.
    """
    open_standard_descriptors()
    if isinstance(sys.stdout, io.TextIOWrapper):  # where the locale's encoding lacks a sign, as "µ", stderr does so too
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # see the package
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main() or 0
        sys.stdout.flush()
    except BaseException as error:
        status = _status(_only(error), prog)
    sys.exit(status)


_FLAGS = {
    "ClientTls.server_name": "--tls-server-name",
    "ClientTls.root_ca": "--tls-ca",
    "ClientTls.certificate": "--tls-cert",
    "ServerTls.client_ca": "--tls-client-ca",
}
"""Where an error advises a parameter, the user of a program has a flag."""


def with_flags(text: str) -> str:
    """The text of an error that advises a parameter, with the flag in its place."""
    for knob, flag in _FLAGS.items():
        text = text.replace(knob, flag)
    return text


def _only(error: BaseException) -> BaseException:
    """The one exception inside exception groups, or `error` where there are several or no group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _status(error: BaseException, prog: str) -> int:
    if os.environ.get("WIRE_TRACEBACK"):
        traceback.print_exception(error)
    match error:
        case SystemExit():
            if isinstance(error.code, str):
                return _fail(prog, error.code)
            return error.code or 0
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            # What is still buffered for stdout would raise again while the interpreter exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        case WireError():
            _fail(prog, with_flags(str(error)))
            return RPC_FAILED + error.code if isinstance(error, RpcError) else FAILED
        case MemoryError():
            return _fail(prog, "there is not enough memory for this")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return _fail(prog, f"{where}{error.strerror or error}")
        case _:
            text = f"internal error: {type(error).__name__}: {error}"
            return _fail(prog, f"{text} (WIRE_TRACEBACK=1 shows where)")


def _fail(prog: str, text: str) -> int:
    print(f"{prog}: {printable(text)}", file=sys.stderr)
    return FAILED
