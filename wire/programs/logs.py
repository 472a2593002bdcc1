"""Logging of the programs: one line a record as text or JSON, in which no control character of a payload, a peer or an
exception's text survives, so that nobody can forge or colour a line. Imports only the standard library.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Literal

LogFormat = Literal["text", "json"]

TRACE = 5
"""Below DEBUG: each frame and message."""

LEVELS = {"trace": TRACE, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

_NAMES = {level: name for name, level in LEVELS.items()} | {logging.CRITICAL: "error"}
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def printable(text: str) -> str:
    """`text` with every control, line-breaking, bidirectional or unassigned character as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _timestamp(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z info  wire.server: message`; a traceback follows, `  | ` before each of its lines."""

    def format(self, record: logging.LogRecord) -> str:
        level = _NAMES.get(record.levelno, record.levelname.lower())
        line = f"{_timestamp(record)} {level:<5} {record.name}: {printable(record.getMessage())}"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n".join([line, *(f"  | {printable(each)}" for each in traceback)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, a traceback as `exception`, the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": _timestamp(record),
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def set_up_logging(level: str, log_format: LogFormat = "text") -> None:
    """Send every logger's records from `level` (a key of `LEVELS`) upwards to stderr."""
    logging.addLevelName(TRACE, "TRACE")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    # These log raw headers and every callback, which belongs in no log of ours but the trace.
    for chatty in ("hpack", "asyncio", "h2"):
        logging.getLogger(chatty).setLevel(max(LEVELS[level], logging.WARNING))
    logging.raiseExceptions = False  # a closed stderr must not break the program that logs
