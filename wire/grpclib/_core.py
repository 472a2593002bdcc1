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
                raise StreamTerminatedError("Connection lost")
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


async def ended(call: Any) -> None:
    """Until the call has ended, whatever it ends with."""
    if call.code is None:
        done = asyncio.get_running_loop().create_future()
        call.add_done_callback(lambda _: None if done.done() else done.set_result(None))
        try:
            await done
        except BaseException:
            call.cancel()
            raise


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
    """Has `handler` called with the requests' iterator and the context of each call of `path`, as one that streams both
    ways. Raises `wire.ServiceError` for a path that is not "/package.Service/Method"."""
    _, service, name = path.split("/")
    method = wire.StreamStream(name, bytes, bytes)
    kind = type("_Servicer", (wire.Servicer,), {"service": wire.Service(service, [method])})
    result: wire.Servicer = kind()
    setattr(result, method.attribute, handler)
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
