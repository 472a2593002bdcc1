"""Who notices that a call was let go of before its end, where references are not counted, as in PyPy.

There a finalizer is run by the collector, and keeps its object, with all that this refers to, until the collector has
come by twice: a call that had one cost more than twice as much. So a call has a guard, which alone has a finalizer and
refers to the exchange; nobody but the call refers to the guard. When the call has ended and was awaited, its guard
serves another one. Imports nothing of wire but for types.
"""

from __future__ import annotations

import sys
from typing import Any, Final

COUNTED: Final = sys.implementation.name == "cpython"
"""Whether references are counted: then an object is gone as soon as nobody refers to it."""


class Guard:
    """`exchange`: what is given up when this is gone; None while nothing is guarded."""

    __slots__ = ("exchange",)

    exchange: Any

    def __del__(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.code is None:
            exchange.abandon()


_free: Final[list[Guard]] = []


def guard(exchange: Any) -> Guard:
    """One that guards this exchange."""
    try:
        found = _free.pop()
    except IndexError:
        found = Guard()
    found.exchange = exchange
    return found


def release(guard: Guard) -> None:
    """The exchange has ended: the guard is free for another. There are as many as calls were in flight at a time."""
    guard.exchange = None
    _free.append(guard)
