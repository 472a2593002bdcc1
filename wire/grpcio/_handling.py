"""How a server of the sync API runs its handlers: in the threads of a pool, beside the event loop that serves.

Imports wire and this package's.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any

import wire
from wire.grpcio._call import NOTHING, deserialized
from wire.grpcio._context import BadRequest, Requests, Responses, _Context
from wire.grpcio._enums import StatusCode
from wire.grpcio._metadata import from_wire, to_wire
from wire.grpcio._methods import Methods, _HandlerCallDetails
from wire.grpcio._pumping import Pump, Returns

_LOGGER = logging.getLogger("grpc._server")

LATER: Any = object()
"""Of a handler that ends its call itself."""


class Status(Exception):  # noqa: N818
    """What a call ends with, unless it ends well."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


def _failed(context: _Context, code: StatusCode, details: str) -> Status:
    return Status(*context.status(code, details))


class Handling:
    """What all methods of a server share."""

    def __init__(
        self,
        methods: Methods,
        interceptors: tuple[Any, ...],
        thread_pool: Executor,
        maximum_concurrent_rpcs: int | None,
    ) -> None:
        self._methods = methods
        self.interceptors = interceptors
        self._thread_pool = thread_pool
        self._limit = maximum_concurrent_rpcs
        self._running = 0
        self._pumps: dict[int, Pump] = {}
        self.loop: asyncio.AbstractEventLoop
        self.returns: Returns
        self._pump: Pump

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """The event loop that serves runs."""
        self.loop = loop
        self.returns = Returns(loop)
        self._pump = Pump(self._thread_pool, loop)

    def _intercept(self, index: int, details: Any) -> Any:
        if index == len(self.interceptors):
            return self._methods.find(details)
        return self.interceptors[index].intercept_service(partial(self._intercept, index + 1), details)

    def _find(self, context: _Context) -> Any:
        """The handler of a call whose handler is looked for when it comes."""
        details = _HandlerCallDetails(context.call.method, from_wire(context.call.metadata))
        try:
            handler = self._intercept(0, details)
        except Exception as exception:
            _LOGGER.exception("Exception servicing handler: %s", exception)
            raise Status(StatusCode.UNKNOWN.value[0], "Error in service handler!") from None
        if handler is None:
            raise Status(StatusCode.UNIMPLEMENTED.value[0], "Method not found!")
        if not hasattr(handler, "request_streaming"):
            _LOGGER.error("%r is no handler: grpc.unary_unary_rpc_method_handler and others make them", handler)
            raise Status(StatusCode.UNKNOWN.value[0], "Error in service handler!")
        return handler

    def _pump_of(self, behavior: Any) -> Pump:
        pool = getattr(behavior, "experimental_thread_pool", None)
        if pool is None:
            return self._pump
        pump = self._pumps.get(id(pool))
        if pump is None:
            pump = self._pumps[id(pool)] = Pump(pool, self.loop)
        return pump

    async def handle(self, handler: Any, streams_responses: bool, request: Any, call: Any) -> Any:
        """A call. `handler`: where it is known already. `streams_responses`: as the method is to wire; the request is
        bytes, or a stream of them."""
        if self._limit is not None:
            if self._running >= self._limit:
                raise wire.RpcError(wire.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            self._running += 1
        try:
            return await _Rpc(self, handler, call).run(request, streams_responses)
        finally:
            if self._limit is not None:
                self._running -= 1


class _Rpc:
    """One call, between the loop's thread and a handler's."""

    def __init__(self, handling: Handling, handler: Any, call: Any) -> None:
        self._handling = handling
        self._handler = handler
        self.context = _Context(call, handling.returns)
        self._done = handling.loop.create_future()
        self._requests: Requests | None = None
        self._responses: Responses | None = None
        self._feeder: asyncio.Task[None] | None = None

    # In the loop's thread.

    async def run(self, request: Any, streams_responses: bool) -> Any:
        handling, handler, context = self._handling, self._handler, self.context
        loop = handling.loop
        if not isinstance(request, bytes):
            self._requests = Requests(context, None)
            self._feeder = loop.create_task(self._requests.feed(request, loop.create_future))
        if streams_responses:
            self._responses = Responses(handling.returns)
        pump = handling._pump if handler is None else handling._pump_of(behavior_of(handler))
        pump.submit(partial(contextvars.Context().run, self._work, request))
        try:
            if self._responses is not None:
                await self._responses.forward(context.call, loop.create_future)
            response = await self._done
        except BaseException:
            context.cancelled = True
            if self._requests is not None:
                self._requests.gone()
            if self._responses is not None:
                self._responses.abandon()
            context.call_back()
            raise
        finally:
            if self._feeder is not None:
                self._feeder.cancel()
        if isinstance(response, Status):
            return self._end(response)
        code, details = context.status(StatusCode.OK, "")
        return self._end(Status(code, details), response)

    def _end(self, status: Status, response: bytes | tuple[()] = ()) -> Any:
        context = self.context
        context.statused = True
        if context.trailing:
            context.call.set_trailing_metadata(to_wire(context.trailing))
        if context.callbacks:
            self._handling.loop.call_soon(context.call_back)
        if status.code:
            raise wire.RpcError(wire.StatusCode(status.code), status.details)
        return response

    def _finish(self, response: Any) -> None:
        """The handler has returned this, or failed with this `Status`, which nobody has raised: else it would hold
        frames, by its traceback, and those hold this."""
        if self._responses is not None:
            self._responses._end()
        if not self._done.done():
            self._done.set_result(response)

    # In a handler's thread.

    def _work(self, request: Any) -> None:
        response: Any = ()
        try:
            if not self.context.cancelled:
                response = self._handle(request)
        except Status as status:
            response = Status(status.code, status.details)
        except BaseException as unexpected:
            _LOGGER.exception("Exception calling application: %s", unexpected)
            response = Status(StatusCode.UNKNOWN.value[0], f"Exception calling application: {unexpected}")
        if response is not LATER:
            self.context.returns.call(self._finish, response)

    def _handle(self, request: Any) -> Any:
        context, handler = self.context, self._handler
        if handler is None:
            handler = self._handling._find(context)
        behavior = behavior_of(handler)
        if handler.request_streaming:
            argument: Any = self._requests
            if argument is None:
                argument = iter([self._read(request, handler)])
            else:
                argument._deserializer = handler.request_deserializer
        elif self._requests is None:
            argument = self._read(request, handler)
        else:
            argument = self._read(self._first(context), handler)
        if not handler.response_streaming:
            response = self._serialized(self._call(behavior, argument), handler)
            if self._responses is None:
                return response
            self._send(response)
            return ()
        if getattr(behavior, "experimental_non_blocking", False):
            return self._call_with_callback(behavior, argument, handler)
        responses = self._call(behavior, argument)
        while (response := self._next(responses)) is not NOTHING:
            if response is None or not self._send(self._serialized(response, handler)):
                break
        return ()

    def _first(self, context: _Context) -> bytes:
        assert self._requests is not None
        for data in self._requests:
            return bytes(data)
        text = f'"{context.call.method}" requires exactly one request message.'
        raise Status(StatusCode.UNIMPLEMENTED.value[0], text)

    def _read(self, data: bytes, handler: Any) -> Any:
        request = deserialized(data, handler.request_deserializer)
        if request is NOTHING:
            raise _failed(self.context, StatusCode.INTERNAL, "Exception deserializing request!")
        return request

    def _serialized(self, response: Any, handler: Any) -> bytes:
        data = deserialized(response, handler.response_serializer, "Exception serializing message!")
        if data is NOTHING or data is None:
            raise _failed(self.context, StatusCode.INTERNAL, "Failed to serialize response!")
        if isinstance(data, str):
            return data.encode()
        if data.__class__ is not bytes:
            raise _failed(self.context, StatusCode.UNKNOWN, f"Expected bytes, got {type(data).__name__}")
        serialized: bytes = data
        return serialized

    def _call(self, behavior: Callable[..., Any], *arguments: Any) -> Any:
        context = self.context
        try:
            return behavior(arguments[0], context, *arguments[1:])
        except Exception as exception:
            raise self._status_of(exception, "Exception calling application: ") from None

    def _next(self, responses: Any) -> Any:
        try:
            return next(responses)
        except StopIteration:
            return NOTHING
        except Exception as exception:
            raise self._status_of(exception, "Exception iterating responses: ") from None

    def _status_of(self, exception: Exception, what: str) -> Status:
        context = self.context
        if context.aborted:
            return _failed(context, StatusCode.UNKNOWN, "RPC Aborted")
        if isinstance(exception, BadRequest):
            return _failed(context, StatusCode.INTERNAL, "Exception deserializing request!")
        if context.errors and exception in context.errors:  # the client is gone
            return Status(StatusCode.CANCELLED.value[0], "")
        try:
            details = f"{what}{exception}"
        except Exception:
            details = "Calling application raised unprintable Exception!"
        _LOGGER.exception(details)
        return _failed(context, StatusCode.UNKNOWN, details)

    def _send(self, data: bytes) -> bool:
        context = self.context
        assert self._responses is not None
        compress, context.plain_next = not context.plain_next, False
        context.headers_sent = True
        return context.is_active() and self._responses.send(data, compress)

    def _call_with_callback(self, behavior: Callable[..., Any], argument: Any, handler: Any) -> Any:
        """A handler that is given what sends a response, and may use it after it has returned; None ends the call."""

        def send_response(response: Any) -> None:
            if response is None:
                self.context.returns.call(self._finish, ())
            else:
                self._send(self._serialized(response, handler))

        self._call(behavior, argument, send_response)
        return LATER


def behavior_of(handler: Any) -> Any:
    """The function of a handler."""
    if handler.request_streaming:
        return handler.stream_stream if handler.response_streaming else handler.stream_unary
    return handler.unary_stream if handler.response_streaming else handler.unary_unary
