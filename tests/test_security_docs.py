"""docs/security.md names every limit there is, and none that is not."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import table
from tests.hostile.__main__ import line_of
from tests.hostile.rig import ROWS, Figures
from wire import config

DOCUMENT = (Path(__file__).parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
SERVER_SIDE: tuple[Any, ...] = (
    config.Http2Config,
    config.TransportConfig,
    config.CallConfig,
    config.KeepaliveConfig,
    config.ServerConfig,
)
NO_LIMITS = {"engine", "compression", "http2", "transport", "calls", "keepalive", "connect_timeout_s", "without_calls"}
"""Choices, groups of knobs, and what only clients use."""

KNOBS = [field.name for each in SERVER_SIDE for field in fields(each) if field.name not in NO_LIMITS]


@pytest.mark.parametrize("knob", KNOBS)
def test_every_limit_is_named(knob: str) -> None:
    assert f"`{knob}`" in DOCUMENT


def test_every_knob_that_is_named_exists() -> None:
    known = {field.name for each in (*SERVER_SIDE, config.ChannelConfig) for field in fields(each)}
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|", DOCUMENT, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)}
    assert named
    assert named <= known


def test_defaults_are_those_that_are_said() -> None:
    """A table row that names one knob and then a number in parentheses names its default."""
    defaults = {field.name: field.default for each in SERVER_SIDE for field in fields(each)}
    found = re.findall(r"`([a-z0-9_]+)` \(([\d,.]+)(?: (KiB|MiB|GiB|s|ms|h))?\)", DOCUMENT)
    assert found
    factors = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ms": 0.001, "h": 3600, "s": 1, "": 1}
    for name, number, unit in found:
        if name == "time_s":  # the server's is not the class's
            continue
        assert float(number.replace(",", "")) * factors[unit] == pytest.approx(defaults[name]), name


def test_the_table_of_figures_is_made_of_what_runs_print() -> None:
    table.modules()  # which imports the rows
    row = max(ROWS, key=lambda row: len(row.name))
    figures = Figures(held_mib=12.34, bound_mib=56.7, stays_mib=-0.1, turn_ms=7.8, p99_ms=9.1, worst_ms=10, echoes=100)
    printed = [line_of(row, "tuned", "uvloop", figures), line_of(row, "h2", "trio", figures)]
    (line, _) = table.read(["row engine loop\n" + "\n".join(printed)])
    assert (line.engine, line.loop, line.held_mib, line.bound_mib, line.p99_ms) == ("tuned", "uvloop", 12.3, 57, 9.1)
    figures.faults.append("it fell over")
    text = table.table([line, *table.read([line_of(row, "h2", "asyncio", figures)])])
    assert "| 12 of 57; 12 of 57 | 8; 8 | 9; 9 |" in text
    assert f"- {line.name} (h2). asyncio: it fell over" in text


def test_the_document_has_figures() -> None:
    assert DOCUMENT.partition(table.BEGIN)[2].partition(table.END)[0].count("\n| ") > 15
