"""Being told of a call's end. Calls that nobody observes have nothing on their way that asks.

Imports `exchange`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.client.exchange import Answer, Exchange
from wire.status import StatusCode


def observe(exchange: Exchange[Any], ended: Callable[[Exchange[Any]], Any]) -> None:
    """Have `ended(exchange)` called once, by the event loop, when the call has ended; soon, when it has already."""
    if exchange.code is not None:
        exchange.call_soon(ended)
        return
    if not isinstance(exchange, _Observed):  # the first
        exchange.__class__ = _observed(type(exchange))
        exchange._observers = []
    exchange._observers.append(ended)


class _Observed(Exchange[Any]):
    """What a call becomes when it is first observed: it tells of its end."""

    __slots__ = ()

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        taken = super().on_response(answer, data, start, stop)
        if taken:
            self._tell()
        return taken

    def _finish(self, code: StatusCode, message: str) -> None:
        first = self.code is None
        super()._finish(code, message)
        if first:
            self._tell()

    def _tell(self) -> None:
        observers, self._observers = self._observers, []
        for ended in observers:
            self.call_soon(ended)


_OBSERVED: dict[type[Exchange[Any]], type[_Observed]] = {}  # by what they were before, those of retried calls included


def _observed(kind: type[Exchange[Any]]) -> type[_Observed]:
    known = _OBSERVED.get(kind)
    if known is None:
        known = _OBSERVED[kind] = type(f"Observed{kind.__name__.lstrip('_')}", (_Observed, kind), {"__slots__": ()})
    return known
