"""docs/security.md names every limit there is, and none that is not."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

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
