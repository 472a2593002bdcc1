"""What grpclib's channels and servers need of wire, in wire's terms: configuration, TLS, and calls of bytes by path.

Messages pass through wire as bytes, because their codec is the channel's or server's own (`encoding.base.CodecBase`).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import wire
from wire.grpclib.config import Configuration
from wire.grpclib.const import Status
from wire.grpclib.exceptions import GRPCError, StreamTerminatedError

_UNLIMITED_BYTES = 2**32 - 1  # grpclib takes messages of any length; their prefix has four bytes
_HEADER_LIST_BYTES = 1 << 16  # as PyPI's h2, and so grpclib, takes in
_RESET = re.compile(r"the server reset the call \((?:0x([0-9a-f]+)|(\w+))\)")
_RESET_CODES = {  # RFC 9113 §7
    "NO_ERROR": 0,
    "PROTOCOL_ERROR": 1,
    "INTERNAL_ERROR": 2,
    "FLOW_CONTROL_ERROR": 3,
    "SETTINGS_TIMEOUT": 4,
    "STREAM_CLOSED": 5,
    "FRAME_SIZE_ERROR": 6,
    "REFUSED_STREAM": 7,
    "CANCEL": 8,
    "COMPRESSION_ERROR": 9,
    "CONNECT_ERROR": 10,
    "ENHANCE_YOUR_CALM": 11,
    "INADEQUATE_SECURITY": 12,
    "HTTP_1_1_REQUIRED": 13,
}
# What wire says of answers that are not gRPC's, and what grpclib does.
_NOT_GRPC = (
    (re.compile(r"the server answered with HTTP status (\d+)"), "Received :status = {!r}"),
    (re.compile(r"the server ended the call without a status()"), "Missing grpc-status header"),
    (re.compile(r"the server's answer is not gRPC: its content-type is none()"), "Missing content-type header"),
    (re.compile(r"the server's answer is not gRPC: its content-type is (.*)"), "Invalid content-type: {!r}"),
)
_SCHEMES = frozenset({"unix", "unix-abstract", "vsock", "hvsock", "memory"})
_NO_RESPONSE = "the server sent no response"
RESET = "Stream reset by remote party, error_code: {}"
CONNECTION_LOST = "Connection lost"
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


def address_of(host: str, port: int | None) -> str | None:
    """The address in gRPC's name syntax that a host is, where that is not TCP's: "vsock:2:50051", or "vsock:2" and a
    port. None for the host of a TCP address."""
    scheme, colon, _ = host.partition(":")
    if not colon or scheme not in _SCHEMES:
        return None
    return host if port is None else f"{host}:{port}"


def client_tls(context: ssl.SSLContext, server_name: str | None) -> wire.ClientTls:
    context.set_alpn_protocols(["h2"])
    return wire.ClientTls.from_context(context, server_name)


def server_tls(context: ssl.SSLContext) -> wire.ServerTls:
    context.set_alpn_protocols(["h2"])
    return wire.ServerTls.from_context(context)


class Connection:
    """A wire channel, and the calls on it by path. `probe` makes a connection as asyncio does."""

    def __init__(
        self,
        target: str,
        config: wire.ChannelConfig,
        tls: wire.ClientTls | None,
        probe: Callable[[], Awaitable[tuple[asyncio.BaseTransport, Any]]],
    ) -> None:
        self._channel = wire.Channel(target, config=config, tls=tls)
        self._probe = probe
        self._unary: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}

    @property
    def connected(self) -> bool:
        return self._channel.state is wire.ConnectivityState.READY

    async def connect(self) -> None:
        """Raises what asyncio's own attempt raises, OSError mostly, when there is no connection and none can be made.

        wire says why it could not connect in words of its own; programs look for the exceptions of sockets and of
        `ssl`, and for what is in them.
        """
        channel = self._channel
        tried = False
        while (state := channel.state) is not wire.ConnectivityState.READY:
            if state is wire.ConnectivityState.SHUTDOWN:
                raise StreamTerminatedError(CONNECTION_LOST)
            if state is wire.ConnectivityState.TRANSIENT_FAILURE and tried:
                transport, _ = await self._probe()
                transport.close()
            tried = state is not wire.ConnectivityState.TRANSIENT_FAILURE
            channel.connect()
            await channel.state_changed(state)

    def unary_call(self, path: str) -> Any:
        """What starts unary calls of a path, with their request."""
        call = self._unary.get(path)
        if call is None:
            call = self._unary[path] = self._channel.unary_unary(path, bytes, bytes)
        return call

    def stream_call(self, path: str) -> Any:
        """What starts calls of a path that stream both ways: the other kinds can be told from these by nobody."""
        call = self._streams.get(path)
        if call is None:
            call = self._streams[path] = self._channel.stream_stream(path, bytes, bytes)
        return call

    async def close(self) -> None:
        await self._channel.close()


def status_of(call: Any) -> tuple[Status, str]:
    """The status that the server sent, and its message. For wire OK without a response is an error of a unary call."""
    if call.message == _NO_RESPONSE and call.code is wire.StatusCode.UNIMPLEMENTED:
        return Status.OK, ""
    return Status(int(call.code)), call.message


def local_error(call: Any) -> Exception:
    """How a call ended that got no status of the server's."""
    code, message = call.code, call.message
    if code is wire.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError("Deadline exceeded")
    if reset := _RESET.match(message):
        number, name = reset.groups()
        return StreamTerminatedError(RESET.format(_RESET_CODES[name] if number is None else int(number, 16)))
    for said, text in _NOT_GRPC:
        if found := said.match(message):
            return GRPCError(Status(int(code)), text.format(found[1]))
    if code in (wire.StatusCode.CANCELLED, wire.StatusCode.UNAVAILABLE):  # cancelled: the channel was closed
        return StreamTerminatedError(CONNECTION_LOST)
    return GRPCError(Status(int(code)), message)


def connection_lost(call: Any) -> bool:
    """Whether the call ended with its connection, or with the channel."""
    return (
        call.code in (wire.StatusCode.CANCELLED, wire.StatusCode.UNAVAILABLE)
        and call.trailing_metadata is None
        and local_error(call).args == (CONNECTION_LOST,)
    )


# The server's side.


class _ByPath(wire.Servicer):
    """A service of one method. An instance has what a class has elsewhere: classes are left to the collector."""

    def __init__(self, path: str, handler: Callable[[Any, Any], Awaitable[Any]]) -> None:
        _, service, name = path.split("/")
        method = wire.StreamStream(name, bytes, bytes)
        self.service = wire.Service(service, [method])  # type: ignore[misc]
        setattr(self, method.attribute, handler)


def servicer(path: str, handler: Callable[[Any, Any], Awaitable[Any]]) -> wire.Servicer:
    """Has `handler` called with the requests' iterator and the context of each call of `path`, as one that streams both
    ways. Raises `wire.ServiceError` for a path that is not "/package.Service/Method"."""
    return _ByPath(path, handler)


def send_now(context: wire.ServerContext, data: bytes) -> None:
    """As `context.send`, by who cannot wait: the call ends with what follows."""
    sending = context.send(data)
    try:
        sending.send(None)
    except StopIteration:
        return
    sending.close()  # it is queued, and would wait for the client to take it


_CANCELLED_WITHIN = 64  # turns of the loop: where many handlers are cancelled at once, that goes on over some


async def gone(context: Any) -> NoReturn:
    """The client is gone, and the handler is about to be cancelled: let that come first, as it does in grpclib."""
    if context.cancelled:
        for _ in range(_CANCELLED_WITHIN):
            await asyncio.sleep(0)
    raise StreamTerminatedError(CONNECTION_LOST)


def content_type(context: Any) -> str:
    fields = dict(context.headers.fields)
    return str(fields.get(b"content-type", b"").decode())
