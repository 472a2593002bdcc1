"""`grpclib.client.Stream`: one call, which sends and receives message by message.

It is one wire call, made when its request is sent. A unary request that is sent with its headers, for one response,
goes as a unary call of wire, which is fastest; everything else as a stream both ways, which can do all that a `Stream`
can.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Generic, Protocol, Self

from multidict import MultiDict

import wire
from wire.grpclib import _core, events
from wire.grpclib.const import Cardinality, Status
from wire.grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from wire.grpclib.encoding.proto import decoder, encoder
from wire.grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from wire.grpclib.metadata import Deadline, _Metadata, _MetadataLike, checked, received
from wire.grpclib.protocol import Peer
from wire.grpclib.stream import StreamIterator, _RecvType, _SendType

_CLOCK_SLACK_S = 0.02
_NO_OPTIONS: dict[str, Any] = {}


class CalledMethod:
    """One method with its messages' types on one channel: what its calls have in common."""

    __slots__ = ("decode", "encode", "path")

    def __init__(self, codec: CodecBase, path: str, send_type: Any, recv_type: Any) -> None:
        self.path = path
        self.encode = encoder(codec, send_type)
        self.decode = decoder(codec, recv_type)


class Caller(Protocol):
    """What a `Stream` needs of its channel."""

    __dispatch__: events.Dispatch
    _codec: CodecBase
    _status_details_codec: StatusDetailsCodecBase | None
    _content_type: str
    _request_listeners: list[Any]
    _send_listeners: list[Any]
    _recv_listeners: list[Any]
    _initial_listeners: list[Any]
    _trailing_listeners: list[Any]
    _calls_started: int
    _calls_succeeded: int
    _calls_failed: int
    _last_call_started: float | None

    @property
    def _core(self) -> _core.Connection | None: ...

    def _peer(self, call: Any) -> Peer: ...

    async def __connect__(self) -> None: ...


class Stream(StreamIterator[_RecvType], Generic[_SendType, _RecvType]):
    """One call, from `Channel.request` or a method's `open`. Use it as an async context manager:

        async with stub.MakeLatte.open() as stream:
            await stream.send_message(request, end=True)
            reply = await stream.recv_message()

    Leaving the block waits for the status, and raises GRPCError for one other than OK; leaving it with an exception
    cancels the call. `initial_metadata` and `trailing_metadata` are multi-dicts once they were received, None before.
    """

    _call: Any = None
    _unary = False
    """Whether the call is unary for wire, too."""
    _received = False
    """Whether the response of a unary call was taken."""
    _request_done = False
    _send_done = False
    _end_done = False
    _initial_done = False
    _trailing_done = False
    _trailers_only = False
    _cancelled = False
    _initial: _Metadata | None = None
    _trailing: _Metadata | None = None

    def __init__(
        self,
        channel: Caller,
        method: CalledMethod,
        metadata: _MetadataLike | None,
        cardinality: Cardinality,
        deadline: Deadline | None,
    ) -> None:
        self._channel = channel
        self._method = method
        self._metadata = metadata
        self._cardinality = cardinality
        self._deadline = deadline

    @classmethod
    def over(cls, call: Any, channel: Caller, method: CalledMethod, cardinality: Cardinality) -> Self:
        """One whose only message was sent, by a unary call of wire."""
        stream = cls(channel, method, None, cardinality, None)
        stream._call = call
        stream._unary = stream._request_done = stream._send_done = stream._end_done = True
        return stream

    @property
    def initial_metadata(self) -> _Metadata | None:
        if self._initial is None and self._initial_done:
            self._initial = received(self._call.initial_metadata or ())
        return self._initial

    @property
    def trailing_metadata(self) -> _Metadata | None:
        if self._trailing is None and self._trailing_done:
            self._trailing = received(self._call.trailing_metadata or ())
        return self._trailing

    @property
    def peer(self) -> Peer | None:
        """Who is called; None before the request was sent."""
        return None if self._call is None else self._channel._peer(self._call)

    # Sending.

    async def send_request(self, *, end: bool = False) -> None:
        """Send the request's headers. The first `send_message` does it where this was not called before.

        `end`: there are no messages to follow, in a stream of requests. Raises ProtocolError the second time.
        """
        if self._request_done:
            raise ProtocolError("Request is already sent")
        if end and not self._cardinality.client_streaming:
            raise ProtocolError("Unary request requires a message to be sent before ending outgoing stream")
        options = await self._prepare()
        self._call = self._core().stream_call(self._method.path)(**options)
        self._request_done = True
        if end:
            await self._call.end()
            self._end_done = True

    async def _prepare(self) -> dict[str, Any]:
        """Connect, and let listeners see the request; returns what the call is started with.

        Raises OSError where there is no connection, TimeoutError when the deadline passes before.
        """
        channel = self._channel
        listeners = channel._request_listeners
        metadata = self._metadata
        if self._deadline is None:
            if channel._core is None or not channel._core.connected:
                await channel.__connect__()
            if listeners:
                metadata = await self._notify_request(listeners)
            return {"metadata": checked(metadata)} if metadata else _NO_OPTIONS
        timeout = self._deadline.time_remaining()
        if listeners or channel._core is None or not channel._core.connected:
            try:
                async with asyncio.timeout(timeout):
                    await channel.__connect__()
                    if listeners:
                        metadata = await self._notify_request(listeners)
            except TimeoutError:
                raise TimeoutError("Deadline exceeded") from None
            timeout = self._deadline.time_remaining()
        if timeout <= 0:
            raise TimeoutError("Deadline exceeded")
        return {"metadata": checked(metadata or ()), "timeout": timeout}

    async def _notify_request(self, listeners: list[Any]) -> _MetadataLike:
        event = events.SendRequest(
            metadata=MultiDict(self._metadata or ()),
            method_name=self._method.path,
            deadline=self._deadline,
            content_type=self._channel._content_type,
        )
        return (await events.notify(listeners, event)).metadata

    async def send_message(self, message: _SendType, *, end: bool = False) -> None:
        """Send a message; waits while the server takes no more. `end`: it is the last. A unary request is its last."""
        unary = not self._cardinality.client_streaming
        if unary and self._send_done:
            raise ProtocolError("Message was already sent")
        if self._end_done:
            raise ProtocolError("Stream is ended")
        channel = self._channel
        core = channel._core
        options: dict[str, Any] | None = None
        if not self._request_done:
            if (
                self._deadline is None
                and not self._metadata
                and core is not None
                and core.connected
                and not channel._request_listeners
            ):
                options = _NO_OPTIONS  # nothing to wait for
            else:
                options = await self._prepare()
        listeners = channel._send_listeners
        if listeners:
            message = (await events.notify(listeners, events.SendMessage(message=message))).message
        data = self._method.encode(message)
        if options is not None:
            if core is None or options is not _NO_OPTIONS:
                core = self._core()
            if unary and not self._cardinality.server_streaming:
                self._unary = True
                self._call = core.unary_call(self._method.path)(data, **options)
            else:
                self._call = core.stream_call(self._method.path)(**options)
            self._request_done = True
        elif self._deadline is not None:
            self._check_deadline()
        if not self._unary:
            await self._send(data, end or unary)
        self._send_done = True
        if end:
            self._end_done = True

    def _core(self) -> _core.Connection:
        core = self._channel._core
        if core is None:  # it was closed while a listener was asked
            raise StreamTerminatedError(_core.CONNECTION_LOST)
        return core

    async def _send(self, data: bytes, end: bool) -> None:
        call = self._call
        try:
            await call.send(data)
            if end:
                await call.end()
        except wire.RpcError:
            raise self._ended() from None
        except wire.UsageError:
            if call.code is not wire.StatusCode.OK:  # the server has ended the call well, and ignores the rest
                raise
            return
        if call.code not in (None, wire.StatusCode.OK):
            raise self._ended()

    async def end(self) -> None:
        """There are no more messages."""
        if not self._request_done:
            raise ProtocolError("Request was not sent")
        if self._end_done:
            raise ProtocolError("Stream was already ended")
        if self._cardinality.client_streaming:
            await self._call.end()
        elif not self._send_done:
            raise ProtocolError("Unary request requires a single message to be sent")
        self._end_done = True

    # Receiving.

    async def recv_initial_metadata(self) -> None:
        """Wait for the response's headers; `initial_metadata` has them then. The first `recv_message` does it where
        this was not called before. Raises GRPCError when the status came instead."""
        if not self._request_done:
            raise ProtocolError("Request was not sent yet")
        if self._initial_done:
            raise ProtocolError("Initial metadata was already received")
        if self._deadline is not None:
            self._check_deadline()
        call = self._call
        if not self._unary:
            await call.began()
        elif call.code is None:
            await call.ended()
        if call.answered:
            self._initial_done = True
            await self._notify_initial(call.initial_metadata)
        elif call.trailing_metadata is None:
            raise self._ended()
        else:
            self._initial_done = self._trailers_only = True
            await self._notify_initial(())
            await self._status()

    async def _notify_initial(self, pairs: Any) -> None:
        listeners = self._channel._initial_listeners
        if listeners:
            event = events.RecvInitialMetadata(metadata=received(pairs))
            self._initial = (await events.notify(listeners, event)).metadata

    async def recv_message(self) -> _RecvType | None:
        """The next message; None when the server has ended its stream."""
        channel = self._channel
        data: bytes | None
        if self._unary and not self._initial_done and not channel._initial_listeners:
            if self._deadline is not None:
                self._check_deadline()
            call = self._call
            if call.code is None:
                await call.ended()  # and not the call itself: who waits may be cancelled, and try again
            if call.code is wire.StatusCode.OK:
                data = call.response
                self._initial_done = self._received = True
            else:  # step by step, then
                await self.recv_initial_metadata()
                data = await self._receive()
        else:
            if not self._initial_done:
                await self.recv_initial_metadata()
            data = await self._receive()
        if data is None:
            return None
        message: _RecvType = self._method.decode(data)
        listeners = channel._recv_listeners
        if listeners:
            message = (await events.notify(listeners, events.RecvMessage(message=message))).message
        return message

    async def _receive(self) -> bytes | None:
        """The next message's bytes. A status that is not OK is kept for `recv_trailing_metadata`, as grpclib does."""
        if self._deadline is not None:
            self._check_deadline()
        call = self._call
        data: bytes | None
        if not self._unary:
            if not call.unread:
                await call.arrived()
            try:
                data = await anext(call, None)
            except wire.RpcError:
                if call.trailing_metadata is None or (self._cardinality.client_streaming and not self._end_done):
                    raise self._ended() from None
                return None
            return data
        if self._received:
            return None
        if call.code is None:
            await call.ended()
        self._received = True
        if call.code is not wire.StatusCode.OK and call.trailing_metadata is None:
            raise self._ended()
        data = call.response
        return data

    async def recv_trailing_metadata(self) -> None:
        """Wait for the status; `trailing_metadata` has what came with it then. Leaving the block does it where this was
        not called before. Raises GRPCError for a status other than OK."""
        if not self._end_done and (self._cardinality.client_streaming or not self._send_done):
            raise ProtocolError("Outgoing stream was not ended")
        if not self._initial_done:
            raise ProtocolError("Initial metadata was not received before waiting for trailing metadata")
        if self._trailing_done:
            raise ProtocolError("Trailing metadata was already received")
        if not self._trailers_only:
            if self._deadline is not None:
                self._check_deadline()
            await self._call.ended()
            if self._call.trailing_metadata is None:
                raise self._ended()
            self._trailing_done = True
            await self._status()
        self._trailing_done = True

    async def _status(self) -> None:
        """The server's status has come: keep its metadata, and raise it where it is not OK."""
        call = self._call
        pairs = call.trailing_metadata
        status, message = _core.status_of(call)
        error = None if status is Status.OK else self._error(status, message or None, pairs)
        try:
            if isinstance(error, TimeoutError):
                raise error
            listeners = self._channel._trailing_listeners
            if listeners:
                event = events.RecvTrailingMetadata(
                    metadata=received(pairs),
                    status=status,
                    status_message=error and error.message,
                    status_details=error and error.details,
                )
                self._trailing = (await events.notify(listeners, event)).metadata
            else:
                self._trailing = received(pairs)
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame

    def _check_deadline(self) -> None:
        """Once the deadline has passed every step raises TimeoutError, whatever has come. Called where there is one."""
        assert self._deadline is not None
        if not self._deadline.time_remaining():
            self._call.cancel()
            raise TimeoutError("Deadline exceeded")

    def _error(self, status: Status, message: str | None, pairs: wire.Metadata) -> GRPCError | TimeoutError:
        deadline = self._deadline
        if status is Status.DEADLINE_EXCEEDED and deadline is not None and deadline.time_remaining() < _CLOCK_SLACK_S:
            return TimeoutError("Deadline exceeded")  # the server's clock was a moment before ours
        codec = self._channel._status_details_codec
        data = pairs.get("grpc-status-details-bin")
        details = codec.decode(status, message, data) if codec is not None and isinstance(data, bytes) else None
        return GRPCError(status, message, details)

    def _ended(self) -> Exception:
        """How a call has ended that the server did not end with a status, or ended while it was being sent to."""
        call = self._call
        pairs = call.trailing_metadata
        if pairs is not None:
            error = self._error(*_core.status_of(call), pairs)
            return error if isinstance(error, TimeoutError) else StreamTerminatedError(_core.RESET.format(0))
        return _core.local_error(call)

    # The block.

    async def cancel(self) -> None:
        """Give the call up; the server is told."""
        if not self._request_done:
            raise ProtocolError("Request was not sent yet")
        if self._cancelled:
            raise ProtocolError("Stream was already cancelled")
        self._call.cancel()
        self._cancelled = True

    async def __aenter__(self) -> Self:
        if self._deadline is not None and not self._deadline.time_remaining():
            raise TimeoutError("Deadline exceeded")
        channel = self._channel
        channel._calls_started += 1
        channel._last_call_started = time.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._request_done:
            return
        call = self._call
        channel = self._channel
        if error is None and self._received and call.code is wire.StatusCode.OK and not channel._trailing_listeners:
            self._trailing_done = True  # nothing is left to wait for
            channel._calls_succeeded += 1
            return
        failed = True
        try:
            if error is None:
                try:
                    if not self._cancelled and not _core.connection_lost(call):
                        if not self._initial_done:
                            await self.recv_initial_metadata()
                        if not self._trailing_done:
                            await self.recv_trailing_metadata()
                except (StreamTerminatedError, ProtocolError):
                    self._raise_status()
                    raise
                failed = False
            elif isinstance(error, StreamTerminatedError):
                self._raise_status()
        finally:
            if call.code is None:
                call.cancel()
            if failed:
                channel._calls_failed += 1
            else:
                channel._calls_succeeded += 1

    def _raise_status(self) -> None:
        """Raise the status that the server sent before it reset the call, where there is one."""
        pairs = self._call.trailing_metadata
        if pairs is not None:
            status, message = _core.status_of(self._call)
            if status is not Status.OK:
                raise self._error(status, message or None, pairs)
