"""Happy Eyeballs as a pure decision: which candidate begins when."""

from __future__ import annotations

import socket

from wire.transport.address import TcpAddress
from wire.transport.contract import Candidate
from wire.transport.racing import Race, preferred

A, B, C = (Candidate(TcpAddress(name, 1), socket.AF_INET, (name, 1)) for name in ("a", "b", "c"))
X, Y = (Candidate(TcpAddress(name, 1), socket.AF_INET6, (name, 1)) for name in ("x", "y"))


def unused(candidate: Candidate) -> int:
    return 0


def test_families_take_turns_beginning_with_the_first() -> None:
    assert preferred([X, Y, A, B, C], unused) == [X, A, Y, B, C]
    assert preferred([A, X, Y], unused) == [A, X, Y]
    assert preferred([A, A, B], unused) == [A, B]


def test_the_least_used_come_first() -> None:
    counts = {A: 2, B: 1, C: 1, X: 0}
    assert preferred([A, B, C, X], counts.__getitem__) == [X, B, C, A]


def test_the_next_begins_when_its_time_has_come() -> None:
    race = Race([A, B, C], 0.25)
    assert race.begin(10.0) is A
    assert race.begin(10.2) is None
    assert abs((race.pause_s(10.2) or 0) - 0.05) < 1e-9
    assert race.begin(10.25) is B
    assert race.begin(10.5) is C
    assert race.begin(99.0) is None
    assert race.pause_s(99.0) is None
    assert not race.lost


def test_the_next_begins_at_once_when_the_present_one_failed() -> None:
    race = Race([A, B, C], 0.25)
    assert race.begin(0.0) is A
    race.failed(A)
    assert race.pause_s(0.0) == 0
    assert race.begin(0.0) is B
    assert race.begin(0.0) is None


def test_an_earlier_one_that_fails_does_not_hurry_the_next() -> None:
    race = Race([A, B, C], 0.25)
    race.begin(0.0)
    assert race.begin(0.25) is B
    race.failed(A)
    assert race.begin(0.3) is None
    race.failed(B)
    assert race.begin(0.3) is C


def test_a_race_is_lost_once_all_have_failed() -> None:
    race = Race([A, B], 0.25)
    race.begin(0.0)
    race.failed(A)
    assert not race.lost
    race.begin(0.0)
    assert not race.lost
    race.failed(B)
    assert race.lost
