"""A gRPC service as plain data, and the base of its implementation.

    ECHO = UnaryUnary("Echo", EchoRequest, EchoResponse)
    ECHO_STREAM = StreamStream("EchoStream", EchoRequest, EchoResponse)
    ECHO_SERVICE = Service("echo.v1.EchoService", (ECHO, ECHO_STREAM))

    class EchoStub(Stub):                       # the client's side: each method is a typed call
        service = ECHO_SERVICE
        echo = ECHO
        echo_stream = ECHO_STREAM

    class EchoServicer(Servicer):               # the server's side: handlers by the methods' names
        service = ECHO_SERVICE

        def echo(self, request: EchoRequest, context: ServerContext) -> EchoResponse: ...

A message type is a betterproto2 class (its codec is compiled on first use), `bytes` (passed through as it is), or a
`Codec`. The four kinds of methods and `Stub` are in `stub`, as they know what a call of each kind is. A
generator from .proto files has to emit no more than the above. Imports `codec`, `transport.contract` and `errors`.
"""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import MethodType
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from wire.codec import Codec, codec_for
from wire.errors import ServiceError
from wire.service_names import python_name
from wire.transport.contract import Runtime

Q = TypeVar("Q")
R = TypeVar("R")
S = TypeVar("S")
C = TypeVar("C")

Responses = AsyncIterable[R] | Iterable[R] | Awaitable[AsyncIterable[R] | Iterable[R] | None]
"""What a handler that streams responses may return: an async generator, mostly. An `async def` that returns None has
sent them itself (`ServerContext.send`)."""

Handler = Callable[[Any, Any], Any]
"""A servicer's method as a server calls it: (request or stream of requests, context) → what `Servicer` says."""

ServerInterceptor = Callable[["Method[Any, Any]", Handler], Handler]
"""Stands in front of handlers. Called once for each method when a server is made, with the method and the next handler;
returns the handler to use in its place.

    def tell(method, handler):
        def intercepted(request, context):
            print(method.path, context.peer.address)
            return handler(request, context)
        return intercepted

So a plain `def` in front of a plain `def` stays inline, and a method that an interceptor has no interest in, for which
it returns the handler itself, pays nothing.
"""

_SERVICE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METHOD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Method(Generic[Q, R]):
    """One method: its name and its messages' types. The subclass says its kind.

    Raises `ServiceError` for a name that is no protobuf identifier, or a type that has no codec.
    """

    __slots__ = ("attribute", "name", "path", "request", "response")

    streams_requests: ClassVar[bool] = False
    streams_responses: ClassVar[bool] = False

    def __init__(self, name: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]) -> None:
        if not _METHOD_NAME.fullmatch(name):
            raise ServiceError(f"{name!r} is not a name for a method")
        self.name = name
        self.attribute = python_name(name)
        """The name of its handler in a servicer, and of the method in a stub."""
        self.path: str | None = None
        """"/package.Service/Method", once the method is part of a `Service`."""
        self.request: Codec[Q] = codec_for(request)
        self.response: Codec[R] = codec_for(response)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path or self.name})"


class _UnaryStream(Method[Q, R]):
    __slots__ = ()
    streams_responses = True


class _StreamUnary(Method[Q, R]):
    __slots__ = ()
    streams_requests = True


class _StreamStream(Method[Q, R]):
    __slots__ = ()
    streams_requests = True
    streams_responses = True


_KINDS: dict[tuple[bool, bool], type[Method[Any, Any]]] = {
    (False, False): Method,
    (False, True): _UnaryStream,
    (True, False): _StreamUnary,
    (True, True): _StreamStream,
}


def method_at(
    path: str,
    request: type[Q] | Codec[Q],
    response: type[R] | Codec[R],
    *,
    streams_requests: bool = False,
    streams_responses: bool = False,
) -> Method[Q, R]:
    """A method that is part of no `Service`, by its path "/package.Service/Method". Raises `ServiceError`."""
    _, slash, name = path.rpartition("/")
    if not (path.startswith("/") and slash and name and path.isascii() and path.isprintable() and " " not in path):
        raise ServiceError(f'{path!r} is not a path of a method, as in "/package.Service/Method"')
    method = _KINDS[streams_requests, streams_responses]("Method", request, response)
    method.name = method.attribute = name
    method.path = path
    return method


class Service:
    """A service: its full name and its methods. Raises `ServiceError` for names that repeat or are none.

    `files`: serialized FileDescriptorProtos of the .proto file that describes it and of all that this imports,
    dependencies first. Server reflection hands them out; nothing else needs them.
    """

    __slots__ = ("files", "methods", "name")

    def __init__(self, name: str, methods: Iterable[Method[Any, Any]], *, files: Iterable[bytes] = ()) -> None:
        if not _SERVICE_NAME.fullmatch(name):
            raise ServiceError(f"{name!r} is not a name for a service, as in package.v1.Service")
        self.name = name
        self.methods = tuple(methods)
        self.files = tuple(files)
        if len({method.name for method in self.methods}) != len(self.methods):
            raise ServiceError(f"two methods of {name} have the same name")
        for method in self.methods:
            path = f"/{name}/{method.name}"
            if method.path not in (None, path):
                raise ServiceError(f"{method!r} already belongs to another service")
            method.path = path

    def __repr__(self) -> str:
        return f"Service({self.name})"


def per_message(handler: Callable[[S, Q, C], R | None]) -> Callable[[S, AsyncIterator[Q], C], AsyncIterator[R]]:
    """Makes the handler of a method that streams both ways from a plain function (servicer, request, context) →
    response, or None for none. It is called with each request as it comes.

        class Echo(EchoServiceServicer):
            @per_message
            def echo_stream(self, request: EchoRequest, context: ServerContext) -> EchoResponse:
                return EchoResponse(payload=request.payload)

    It runs inline in the event loop, also where the server has threads for handlers, and must not block. Otherwise it
    means an `async for` over the requests, of which a message costs a third less so: while the client does not read its
    responses, its requests wait. With an interceptor in front of it, that is what runs. Raises `ServiceError` for what
    is no plain function.
    """
    if iscoroutinefunction(handler) or isasyncgenfunction(handler) or isgeneratorfunction(handler):
        raise ServiceError(f"{handler.__name__} is called with each message, and so must be a plain function")

    @wraps(handler)
    async def responses(self: S, requests: AsyncIterator[Q], context: C) -> AsyncIterator[R]:
        async for request in requests:
            response = handler(self, request, context)
            if response is not None:
                yield response

    responses.per_message = handler  # type: ignore[attr-defined]
    return responses


def each_of(handler: Handler) -> Handler | None:
    """What `per_message` was given, for the handler that it made as a servicer has it; None for any other."""
    function = getattr(handler, "__func__", None)
    each = getattr(function, "per_message", None)
    # A decorator's `wraps` has copied the attribute, but wraps the handler and not what was given.
    if each is None or function.__wrapped__ is not each:  # type: ignore[union-attr]
        return None
    return MethodType(each, handler.__self__)  # type: ignore[attr-defined]


class Servicer(ABC):
    """Base of a service's implementation: one handler for each method, under the method's name.

    A handler takes (request, context), or (async iterator of requests, context), and returns the response; one that
    streams responses is a generator, async or plain, or returns an (async) iterable; an `async def` may also send them
    itself, by `context.send`, and return None. Where each request has its own response, `per_message` makes one of a
    plain function.
    A plain `def` runs inline in the event loop: it is fastest, and must not
    block. It may return an awaitable, which then runs in a task, as every `async def` does. With
    `ServerConfig.handler_threads` it runs in a thread, and may block; a stream of requests is then iterated over by
    `for`. What its context does that concerns the connection is done by the event loop meanwhile.
    It runs in a copy of the context in which the server was entered, so context variables that it sets are its call's.

    `RpcError` is the status that the caller sees; any other exception is logged and UNKNOWN, also a `CallError` of a
    call that the handler made itself: to pass such a status on, `raise RpcError(error.code, error.message) from error`.
    A method without a handler answers UNIMPLEMENTED.
    """

    service: ClassVar[Service]

    inline: ClassVar[bool] = False
    """Whether plain handlers run in the event loop although the server has threads for them."""

    def on_attach(self, servicers: Sequence[Servicer]) -> None:  # noqa: B027
        """A server was made of these servicers, this one among them."""

    def on_drain(self) -> None:  # noqa: B027
        """The server has begun to stop: it takes no new connections, and open calls go on until its grace is over."""


class Inspector(Protocol):
    """Sees what a server or a channel has on the wire. `wire.inspect.Trace` is one."""

    def around(self, runtime: Runtime, /) -> Runtime:
        """A runtime like this one, which puts the inspector between each transport and what would be its protocol.
        Asked for once, when the server or channel is entered."""

    def add_service(self, service: Service, /) -> None:
        """The server answers these methods."""

    def add_method(self, method: Method[Any, Any], /) -> None:
        """The channel is about to call this method for the first time."""
