"""Log lines are one record each, in text or JSON, and nobody can forge one."""

from __future__ import annotations

import json
import logging

import pytest

from wire.programs.logs import JsonFormatter, TextFormatter, printable

FORGERY = "a\r\n2026-01-01 info forged\x1b[31m\x07\u202e\u2028\x9b"


def record(message: str, *args: object, exc: BaseException | None = None, **extra: object) -> logging.LogRecord:
    exc_info = (type(exc), exc, exc.__traceback__) if exc else None
    made = logging.makeLogRecord({"name": "wire.test", "levelno": logging.WARNING, "msg": message, "args": args})
    made.exc_info = exc_info
    made.created, made.msecs = 0.0, 7.0
    vars(made).update(extra)
    return made


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_text_line_has_time_level_logger_and_message() -> None:
    assert TextFormatter().format(record("count %d", 3)) == "1970-01-01T00:00:00.007Z warn  wire.test: count 3"


def test_json_line_has_them_as_fields_with_the_extra_ones() -> None:
    assert json.loads(JsonFormatter().format(record("count %d", 3, peer="unix:"))) == {
        "time": "1970-01-01T00:00:00.007Z",
        "level": "warn",
        "logger": "wire.test",
        "message": "count 3",
        "peer": "unix:",
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_message_stays_on_its_line_without_control_characters(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s", FORGERY))
    assert line.isprintable()
    assert "forged" in line


def test_text_traceback_is_marked_on_each_line() -> None:
    first, *rest = TextFormatter().format(record("failed", exc=raised(FORGERY))).split("\n")
    assert first.endswith("failed")
    assert len(rest) >= 4
    for line in rest:
        assert line.startswith("  | ")
        assert line.isprintable()


def test_json_traceback_is_a_field() -> None:
    line = JsonFormatter().format(record("failed", exc=raised(FORGERY)))
    assert line.isprintable()
    assert json.loads(line)["exception"].startswith("Traceback")


def test_printable_text_is_left_as_it_is() -> None:
    assert printable("grüße, 世界 \\") == "grüße, 世界 \\"
