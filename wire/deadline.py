"""Deadlines: the grpc-timeout header's text, and one timer for all calls of a connection or channel.

Times are seconds of the runtime's monotonic clock. Imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, Protocol

_UNIT_S = {ord("H"): 3600.0, ord("M"): 60.0, ord("S"): 1.0, ord("m"): 1e-3, ord("u"): 1e-6, ord("n"): 1e-9}


def parse_timeout(value: bytes) -> float:
    """Seconds from a grpc-timeout value, 1 to 8 digits and a unit (PROTOCOL-HTTP2.md, "Timeout").

    Raises `ValueError` for anything else.
    """
    digits = value[:-1]
    if digits.isdigit() and len(digits) <= 8 and (unit := value[-1]) in _UNIT_S:
        return float(digits) * _UNIT_S[unit]  # half the instructions of int(digits)
    raise ValueError("grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n")


def format_timeout(seconds: float) -> bytes:
    """A grpc-timeout value, rounded up, in the finest unit that fits 8 digits; "1n" for what has passed already."""
    if seconds <= 0:
        return b"1n"
    for unit, per_s in ((b"u", 1e6), (b"m", 1e3), (b"S", 1.0)):
        count = ceil(seconds * per_s - 1e-3)  # what is less than a thousandth over is the float's doing
        if count < 100_000_000:
            return b"%d%b" % (max(count, 1), unit)
    return b"99999999S"


class Expiring(Protocol):
    """What a `DeadlineTimer` watches: a call that has a deadline."""

    deadline: Any
    """Seconds on the timer's clock; None on calls that have none, which are never added."""

    def expire(self) -> None:
        """The deadline has passed. Called after the timer has dropped the call."""


class DeadlineTimer:
    """One timer for many calls: it is set for the earliest deadline, and goes over the calls when it fires.

    Adding and discarding a call costs a set operation and no timer; calls that end before their deadline, nearly all
    of them, cost nothing more. Sweeps are kept apart so that they cannot take more than about a twentieth of the
    time, however the deadlines lie: a deadline is noticed at most `_MIN_SWEEP_S` plus 2 µs for each call late.
    """

    __slots__ = ("_call_later", "_calls", "_due", "_now", "_timer")

    _MIN_SWEEP_S = 0.001

    def __init__(self, now: Callable[[], float], call_later: Callable[..., Any]) -> None:
        self._now = now
        self._call_later = call_later
        self._calls: set[Expiring] = set()
        self._due = float("inf")
        self._timer: Any = None

    def add(self, call: Expiring) -> None:
        """Watch `call` until its deadline or `discard`."""
        self._calls.add(call)
        if call.deadline < self._due:
            self._arm(call.deadline, self._now())

    def discard(self, call: Expiring) -> None:
        self._calls.discard(call)

    def close(self) -> None:
        """Forget every call and the timer."""
        self._calls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = float("inf")

    def _arm(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._call_later(max(due - now, 0.0), self._sweep)

    def _sweep(self) -> None:
        now = self._now()
        self._timer = None
        self._due = float("inf")
        calls = self._calls
        passed = [call for call in calls if call.deadline <= now]
        calls.difference_update(passed)
        if calls:
            pause = self._MIN_SWEEP_S + 2e-6 * len(calls)
            self._arm(max(min(call.deadline for call in calls), now + pause), now)
        for call in passed:
            call.expire()
