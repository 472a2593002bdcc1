"""Streams of handlers in threads: requests that a thread iterates over, and responses that it yields.

Both hold a few messages between the thread and the event loop, so that not every one costs a hand-over. Imports
`handler_threads` and what is below it.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing
from contextvars import Context, copy_context
from typing import Any, Final

from wire.server.context import ServerContext
from wire.server.handler_threads import HandlerThreads, InThread, Pace, ThreadContext
from wire.server.responses import generator_of, is_plain_stream
from wire.service import Handler, Method
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future, Task

_HELD: Final = 16
"""Messages that wait for the other side: enough that a hand-over is one of many. A long request waits alone."""


class ThreadRequests(Iterator[Any], AsyncIterator[Any]):
    """A stream of requests: `for request in requests` in a thread, `async for` in the event loop."""

    def __init__(self, threads: HandlerThreads, requests: AsyncIterator[Any]) -> None:
        self._threads = threads
        self._requests = requests
        self._held: deque[Any] = deque()
        self._waiter: Any = None  # what the handler's thread waits on
        self._room: Future[None] | None = None  # what the feeding task waits for
        self._feeder: Task | None = None
        self._begun = False
        self._alone = False  # the last request is a long one: no other is taken until the handler asks for it
        self._ended = False
        self._error: BaseException | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._requests

    async def __anext__(self) -> Any:
        return await anext(self._requests)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """In the handler's thread."""
        held = self._held
        while not held:
            if self._ended:
                error, self._error = self._error, None
                try:
                    raise StopIteration if error is None else error
                finally:
                    del error  # its traceback holds this frame
            signal = allocate_lock()
            signal.acquire()
            self._threads.in_loop(self._wanted, signal)
            signal.acquire()
        request = held.popleft()
        if self._room is not None and len(held) <= _HELD // 2 and not self._alone:
            self._threads.in_loop(self._go_on)
        return request

    def _wanted(self, signal: Any) -> None:
        """The handler waits for a request."""
        if self._held or self._ended:
            signal.release()
            return
        self._waiter = signal
        if self._alone:
            self._alone = False
            self._go_on()
        if not self._begun:
            self._begun = True
            task = self._threads.runtime.spawn(self._feed())
            if not self._ended:  # an eager task may have ended already
                self._feeder = task

    def _go_on(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    async def _feed(self) -> None:
        try:
            async for request in self._requests:
                # What is counted is the last long message that was taken (`HoldingMessages`), so there is but one.
                self._alone = getattr(self._requests, "holding", False)
                self._held.append(request)
                self._wake()
                if self._alone or len(self._held) >= _HELD:
                    self._room = room = self._threads.runtime.future()
                    await room
        except Exception as error:
            if not self._ended:
                self._error = error
        except BaseException:
            self._error = _cancelled()
            raise
        finally:
            self._ended = True
            self._feeder = None
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.release()

    def close(self) -> None:
        """The handler has ended. In the loop's thread."""
        if self._error is not None or not self._ended:  # one that was raised holds frames, and those may hold this
            self._error = _cancelled()
        self._ended = True
        if self._feeder is not None:
            self._threads.runtime.call_soon(self._feeder.cancel)  # not now: a task must begin before it can clean up
            self._feeder = None


def _cancelled() -> RpcError:
    return RpcError(StatusCode.CANCELLED, "the call has ended")


class ThreadResponses(AsyncIterator[Any]):
    """The responses of a handler that runs in a thread. `rest`: what it returned, where that is not to be iterated over
    there."""

    def __init__(
        self, threads: HandlerThreads, handler: Handler, request: Any, context: ServerContext, variables: Context
    ) -> None:
        self._threads = threads
        self._call = (handler, request, ThreadContext(context, threads), variables)
        self._held: deque[Any] = deque()
        self._waiter: Future[None] | None = None
        self._room: Any = None  # what the handler's thread waits on
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None
        self.rest: Any = None
        threads.submit(self._run, True)

    # In the handler's thread.

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            if not self._closed:
                handler, request, context, variables = self._call
                variables.run(self._produce, handler, request, context)
        except BaseException as raised:
            error = raised
        self._threads.in_loop(self._end, error)
        del error  # its traceback holds this frame

    def _produce(self, handler: Handler, request: Any, context: ServerContext) -> None:
        responses = handler(request, context)
        if not is_plain_stream(responses):
            self.rest = responses
            return
        held = self._held
        iterator = iter(responses)
        try:
            for response in iterator:
                held.append(response)
                if len(held) == 1:
                    self._threads.in_loop(self._came)
                if len(held) >= _HELD:
                    self._wait_for_room()
                if self._closed:
                    return
        finally:
            if isinstance(iterator, Generator):
                iterator.close()

    def _wait_for_room(self) -> None:
        self._room = room = allocate_lock()
        room.acquire()
        self._threads.in_loop(self._came)  # which lets go of it, when there is room already
        room.acquire()

    # In the loop's thread.

    def _came(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._make_room()

    def _make_room(self) -> None:
        room = self._room
        if room is not None and (self._closed or len(self._held) <= _HELD // 2):
            self._room = None
            room.release()

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        if not self._closed:  # else nobody would take it, and its traceback holds frames, which hold this
            self._error = error
        self._came()

    async def __anext__(self) -> Any:
        held = self._held
        while not held:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._waiter = self._threads.runtime.future()
            await self._waiter
        response = held.popleft()
        self._make_room()
        return response

    async def close(self) -> None:
        """No more are wanted. Returns when the handler's thread is done with them."""
        self._closed = True
        self._error = None
        self._make_room()
        while not self._ended:
            self._waiter = self._threads.runtime.future()
            await self._waiter


async def responses_of(
    threads: HandlerThreads, handler: Handler, request: Any, context: ServerContext, variables: Context
) -> AsyncGenerator[Any, None]:
    """What a handler that streams responses gives, when it runs in a thread."""
    responses = ThreadResponses(threads, handler, request, context, variables)
    try:
        async for response in responses:
            yield response
        if responses.rest is not None:
            async with aclosing(await generator_of(responses.rest)) as rest:
                async for response in rest:
                    yield response
    finally:
        try:
            await responses.close()
        finally:
            if isinstance(request, ThreadRequests):
                request.close()


def threaded(threads: HandlerThreads, method: Method[Any, Any], handler: Handler) -> Handler:
    """A handler that does what `handler`, a plain `def`, does in a thread."""
    if method.streams_responses:

        def stream(request: Any, context: ServerContext) -> AsyncGenerator[Any, None]:
            if method.streams_requests:
                request = ThreadRequests(threads, request)
            return responses_of(threads, handler, request, context, copy_context())

        return stream

    pace = Pace()
    if method.streams_requests:

        def collect(requests: Any, context: ServerContext) -> InThread:
            taken = ThreadRequests(threads, requests)
            return InThread(threads, handler, taken, context, pace, taken.close)

        return collect

    def call(request: Any, context: ServerContext) -> InThread:
        return InThread(threads, handler, request, context, pace)

    return call
