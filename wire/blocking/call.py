"""One call as a thread holds it: a class for each of the four kinds.

They are the calls of `client`, waited for by the threads that ask: a call may be used by several, such as one that
sends and one that receives, or one that cancels it. As there, one that nobody refers to any more before it has ended is
cancelled, with a ResourceWarning. Imports `client`'s exchanges and its siblings.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from wire.blocking.attendant import Attendant
from wire.blocking.futures import ThreadFuture
from wire.blocking.runtime import ThreadRuntime
from wire.client.call import ClientCall
from wire.client.exchange import Caller, Exchange, Options
from wire.client.observing import observe
from wire.client.stream_exchange import BidiExchange, ClientStreamExchange, ServerStreamExchange
from wire.client.unary_exchange import UnaryExchange
from wire.errors import UsageError
from wire.metadata import Metadata
from wire.service import Method
from wire.status import StatusCode

Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")

Variant = Callable[[], Caller]
"""The channel as a call's options want it; asked for under the lock."""


class ThreadsChannel(Protocol):
    """What a call needs of its channel."""

    threads: ThreadRuntime
    attendant: Attendant

    def calling(self) -> AbstractContextManager[Any]:
        """In the block a call may be made."""


class BlockingCall(ClientCall[R]):
    """What calls of all kinds have in common. Its methods may be called by any thread."""

    __slots__ = ("_attendant", "_attended", "_threads")
    __del__ = ClientCall._let_go

    def __init__(self, channel: ThreadsChannel, make: Callable[[], Exchange[R]]) -> None:
        self._threads = channel.threads
        self._attendant = channel.attendant
        self._attended = False
        with channel.calling():
            self._exchange = make()

    def attend(self) -> None:
        """See to it that the call goes on although no thread waits for it."""
        with self._threads.inside():
            self._attend()

    def _attend(self) -> None:
        if self._attended or self._exchange.code is not None:
            return
        self._attended = True
        attendant = self._attendant
        attendant.call_started()
        observe(self._exchange, lambda exchange: attendant.call_ended())

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(call)` once the call has ended, in a thread of the channel's; what it raises is logged."""
        with self._threads.inside():
            self._attend()
            told = partial(callback, self)
            if self._exchange.code is None:
                attendant = self._attendant
                observe(self._exchange, lambda exchange: attendant.run_soon(told))
            else:
                self._attendant.run_soon(told)

    def cancel(self) -> None:
        """Give the call up: the server is told, and threads that wait get `RpcError` CANCELLED. No effect once it has
        ended. A signal's handler may call it too; the call has ended then a little later."""
        threads = self._threads
        if threads.closed:  # and the call has ended
            return
        if threads.is_inside():
            threads.call_soon_threadsafe(self._exchange.cancel)
        else:
            with threads.inside():
                self._exchange.cancel()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        threads = self._threads
        try:
            threads.enter()
        except BaseException:
            coroutine.close()
            raise
        try:
            return threads.run(coroutine)
        finally:
            threads.leave()


class UnaryUnaryCall(BlockingCall[R]):
    """One request, one response, which `result` waits for."""

    __slots__ = ("_ending",)

    _exchange: UnaryExchange[R]

    def __init__(
        self, channel: ThreadsChannel, variant: Variant, method: Method[Q, R], request: Q, options: Options
    ) -> None:
        self._ending = ending = _Ending()

        def make() -> UnaryExchange[R]:
            exchange = UnaryExchange(variant(), method, request, options)
            exchange.waiter = ending
            return exchange

        super().__init__(channel, make)

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._exchange.code is not None

    def result(self, timeout: float | None = None) -> R:
        """The response, when it has come. Raises `RpcError` for every status but OK; TimeoutError when the call goes on
        for more than `timeout` seconds from now, which does not end it."""
        exchange = self._exchange
        if exchange.code is None:
            self._run(self._ended(timeout))
        if exchange.code is not StatusCode.OK:
            raise exchange.error()
        return exchange.response

    async def _ended(self, timeout: float | None) -> None:
        if self._exchange.code is not None:
            return
        future = self._threads.future()
        futures = self._ending.futures
        futures.append(future)
        timer = None if timeout is None else self._threads.call_later(timeout, _time_out, future)
        try:
            await future
        except TimeoutError:
            raise
        except BaseException:  # as whoever waits for a call and is interrupted does
            self._exchange.cancel()
            raise
        finally:
            futures.remove(future)
            if timer is not None:
                timer.cancel()


class _Ending:
    """As the waiter of an exchange: tells all threads that wait for it."""

    __slots__ = ("futures",)

    def __init__(self) -> None:
        self.futures: list[ThreadFuture] = []

    def __await__(self) -> Iterator[Any]:
        raise UsageError("only threads wait for this call")

    def done(self) -> bool:
        return False

    def set_result(self, result: None, /) -> None:
        for future in self.futures:
            if not future.finished:
                future.set_result(None)

    def set_exception(self, exception: BaseException, /) -> None:
        raise exception


def _time_out(future: ThreadFuture) -> None:
    if not future.finished:
        future.set_exception(TimeoutError("the call goes on"))


class _StreamingCall(BlockingCall[R]):
    """What the three kinds that stream have in common. A context manager that cancels a call not ended."""

    __slots__ = ()

    _exchange: ServerStreamExchange[R] | BidiExchange[Any, R]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._exchange.code is None:
            self.cancel()

    def read_initial_metadata(self) -> Metadata:
        """Wait for what the server sends before its first response. Raises `RpcError` when the call ends badly before
        it."""
        self._run(self._exchange.head())
        return self.initial_metadata or Metadata()


class _Responses(_StreamingCall[R]):
    """Responses that are iterated over."""

    __slots__ = ()

    @property
    def unread(self) -> bool:
        """Whether responses have come that nobody has taken yet. `code` may be there before they are."""
        return self._exchange.incoming.waiting

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        try:
            return self._run(self._exchange.incoming.take(self))
        except StopAsyncIteration:
            raise StopIteration from None

    def recv(self) -> R | None:
        """The next response, when it has come; None after the last. Raises `RpcError` when the call has ended badly."""
        try:
            return self._run(self._exchange.incoming.take(self))
        except StopAsyncIteration:
            return None


class _Requests(_StreamingCall[R], Generic[Q, R]):
    """Requests that are streamed. They come from an iterable, or by `send` and `end`."""

    __slots__ = ()

    _exchange: BidiExchange[Q, R]
    _exchange_type: ClassVar[type[BidiExchange[Any, Any]]] = BidiExchange

    def __init__(
        self,
        channel: ThreadsChannel,
        variant: Variant,
        method: Method[Q, R],
        requests: Iterable[Q] | None,
        options: Options,
    ) -> None:
        super().__init__(channel, lambda: self._exchange_type(variant(), method, at_hand(requests), options))
        if requests is not None:
            self._feed(requests)

    def _feed(self, requests: Iterable[Q]) -> None:
        """Send all of the caller's requests in a thread of their own, since getting at them may take long. A list or a
        tuple has been given to the exchange."""
        if at_hand(requests) is None:
            arguments = self._threads, self._exchange, iter(requests)
            Thread(target=_pump, args=arguments, name="wire-requests", daemon=True).start()

    def send(self, request: Q) -> None:
        """Send one request; waits while the server takes no more.

        Raises `EncodeError`; `RpcError` once the call has failed, also while this waits; `UsageError` after `end`, or
        when the server has ended it well.
        """
        self._run(self._exchange.send(request, self))

    def end(self) -> None:
        """There are no more requests."""
        self._run(self._exchange.end(self))


class UnaryStreamCall(_Responses[R]):
    """One request, a stream of responses: `for response in call`. Raises `RpcError` for every status but OK."""

    __slots__ = ()

    def __init__(
        self, channel: ThreadsChannel, variant: Variant, method: Method[Q, R], request: Q, options: Options
    ) -> None:
        super().__init__(channel, lambda: ServerStreamExchange(variant(), method, request, options))


class StreamUnaryCall(_Requests[Q, R]):
    """A stream of requests, one response: `call.send(request)`, `call.end()`, `response = call.result()`."""

    __slots__ = ("_response",)

    _exchange_type = ClientStreamExchange

    def result(self) -> R:
        """The response, when it has come. Raises `RpcError` for every status but OK."""
        self._run(self._receive())
        return self._response

    async def _receive(self) -> None:
        async for response in self._exchange.incoming:
            self._response = response


class StreamStreamCall(_Requests[Q, R], _Responses[R]):
    """Streams both ways: `call.send(request)`, `call.end()`, `for response in call` or `call.recv()`."""

    __slots__ = ()


def at_hand(requests: Iterable[Q] | None) -> list[Q] | tuple[Q, ...] | None:
    """Requests that nobody has to wait for, so that they need no thread; None for others."""
    return requests if isinstance(requests, list | tuple) else None


class _Pulled(AsyncIterator[Q]):
    """Items of an iterator that may block: taken without the lock."""

    def __init__(self, threads: ThreadRuntime, items: Iterator[Q]) -> None:
        self._threads = threads
        self._items = items

    async def __anext__(self) -> Q:
        return self._threads.outside(self._next)

    def _next(self) -> Q:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None


def _pump(threads: ThreadRuntime, exchange: BidiExchange[Q, Any], items: Iterator[Q]) -> None:
    try:
        with threads.inside():
            threads.run(exchange.pump(_Pulled(threads, items)))
    except UsageError:  # in the child of a fork
        pass
