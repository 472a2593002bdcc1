"""Flags of a trace, which several programs have, and the trace that they ask for."""

from __future__ import annotations

import argparse
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from wire.errors import ConfigurationError
from wire.programs import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def add_trace_flags(add: Callable[..., Any], *, always: bool = False) -> None:
    """--trace, --trace-file and --trace-secrets, by a parser's or a group's `add_argument`. `always`: the program
    traces without being asked to."""
    shown = "show this only" if always else "show frames, fields, messages and calls on stderr, or those of the filter"
    add(
        "--trace",
        type=trace_filter,
        nargs="?",
        const="",
        default="" if always else None,
        metavar="FILTER",
        help=f"{shown} (see below)",
    )
    add(
        "--trace-file",
        type=cli.writable_file,
        default=None,
        metavar="F",
        help="write the trace there instead, as JSON lines",
    )
    add(
        "--trace-secrets",
        action="store_true",
        default=False,
        help="show credentials, -bin values and payloads of Sign, too",
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


@dataclass(frozen=True, slots=True)
class TraceFlags:
    """What the flags ask for; can be sent to another process."""

    filter: str
    path: Path | None
    secrets: bool

    def trace(self, services: Iterable[Service] = (), *, file: TextIO | None = None, several: bool = False) -> Trace:
        """To `file` (stderr), unless the flags name one. `several`: other processes write there, too, so that each
        says its number."""
        from wire.inspect import JsonLines, Output, Secrets, Trace, text_output

        process = str(os.getpid()) if several else ""
        output: Output
        if self.path is not None:
            output = JsonLines(self.path, process=process)
        else:
            output = text_output(file or sys.stderr, full=self.secrets, process=process)
        return Trace(self.filter, outputs=[output], services=services, secrets=Secrets(shown=self.secrets))


def trace_flags(args: argparse.Namespace) -> TraceFlags | None:
    """None when no trace is asked for."""
    if args.trace is None and args.trace_file is None:
        return None
    return TraceFlags(args.trace or "", args.trace_file, args.trace_secrets)
