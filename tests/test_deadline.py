"""grpc-timeout's text, and one timer for many deadlines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clocks import ManualClock
from wire.deadline import DeadlineTimer, format_timeout, parse_timeout


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"99999999S", 99_999_999),
        (b"250m", 0.25),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (b"0S", 0),
    ],
)
def test_each_unit_is_read(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@given(st.binary(max_size=12))
def test_anything_else_is_refused(value: bytes) -> None:
    fits = value[-1:] in {b"H", b"M", b"S", b"m", b"u", b"n"} and value[:-1].isdigit() and len(value) <= 9
    if fits:
        assert parse_timeout(value) >= 0
    else:
        with pytest.raises(ValueError, match="grpc-timeout"):
            parse_timeout(value)


@given(st.floats(1e-9, 9e7))
def test_a_timeout_is_sent_rounded_up_in_a_fine_unit(seconds: float) -> None:
    value = format_timeout(seconds)
    assert len(value) <= 9
    sent = parse_timeout(value)
    assert sent >= seconds - 1e-9 - seconds * 1e-6
    assert sent <= seconds + max(2e-6, seconds * 2e-5)


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(1.5, b"1500000u"), (0.1, b"100000u"), (1e-6, b"1u"), (1.1e-6, b"2u"), (100, b"100000m"), (100_000, b"100000S")],
)
def test_round_timeouts_stay_round(seconds: float, value: bytes) -> None:
    assert format_timeout(seconds) == value


@pytest.mark.parametrize(("seconds", "value"), [(0, b"1n"), (-5, b"1n"), (1e-12, b"1u"), (1e12, b"99999999S")])
def test_timeouts_out_of_range_are_clamped(seconds: float, value: bytes) -> None:
    assert format_timeout(seconds) == value


class Call:
    def __init__(self, deadline: float, passed: list[Call]) -> None:
        self.deadline = deadline
        self._passed = passed

    def expire(self) -> None:
        self._passed.append(self)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.timer = DeadlineTimer(self.clock.now, self.clock.call_later)
        self.passed: list[Call] = []

    def call(self, in_s: float) -> Call:
        call = Call(self.clock.now() + in_s, self.passed)
        self.timer.add(call)
        return call


def test_each_call_expires_once_at_its_time() -> None:
    rig = Rig()
    late, early, middle = rig.call(3), rig.call(1), rig.call(2)
    rig.clock.advance(0.999)
    assert rig.passed == []
    rig.clock.advance(0.01)
    assert rig.passed == [early]
    rig.clock.advance(5)
    assert rig.passed == [early, middle, late]
    assert rig.clock.pending == []


def test_a_thousand_calls_share_one_timer() -> None:
    rig = Rig()
    for number in range(1000):
        rig.call(1 + number / 1e6)
    assert len(rig.clock.pending) == 1
    rig.clock.advance(1.1)
    assert len(rig.passed) == 1000


def test_a_call_that_has_ended_does_not_expire() -> None:
    rig = Rig()
    ended, other = rig.call(1), rig.call(2)
    rig.timer.discard(ended)
    rig.timer.discard(ended)
    rig.clock.advance(3)
    assert rig.passed == [other]


def test_expiring_may_begin_and_end_other_calls() -> None:
    rig = Rig()
    other = rig.call(2)

    class Restless(Call):
        def expire(self) -> None:
            super().expire()
            rig.timer.discard(other)
            rig.call(0.5)

    restless = Restless(rig.clock.now() + 1, rig.passed)
    rig.timer.add(restless)
    rig.clock.advance(1.1)
    assert rig.passed == [restless]
    rig.clock.advance(1)
    assert len(rig.passed) == 2
    assert rig.passed[1] is not other


def test_a_deadline_that_has_passed_already_expires_at_the_next_turn() -> None:
    rig = Rig()
    call = rig.call(-1)
    assert rig.passed == []
    rig.clock.advance(0)
    assert rig.passed == [call]


def test_a_closed_timer_forgets_its_calls() -> None:
    rig = Rig()
    rig.call(1)
    rig.timer.close()
    assert rig.clock.pending == []
    rig.clock.advance(2)
    assert rig.passed == []
