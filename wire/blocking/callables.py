"""One method on one channel, for threads: calling it makes a call of the method's kind.

Those of one response return it; their `with_call` returns the call too, which has its metadata, and `start` returns the
call at once. Those of a stream of responses return the call, which is their iterator. Imports `call`, and what is below
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from wire.blocking.call import (
    BlockingCall,
    StreamStreamCall,
    StreamUnaryCall,
    ThreadsChannel,
    UnaryStreamCall,
    UnaryUnaryCall,
)
from wire.blocking.futures import ThreadFuture
from wire.client.callables import CallCompression
from wire.client.callables import CallingChannel as AsyncCallingChannel
from wire.client.channel_base import StartCall
from wire.client.credentials import CallContext
from wire.client.exchange import Caller
from wire.client.unary_exchange import UnaryExchange
from wire.codec import Codec
from wire.errors import ServiceError
from wire.metadata import MetadataInput
from wire.service import Method, method_at
from wire.status import StatusCode

Q = TypeVar("Q")
R = TypeVar("R")
C = TypeVar("C")

Credentials = Callable[[CallContext], MetadataInput]
"""`client.credentials.CallCredentials` for threads: called in the thread that makes the call, and may block."""


class CallingChannel(ThreadsChannel, Caller, Protocol):
    """What a method's calls need of their channel."""

    def begin_call(self) -> None:
        """This thread, which has the lock, is to make a call."""

    def caller_for(self, method: Method[Any, Any]) -> AsyncCallingChannel:
        """What the calls of a method are made on: this channel, unless its service config says something of them."""

    def with_credentials(self, path: str, metadata: MetadataInput, credentials: Credentials | None) -> MetadataInput:
        """A call's metadata with what its credentials, the channel's and its own, add to it. Raises `RpcError`."""

    @property
    def has_credentials(self) -> bool: ...

    def callable(self, kind: Callable[[Any, Method[Any, Any]], C], method: Method[Any, Any]) -> C:
        """A method's callable, with the channel's interceptors in front of whatever begins its calls."""


class _Callable(Generic[Q, R]):
    """`timeout` in seconds; None: no deadline. `wait_for_ready` and `compression`; None: as the channel is configured.
    `credentials`: metadata made for this call.

    `begin`: (request or requests, **options) → call; an interceptor's, perhaps.
    """

    __slots__ = ("_caller", "_channel", "_method", "begin")

    call: ClassVar[type[BlockingCall[Any]]]
    streams_requests: ClassVar[bool] = False
    streams_responses: ClassVar[bool] = False

    def __init__(self, channel: CallingChannel, method: Method[Q, R], begin: StartCall | None = None) -> None:
        if method.path is None:
            raise ServiceError(f"{method!r} belongs to no service, so it has no path to call")
        self._channel = channel
        self._caller = channel.caller_for(method)
        self._method = method
        self.begin: StartCall = _Beginning(self.call, channel, method) if begin is None else begin

    @classmethod
    def at(cls, channel: CallingChannel, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]) -> Self:
        """What calls the method at "/package.Service/Method", without a stub: it is what a stub's attribute would be.

        Types are those that a `Method` takes. Make it once and call it often. Raises `ServiceError`.
        """
        kind = {"streams_requests": cls.streams_requests, "streams_responses": cls.streams_responses}
        return channel.callable(cls, method_at(path, request, response, **kind))

    def intercepted(self, begin: StartCall) -> Self:
        """The same, whose calls `begin` begins."""
        return type(self)(self._channel, self._method, begin)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._method.path}>"


class _Beginning:
    """What begins a method's calls when no interceptor does."""

    __slots__ = ("_call", "_caller", "_channel", "_method", "_plain")

    def __init__(self, call: Any, channel: CallingChannel, method: Method[Any, Any]) -> None:
        self._call = call
        self._channel = channel
        self._method = method
        self._caller = caller = channel.caller_for(method)
        self._plain = lambda: caller

    def __call__(
        self,
        request: Any,
        /,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> Any:
        channel, method = self._channel, self._method
        variant: Callable[[], Caller] = self._plain
        if compression is not None:
            variant = partial(self._caller.with_options, compression, None)
        if credentials is not None or channel.has_credentials:
            assert method.path is not None
            metadata = channel.with_credentials(method.path, metadata, credentials)
        return self._call(channel, variant, method, request, (timeout, metadata, wait_for_ready))


class UnaryUnaryCallable(_Callable[Q, R]):
    """A method that takes one request and gives one response."""

    __slots__ = ()
    call = UnaryUnaryCall

    def intercepted(self, begin: StartCall) -> UnaryUnaryCallable[Q, R]:
        return _InterceptedUnaryUnaryCallable(self._channel, self._method, begin)

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> R:
        """The response. Raises `RpcError` for every status but OK."""
        if compression is not None or credentials is not None:
            return self._begin(
                request,
                timeout=timeout,
                metadata=metadata,
                wait_for_ready=wait_for_ready,
                compression=compression,
                credentials=credentials,
            ).result()
        channel = self._channel
        threads = channel.threads
        future = None
        threads.enter()
        try:
            channel.begin_call()
            exchange = UnaryExchange(self._caller, self._method, request, (timeout, metadata, wait_for_ready))
            if exchange.code is None:
                exchange.waiter = future = ThreadFuture(threads)
                threads.wait(future)
        except BaseException as error:
            threads.interrupted(future, error)
            if future is not None:
                future.finished = True
                exchange.cancel()
            raise
        finally:
            threads.leave()
        if exchange.code is not StatusCode.OK:
            raise exchange.error()
        return exchange.response

    def with_call(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> tuple[R, UnaryUnaryCall[R]]:
        """The response, and the call with its metadata. Raises `RpcError` for every status but OK."""
        call = self._begin(
            request,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        return call.result(), call

    def start(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> UnaryUnaryCall[R]:
        """Start a call and return at once: its `result` waits."""
        call = self._begin(
            request,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        if isinstance(call, BlockingCall):  # else an interceptor's own
            call.attend()
        return call

    def _begin(self, request: Q, **options: Any) -> UnaryUnaryCall[R]:
        call: UnaryUnaryCall[R] = self.begin(request, **options)
        return call


class _InterceptedUnaryUnaryCallable(UnaryUnaryCallable[Q, R]):
    __slots__ = ()

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> R:
        return self._begin(
            request,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        ).result()


class UnaryStreamCallable(_Callable[Q, R]):
    """A method that takes one request and gives a stream of responses."""

    __slots__ = ()
    call = UnaryStreamCall
    streams_responses = True

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> UnaryStreamCall[R]:
        """Start a call: iterate over what is returned for the responses."""
        call: UnaryStreamCall[R] = self.begin(
            request,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        return call


class StreamUnaryCallable(_Callable[Q, R]):
    """A method that takes a stream of requests and gives one response."""

    __slots__ = ()
    call = StreamUnaryCall
    streams_requests = True

    def __call__(
        self,
        requests: Iterable[Q],
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> R:
        """The response to all of `requests`, which are taken in a thread of their own, unless they are a list or a
        tuple. Raises `RpcError` for every status but OK."""
        return self.start(
            requests,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        ).result()

    def with_call(
        self,
        requests: Iterable[Q],
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> tuple[R, StreamUnaryCall[Q, R]]:
        """The response, and the call with its metadata. Raises `RpcError` for every status but OK."""
        call = self.start(
            requests,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        return call.result(), call

    def start(
        self,
        requests: Iterable[Q] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> StreamUnaryCall[Q, R]:
        """Start a call; requests come from `requests`, or by the call's `send` and `end`."""
        call: StreamUnaryCall[Q, R] = self.begin(
            requests,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        return call


class StreamStreamCallable(_Callable[Q, R]):
    """A method that takes a stream of requests and gives a stream of responses."""

    __slots__ = ()
    call = StreamStreamCall
    streams_requests = True
    streams_responses = True

    def __call__(
        self,
        requests: Iterable[Q] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: Credentials | None = None,
    ) -> StreamStreamCall[Q, R]:
        """Start a call; requests come from `requests`, which are taken in a thread of their own, unless they are a list
        or a tuple, or by the call's `send` and `end`."""
        call: StreamStreamCall[Q, R] = self.begin(
            requests,
            timeout=timeout,
            metadata=metadata,
            wait_for_ready=wait_for_ready,
            compression=compression,
            credentials=credentials,
        )
        return call
