"""Guards of calls where references are not counted: what is let go of before its end is given up, and nothing else."""

from __future__ import annotations

from tests.leftovers import gone
from wire.client.guard import Guard, guard, release
from wire.status import StatusCode


class Exchange:
    def __init__(self) -> None:
        self.code: StatusCode | None = None
        self.abandoned = 0

    def abandon(self) -> None:
        self.abandoned += 1


def test_what_has_not_ended_is_given_up_when_its_guard_is_gone() -> None:
    exchange = Exchange()
    held = [guard(exchange)]
    assert exchange.abandoned == 0
    with gone():
        held.clear()
    assert exchange.abandoned == 1


def test_what_has_ended_is_left_alone() -> None:
    exchange = Exchange()
    held = [guard(exchange)]
    exchange.code = StatusCode.OK
    with gone():
        held.clear()
    assert exchange.abandoned == 0


def test_a_guard_that_was_released_serves_the_next() -> None:
    first, second = Exchange(), Exchange()
    one = guard(first)
    release(one)
    assert one.exchange is None
    held: list[Guard] = [guard(second)]
    assert held[0] is one
    del one
    with gone():
        held.clear()
    assert (first.abandoned, second.abandoned) == (0, 1)
