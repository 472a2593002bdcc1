"""Flags of a trace, which several programs have, and the trace that they ask for."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from bin import cli
from wire.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wire.inspect import Trace
    from wire.service import Service

FILTER_HELP: Final = """\
filters:    terms that must all hold, as in --trace 'frame=HEADERS,DATA method=Echo*'; != in place of = negates.
            frame=    DATA HEADERS RST_STREAM SETTINGS PING GOAWAY WINDOW_UPDATE CONTINUATION PRIORITY PUSH_PROMISE
                      PREFACE, CALL (a line for each call that ended), CONNECTION, RAW (bytes that are no HTTP/2)
            method=   Echo* (the method's name) or /echo.v1.EchoService/* (the path)
            stream=   connection=   numbers and ranges: 1,5-9        to=   server or client
"""

_FILTER = re.compile(r"\s*[a-z]+!?=")


def add_trace_flags(parser: argparse.ArgumentParser, *, always: bool = False) -> None:
    """--trace, --trace-file and --trace-secrets. `always`: the program traces without being asked to."""
    group = parser.add_argument_group("trace")
    group.add_argument(
        "--trace",
        type=trace_filter,
        nargs="?",
        const="",
        default="" if always else None,
        metavar="FILTER",
        help=("show this only" if always else "show frames, fields, messages and calls on stderr, or those")
        + " (below)",
    )
    group.add_argument(
        "--trace-file", type=cli.writable_file, metavar="F", help="write the trace there instead, as JSON lines"
    )
    group.add_argument(
        "--trace-secrets", action="store_true", help="show credentials, -bin values and payloads of Sign, too"
    )


def arguments_of(arguments: list[str] | None) -> list[str]:
    """The command line (None: the process's), with a --trace that has no FILTER marked as such: what stands behind it
    would be taken for one otherwise."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for at, word in enumerate(words):
        if word == "--":
            break
        if word == "--trace" and not (at + 1 < len(words) and _FILTER.match(words[at + 1])):
            words[at] = "--trace="
    return words


def trace_filter(text: str) -> str:
    """A filter that can be read, as it was written."""
    from wire.inspect.filters import parse_filter

    try:
        parse_filter(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def trace_of(args: argparse.Namespace, services: Iterable[Service], *, file: TextIO | None = None) -> Trace | None:
    """The trace that the flags ask for, to `file` (stderr) unless they name one; None when they ask for none."""
    path: Path | None = args.trace_file
    if args.trace is None and path is None:
        return None
    from wire.inspect import JsonLines, Output, Secrets, Trace, text_output

    output: Output = JsonLines(path) if path is not None else text_output(file or sys.stderr, full=args.trace_secrets)
    secrets = Secrets(shown=args.trace_secrets)
    return Trace(args.trace or "", outputs=[output], services=services, secrets=secrets)
