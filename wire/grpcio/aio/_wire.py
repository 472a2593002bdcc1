"""What this package needs of wire's calls and channels, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wire
from wire.grpcio._enums import ChannelConnectivity

_KINDS: dict[tuple[bool, bool], type[Any]] = {
    (False, False): wire.UnaryUnary,
    (False, True): wire.UnaryStream,
    (True, False): wire.StreamUnary,
    (True, True): wire.StreamStream,
}


def method(path: str, streams_requests: bool, streams_responses: bool) -> Any:
    """A method of bytes by its path."""
    made = _KINDS[streams_requests, streams_responses]("Method", bytes, bytes)
    made.path = path
    return made


def run_now(coroutine: Any) -> Any:
    """Run a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the coroutine waited")


class _Waiter:
    """Stands among the futures that an exchange wakes."""

    __slots__ = ("_callback", "_exchange")

    def __init__(self, exchange: Any, callback: Callable[[], None]) -> None:
        self._exchange = exchange
        self._callback = callback

    def done(self) -> bool:
        return False

    def set_result(self, result: None) -> None:
        exchange = self._exchange
        if exchange.code is None:
            exchange._waiters.append(self)
        else:
            self._callback()


def on_end(call: Any, callback: Callable[[], None]) -> None:
    """Have `callback` called when the call ends."""
    exchange = call._exchange
    if exchange.code is not None:
        callback()
    elif hasattr(exchange, "_waiters"):
        exchange._waiters.append(_Waiter(exchange, callback))
    else:
        exchange.waiter = _Waiter(exchange, callback)


def unread(call: Any) -> bool:
    """Whether responses have come that were not read."""
    incoming = call._exchange.incoming
    return bool(incoming._messages or incoming._packed)


def response(call: Any) -> bytes:
    """The response of a unary call that has ended well."""
    data: bytes = call._exchange.response
    return data


async def started(call: Any) -> None:
    """Until the call's request is on a connection, or it has ended."""
    exchange = call._exchange
    while exchange.stream is None and exchange.code is None:
        await exchange.wait()


def state(channel: wire.Channel, try_to_connect: bool) -> ChannelConnectivity:
    pool = channel.pool
    if pool._ready:
        return ChannelConnectivity.READY
    if pool._connecting:
        return ChannelConnectivity.CONNECTING
    if pool._failure is not None:
        return ChannelConnectivity.TRANSIENT_FAILURE
    if try_to_connect:
        pool._connect_missing()
    return ChannelConnectivity.IDLE


class _Handlers(wire.Servicer):
    """Handlers of one service, by their methods."""

    def __init__(self, service: wire.Service, handlers: dict[str, Any]) -> None:
        self.service = service  # type: ignore[misc]
        for each in service.methods:
            setattr(self, each.attribute, handlers[each.name])


def servicers(methods: dict[str, tuple[bool, bool, Any]]) -> list[wire.Servicer]:
    """Servicers of methods of bytes, path → (streams requests, streams responses, handler). Paths that are no protobuf
    names are left out."""
    by_service: dict[str, dict[str, tuple[Any, Any]]] = {}
    for path, (streams_requests, streams_responses, handler) in methods.items():
        _, service, name = path.split("/") if path.count("/") == 2 else ("", "", "")
        try:
            described = _KINDS[streams_requests, streams_responses](name, bytes, bytes)
        except wire.ServiceError:
            continue
        if not hasattr(wire.Servicer, described.attribute):
            by_service.setdefault(service, {}).setdefault(described.attribute, (described, handler))
    made: list[wire.Servicer] = []
    for service, found in by_service.items():
        try:
            described = wire.Service(service, [each for each, _ in found.values()])
        except wire.ServiceError:
            continue
        made.append(_Handlers(described, {each.name: handler for each, handler in found.values()}))
    return made


async def calls_ended(channel: wire.Channel, grace_s: float) -> None:
    """Until no call is open, or the grace is over."""
    pool = channel.pool
    end = channel.runtime.now() + grace_s
    while channel.runtime.now() < end and (
        pool.queue or any(connection.engine.streams for connection in pool._all if connection.transport is not None)
    ):
        await channel.runtime.sleep(0.01)
