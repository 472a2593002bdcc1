"""Calls of `grpc.aio` on the client: a class for each of the four kinds. Imports wire and this package's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator
from functools import partial
from typing import Any

import wire
from wire.grpcio._enums import STATUS_CODES
from wire.grpcio._errors import EOF, UsageError
from wire.grpcio._metadata import from_wire
from wire.grpcio.aio import _base_call
from wire.grpcio.aio._any_call import (
    _API_STYLE_ERROR,
    _LOGGER,
    _RPC_ALREADY_FINISHED_DETAILS,
    _RPC_HALF_CLOSED_DETAILS,
    AioRpcError,
    Call,
    Channel,
    NotMade,
    deserialized,
    serialized,
)
from wire.grpcio.aio._metadata import Metadata

__all__ = ["AioRpcError", "Call", "StreamStreamCall", "StreamUnaryCall", "UnaryStreamCall", "UnaryUnaryCall"]


class _UnaryResponse(Call):
    """One response, which any number of tasks may await, again and again."""

    __slots__ = ("_awaited", "_response")

    _response: Any

    def __init__(self, channel: Channel, call: Any, deserializer: Callable[[bytes], Any] | None) -> None:
        # What `Call` does, in one piece: it takes half the time.
        self._channel = channel
        self._loop = channel.loop
        self._call = call
        self._deserializer = deserializer
        self._local = None
        self._ending = None
        self._awaited = False
        self._early = early = call.code is not None
        if early:
            self._loop.call_soon(self._no_longer_early)

    def __await__(self) -> Generator[Any, Any, Any]:
        call = self._call
        try:
            if self._ending is not None or self._awaited:  # callbacks come first, and others wait too
                yield from self._ended().__await__()
            self._awaited = True
            data = yield from call.__await__()
        except asyncio.CancelledError:
            self._cancelled_here()
            raise
        except wire.RpcError:
            self._raise_for_status()
            raise
        if self._local is not None:
            raise asyncio.CancelledError
        try:
            return self._response
        except AttributeError:
            self._response = deserialized(data, self._deserializer)
            return self._response


class UnaryUnaryCall(_UnaryResponse, _base_call.UnaryUnaryCall[Any, Any]):
    """One request, one response."""

    __slots__ = ()

    async def wait_for_connection(self) -> None:
        await self._ended()
        self._raise_for_status()


def _held(call: Any) -> bool:
    """Whether the status of a call that has ended stands behind messages that nobody has taken."""
    return call.unread and call.trailing_metadata is not None


class _StreamResponse(Call):
    """A stream of responses, taken by iteration or by `read`, not by both."""

    __slots__ = ("_aiter", "_by_read")

    def __init__(self, channel: Channel, call: Any, deserializer: Callable[[bytes], Any] | None) -> None:
        super().__init__(channel, call, deserializer)
        self._aiter: AsyncGenerator[Any, None] | None = None
        self._by_read: bool | None = None

    def done(self) -> bool:
        call = self._call
        if self._local is not None:
            return True
        return call.code is not None and not self._early and (call.__class__ is NotMade or not _held(call))

    def _held(self) -> Callable[[], bool] | None:
        return None if self._call.__class__ is NotMade else partial(_held, self._call)

    def _style(self, by_read: bool) -> None:
        if self._by_read is None:
            self._by_read = by_read
        elif self._by_read is not by_read:
            raise UsageError(_API_STYLE_ERROR)

    def __aiter__(self) -> AsyncIterator[Any]:
        self._style(False)
        if self._aiter is None:
            self._aiter = self._responses()
        return self._aiter

    async def _responses(self) -> AsyncGenerator[Any, None]:
        while (response := await self._read()) is not EOF:
            yield response
        self._raise_for_status()

    async def _read(self) -> Any:
        call = self._call
        if call.__class__ is NotMade or self._local is not None:
            return EOF
        try:
            data = await call.__anext__()
        except StopAsyncIteration:
            return EOF
        except wire.RpcError:
            return EOF
        except asyncio.CancelledError:
            self._cancelled_here()
            raise
        finally:
            if call.code is not None:
                self._tell()
        return deserialized(data, self._deserializer)

    async def read(self) -> Any:
        if self.done():
            self._raise_for_status()
            return EOF
        self._style(True)
        response = await self._read()
        if response is EOF:
            self._raise_for_status()
        return response

    async def initial_metadata(self) -> Metadata:
        try:
            return Metadata(*from_wire(await self._call.read_initial_metadata()))
        except wire.RpcError:
            return Metadata()


class UnaryStreamCall(_StreamResponse, _base_call.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""

    __slots__ = ()

    async def wait_for_connection(self) -> None:
        await self.initial_metadata()
        if self._call.code is not None:
            self._raise_for_status()


class _StreamRequest(Call):
    """A stream of requests, from an iterator or by `write`, not by both."""

    # Without slots, which one base can have and not two.

    def __init__(
        self,
        channel: Channel,
        call: Any,
        deserializer: Callable[[bytes], Any] | None,
        requests: Any,
        serializer: Callable[[Any], bytes] | None,
    ) -> None:
        super().__init__(channel, call, deserializer)
        self._serializer = serializer
        self._done_writing_flag = False
        self._pump: asyncio.Task[None] | None = (
            None if requests is None else self._loop.create_task(self._consume(requests))
        )

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled and self._pump is not None:
            self._pump.cancel()
        return cancelled

    async def _consume(self, requests: Any) -> None:
        """Send all that an iterator gives. What it raises ends the call."""
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await self._write(request)
            else:
                for request in requests:
                    await self._write(request)
            await self._finish_writing()
        except AioRpcError as error:
            _LOGGER.debug("Exception while consuming the request_iterator: %s", error)
        except (asyncio.CancelledError, Exception):
            _LOGGER.debug("Client request_iterator raised an exception", exc_info=True)
            self.cancel()

    async def _write(self, request: Any) -> None:
        if self.done():
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS)
        if self._done_writing_flag:
            raise asyncio.InvalidStateError(_RPC_HALF_CLOSED_DETAILS)
        data = serialized(request, self._serializer)
        try:
            await self._call.send(data)
        except asyncio.CancelledError:
            self._cancelled_here()
            raise
        except wire.RpcError as error:
            self._raise_for_status()
            raise AioRpcError(STATUS_CODES[error.code], details=error.message) from None
        except wire.UsageError:
            raise asyncio.InvalidStateError(_RPC_ALREADY_FINISHED_DETAILS) from None

    async def _finish_writing(self) -> None:
        if self.done() or self._done_writing_flag:
            return
        self._done_writing_flag = True
        try:
            await self._call.end()
        except asyncio.CancelledError:
            self._cancelled_here()
            raise

    def _check_style(self) -> None:
        if self._pump is not None:
            raise UsageError(_API_STYLE_ERROR)

    async def write(self, request: Any) -> None:
        self._check_style()
        await self._write(request)

    async def done_writing(self) -> None:
        self._check_style()
        await self._finish_writing()


class StreamUnaryCall(_StreamRequest, _UnaryResponse, _base_call.StreamUnaryCall[Any, Any]):
    """A stream of requests, one response."""

    async def initial_metadata(self) -> Metadata:
        try:
            return Metadata(*from_wire(await self._call.read_initial_metadata()))
        except wire.RpcError:
            return Metadata()


class StreamStreamCall(_StreamRequest, _StreamResponse, _base_call.StreamStreamCall[Any, Any]):
    """Streams both ways."""
