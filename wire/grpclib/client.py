"""`grpclib.client`: channels, and the methods of stubs."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import AddressValueError, IPv6Address
from types import TracebackType
from typing import Any, Generic, Self

import wire
from wire.grpclib import _core, events
from wire.grpclib._client_stream import CalledMethod, Stream
from wire.grpclib._registry import channels
from wire.grpclib.config import Configuration
from wire.grpclib.const import Cardinality
from wire.grpclib.encoding.base import GRPC_CONTENT_TYPE, CodecBase, StatusDetailsCodecBase
from wire.grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec, googleapis_available
from wire.grpclib.metadata import USER_AGENT, Deadline, _MetadataLike
from wire.grpclib.protocol import Peer
from wire.grpclib.stream import _RecvType, _SendType
from wire.grpclib.utils import warn_of_loop

try:
    import ssl as _ssl
except ImportError:
    _ssl = None  # type: ignore[assignment]

__all__ = (
    "Channel",
    "ServiceMethod",
    "Stream",
    "StreamStreamMethod",
    "StreamUnaryMethod",
    "UnaryStreamMethod",
    "UnaryUnaryMethod",
)


class _ChannelState(IntEnum):
    IDLE = 1
    CONNECTING = 2
    READY = 3
    TRANSIENT_FAILURE = 4


class Channel:
    """Calls to one server.

    Connects when the first call is made, and again when the connection is lost. `close` may be followed by further
    calls, which connect anew.
    """

    _calls_started = 0
    _calls_succeeded = 0
    _calls_failed = 0
    _last_call_started: float | None = None

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        path: str | None = None,
        codec: CodecBase | None = None,
        status_details_codec: StatusDetailsCodecBase | None = None,
        ssl: bool | _ssl.SSLContext | _ssl.DefaultVerifyPaths | None = None,
        config: Configuration | None = None,
    ) -> None:
        """`host` and `port` (127.0.0.1 and 50051 unless told), or the `path` of a UNIX socket; a host may also be an
        address in gRPC's name syntax whose scheme is not TCP's: "vsock:2:50051", or "vsock:2" and a port.

        `ssl`: a context, True for one that trusts what the system trusts, or paths of certificates to trust.
        """
        if path is not None and (host is not None or port is not None):
            raise ValueError("The 'path' parameter can not be used with the 'host' or 'port' parameters.")
        if loop is not None:
            warn_of_loop(2)
        if codec is None:
            codec = ProtoCodec()
            if status_details_codec is None and googleapis_available():
                status_details_codec = ProtoStatusDetailsCodec()
        self._address = None if host is None else _core.address_of(host, port)
        self._host = "127.0.0.1" if host is None else host
        self._port = 50051 if port is None else port
        self._path = path
        self._loop = loop or asyncio.get_event_loop()
        self._codec = codec
        self._status_details_codec = status_details_codec
        self._ssl = _context(ssl)
        self._config = (Configuration() if config is None else config).__for_client__()
        subtype = codec.__content_subtype__
        self._content_type = GRPC_CONTENT_TYPE if subtype == "proto" else f"{GRPC_CONTENT_TYPE}+{subtype}"
        self._core: _core.Connection | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.__dispatch__ = events.channel_dispatch()
        listeners = self.__dispatch__.listeners
        self._request_listeners = listeners(events.SendRequest)
        self._send_listeners = listeners(events.SendMessage)
        self._recv_listeners = listeners(events.RecvMessage)
        self._initial_listeners = listeners(events.RecvInitialMetadata)
        self._trailing_listeners = listeners(events.RecvTrailingMetadata)
        self._methods: dict[tuple[str, Any, Any], CalledMethod] = {}
        channels.add(self)

    def __repr__(self) -> str:
        return f"Channel({self._host!r}, {self._port!r}, ..., path={self._path!r})"

    async def __connect__(self) -> None:
        """Have a connection. Raises OSError when none can be made."""
        if self._core is None:
            self._core = self._new_core()
        await self._core.connect()

    def _new_core(self) -> _core.Connection:
        if self._path is not None:
            target = f"unix:{self._path}"
            authority = "127.0.0.1:50051"
        elif self._address is not None:
            target = self._address
            authority = "localhost"
        else:
            host = _bracketed(self._host)
            target = authority = f"{host}:{self._port}"
        tls = None
        if self._ssl is not None:
            tls = _core.client_tls(self._ssl, self._config.ssl_target_name_override)
        return _core.Connection(target, _core.channel_config(self._config, USER_AGENT, authority), tls, self._probe)

    def _peer(self, call: Any) -> Peer:
        return Peer(call.peer)

    async def _probe(self) -> tuple[asyncio.Transport, Any]:
        """One connection as asyncio makes it, for the exception that it raises when it cannot."""
        if self._address is not None:  # asyncio knows nothing of it
            raise ConnectionError(f"There is no connection to {self._address}")
        name = self._config.ssl_target_name_override if self._ssl is not None else None
        if self._path is not None:
            return await self._loop.create_unix_connection(
                asyncio.Protocol, self._path, ssl=self._ssl, server_hostname=name
            )
        return await self._loop.create_connection(
            asyncio.Protocol, self._host, self._port, ssl=self._ssl, server_hostname=name
        )

    def request(
        self,
        name: str,
        cardinality: Cardinality,
        request_type: type[_SendType],
        reply_type: type[_RecvType],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: _MetadataLike | None = None,
    ) -> Stream[_SendType, _RecvType]:
        """A call of the path `name`, which begins when its request is sent. The earlier of `timeout`, in seconds from
        now, and `deadline` counts."""
        if timeout is not None:
            own = Deadline.from_timeout(timeout)
            deadline = own if deadline is None else min(own, deadline)
        return Stream(self, self._called(name, request_type, reply_type), metadata, cardinality, deadline)

    def _called(self, name: str, request_type: Any, reply_type: Any) -> CalledMethod:
        key = name, request_type, reply_type
        method = self._methods.get(key)
        if method is None:
            method = self._methods[key] = CalledMethod(self._codec, name, request_type, reply_type)
        return method

    def close(self) -> None:
        """Close the connection; calls that are open end with StreamTerminatedError."""
        core, self._core = self._core, None
        if core is not None:
            task = self._loop.create_task(core.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def __del__(self) -> None:
        if getattr(self, "_core", None) is not None:
            message = f"Unclosed connection: {self!r}"
            warnings.warn(message, ResourceWarning, stacklevel=1)
            if not self._loop.is_closed():
                self.close()
                self._loop.call_exception_handler({"message": message})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _bracketed(host: str) -> str:
    """A host as it stands before ":port"."""
    try:
        return f"[{IPv6Address(host)}]"
    except AddressValueError:
        return host


def _context(ssl: bool | _ssl.SSLContext | _ssl.DefaultVerifyPaths | None) -> _ssl.SSLContext | None:
    """The context that a channel's argument `ssl` stands for."""
    if _ssl is None:
        if ssl is not None:
            raise RuntimeError("SSL is not supported")
        return None
    if ssl is True:
        try:
            import certifi
        except ImportError:
            return _client_context(None, None)
        return _client_context(certifi.where(), None)
    if isinstance(ssl, _ssl.DefaultVerifyPaths):
        return _client_context(ssl.cafile, ssl.capath)
    return ssl or None


def _client_context(cafile: str | None, capath: str | None) -> _ssl.SSLContext:
    context = _ssl.create_default_context(_ssl.Purpose.SERVER_AUTH, cafile=cafile, capath=capath)
    context.minimum_version = _ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20")
    context.set_alpn_protocols(["h2"])
    return context


_REQUEST = Channel.request  # others may stand before it, and are then called


class ServiceMethod(Generic[_SendType, _RecvType]):
    """One method of a stub, on one channel."""

    _cardinality: Cardinality

    def __init__(self, channel: Channel, name: str, request_type: type[_SendType], reply_type: type[_RecvType]) -> None:
        self.channel = channel
        self.name = name
        self.request_type = request_type
        self.reply_type = reply_type

    def open(
        self, *, timeout: float | None = None, metadata: _MetadataLike | None = None
    ) -> Stream[_SendType, _RecvType]:
        """A call of this method, to be used as an async context manager. `timeout` in seconds."""
        return self.channel.request(
            self.name, self._cardinality, self.request_type, self.reply_type, timeout=timeout, metadata=metadata
        )


class UnaryUnaryMethod(ServiceMethod[_SendType, _RecvType]):
    """One request, one response."""

    _cardinality = Cardinality.UNARY_UNARY

    async def __call__(
        self, message: _SendType, *, timeout: float | None = None, metadata: _MetadataLike | None = None
    ) -> _RecvType:
        channel = self.channel
        if timeout is None and not metadata and getattr(channel.request, "__func__", None) is _REQUEST:
            core = channel._core
            if core is not None and core.connected and channel.__dispatch__.silent:
                return await self._call_at_once(channel, core, message)
        async with channel.request(
            self.name, self._cardinality, self.request_type, self.reply_type, timeout=timeout, metadata=metadata
        ) as stream:
            await stream.send_message(message, end=True)
            reply = await stream.recv_message()
        assert reply is not None
        return reply

    async def _call_at_once(self, channel: Channel, core: _core.Connection, message: _SendType) -> _RecvType:
        """What the block above comes to where there is nothing to wait for but the response, and nobody listens: a
        tenth of the time that a call takes on both sides."""
        method = channel._called(self.name, self.request_type, self.reply_type)
        channel._calls_started += 1
        channel._last_call_started = time.monotonic()
        call = core.unary_call(self.name)(method.encode(message))
        try:
            reply: Any = method.decode(await call)
        except wire.RpcError:  # step by step, which finds what grpclib raises
            channel._calls_started -= 1
            opened: Stream[_SendType, _RecvType] = Stream.over(call, channel, method, self._cardinality)
            async with opened as stream:
                reply = await stream.recv_message()
            assert reply is not None
        except BaseException:
            channel._calls_failed += 1
            raise
        else:
            channel._calls_succeeded += 1
        result: _RecvType = reply
        return result


class UnaryStreamMethod(ServiceMethod[_SendType, _RecvType]):
    """One request, a stream of responses, which a call returns as a list."""

    _cardinality = Cardinality.UNARY_STREAM

    async def __call__(
        self, message: _SendType, *, timeout: float | None = None, metadata: _MetadataLike | None = None
    ) -> list[_RecvType]:
        async with self.open(timeout=timeout, metadata=metadata) as stream:
            await stream.send_message(message, end=True)
            return [reply async for reply in stream]


async def _send_all(stream: Stream[_SendType, _RecvType], messages: Sequence[_SendType]) -> None:
    for message in messages[:-1]:
        await stream.send_message(message)
    if messages:
        await stream.send_message(messages[-1], end=True)
    else:
        await stream.send_request(end=True)


class StreamUnaryMethod(ServiceMethod[_SendType, _RecvType]):
    """A stream of requests, which a call takes as a sequence, one response."""

    _cardinality = Cardinality.STREAM_UNARY

    async def __call__(
        self, messages: Sequence[_SendType], *, timeout: float | None = None, metadata: _MetadataLike | None = None
    ) -> _RecvType:
        async with self.open(timeout=timeout, metadata=metadata) as stream:
            await _send_all(stream, messages)
            reply = await stream.recv_message()
        assert reply is not None
        return reply


class StreamStreamMethod(ServiceMethod[_SendType, _RecvType]):
    """Streams both ways: a call sends all of a sequence, then returns all responses as a list."""

    _cardinality = Cardinality.STREAM_STREAM

    async def __call__(
        self, messages: Sequence[_SendType], *, timeout: float | None = None, metadata: _MetadataLike | None = None
    ) -> list[_RecvType]:
        async with self.open(timeout=timeout, metadata=metadata) as stream:
            await _send_all(stream, messages)
            return [reply async for reply in stream]
