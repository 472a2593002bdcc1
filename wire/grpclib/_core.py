"""What grpclib's channels and servers need of wire, in wire's terms: configuration, TLS, and calls of bytes by path.

Messages pass through wire as bytes, because their codec is the channel's or server's own (`encoding.base.CodecBase`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import wire
from wire.grpclib.config import Configuration
from wire.grpclib.const import Status
from wire.grpclib.exceptions import GRPCError, StreamTerminatedError

_UNLIMITED_BYTES = 2**32 - 1  # grpclib takes messages of any length; their prefix has four bytes
_HEADER_LIST_BYTES = 1 << 16  # as PyPI's h2, and so grpclib, takes in
_NO_PAUSE_S = 0.001  # grpclib connects for every call that finds no connection, however often it failed before


def _http2(config: Configuration) -> wire.Http2Config:
    return wire.Http2Config(
        connection_window_bytes=config.http2_connection_window_size,
        stream_window_bytes=config.http2_stream_window_size,
        max_header_list_bytes=_HEADER_LIST_BYTES,
    )


def channel_config(config: Configuration, user_agent: str, authority: str) -> wire.ChannelConfig:
    time_s = config._keepalive_time
    return wire.ChannelConfig(
        http2=_http2(config),
        calls=wire.CallConfig(max_receive_message_bytes=_UNLIMITED_BYTES, retry_buffer_bytes=0),
        keepalive=wire.KeepaliveConfig(
            time_s=None if time_s is None else max(time_s, 10.0),
            timeout_s=config._keepalive_timeout,
            without_calls=config._keepalive_permit_without_calls,
        ),
        user_agent=user_agent,
        authority=authority,
        backoff_initial_s=_NO_PAUSE_S,
        backoff_max_s=_NO_PAUSE_S,
        backoff_multiplier=1,
    )


def server_config(config: Configuration) -> wire.ServerConfig:
    return wire.ServerConfig(
        http2=_http2(config),
        calls=wire.CallConfig(max_receive_message_bytes=_UNLIMITED_BYTES),
        keepalive=wire.KeepaliveConfig(time_s=config._keepalive_time, timeout_s=config._keepalive_timeout),
        grace_s=0,
        slow_handler_s=None,
    )


def client_tls(context: ssl.SSLContext, server_name: str | None) -> wire.ClientTls:
    context.set_alpn_protocols(["h2"])
    return wire.ClientTls.from_context(context, server_name)


def server_tls(context: ssl.SSLContext) -> wire.ServerTls:
    context.set_alpn_protocols(["h2"])
    return wire.ServerTls.from_context(context)


def method(path: str, *, unary: bool) -> wire.UnaryUnary[bytes, bytes] | wire.StreamStream[bytes, bytes]:
    """One method of bytes. All that is not plainly unary is a stream both ways, which gRPC cannot tell from the other
    kinds. Raises `wire.ServiceError` for a path that is not "/package.Service/Method"."""
    _, service, name = path.split("/")
    kind = wire.UnaryUnary if unary else wire.StreamStream
    made = kind(name, bytes, bytes)
    wire.Service(service, [made])
    return made


class Connection:
    """A wire channel that opens by itself."""

    def __init__(self, target: str, config: wire.ChannelConfig, tls: wire.ClientTls | None) -> None:
        self._channel = wire.Channel(target, config=config, tls=tls)
        self._unary: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}
        self._open = False

    @property
    def connected(self) -> bool:
        return self._open and bool(self._channel.pool._ready)

    async def connect(self) -> None:
        """Raises OSError when there is no connection and none can be made."""
        if not self._open:
            self._open = True
            await self._channel.__aenter__()
        if not self._channel.pool._ready:
            turn: Any = _Turn()
            self._channel.pool.submit(turn)
            await turn.ready

    def unary_call(self, path: str) -> Any:
        """What starts unary calls of a path: a callable as a stub's method is."""
        call = self._unary.get(path)
        if call is None:
            call = self._unary[path] = self._callable(path, unary=True)
        return call

    def stream_call(self, path: str) -> Any:
        """What starts calls of a path that stream both ways."""
        call = self._streams.get(path)
        if call is None:
            call = self._streams[path] = self._callable(path, unary=False)
        return call

    def _callable(self, path: str, *, unary: bool) -> Any:
        stub: Any = type("_Stub", (wire.Stub,), {"method": method(path, unary=unary)})(self._channel)
        return stub.method

    async def close(self) -> None:
        if self._open:
            await self._channel.__aexit__(None, None, None)


class _Turn:
    """Stands in the queue for a connection as a call does, and makes no call when it gets one."""

    wait_for_ready = False
    queued = False

    def __init__(self) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, connection: Any) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def fail(self, code: wire.StatusCode, message: str) -> None:
        if not self.ready.done():
            kind = ConnectionRefusedError if "refused" in message else ConnectionError
            self.ready.set_exception(kind(message))


def peer_of(call: Any) -> Any:
    connection = call._exchange.connection
    return None if connection is None or connection.transport is None else connection.transport.peer


def head_came(call: Any) -> bool:
    """Whether the response began with headers of its own, rather than with the status."""
    return bool(call._exchange.initial)


def body(call: Any) -> bytes | None:
    """The response that came before a status other than OK."""
    body: bytes | None = call._exchange._body
    return body


async def ended(call: Any) -> None:
    """Until the call has ended, whatever it ends with."""
    if isinstance(call, wire.UnaryUnaryCall):
        try:
            await call
        except wire.RpcError:
            pass
    else:
        while call.code is None:
            await call._exchange.wait()


def local_error(call: Any) -> Exception:
    """How a call ended that got no status of the server's."""
    code, message = call.code, call.message
    if code is wire.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError("Deadline exceeded")
    if "reset the call" in message:
        return StreamTerminatedError("Stream reset by remote party, error_code: 0")
    if code is wire.StatusCode.CANCELLED:
        return StreamTerminatedError("Connection lost")  # the channel was closed
    if code is wire.StatusCode.UNAVAILABLE and "HTTP status" not in message:
        return StreamTerminatedError("Connection lost")
    return GRPCError(Status(int(code)), message)


# The server's side.


def servicer(path: str, handler: Callable[[Any, Any], Awaitable[Any]]) -> wire.Servicer:
    """Has `handler` called with the requests' iterator and the context of each call of `path`."""
    made = method(path, unary=False)
    _, service, _ = path.split("/")
    kind = type("_Servicer", (wire.Servicer,), {"service": wire.Service(service, [made])})
    result: wire.Servicer = kind()
    setattr(result, made.attribute, handler)
    return result


def send_now(context: wire.ServerContext, data: bytes) -> None:
    """As `context.send`, by who cannot wait: the call ends with what follows."""
    sending = context.send(data)
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()  # it is queued, and would wait for the client to take it


async def gone(context: Any) -> NoReturn:
    """The client is gone, and the handler is about to be cancelled: let that come first, as it does in grpclib."""
    if context.cancelled:
        await asyncio.sleep(0)
    raise StreamTerminatedError("Connection lost")


def content_type(context: Any) -> str:
    fields = dict(context.head.fields)
    return str(fields.get(b"content-type", b"").decode())
