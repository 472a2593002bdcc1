"""What this package needs of wire's calls and channels, in one place."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import wire
from wire.grpcio._enums import ChannelConnectivity
from wire.transport import sockets
from wire.transport.address import parse_address

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


def servicer(methods: dict[str, tuple[bool, bool, Any]]) -> Any:
    """A servicer of methods of bytes: path → (streams requests, streams responses, handler)."""
    made = SimpleNamespace(on_attach=lambda servicers: None, on_drain=lambda: None)
    made.service = SimpleNamespace(methods=[])
    for path, (streams_requests, streams_responses, handler) in methods.items():
        described = method(path, streams_requests, streams_responses)
        described.attribute = path
        made.service.methods.append(described)
        setattr(made, path, handler)
    return made


async def send(call: Any, message: bytes) -> None:
    """Send one message of a stream of responses."""
    size_bytes = call._send(message)
    if call.outgoing is not None:
        await call.outgoing.sent(size_bytes)
    call.connection.wake()


def finish(call: Any, code: int, details: str, trailing: Any) -> None:
    """End a call with a status, now."""
    call.fail(wire.StatusCode(code), details, wire.Metadata(trailing).to_fields() if trailing else ())
    call.connection.wake()


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


class _Routes(dict[bytes, Any]):
    """Routes with one for every other path."""

    def __init__(self, routes: dict[bytes, Any], other: Any) -> None:
        super().__init__(routes)
        self._other = other

    def get(self, path: bytes, default: Any = None) -> Any:
        return super().get(path, self._other)


def server(
    methods: dict[str, tuple[bool, bool, Any]], other: Any, config: wire.ServerConfig, tls: wire.ServerTls | None
) -> wire.Server:
    """A server of methods of bytes, path → (streams requests, streams responses, handler); `other` handles streams
    both ways under every other path."""
    made = wire.Server([servicer({**methods, "": (True, True, other)})], config=config, tls=tls)
    made.routes = _Routes(made.routes, made.routes.pop(b""))
    return made


def bind(address: str, *, reuse_port: bool) -> socket.socket:
    """A listening socket. Raises `wire.ListenError`."""
    parsed = parse_address(address)
    return sockets.bind(parsed, reuse_port=reuse_port and sockets.can_reuse_port(parsed))


def finished(call: Any) -> bool:
    return bool(call._finished)


async def calls_ended(channel: wire.Channel, grace_s: float) -> None:
    """Until no call is open, or the grace is over."""
    pool = channel.pool
    end = channel.runtime.now() + grace_s
    while channel.runtime.now() < end and (
        pool.queue or any(connection.engine.streams for connection in pool._all if connection.transport is not None)
    ):
        await channel.runtime.sleep(0.01)
