"""Being told of a call's end. Calls that nobody observes have nothing on their way that asks.

Imports `exchange` and `stream_exchange`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.client.exchange import Exchange, UnaryExchange
from wire.client.stream_exchange import BidiExchange, ClientStreamExchange, ServerStreamExchange
from wire.status import StatusCode


def observe(exchange: Exchange[Any], ended: Callable[[Exchange[Any]], Any]) -> None:
    """Have `ended(exchange)` called once, by the event loop, when the call has ended; soon, when it has already."""
    if exchange.code is not None:
        exchange.call_soon(ended)
        return
    observed = _OBSERVED.get(type(exchange))
    if observed is not None:  # the first
        exchange.__class__ = observed
        exchange._observers = []
    exchange._observers.append(ended)


class _Observed(Exchange[Any]):
    """What a call becomes when it is first observed: it tells of its end."""

    __slots__ = ()

    def _finish(self, code: StatusCode, message: str) -> None:
        first = self.code is None
        super()._finish(code, message)
        if first:
            observers, self._observers = self._observers, []
            for ended in observers:
                self.call_soon(ended)


class _ObservedUnary(_Observed, UnaryExchange[Any]):
    __slots__ = ()


class _ObservedServerStream(_Observed, ServerStreamExchange[Any]):
    __slots__ = ()


class _ObservedClientStream(_Observed, ClientStreamExchange[Any, Any]):
    __slots__ = ()


class _ObservedBidi(_Observed, BidiExchange[Any, Any]):
    __slots__ = ()


_OBSERVED: dict[type[Exchange[Any]], type[_Observed]] = {
    UnaryExchange: _ObservedUnary,
    ServerStreamExchange: _ObservedServerStream,
    ClientStreamExchange: _ObservedClientStream,
    BidiExchange: _ObservedBidi,
}
