"""One call on a client, as its user holds it: a class for each of the four kinds.

A call starts when it is made, and ends by the server's status, its deadline, `cancel`, the loss of its connection, or
the cancellation of the task that waits for it. One that nobody refers to any more before it has ended is cancelled,
with a ResourceWarning: nothing below refers to these objects, so they are gone when their user lets go of them.
Imports `exchange`, which does the work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from weakref import ref

from wire.client.exchange import Caller, Exchange, Options
from wire.client.guard import COUNTED, Guard, guard, release
from wire.client.observing import observe
from wire.client.preparation import Prepared
from wire.client.stream_exchange import BidiExchange, ClientStreamExchange, ServerStreamExchange
from wire.client.unary_exchange import UnaryExchange
from wire.errors import UsageError
from wire.metadata import Metadata
from wire.service import Method
from wire.status import StatusCode
from wire.transport.contract import Peer

_log = logging.getLogger("wire.client")

Q = TypeVar("Q")
R = TypeVar("R")

_OK = StatusCode.OK  # a member of an enum takes a hundred times as long to look up as a global
_new_exchange = object.__new__


class ClientCall(Generic[R]):
    """What calls of all kinds have in common."""

    __slots__ = ("__weakref__", "_exchange")

    _exchange: Exchange[R]

    def _let_go(self) -> None:
        """Nobody refers to this object any more: a finalizer."""
        try:
            exchange = self._exchange
        except AttributeError:  # it was never made
            return
        if exchange.code is None:
            exchange.abandon()

    def __repr__(self) -> str:
        exchange = self._exchange
        state = "open" if exchange.code is None else str(exchange.code)
        return f"<{type(self).__name__} of {exchange.path}: {state}>"

    @property
    def code(self) -> StatusCode | None:
        """The status; None while the call goes on."""
        return self._exchange.code

    @property
    def message(self) -> str:
        """The status's text, which may be empty, as it is while the call goes on."""
        exchange = self._exchange
        return "" if exchange.code is None else exchange.message

    @property
    def initial_metadata(self) -> Metadata | None:
        """What the server sent before its first response; None before it came."""
        fields = self._exchange.initial
        return None if fields is None else Metadata.from_fields(fields)

    @property
    def trailing_metadata(self) -> Metadata | None:
        """What the server sent with the status; None before it came."""
        fields = self._exchange.trailing
        return None if fields is None else Metadata.from_fields(fields)

    @property
    def answered(self) -> bool:
        """Whether the response has begun: its headers have come, and not the status alone."""
        return bool(self._exchange.initial)

    @property
    def peer(self) -> Peer | None:
        """Who is called; None before the call is on a connection, and once that is gone."""
        connection = self._exchange.connection
        return None if connection is None or connection.transport is None else connection.transport.peer

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None when there is none."""
        return self._exchange.time_remaining()

    def ended(self) -> Coroutine[Any, Any, None]:
        """Wait until the call has ended: `code` says how. Cancelling a task that waits here leaves the call as it is.

        Responses of a stream may be unread by then; one that nobody reads may never end.
        """
        return self._exchange.ended(self)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(call)` once, in the event loop, soon after the call has ended; soon, when it has already.

        A call that was let go of before its end is handed over as another object for the same call. What the callback
        raises is logged.
        """
        kind = type(self)
        reference = ref(self)

        def ended(exchange: Exchange[R]) -> None:
            call = reference()
            if call is None:
                call = kind.__new__(kind)
                call._exchange = exchange
            try:
                callback(call)
            except Exception:
                _log.exception("%s: a done callback raised an exception", exchange.path)

        observe(self._exchange, ended)

    def cancel(self) -> None:
        """Give the call up: the server is told, and whoever waits gets `RpcError` CANCELLED. No effect once it has
        ended."""
        self._exchange.cancel()


class UnaryUnaryCall(ClientCall[R]):
    """One request, one response: `response = await call`. Raises `RpcError` for every status but OK."""

    __slots__ = ()
    if COUNTED:
        __del__ = ClientCall._let_go

    _exchange: UnaryExchange[R]

    @staticmethod
    def begin(channel: Caller, prepared: Prepared[R], request: Any, options: Options) -> UnaryUnaryCall[R]:
        """Make one. In place of a constructor, which takes longer to call."""
        exchange: UnaryExchange[R] = _new_exchange(UnaryExchange)
        exchange.begin(channel, prepared, request, options)
        call: UnaryUnaryCall[R] = UnaryUnaryCall()
        call._exchange = exchange
        return call

    def __await__(self) -> Generator[Any, Any, R]:
        exchange = self._exchange
        if exchange.code is None:
            if exchange.waiter is not None:
                raise UsageError("two tasks wait for the same call")
            exchange.waiter = waiter = exchange.future()
            try:
                yield from waiter.__await__()
            except BaseException:
                exchange.cancel()
                raise
        if exchange.code is not _OK:
            raise exchange.error()
        return exchange.response

    @property
    def response(self) -> R | None:
        """The response, once the call has ended: also one beside a status other than OK, which `await` raises. None
        where none has come. Raises `DecodeError`, or `RpcError` for one that cannot be decompressed."""
        exchange = self._exchange
        if exchange.code is StatusCode.OK:
            return exchange.response
        return None if exchange.code is None else exchange.decode_body()


if not COUNTED:

    class _GuardedCall(UnaryUnaryCall[R]):
        """Without a finalizer: its guard has one."""

        __slots__ = ("_guard",)

        _guard: Guard | None

        @staticmethod
        def begin(channel: Caller, prepared: Prepared[R], request: Any, options: Options) -> UnaryUnaryCall[R]:
            exchange: UnaryExchange[R] = _new_exchange(UnaryExchange)
            exchange.begin(channel, prepared, request, options)
            call: _GuardedCall[R] = _GuardedCall()
            call._exchange = exchange
            call._guard = guard(exchange)
            return call

        def __await__(self) -> Generator[Any, Any, R]:
            response: R = yield from super().__await__()
            freed = getattr(self, "_guard", None)  # a call made for a done callback has none
            if freed is not None:
                self._guard = None
                release(freed)
            return response

    _GuardedCall.__name__ = _GuardedCall.__qualname__ = "UnaryUnaryCall"
    UnaryUnaryCall = _GuardedCall  # type: ignore[misc]


class _StreamingCall(ClientCall[R]):
    """What the three kinds that stream have in common. An asynchronous context manager that cancels a call not
    ended."""

    __slots__ = ()
    __del__ = ClientCall._let_go

    _exchange: ServerStreamExchange[R] | BidiExchange[Any, R]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._exchange.cancel()

    async def started(self) -> None:
        """Until the request is on its way, or the call has ended: `code` tells which. Calls wait for a connection."""
        exchange = self._exchange
        while exchange.stream is None and exchange.code is None:
            await exchange.wait()

    def began(self) -> Coroutine[Any, Any, None]:
        """Wait until the response has begun, or the call has ended: `answered` tells which. Cancelling a task that
        waits here leaves the call as it is."""
        return self._exchange.began(self)

    async def read_initial_metadata(self) -> Metadata:
        """Wait for what the server sends before its first response. Raises `RpcError` when the call ends badly before
        it."""
        await self._exchange.head()
        return self.initial_metadata or Metadata()


class _Responses(_StreamingCall[R]):
    """Responses that are iterated over. The call lives as long as that is done."""

    __slots__ = ()

    @property
    def unread(self) -> bool:
        """Whether responses have come that nobody has taken yet. `code` may be there before they are."""
        return self._exchange.incoming.waiting

    def arrived(self) -> Coroutine[Any, Any, None]:
        """Wait until a response has come that nobody has taken, or the call has ended. Cancelling a task that waits
        here, by a timeout for instance, leaves the call as it is; one that waits in the iteration cancels it."""
        return self._exchange.incoming.arrived(self)

    def __aiter__(self) -> AsyncIterator[R]:
        return self._exchange.incoming.each(self)

    def __anext__(self) -> Coroutine[Any, Any, R]:
        return self._exchange.incoming.take(self)


class _Requests(_StreamingCall[R], Generic[Q, R]):
    """Requests that are streamed. They come from an iterator, or by `send` and `end`."""

    __slots__ = ()

    _exchange: BidiExchange[Q, R]

    def send(self, request: Q) -> Coroutine[Any, Any, None]:
        """Send one request; waits while the server takes no more.

        Raises `EncodeError`; `RpcError` once the call has failed, also while this waits; `UsageError` after `end`, or
        when the server has ended it well. Cancelling a task that waits here cancels the call.
        """
        return self._exchange.send(request, self)

    def end(self) -> Coroutine[Any, Any, None]:
        """There are no more requests."""
        return self._exchange.end(self)


class UnaryStreamCall(_Responses[R]):
    """One request, a stream of responses: `async for response in call`. Raises `RpcError` for every status but OK."""

    __slots__ = ()

    def __init__(self, channel: Caller, method: Method[Q, R], request: Q, options: Options) -> None:
        self._exchange = ServerStreamExchange(channel, method, request, options)


class StreamUnaryCall(_Requests[Q, R]):
    """A stream of requests, one response: `await call.send(request)`, `await call.end()`, `response = await call`."""

    __slots__ = ("_response",)

    def __init__(
        self, channel: Caller, method: Method[Q, R], requests: AsyncIterable[Q] | Iterable[Q] | None, options: Options
    ) -> None:
        self._exchange = ClientStreamExchange(channel, method, requests, options)

    def __await__(self) -> Generator[Any, Any, R]:
        return self._receive().__await__()

    async def _receive(self) -> R:
        async for response in self._exchange.incoming:
            self._response = response
        return self._response


class StreamStreamCall(_Requests[Q, R], _Responses[R]):
    """Streams both ways: `await call.send(request)`, `await call.end()`, `async for response in call`."""

    __slots__ = ()

    def __init__(
        self, channel: Caller, method: Method[Q, R], requests: AsyncIterable[Q] | Iterable[Q] | None, options: Options
    ) -> None:
        self._exchange = BidiExchange(channel, method, requests, options)
