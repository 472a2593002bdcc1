"""Layer costs of a server program: the flag, and where they go. Imports `wire.inspect`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wire.inspect import LayerCosts, costs_as_text, costs_on_signal
from wire.programs import cli
from wire.programs.logs import LogFormat

SIGNALS: Final = [signal.SIGUSR2] if hasattr(signal, "SIGUSR2") else []
"""What begins it; there is none on Windows."""

_log = logging.getLogger("wire.inspect")

HELP = """\
SIGUSR2 has the server measure for ten seconds what each of its layers costs, and print it to stderr; a second one ends
that early (docs/layer-costs.md).
"""


def add_costs_flag(add: Callable[..., Any]) -> None:
    """--costs-file, by a parser's or a group's `add_argument`."""
    add(
        "--costs-file",
        type=cli.writable_file,
        metavar="F",
        help="write what SIGUSR2 measures there instead, as a line of JSON",
    )


def measure_on_signal(path: Path | None, log_format: LogFormat) -> None:
    """Have SIGUSR2 begin it in this process, where there is such a signal. To `path`, or to stderr."""
    if SIGNALS:
        costs_on_signal(to_stderr(log_format) if path is None else _to_file(path))


def to_stderr(log_format: LogFormat) -> Callable[[LayerCosts], None]:
    """Where layer costs go that nobody gave a file for."""

    def output(costs: LayerCosts) -> None:
        if log_format == "json":
            text = f"{json.dumps(costs.as_json())}\n"
        else:
            text = f"{costs.wall_s:.1f} s, {costs.calls:,} calls\n" + costs_as_text([(f"process {os.getpid()}", costs)])
        sys.stderr.write(text)
        sys.stderr.flush()

    return output


def _to_file(path: Path) -> Callable[[LayerCosts], None]:
    def output(costs: LayerCosts) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        with os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8") as file:
            file.write(f"{json.dumps(costs.as_json())}\n")
        _log.info("layer costs are in %s", path)

    return output
