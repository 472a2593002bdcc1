"""Channels of `grpc.aio`, and their methods. Imports wire and this package's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self

import wire
from wire.grpcio import _channelz, _options
from wire.grpcio._credentials import CallCredentials, ChannelCredentials, client_tls
from wire.grpcio._enums import ChannelConnectivity, StatusCode
from wire.grpcio._errors import UsageError
from wire.grpcio._metadata import COMPRESSION_KEY, to_wire
from wire.grpcio.aio import _base_channel
from wire.grpcio.aio._any_call import AioRpcError, NotMade, serialized
from wire.grpcio.aio._call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.grpcio.aio._interceptor import (
    ClientCallDetails,
    ClientInterceptor,
    InterceptedCall,
    InterceptedStreamStreamCall,
    InterceptedStreamUnaryCall,
    InterceptedUnaryStreamCall,
    InterceptedUnaryUnaryCall,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from wire.grpcio.aio._metadata import Metadata
from wire.grpcio.version import __version__

_USER_AGENT = f"grpc-python-asyncio/{__version__}"
_ENCODINGS = {1: "deflate", 2: "gzip"}


class _MultiCallable:
    """One method on one channel; calling it makes a call.

    A subclass says the kind: the class of calls, and that of intercepted ones.
    """

    _kind: str
    _call: type[Any]
    _intercepted: type[InterceptedCall]

    def __init__(
        self,
        channel: Channel,
        method: str | bytes,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
        interceptors: list[Any],
    ) -> None:
        self._channel = channel
        self._path = method.decode() if isinstance(method, bytes) else method
        self._begin = self._beginning(self._path)
        self._serializer = request_serializer
        self._deserializer = response_deserializer
        self._interceptors = interceptors

    def _beginning(self, path: str) -> Any:
        """What makes wire's calls of a path."""
        try:
            return getattr(self._channel.wire, self._kind)(path, bytes, bytes)
        except wire.ServiceError:  # as in grpc, who calls it learns of it
            return getattr(self._channel.wire, self._kind)(_options.sendable_path(path), bytes, bytes)

    def _invoke(
        self,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: Any,
        wait_for_ready: bool | None,
        compression: Any,
    ) -> Any:
        channel = self._channel
        if not channel.opened:
            channel.open()
        if credentials is not None and not channel.is_secure:
            raise UsageError("Call credentials are only valid on secure channels")
        if metadata is not None or compression:
            metadata = _init_metadata(metadata, compression)
        if self._interceptors:
            details = ClientCallDetails(
                self._path.encode(),
                timeout,
                Metadata() if metadata is None else metadata,
                credentials,
                wait_for_ready,
            )
            return self._intercepted(self, self._interceptors, details, request, channel.loop)
        return self._start(self._begin, request, timeout, metadata, credentials, wait_for_ready)

    def invoke_as(self, details: Any, request: Any) -> Any:
        """Start the call that interceptors have settled on."""
        if not self._channel.opened:
            self._channel.open()
        path = details.method.decode() if isinstance(details.method, bytes) else details.method
        begin = self._begin if path == self._path else self._beginning(path)
        return self._start(
            begin, request, details.timeout, details.metadata, details.credentials, details.wait_for_ready
        )

    def _start(
        self,
        begin: Any,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: Any,
        wait_for_ready: bool | None,
    ) -> Any:
        try:
            data = serialized(request, self._serializer)
            if metadata or credentials is not None:
                options = _options_of(metadata, credentials)
                call = begin(data, timeout=timeout, wait_for_ready=wait_for_ready, **options)
            else:
                call = begin(data, timeout=timeout, wait_for_ready=wait_for_ready)
        except Exception as error:
            call = NotMade(error)
        return self._call(self._channel, call, self._deserializer)


class _StreamMultiCallable(_MultiCallable):
    """What takes a stream of requests."""

    def _start(
        self,
        begin: Any,
        request: Any,
        timeout: float | None,
        metadata: Any,
        credentials: Any,
        wait_for_ready: bool | None,
    ) -> Any:
        try:
            options = _options_of(metadata, credentials) if metadata or credentials is not None else {}
            call = begin(timeout=timeout, wait_for_ready=wait_for_ready, **options)
        except Exception as error:
            call = NotMade(error)
        return self._call(self._channel, call, self._deserializer, request, self._serializer)


def _options_of(metadata: Any, credentials: CallCredentials | None) -> dict[str, Any]:
    """What wire is told of one call. Compression travels in the metadata, where interceptors see it."""
    found: dict[str, Any] = {}
    pairs = [(key, value) for key, value in metadata or () if key != COMPRESSION_KEY]
    if pairs:
        found["metadata"] = to_wire(pairs)
    for key, value in metadata or ():
        if key == COMPRESSION_KEY:
            found["compression"] = value
    if credentials is not None:
        found["credentials"] = credentials.provider()
    return found


def _init_metadata(metadata: Any, compression: Any) -> Metadata:
    """Metadata as interceptors see it; compression travels in it."""
    if not isinstance(metadata, Metadata):
        metadata = Metadata(*metadata) if metadata else Metadata()
    if compression:
        metadata = Metadata(*metadata, (COMPRESSION_KEY, _ENCODINGS[compression]))
    made: Metadata = metadata
    return made


class UnaryUnaryMultiCallable(_MultiCallable, _base_channel.UnaryUnaryMultiCallable[Any, Any]):
    """A method with one request and one response."""

    _kind = "unary_unary"
    _call = UnaryUnaryCall
    _intercepted = InterceptedUnaryUnaryCall

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        channel = self._channel
        if (
            metadata is None and credentials is None and not compression and not self._interceptors and channel.opened
        ):  # as most calls are
            try:
                data = serialized(request, self._serializer)
                call = self._begin(data, timeout=timeout, wait_for_ready=wait_for_ready)
            except Exception as error:
                call = NotMade(error)
            return UnaryUnaryCall(channel, call, self._deserializer)
        return self._invoke(request, timeout, metadata, credentials, wait_for_ready, compression)


class UnaryStreamMultiCallable(_MultiCallable, _base_channel.UnaryStreamMultiCallable[Any, Any]):
    """A method with one request and a stream of responses."""

    _kind = "unary_stream"
    _call = UnaryStreamCall
    _intercepted = InterceptedUnaryStreamCall

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self._invoke(request, timeout, metadata, credentials, wait_for_ready, compression)


class StreamUnaryMultiCallable(_StreamMultiCallable, _base_channel.StreamUnaryMultiCallable[Any, Any]):
    """A method with a stream of requests and one response."""

    _kind = "stream_unary"
    _call = StreamUnaryCall
    _intercepted = InterceptedStreamUnaryCall

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self._invoke(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)


class StreamStreamMultiCallable(_StreamMultiCallable, _base_channel.StreamStreamMultiCallable[Any, Any]):
    """A method with streams both ways."""

    _kind = "stream_stream"
    _call = StreamStreamCall
    _intercepted = InterceptedStreamStreamCall

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self._invoke(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)


_INTERCEPTORS = (
    UnaryUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    StreamStreamClientInterceptor,
)


def _sorted_interceptors(interceptors: Sequence[Any] | None) -> tuple[list[Any], ...]:
    """By kind; one that is of several counts as the first of them."""
    by_kind: tuple[list[Any], ...] = ([], [], [], [])
    for interceptor in interceptors or ():
        for kind, found in zip(_INTERCEPTORS, by_kind, strict=True):
            if isinstance(interceptor, kind):
                found.append(interceptor)
                break
        else:
            names = " or ".join(kind.__name__ for kind in _INTERCEPTORS)
            raise ValueError(f"Interceptor {interceptor} must be {names}. ")
    return by_kind


def working_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs, or the one that will."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        policy = asyncio.get_event_loop_policy()
        try:
            return policy.get_event_loop()
        except RuntimeError:
            loop = policy.new_event_loop()
            policy.set_event_loop(loop)
            return loop


_STATES = {state: ChannelConnectivity[state.name] for state in wire.ConnectivityState}
_WIRE_STATES = {ours: state for state, ours in _STATES.items()}


class Channel(_base_channel.Channel):
    """Calls to one target. It opens with the first call, in the event loop that runs then."""

    def __init__(
        self,
        target: str,
        options: Any,
        credentials: ChannelCredentials | None,
        compression: Any,
        interceptors: Sequence[ClientInterceptor] | None,
    ) -> None:
        self._interceptors = _sorted_interceptors(interceptors)
        found = _options.read(options)
        self.wire = _options.made_channel(
            wire.Channel,
            found,
            target,
            config=_options.channel_config(found, compression, _USER_AGENT),
            tls=client_tls(credentials, found),
            credentials=None if credentials is None else credentials.provider(),
        )
        _channelz.heed(found, self.wire)
        self._credentials = credentials
        self.loop = self._loop = working_loop()
        self.opened = False
        """Whether calls can be made: it has an event loop, and was not closed."""
        self.closing = False
        """True once it was closed: what ends now was ended here."""

    @property
    def is_secure(self) -> bool:
        return self._credentials is not None

    def open(self) -> None:
        if self.closing:
            raise UsageError("Channel is closed.")
        self.loop = self._loop = asyncio.get_running_loop()
        self.opened = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        await self.close(None)

    async def close(self, grace: float | None = None) -> None:
        if self.closing:
            return
        if grace and grace < 0:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        self.opened = False
        self.closing = True
        await self.wire.close(grace or 0.0)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        if self.closing:
            return ChannelConnectivity.SHUTDOWN
        state = _STATES[self.wire.state]
        if try_to_connect and state is not ChannelConnectivity.READY:
            if not self.opened:
                self.open()
            self.wire.connect()
        return state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        if self.closing:
            raise UsageError("Channel is closed.")
        if not self.opened:
            self.open()
        if not isinstance(last_observed_state, ChannelConnectivity):
            raise AttributeError(f"'{type(last_observed_state).__name__}' object has no attribute 'value'")
        await self.wire.state_changed(_WIRE_STATES[last_observed_state])

    async def channel_ready(self) -> None:
        while (state := self.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
            await self.wait_for_state_change(state)

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> UnaryUnaryMultiCallable:
        return UnaryUnaryMultiCallable(self, method, request_serializer, response_deserializer, self._interceptors[0])

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> UnaryStreamMultiCallable:
        return UnaryStreamMultiCallable(self, method, request_serializer, response_deserializer, self._interceptors[1])

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> StreamUnaryMultiCallable:
        return StreamUnaryMultiCallable(self, method, request_serializer, response_deserializer, self._interceptors[2])

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> StreamStreamMultiCallable:
        return StreamStreamMultiCallable(self, method, request_serializer, response_deserializer, self._interceptors[3])


def insecure_channel(
    target: str,
    options: Any = None,
    compression: Any = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """A channel in the clear to a target in gRPC's name syntax, `vsock:` included."""
    return Channel(target, options, None, compression, interceptors)


def secure_channel(
    target: str,
    credentials: ChannelCredentials,
    options: Any = None,
    compression: Any = None,
    interceptors: Sequence[ClientInterceptor] | None = None,
) -> Channel:
    """A channel with credentials, such as `grpc.ssl_channel_credentials()`."""
    if not isinstance(credentials, ChannelCredentials):
        raise AttributeError(f"'{type(credentials).__name__}' object has no attribute '_credentials'")
    return Channel(target, options, credentials, compression, interceptors)


__all__ = ["AioRpcError", "Channel", "StatusCode", "insecure_channel", "secure_channel"]
