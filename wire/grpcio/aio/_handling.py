"""How a server of `grpc.aio` runs its handlers: from a request's bytes to the bytes of a response, and to a status.

What is the same for every call of a method, such as whether its handler is a coroutine function, is found out when the
server starts. Imports wire and this package's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import Any

import wire
from wire.grpcio._errors import EOF, AbortError
from wire.grpcio._metadata import from_wire, to_wire
from wire.grpcio._methods import Methods, _HandlerCallDetails
from wire.grpcio.aio._context import ServicerContext, SyncServicerContext, as_bytes

_log = logging.getLogger("grpc._cython.cygrpc")

Serve = Callable[[Any, Any], Coroutine[Any, Any, Any]]
"""(the request's bytes or the stream of them, wire's call) → the response's bytes, or () behind a stream."""


class Handling:
    """What all methods of a server share."""

    def __init__(
        self,
        methods: Methods,
        interceptors: tuple[Any, ...],
        thread_pool: Executor | None,
        maximum_concurrent_rpcs: int | None,
    ) -> None:
        self._methods = methods
        self.interceptors = interceptors
        self.thread_pool = thread_pool
        self.limit = maximum_concurrent_rpcs
        self._running = 0

    async def _intercept(self, interceptors: Iterator[Any], details: Any) -> Any:
        interceptor = next(interceptors, None)
        if interceptor is None:
            return self._methods.find(details)
        return await interceptor.intercept_service(partial(self._intercept, interceptors), details)

    async def handle_any(self, request: Any, call: Any) -> Any:
        """A call of a path that was not known when the server started."""
        return await self.find_and_handle(True, request, call)

    async def find_and_handle(self, streams_responses: bool, request: Any, call: Any) -> Any:
        """A call whose handler is looked for when it comes: there are interceptors, or it was not known when the server
        started. It may be of another kind than the method is to wire, whose `streams_responses` that is."""
        context = ServicerContext(call, None, request)
        try:
            details = _HandlerCallDetails(call.method, from_wire(call.metadata))
            handler = await self._intercept(iter(self.interceptors), details)
        except BaseException as error:
            raise failure(error, context) from None
        if handler is None:
            raise wire.RpcError(wire.StatusCode.UNIMPLEMENTED, "Method not found!")
        if handler.response_streaming and not streams_responses:
            raise wire.RpcError(wire.StatusCode.INTERNAL, "an interceptor's handler streams the one response")
        serve = self.limited(_serving(self, handler))
        streams = not isinstance(request, bytes)
        if streams and not handler.request_streaming:
            try:
                request = await anext(request)
            except StopAsyncIteration:
                raise wire.RpcError(wire.StatusCode.CANCELLED, "there was no request") from None
        elif handler.request_streaming and not streams:
            request = _One(request)
        response = await serve(request, call)
        if call.done or handler.response_streaming:
            return ()
        if streams_responses:
            await call.send(response)
            return ()
        return response

    def limited(self, serve: Serve) -> Serve:
        """The same within `maximum_concurrent_rpcs`."""
        limit = self.limit
        if limit is None:
            return serve

        async def serve_within_limit(request: Any, call: Any) -> Any:
            if self._running >= limit:
                raise wire.RpcError(wire.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            self._running += 1
            try:
                return await serve(request, call)
            finally:
                self._running -= 1

        return serve_within_limit


class _One:
    """One request as a stream of them."""

    def __init__(self, request: bytes) -> None:
        self._request: bytes | None = request

    async def __anext__(self) -> bytes:
        if self._request is None:
            raise StopAsyncIteration
        request, self._request = self._request, None
        return request


def handler_of(handling: Handling, handler: Any) -> Serve:
    """What wire is to call for a method that is known when the server starts."""
    if handling.interceptors:
        return partial(handling.find_and_handle, bool(handler.response_streaming))
    return handling.limited(_serving(handling, handler))


def _is_async(behavior: Any) -> bool:
    return inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior)


def _serving(handling: Handling, handler: Any) -> Serve:
    if handler.request_streaming:
        behavior = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary
    if not handler.request_streaming and not handler.response_streaming and _is_async(behavior):
        return _unary_unary(behavior, handler)
    run = _stream_responses if handler.response_streaming else _unary_response
    return _general(behavior, handler, run(behavior, handling))


_UNTOUCHED = ServicerContext(None, None).__dict__.keys()


def _unary_unary(behavior: Any, handler: Any) -> Serve:
    """The shortest way, and the most frequent one."""
    deserialize, serialize = handler.request_deserializer, handler.response_serializer

    async def serve(request: bytes, call: Any) -> bytes:
        context = ServicerContext(call, handler)
        try:
            response = await behavior(request if deserialize is None else deserialize(request), context)
            if context.__dict__.keys() != _UNTOUCHED:
                end(context)
            return as_bytes(response if serialize is None else serialize(response))
        except BaseException as error:
            if was_aborted(error, context):
                return b""
            raise failure(error, context) from None
        finally:
            if context._callbacks is not None:
                call_back(context)

    return serve


def _general(behavior: Any, handler: Any, run: Any) -> Serve:
    deserialize = handler.request_deserializer
    streaming = handler.request_streaming

    async def serve(request: Any, call: Any) -> Any:
        context = ServicerContext(call, handler, request if streaming else None)
        try:
            if streaming:
                request = _Requests(context)
            elif deserialize is not None:
                request = deserialize(request)
            return await run(request, context, handler)
        except BaseException as error:
            if was_aborted(error, context):
                return b""
            raise failure(error, context) from None
        finally:
            if context._callbacks is not None:
                call_back(context)

    return serve


def _unary_response(behavior: Any, handling: Handling) -> Any:
    if _is_async(behavior):

        async def run(request: Any, context: ServicerContext, handler: Any) -> bytes:
            return _end_unary(await behavior(request, context), context, handler)
    else:

        async def run(request: Any, context: ServicerContext, handler: Any) -> bytes:
            loop = asyncio.get_running_loop()
            if isinstance(request, _Requests):
                request = _in_thread(request, loop)
            sync_context = SyncServicerContext(context, loop)
            response = await loop.run_in_executor(handling.thread_pool, _called, behavior, request, sync_context)
            for callback in sync_context.callbacks:
                callback()
            return _end_unary(response, context, handler)

    return run


def _end_unary(response: Any, context: ServicerContext, handler: Any) -> bytes:
    end(context)
    serialize = handler.response_serializer
    return as_bytes(response if serialize is None else serialize(response))


def _stream_responses(behavior: Any, handling: Handling) -> Any:
    if inspect.iscoroutinefunction(behavior):

        async def run(request: Any, context: ServicerContext, handler: Any) -> tuple[()]:
            await behavior(request, context)
            end(context)
            return ()
    else:

        async def run(request: Any, context: ServicerContext, handler: Any) -> tuple[()]:
            if inspect.isasyncgenfunction(behavior):
                responses = behavior(request, context)
            else:
                loop = asyncio.get_running_loop()
                if isinstance(request, _Requests):
                    request = _in_thread(request, loop)
                sync_context = SyncServicerContext(context, loop)
                responses = _from_thread(behavior(request, sync_context), loop, handling.thread_pool)
            async with aclosing(responses):  # it may be broken off: nobody is to wait for the collector
                async for response in responses:
                    context.raise_for_termination()
                    await context.write(response)
            end(context)
            return ()

    return run


def _called(behavior: Any, request: Any, context: SyncServicerContext) -> Any:
    """A plain handler, in a thread. No future can hold a StopIteration."""
    try:
        return behavior(request, context)
    except StopIteration as error:
        raise RuntimeError("the handler raised StopIteration") from error


class _Requests:
    """A stream of requests, as a handler iterates over it."""

    def __init__(self, context: ServicerContext) -> None:
        self._context = context

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        request = await self._context.read()
        if request is EOF:
            raise StopAsyncIteration
        return request


def _in_thread(requests: _Requests, loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
    """A stream of requests for a handler that runs in a thread."""
    while True:
        request = asyncio.run_coroutine_threadsafe(requests._context.read(), loop).result()
        if request is EOF:
            return
        yield request


_NO_MORE = object()


async def _from_thread(
    responses: Any, loop: asyncio.AbstractEventLoop, thread_pool: Executor | None
) -> AsyncIterator[Any]:
    """The responses of a plain generator, which runs in a thread."""
    while (response := await loop.run_in_executor(thread_pool, next, responses, _NO_MORE)) is not _NO_MORE:
        yield response


def end(context: ServicerContext) -> None:
    """A handler has returned: raise the status that it chose, if that is not OK."""
    if context._abort_exception is not None:
        _log.error("Abort error unexpectedly suppressed: %s", context._abort_exception)
        raise context._abort_exception
    context._status_sent = True
    if context._trailing:
        context._call.set_trailing_metadata(to_wire(context._trailing))
    if context._number:
        raise wire.RpcError(wire.StatusCode(context._number), context._details)


def was_aborted(error: BaseException, context: ServicerContext) -> bool:
    """Whether a handler raised this by `abort`. The context forgets it: its traceback holds frames, which hold the
    context."""
    aborted, context._abort_exception = context._abort_exception, None
    return context._status_sent and error is aborted


def failure(error: BaseException, context: ServicerContext) -> BaseException:
    """What wire is to be told of an exception of a handler."""
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
        return error
    if isinstance(error, wire.RpcError) and not isinstance(error, wire.CallError):
        return error  # `end` made it
    method = context._call.method
    _log.error("Unexpected [%s] raised by servicer method [%s]", type(error).__name__, method, exc_info=error)
    if isinstance(error, AbortError):
        return wire.RpcError(wire.StatusCode.UNKNOWN, "the handler was aborted")
    context._status_sent = True
    code = wire.StatusCode(context._number) if context._number else wire.StatusCode.UNKNOWN
    if context._trailing:
        context._call.set_trailing_metadata(to_wire(context._trailing))
    return wire.RpcError(code, f"Unexpected {type(error)}: {error}")


def call_back(context: ServicerContext) -> None:
    """The call is over: run what waited for that, when its status is out."""
    callbacks = context._callbacks
    assert callbacks is not None

    def run() -> None:
        try:
            for callback in callbacks:
                callback()
        except Exception:
            _log.exception("Error in callback for method [%s]", context._call.method)

    asyncio.get_running_loop().call_soon(run)
