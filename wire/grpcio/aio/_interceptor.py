"""Interceptors of `grpc.aio`: what programs subclass, and calls that go through them.

An intercepted call runs its interceptors in a task; what the outermost returns is the call, or stands for it. What is
asked of it meanwhile waits for that task. Imports this package's calls.
"""

from __future__ import annotations

import asyncio
import functools
from abc import ABCMeta, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any, NamedTuple

from wire.grpcio import _abstract
from wire.grpcio._enums import StatusCode
from wire.grpcio._errors import EOF, UsageError
from wire.grpcio.aio import _base_call
from wire.grpcio.aio._any_call import (
    _API_STYLE_ERROR,
    _LOCAL_CANCELLATION_DETAILS,
    _RPC_ALREADY_FINISHED_DETAILS,
    _RPC_HALF_CLOSED_DETAILS,
    AioRpcError,
)
from wire.grpcio.aio._metadata import Metadata


class ServerInterceptor(metaclass=ABCMeta):
    """Stands before the handlers of a server."""

    @abstractmethod
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """The handler for a call: that of `await continuation(handler_call_details)`, another, or None."""


class _ClientCallDetails(NamedTuple):
    method: str | bytes
    timeout: float | None
    metadata: Metadata | None
    credentials: Any
    wait_for_ready: bool | None


class ClientCallDetails(_ClientCallDetails, _abstract.ClientCallDetails):
    """What an interceptor may know and change of a call beside its messages."""


class ClientInterceptor(metaclass=ABCMeta):  # noqa: B024
    """Base of the four kinds."""


class UnaryUnaryClientInterceptor(ClientInterceptor):
    """Stands around calls with one request and one response."""

    @abstractmethod
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """The call, `await continuation(client_call_details, request)`, or a response in its place."""


class UnaryStreamClientInterceptor(ClientInterceptor):
    """Stands around calls with one request and a stream of responses."""

    @abstractmethod
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """The call, `await continuation(client_call_details, request)`, or an async iterator of responses."""


class StreamUnaryClientInterceptor(ClientInterceptor):
    """Stands around calls with a stream of requests and one response."""

    @abstractmethod
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """The call, `await continuation(client_call_details, request_iterator)`."""


class StreamStreamClientInterceptor(ClientInterceptor):
    """Stands around calls with streams both ways."""

    @abstractmethod
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        """The call, `await continuation(client_call_details, request_iterator)`, or an async iterator of responses."""


class InterceptedCall:
    """A call that goes through interceptors."""

    _intercept: str
    """The interceptors' method."""

    def __init__(
        self, multi_callable: Any, interceptors: list[Any], details: Any, request: Any, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._multi_callable = multi_callable
        self._loop = loop
        self._pending_add_done_callbacks: list[Callable[[Any], Any]] = []
        self._last_returned_call: Any = None
        self._interceptors_task = loop.create_task(self._run(list(interceptors), details, self._requests(request)))
        self._interceptors_task.add_done_callback(self._interceptors_done)

    def __del__(self) -> None:
        if hasattr(self, "_interceptors_task") and not self._loop.is_closed():
            self.cancel()

    def _requests(self, request: Any) -> Any:
        return request

    async def _run(self, interceptors: list[Any], details: Any, request: Any) -> Any:
        if not interceptors:
            self._last_returned_call = self._multi_callable.invoke_as(details, request)
            return self._last_returned_call
        continuation = functools.partial(self._run, interceptors[1:])
        returned = await getattr(interceptors[0], self._intercept)(continuation, details, request)
        self._last_returned_call = self._as_call(returned)
        return self._last_returned_call

    def _as_call(self, returned: Any) -> Any:
        """What an interceptor returned, as the call that it stands for."""
        return returned

    def _failed(self) -> bool:
        task = self._interceptors_task
        return task.cancelled() or task.exception() is not None

    def _interceptors_done(self, task: asyncio.Task[Any]) -> None:
        callbacks, self._pending_add_done_callbacks = self._pending_add_done_callbacks, []
        if self._failed() or task.result().done():
            for callback in callbacks:
                callback(self)
        else:
            for callback in callbacks:
                task.result().add_done_callback(functools.partial(self._call_back, callback))

    def _call_back(self, callback: Callable[[Any], Any], call: Any) -> None:
        callback(self)

    def cancel(self) -> bool:
        task = self._interceptors_task
        if not task.done():
            return task.cancel()
        return False if self._failed() else bool(task.result().cancel())

    def cancelled(self) -> bool:
        task = self._interceptors_task
        if task.cancelled():
            return True
        if not task.done():
            return False
        error = task.exception()
        if error is not None:
            return isinstance(error, AioRpcError) and error.code() is StatusCode.CANCELLED
        return bool(task.result().cancelled())

    def done(self) -> bool:
        task = self._interceptors_task
        return task.done() and (self._failed() or bool(task.result().done()))

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        task = self._interceptors_task
        if not task.done():
            self._pending_add_done_callbacks.append(callback)
        elif self._failed() or task.result().done():
            callback(self)
        else:
            task.result().add_done_callback(functools.partial(self._call_back, callback))

    def time_remaining(self) -> float | None:
        raise NotImplementedError()

    async def initial_metadata(self) -> Metadata | None:
        try:
            call = await self._interceptors_task
        except AioRpcError as error:
            return error.initial_metadata()
        except asyncio.CancelledError:
            return None
        metadata: Metadata | None = await call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> Metadata | None:
        try:
            call = await self._interceptors_task
        except AioRpcError as error:
            return error.trailing_metadata()
        except asyncio.CancelledError:
            return None
        metadata: Metadata | None = await call.trailing_metadata()
        return metadata

    async def code(self) -> StatusCode:
        try:
            call = await self._interceptors_task
        except AioRpcError as error:
            return error.code()
        except asyncio.CancelledError:
            return StatusCode.CANCELLED
        code: StatusCode = await call.code()
        return code

    async def details(self) -> str | None:
        try:
            call = await self._interceptors_task
        except AioRpcError as error:
            return error.details()
        except asyncio.CancelledError:
            return _LOCAL_CANCELLATION_DETAILS
        details: str | None = await call.details()
        return details

    async def debug_error_string(self) -> str | None:
        try:
            call = await self._interceptors_task
        except AioRpcError as error:
            return error.debug_error_string()
        except asyncio.CancelledError:
            return ""
        text: str | None = await call.debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        call = await self._interceptors_task
        await call.wait_for_connection()


class _InterceptedUnaryResponse(InterceptedCall):
    def __await__(self) -> Generator[Any, Any, Any]:
        call = yield from self._interceptors_task.__await__()
        return (yield from call.__await__())


class _InterceptedStreamResponse(InterceptedCall):
    _responses: AsyncGenerator[Any, None] | None = None

    async def _iterate(self) -> AsyncGenerator[Any, None]:
        call = await self._interceptors_task
        async for response in call:
            yield response

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._responses is None:
            self._responses = self._iterate()
        return self._responses

    async def read(self) -> Any:
        try:
            return await self.__aiter__().__anext__()
        except StopAsyncIteration:
            return EOF


_NO_MORE = object()


class _InterceptedStreamRequest(InterceptedCall):
    """Requests that are written go to the interceptors as an iterator."""

    _queue: asyncio.Queue[Any] | None = None
    _ended: asyncio.Task[StatusCode] | None = None

    def _requests(self, request: Any) -> Any:
        if request is not None:
            return request
        self._queue = asyncio.Queue(maxsize=1)
        return self._written()

    async def _written(self) -> AsyncGenerator[Any, None]:
        await self._interceptors_task
        assert self._queue is not None
        while (request := await self._queue.get()) is not _NO_MORE:
            yield request

    async def _put(self, request: Any, call: Any) -> None:
        """Queue a request, unless the call ends first."""
        assert self._queue is not None
        if self._ended is None:
            self._ended = self._loop.create_task(call.code())
        put = self._loop.create_task(self._queue.put(request))
        try:
            await asyncio.wait((put, self._ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not put.done():
                put.cancel()

    async def write(self, request: Any) -> None:
        if self._queue is None:
            raise UsageError(_API_STYLE_ERROR)
        try:
            call = await self._interceptors_task
        except (asyncio.CancelledError, AioRpcError):
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS) from None
        if call.done():
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS)
        if call._done_writing_flag:
            raise asyncio.InvalidStateError(_RPC_HALF_CLOSED_DETAILS)
        await self._put(request, call)
        if call.done():
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS)

    async def done_writing(self) -> None:
        if self._queue is None:
            raise UsageError(_API_STYLE_ERROR)
        try:
            call = await self._interceptors_task
        except asyncio.CancelledError:
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS) from None
        await self._put(_NO_MORE, call)


class InterceptedUnaryUnaryCall(_InterceptedUnaryResponse, _base_call.UnaryUnaryCall[Any, Any]):
    """One request, one response."""

    _intercept = "intercept_unary_unary"

    def _as_call(self, returned: Any) -> Any:
        return returned if isinstance(returned, _base_call.UnaryUnaryCall) else UnaryUnaryCallResponse(returned)


class InterceptedUnaryStreamCall(_InterceptedStreamResponse, _base_call.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""

    _intercept = "intercept_unary_stream"

    def _as_call(self, returned: Any) -> Any:
        if isinstance(returned, _base_call.UnaryStreamCall):
            return returned
        return UnaryStreamCallResponseIterator(self._last_returned_call, returned)


class InterceptedStreamUnaryCall(
    _InterceptedUnaryResponse, _InterceptedStreamRequest, _base_call.StreamUnaryCall[Any, Any]
):
    """A stream of requests, one response."""

    _intercept = "intercept_stream_unary"


class InterceptedStreamStreamCall(
    _InterceptedStreamResponse, _InterceptedStreamRequest, _base_call.StreamStreamCall[Any, Any]
):
    """Streams both ways."""

    _intercept = "intercept_stream_stream"

    def _as_call(self, returned: Any) -> Any:
        if isinstance(returned, _base_call.StreamStreamCall):
            return returned
        return StreamStreamCallResponseIterator(self._last_returned_call, returned)


class UnaryUnaryCallResponse(_base_call.UnaryUnaryCall[Any, Any]):
    """A response that an interceptor gave in a call's place."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def add_done_callback(self, callback: Any) -> None:
        raise NotImplementedError()

    def time_remaining(self) -> float | None:
        raise NotImplementedError()

    async def initial_metadata(self) -> Metadata | None:
        return None

    async def trailing_metadata(self) -> Metadata | None:
        return None

    async def code(self) -> StatusCode:
        return StatusCode.OK

    async def details(self) -> str:
        return ""

    async def debug_error_string(self) -> str | None:
        return None

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._response
        yield  # what makes it a generator

    async def wait_for_connection(self) -> None:
        pass


class _ResponseIterator:
    """Responses that an interceptor gave in place of a call's own; all else is the call's."""

    def __init__(self, call: Any, response_iterator: Any) -> None:
        self._call = call
        self._response_iterator = response_iterator

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    def cancelled(self) -> bool:
        return bool(self._call.cancelled())

    def done(self) -> bool:
        return bool(self._call.done())

    def add_done_callback(self, callback: Any) -> None:
        self._call.add_done_callback(callback)

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    async def initial_metadata(self) -> Any:
        return await self._call.initial_metadata()

    async def trailing_metadata(self) -> Any:
        return await self._call.trailing_metadata()

    async def code(self) -> Any:
        return await self._call.code()

    async def details(self) -> Any:
        return await self._call.details()

    async def debug_error_string(self) -> Any:
        return await self._call.debug_error_string()

    def __aiter__(self) -> AsyncIterator[Any]:
        iterator: AsyncIterator[Any] = self._response_iterator.__aiter__()
        return iterator

    async def wait_for_connection(self) -> None:
        await self._call.wait_for_connection()

    async def read(self) -> Any:
        raise NotImplementedError()


class UnaryStreamCallResponseIterator(_ResponseIterator, _base_call.UnaryStreamCall[Any, Any]):
    """See `_ResponseIterator`."""


class StreamStreamCallResponseIterator(_ResponseIterator, _base_call.StreamStreamCall[Any, Any]):
    """See `_ResponseIterator`."""

    async def write(self, request: Any) -> None:
        raise NotImplementedError()

    async def done_writing(self) -> None:
        raise NotImplementedError()

    @property
    def _done_writing_flag(self) -> bool:
        return bool(self._call._done_writing_flag)
