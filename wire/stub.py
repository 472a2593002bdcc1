"""Typed stubs: a class attribute for each method of a service, callable as what the method is.

    class EchoStub(Stub):
        service = ECHO_SERVICE
        echo = UnaryUnary("Echo", EchoRequest, EchoResponse)

    reply = await EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

On a channel for threads (`wire.blocking.Channel`) the same stub's methods are what `blocking.callables` says:

    reply = EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

A type checker tells the two apart where the stub's class is generic, as generated ones are:
`class EchoStub(Stub[AnyChannel])`. Without a parameter it is one of an event loop's. Imports `service`, `client` and
`blocking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from wire import blocking
from wire.client.call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.client.callables import RequestCallable, RequestsCallable, UnaryCallable
from wire.client.channel import Channel
from wire.client.channel_base import ChannelBase
from wire.errors import UsageError
from wire.service import Method, Service

Q = TypeVar("Q")
R = TypeVar("R")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    AnyChannel = TypeVarWithDefault("AnyChannel", bound=ChannelBase, default=Channel)
else:
    AnyChannel = TypeVar("AnyChannel", bound=ChannelBase)


class UnaryUnary(Method[Q, R]):
    """One request, one response."""

    __slots__ = ()

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub[Channel], owner: type) -> RequestCallable[Q, UnaryUnaryCall[R]]: ...
    @overload
    def __get__(self, stub: Stub[blocking.Channel], owner: type) -> blocking.UnaryUnaryCallable[Q, R]: ...
    def __get__(self, stub: Stub[Any] | None, owner: type) -> Any:
        return self if stub is None else _bound(self, stub.channel, UnaryUnaryCall.begin, blocking.UnaryUnaryCallable)


class UnaryStream(Method[Q, R]):
    """One request, a stream of responses."""

    __slots__ = ()
    streams_responses = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub[Channel], owner: type) -> RequestCallable[Q, UnaryStreamCall[R]]: ...
    @overload
    def __get__(self, stub: Stub[blocking.Channel], owner: type) -> blocking.UnaryStreamCallable[Q, R]: ...
    def __get__(self, stub: Stub[Any] | None, owner: type) -> Any:
        return self if stub is None else _bound(self, stub.channel, UnaryStreamCall, blocking.UnaryStreamCallable)


class StreamUnary(Method[Q, R]):
    """A stream of requests, one response."""

    __slots__ = ()
    streams_requests = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub[Channel], owner: type) -> RequestsCallable[Q, StreamUnaryCall[Q, R]]: ...
    @overload
    def __get__(self, stub: Stub[blocking.Channel], owner: type) -> blocking.StreamUnaryCallable[Q, R]: ...
    def __get__(self, stub: Stub[Any] | None, owner: type) -> Any:
        return self if stub is None else _bound(self, stub.channel, StreamUnaryCall, blocking.StreamUnaryCallable)


class StreamStream(Method[Q, R]):
    """A stream of requests, a stream of responses, each at its own pace."""

    __slots__ = ()
    streams_requests = True
    streams_responses = True

    @overload
    def __get__(self, stub: None, owner: type) -> Self: ...
    @overload
    def __get__(self, stub: Stub[Channel], owner: type) -> RequestsCallable[Q, StreamStreamCall[Q, R]]: ...
    @overload
    def __get__(self, stub: Stub[blocking.Channel], owner: type) -> blocking.StreamStreamCallable[Q, R]: ...
    def __get__(self, stub: Stub[Any] | None, owner: type) -> Any:
        return self if stub is None else _bound(self, stub.channel, StreamStreamCall, blocking.StreamStreamCallable)


class Stub(Generic[AnyChannel]):
    """Base of a service's client: its methods, each callable with the type it has in the service.

        reply = await EchoStub(channel).echo(request, timeout=1.0, metadata={"trace": "1"})

    Each takes its request, or requests, and for this call alone `timeout` in seconds, `metadata`, `wait_for_ready`,
    `compression` and `credentials`. It returns the call: `UnaryUnaryCall` and its kin; on a channel for threads what
    `wire.blocking` says.
    """

    service: ClassVar[Service]

    def __init__(self, channel: AnyChannel) -> None:
        if not isinstance(channel, ChannelBase):
            raise UsageError(f"a stub takes a channel, such as wire.Channel(address), and not {channel!r}")
        self.channel = channel
        # Bound once, found in the instance from then on: a call then costs no descriptor.
        for name, method in vars(type(self)).items():
            if isinstance(method, Method):
                self.__dict__[name] = method.__get__(self, type(self))  # type: ignore[attr-defined]


def _bound(
    method: Method[Any, Any], channel: ChannelBase, call: Callable[..., Any], blocks: Callable[[Any, Any], Any]
) -> Any:
    """What makes calls of `method` on `channel`: what `call` gives, which is awaited, or what `blocks` makes."""
    if isinstance(channel, blocking.Channel):
        return channel.callable(blocks, method)
    kind: Callable[..., Any] = RequestsCallable if method.streams_requests else RequestCallable
    if isinstance(method, UnaryUnary):
        kind = UnaryCallable
    # The method of the callable and not the object: Python calls that in half the time.
    return channel.intercepted(method, kind(call, channel.caller_for(method), method).__call__)
