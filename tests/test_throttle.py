"""What peers can make a server log is bounded in lines a second, and no warning goes uncounted."""

from __future__ import annotations

import logging

import pytest

from tests.clocks import ManualClock
from wire.throttle import Throttle


def test_a_kind_gets_three_lines_then_one_a_second_with_the_number_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    throttle = Throttle(logging.getLogger("test"), clock.now)
    for number in range(100):
        throttle.warning("bad", "refused %d", number)
    assert caplog.messages == ["refused 0", "refused 1", "refused 2"]
    clock.advance(1.5)
    throttle.warning("bad", "refused %d", 100)
    throttle.warning("bad", "refused %d", 101)
    assert caplog.messages[3:] == ["refused 100 (and 97 more like it before)"]


def test_kinds_do_not_hide_each_other_and_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle(logging.getLogger("test"), ManualClock().now)
    for number in range(1000):
        throttle.warning(f"kind {number}", "kind %d", number)
    assert len(caplog.messages) == 64 + 3
