"""Typed stubs: a class attribute for each method of a service, callable as what the method is.

    class EchoStub(Stub):
        service = ECHO_SERVICE
        echo = UnaryUnary("Echo", EchoRequest, EchoResponse)

    reply = await EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

Imports `service` and the client's calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from wire.client.call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.client.channel import Channel
from wire.errors import ServiceError
from wire.metadata import MetadataInput
from wire.service import Method, Service

Q = TypeVar("Q")
R = TypeVar("R")
C = TypeVar("C")

Requests = AsyncIterable[Q] | Iterable[Q]
"""What a caller may hand over as a stream of requests."""


class UnaryUnary(Method[Q, R]):
    """One request, one response."""

    __slots__ = ()

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub, owner: type) -> RequestCallable[Q, UnaryUnaryCall[R]]: ...
    def __get__(self, stub: Stub | None, owner: type) -> Self | RequestCallable[Q, UnaryUnaryCall[R]]:
        return self if stub is None else RequestCallable(UnaryUnaryCall, stub.channel, self)


class UnaryStream(Method[Q, R]):
    """One request, a stream of responses."""

    __slots__ = ()
    streams_responses = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub, owner: type) -> RequestCallable[Q, UnaryStreamCall[R]]: ...
    def __get__(self, stub: Stub | None, owner: type) -> Self | RequestCallable[Q, UnaryStreamCall[R]]:
        return self if stub is None else RequestCallable(UnaryStreamCall, stub.channel, self)


class StreamUnary(Method[Q, R]):
    """A stream of requests, one response."""

    __slots__ = ()
    streams_requests = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub, owner: type) -> RequestsCallable[Q, StreamUnaryCall[Q, R]]: ...
    def __get__(self, stub: Stub | None, owner: type) -> Self | RequestsCallable[Q, StreamUnaryCall[Q, R]]:
        return self if stub is None else RequestsCallable(StreamUnaryCall, stub.channel, self)


class StreamStream(Method[Q, R]):
    """A stream of requests, a stream of responses, each at its own pace."""

    __slots__ = ()
    streams_requests = True
    streams_responses = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub, owner: type) -> RequestsCallable[Q, StreamStreamCall[Q, R]]: ...
    def __get__(self, stub: Stub | None, owner: type) -> Self | RequestsCallable[Q, StreamStreamCall[Q, R]]:
        return self if stub is None else RequestsCallable(StreamStreamCall, stub.channel, self)


class Stub:
    """Base of a service's client: its methods, each callable with the type it has in the service."""

    service: ClassVar[Service]

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        # Bound once, found in the instance from then on: a call then costs no descriptor.
        for name, method in vars(type(self)).items():
            if isinstance(method, Method):
                callable_ = method.__get__(self, type(self))  # type: ignore[attr-defined]
                self.__dict__[name] = channel.intercepted(method, callable_)


class _Callable(Generic[C]):
    """One method on one channel; calling it makes a call of the kind `C`."""

    __slots__ = ("_call", "_channel", "_method")

    def __init__(self, call: Callable[..., C], channel: Channel, method: Method[Any, Any]) -> None:
        if method.path is None:
            raise ServiceError(f"{method!r} belongs to no service, so it has no path to call")
        self._call = call
        self._channel = channel
        self._method = method


class RequestCallable(_Callable[C], Generic[Q, C]):
    """A method that takes one request."""

    __slots__ = ()

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
    ) -> C:
        """Start a call: await what is returned for the response, or iterate over it for the responses.

        `timeout` in seconds; None: no deadline. `wait_for_ready`; None: as the channel is configured.
        """
        return self._call(self._channel, self._method, request, (timeout, metadata, wait_for_ready))


class RequestsCallable(_Callable[C], Generic[Q, C]):
    """A method that takes a stream of requests."""

    __slots__ = ()

    def __call__(
        self,
        requests: Requests[Q] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
    ) -> C:
        """As for `RequestCallable`; requests come from `requests`, or by the call's `send` and `end`."""
        return self._call(self._channel, self._method, requests, (timeout, metadata, wait_for_ready))
