"""One call on a client, from its request to its status: a class for each of the four kinds.

A call starts when it is made: at once on a connection that has room, else as soon as the channel's pool gives it one.
It ends by the server's status, its deadline, `cancel`, the loss of its connection, or the cancellation of the task
that waits for it. Imports `connection`'s layer and below; `channel` gives it its surroundings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from wire.connection import Connection
from wire.deadline import format_timeout
from wire.errors import CallError, CodecError, ConfigurationError, RpcError, UsageError, WireError, is_loops_own
from wire.flow import Inbound, Outbound
from wire.http2.codes import ErrorCode, error_name
from wire.http2.engine import HeaderList, Stream
from wire.metadata import Fields, Metadata, MetadataInput, limited_fields
from wire.rpc.framing import PREFIX_BYTES, MessageReader, frame
from wire.rpc.headers import Outcome, ResponseHead, parse_response, parse_trailers
from wire.status import StatusCode, status_from_http2_error
from wire.transport.link import Future, Task

if TYPE_CHECKING:
    from wire.channel import Channel
    from wire.service import Method

Q = TypeVar("Q")
R = TypeVar("R")

_CLOCK_SLACK_S = (
    0.02  # a loop's clock stands still while it handles what one wait brought, uvloop's in whole milliseconds
)
_MAX_ATTEMPTS = 2  # a request that the server refused unseen is sent once more (A6, transparent retries)


class ClientCall(Generic[R]):
    """What calls of all kinds have in common.

    `code` and `message`: the status, None and "" while the call goes on. Metadata arrives as the server sends it: the
    initial before the first response, the trailing with the status.
    """

    __slots__ = (
        "_channel",
        "_decoder",
        "_extra",
        "_headers",
        "_initial",
        "_timeout_s",
        "_trailing",
        "attempts",
        "code",
        "connection",
        "deadline",
        "message",
        "queued",
        "stream",
        "wait_for_ready",
    )

    def __init__(
        self,
        channel: Channel,
        method: Method[Any, R],
        timeout_s: float | None,
        metadata: MetadataInput,
        wait_for_ready: bool | None,
    ) -> None:
        self._channel = channel
        self._headers, self._decoder = channel.prepared(method)
        self._extra: Fields = limited_fields(metadata, channel.config.http2.max_header_list_bytes) if metadata else ()
        self._initial: Fields | None = None
        self._trailing: Fields | None = None
        self.attempts = 0
        self.code: StatusCode | None = None
        self.message = ""
        self.connection: Connection | None = None
        self.stream: Stream | None = None
        self.queued = False
        """True once the call has waited for a connection, so that its timeout is no longer the whole one."""
        self.wait_for_ready = channel.config.wait_for_ready if wait_for_ready is None else wait_for_ready
        self._timeout_s = timeout_s
        self.deadline: float | None = None
        if timeout_s is not None:
            if not -inf < timeout_s < inf:
                raise ConfigurationError(f"a timeout is a number of seconds, or None for none, and not {timeout_s!r}")
            self.deadline = channel.runtime.now() + timeout_s
            channel.deadlines.add(self)

    # What users call.

    def cancel(self) -> None:
        """Give the call up: the server is told, and whoever waits gets `RpcError` CANCELLED. No effect once it has
        ended."""
        self._abort(StatusCode.CANCELLED, "the call was cancelled")

    @property
    def initial_metadata(self) -> Metadata | None:
        """What the server sent before its first response; None before it came."""
        return None if self._initial is None else Metadata.from_fields(self._initial)

    @property
    def trailing_metadata(self) -> Metadata | None:
        """What the server sent with the status; None before it came."""
        return None if self._trailing is None else Metadata.from_fields(self._trailing)

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self._channel.runtime.now())

    # What the pool calls.

    @abstractmethod
    def start(self, connection: Connection) -> None:
        """Send what there is to send on a connection that has room."""

    def fail(self, code: StatusCode, message: str) -> None:
        """The call cannot be started, or has lost its connection."""
        self._finish(code, message)

    def _attach(self, connection: Connection, stream: Stream) -> None:
        self.attempts += 1
        self.connection = connection
        self.stream = stream
        stream.call = self
        connection.wake()

    def _request_extra(self) -> Fields:
        """The fields of this call beside the method's: timeout and metadata."""
        if self._timeout_s is None:
            return self._extra
        # A call that starts at once sends the timeout as it was given: the same bytes each time decode faster.
        timeout_s = (self.time_remaining() or 0.0) if self.queued else self._timeout_s
        return ((b"grpc-timeout", format_timeout(timeout_s)), *self._extra)

    # What the connection reports.

    def on_headers(self, headers: HeaderList, end_stream: bool) -> None:
        head: ResponseHead = headers.memo
        if head is None:
            head = headers.memo = parse_response(headers.fields)
        if end_stream:
            outcome = parse_trailers(headers.fields)
            if outcome is not None:
                self._initial = ()
                self._end(outcome)
                return
        if head.error is not None:
            self._abort(head.error.code, head.error.message)
        elif end_stream:
            self._end_without_status()
        else:
            self._initial = head.fields
            self._on_head(head)

    @abstractmethod
    def _on_head(self, head: ResponseHead) -> None:
        """The response begins."""

    @abstractmethod
    def on_data(self, data: bytes, end_stream: bool) -> None:
        """DATA has come."""

    def on_trailers(self, trailers: HeaderList) -> None:
        outcome: Outcome | None = trailers.memo
        if outcome is None:
            outcome = trailers.memo = parse_trailers(trailers.fields)
            if outcome is None:
                self._end_without_status()
                return
        self._end(outcome)

    def on_reset(self, code: int, by_peer: bool) -> None:
        if code == ErrorCode.REFUSED_STREAM and by_peer and self.attempts < _MAX_ATTEMPTS and self._restart():
            return
        if not by_peer and code == ErrorCode.ENHANCE_YOUR_CALM:
            self._finish(StatusCode.RESOURCE_EXHAUSTED, "the server's metadata is over the limit")
        elif not by_peer:
            self._finish(StatusCode.INTERNAL, f"the server's answer breaks HTTP/2 ({error_name(code)})")
        elif code == ErrorCode.CANCEL and self.deadline is not None and (self.time_remaining() or 0) <= _CLOCK_SLACK_S:
            # The server keeps the same deadline by a clock of its own, and resets the call when it passes there.
            self._finish(StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the call ended")
        else:
            self._finish(status_from_http2_error(code), f"the server reset the call ({error_name(code)})")

    def on_writable(self) -> None:
        """Nothing waits to be written but in calls that stream."""

    def expire(self) -> None:
        """The deadline has passed (`DeadlineTimer`)."""
        self._abort(StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the call ended")

    # Ending.

    def _restart(self) -> bool:
        """Go back to the pool, if everything that was sent can be sent again."""
        return False

    def _end(self, outcome: Outcome) -> None:
        """The server's status has come."""
        self._trailing = outcome.fields
        self._finish(outcome.code, outcome.message)
        if self.stream is not None and not self.stream.closed:  # our side is still open
            self._channel.runtime.call_soon(self._let_go)

    def _let_go(self) -> None:
        """Close a stream that the server has ended and not reset: most do, in the same breath (RFC 9113 §8.1)."""
        if self.stream is not None and self.connection is not None and not self.stream.closed:
            self.connection.engine.reset(self.stream, ErrorCode.NO_ERROR)
            self.stream.call = None
            self.connection.wake()

    def _end_without_status(self) -> None:
        # http-grpc-status-mapping.md: HTTP 200 without grpc-status is UNKNOWN.
        self._abort(StatusCode.UNKNOWN, "the server ended the call without a status")

    def _abort(self, code: StatusCode, message: str) -> None:
        """End the call from this side."""
        if self.code is None:
            if self.stream is not None and self.connection is not None and not self.stream.closed:
                self.connection.engine.reset(self.stream, ErrorCode.CANCEL)
                self.connection.wake()
            self._finish(code, message)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is not None:
            return
        self.code = code
        self.message = message
        if self.deadline is not None:
            self._channel.deadlines.discard(self)
        if self.stream is not None and self.stream.closed:
            self.stream.call = None  # call and stream hold each other: without this they would wait for the collector
        self._wake()
        pool = self._channel.pool
        if pool.queue:
            pool.call_ended(self)

    def _error(self) -> RpcError:
        assert self.code is not None
        return CallError(
            self.code,
            self.message,
            initial_metadata=self.initial_metadata,
            trailing_metadata=self.trailing_metadata,
        )

    @abstractmethod
    def _wake(self) -> None:
        """The call has ended: let go on whoever waits for it."""

    def _encode(self, method: Method[Q, R], request: Q) -> bytes:
        """The request as framed. Raises `EncodeError`; `RpcError` RESOURCE_EXHAUSTED for one that is too long."""
        message = method.request.encode(request)
        limit = self._channel.config.calls.max_send_message_bytes
        if limit is not None and len(message) > limit:
            text = f"request of {len(message)} bytes is over the channel's limit of {limit}"
            raise CallError(StatusCode.RESOURCE_EXHAUSTED, text)
        return frame(message, self._channel.compress)


class UnaryUnaryCall(ClientCall[R]):
    """One request, one response: `response = await call`. Raises `RpcError` for every status but OK."""

    __slots__ = ("_body", "_reader", "_request", "_response", "_waiter")

    def __init__(
        self,
        channel: Channel,
        method: Method[Q, R],
        request: Q,
        timeout_s: float | None,
        metadata: MetadataInput,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(channel, method, timeout_s, metadata, wait_for_ready)
        self._waiter: Future[None] | None = None
        self._body: bytes | None = None
        self._reader: MessageReader | None = None
        self._request = self._encode(method, request)
        channel.pool.submit(self)

    def __await__(self) -> Generator[Any, Any, R]:
        if self.code is None:
            if self._waiter is not None:
                raise UsageError("two tasks wait for the same call")
            self._waiter = waiter = self._channel.runtime.future()
            try:
                yield from waiter.__await__()
            except BaseException:
                self.cancel()
                raise
        if self.code is not StatusCode.OK:
            raise self._error()
        return self._response

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def start(self, connection: Connection) -> None:
        self._attach(connection, connection.engine.send_request(self._headers, self._request, self._request_extra()))

    def _restart(self) -> bool:
        self.queued = True
        self._channel.pool.submit(self)
        return True

    def _on_head(self, head: ResponseHead) -> None:
        if head.decompress is not None:
            self._reader = MessageReader(self._channel.config.calls.max_receive_message_bytes, head.decompress)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        size = len(data) - PREFIX_BYTES
        # One frame with one whole message, uncompressed: as a number, its prefix is the message's length.
        if (
            self._body is None
            and self._reader is None
            and int.from_bytes(data[:PREFIX_BYTES], "big") == size
            and 0 <= size <= self._channel.config.calls.max_receive_message_bytes
        ):
            self._body = data[PREFIX_BYTES:]
        else:
            self._collect(data)
        if end_stream and self.code is None:
            self._end_without_status()

    def _collect(self, data: bytes) -> None:
        """A response in several frames, a compressed one, or one that is wrong."""
        assert self.connection is not None
        assert self.stream is not None
        if self._reader is None:
            self._reader = MessageReader(self._channel.config.calls.max_receive_message_bytes)
        try:
            messages = self._reader.feed(data)
            if len(messages) + self._reader.partial + (self._body is not None) > 1:
                raise RpcError(StatusCode.UNIMPLEMENTED, "the server sent more than the one response of this method")
            if messages:
                self.connection.engine.consumed(self.stream, PREFIX_BYTES + len(messages[0]))
                self._body = self._reader.plain(messages[0])
            else:
                self.connection.engine.expect(self.stream, self._reader.missing_bytes)
        except RpcError as error:
            self._abort(error.code, error.message)

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK:
            if self._reader is not None and self._reader.partial:
                outcome = Outcome(outcome.fields, StatusCode.INTERNAL, "the response ended in the middle of a message")
            elif self._body is None:
                # statuscodes.md: the wrong number of messages is UNIMPLEMENTED on either side.
                outcome = Outcome(outcome.fields, StatusCode.UNIMPLEMENTED, "the server sent no response")
            elif len(self._body) > self._decoder.inline_bytes and self._decoder.is_heavy(self._body):
                runtime = self._channel.runtime
                self._decoder.decode_in_thread(
                    runtime, self._body, lambda: self.code is None, partial(self._end_decoded, outcome)
                )
                return
            else:
                try:
                    self._response = self._decoder.decode(self._body)
                except CodecError as error:
                    outcome = _undecodable(outcome, error)
        super()._end(outcome)

    def _end_decoded(self, outcome: Outcome, response: Any, error: CodecError | None) -> None:
        """A heavy response comes from the thread."""
        self._response = response
        super()._end(outcome if error is None else _undecodable(outcome, error))


def _undecodable(outcome: Outcome, error: CodecError) -> Outcome:
    # statuscodes.md: "Error parsing response proto" is INTERNAL.
    return Outcome(outcome.fields, StatusCode.INTERNAL, f"the response could not be decoded: {error}")


class _StreamingCall(ClientCall[R]):
    """What the three kinds that stream have in common. An asynchronous context manager that cancels a call not
    ended."""

    __slots__ = ("_head_came", "_inbound", "_waiters")

    def __init__(
        self,
        channel: Channel,
        method: Method[Any, R],
        timeout_s: float | None,
        metadata: MetadataInput,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(channel, method, timeout_s, metadata, wait_for_ready)
        self._waiters: list[Future[None]] = []
        self._head_came = False
        self._inbound: Inbound[R] = Inbound(
            channel.runtime,
            MessageReader(channel.config.calls.max_receive_message_bytes),
            self._decoder,
            self.cancel,
            lambda error: self._abort(error.code, error.message),
            CallError,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def read_initial_metadata(self) -> Metadata:
        """Wait for what the server sends before its first response. Raises `RpcError` when the call ends badly before
        it."""
        while not self._head_came and self.code is None:
            await self._wait()
        if self.code not in (None, StatusCode.OK) and not self._head_came:
            raise self._error()
        return self.initial_metadata or Metadata()

    def _attach(self, connection: Connection, stream: Stream) -> None:
        super()._attach(connection, stream)
        self._inbound.attach(connection, stream)

    async def _wait(self) -> None:
        """Until the call starts, its response begins, or it ends."""
        waiter = self._channel.runtime.future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            self.cancel()
            raise

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _on_head(self, head: ResponseHead) -> None:
        self._inbound.reader.decompress = head.decompress
        self._head_came = True
        self._wake()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        try:
            if data and self.code is None:
                self._inbound.feed(data)
        except RpcError as error:
            self._abort(error.code, error.message)
            return
        if end_stream:
            self._end_without_status()

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK and self._inbound.partial:
            outcome = Outcome(outcome.fields, StatusCode.INTERNAL, "the responses ended in the middle of a message")
        super()._end(outcome)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is not None:
            return
        super()._finish(code, message)
        self._inbound.end(None if code is StatusCode.OK else self._error())
        if code in (StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED):
            self._inbound.discard()


class UnaryStreamCall(_StreamingCall[R]):
    """One request, a stream of responses: `async for response in call`. Raises `RpcError` for every status but OK."""

    __slots__ = ("_request",)

    def __init__(
        self,
        channel: Channel,
        method: Method[Q, R],
        request: Q,
        timeout_s: float | None,
        metadata: MetadataInput,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(channel, method, timeout_s, metadata, wait_for_ready)
        self._request = self._encode(method, request)
        channel.pool.submit(self)

    def __aiter__(self) -> AsyncIterator[R]:
        return self._inbound

    def start(self, connection: Connection) -> None:
        self._attach(connection, connection.engine.send_request(self._headers, self._request, self._request_extra()))

    def _restart(self) -> bool:
        self.queued = True
        self._channel.pool.submit(self)
        return True


class _RequestStreamingCall(_StreamingCall[R], Generic[Q, R]):
    """What the two kinds that stream requests have in common. Requests come from an iterator, or by `send` and
    `end`."""

    __slots__ = ("_method", "_outbound", "_pump", "_requests_ended")

    def __init__(
        self,
        channel: Channel,
        method: Method[Q, R],
        requests: AsyncIterable[Q] | Iterable[Q] | None,
        timeout_s: float | None,
        metadata: MetadataInput,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(channel, method, timeout_s, metadata, wait_for_ready)
        self._method = method
        self._outbound: Outbound | None = None
        self._requests_ended = False
        self._pump: Task | None = None
        channel.pool.submit(self)
        if requests is not None:
            self._pump = channel.runtime.spawn(self._pump_from(requests))

    async def send(self, request: Q) -> None:
        """Send one request; waits while the server takes no more.

        Raises `EncodeError`; `RpcError` once the call has failed; `UsageError` after `end`, or when the server has
        ended it well.
        """
        data = self._encode(self._method, request)
        if self._requests_ended:
            raise UsageError("the requests were already ended")
        outbound = self._outbound
        while outbound is None and self.code is None:
            await self._wait()
            outbound = self._outbound
        if self.code is not None or outbound is None:
            if self.code is StatusCode.OK:
                raise UsageError("the server has ended the call, and takes no more requests")
            raise self._error()
        await outbound.send(data)

    async def end(self) -> None:
        """There are no more requests."""
        while self._outbound is None and self.code is None:
            await self._wait()
        if not self._requests_ended:
            self._requests_ended = True
            if self.code is None and self._outbound is not None:
                self._outbound.end()

    def start(self, connection: Connection) -> None:
        stream = connection.engine.open_stream(self._headers, self._request_extra())
        self._attach(connection, stream)
        self._outbound = Outbound(connection, stream)
        self._wake()

    def on_writable(self) -> None:
        if self._outbound is not None:
            self._outbound.on_writable()

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is None:
            super()._finish(code, message)
            if self._outbound is not None:
                self._outbound.close()
            if self._pump is not None:
                self._pump.cancel()

    async def _pump_from(self, requests: AsyncIterable[Q] | Iterable[Q]) -> None:
        """Send all of the caller's requests. What its iterator raises ends the call, and is told to whoever waits for
        it."""
        if not isinstance(requests, AsyncIterable):
            requests = _asynchronous(requests)
        try:
            async for request in requests:
                try:
                    await self.send(request)
                except WireError as error:  # for a call that has ended: whoever waits for it learns of it
                    code = error.code if isinstance(error, RpcError) else StatusCode.INTERNAL
                    self._abort(code, error.message if isinstance(error, RpcError) else str(error))
                    return
            await self.end()
        except BaseException as error:
            self._abort(StatusCode.CANCELLED, f"the iterator of requests raised {type(error).__name__}: {error}")
            if is_loops_own(error, self._channel.runtime.cancelled):
                raise
        finally:
            self._pump = None  # its exception would hold this frame, and with it the call
            if isinstance(requests, AsyncGenerator):
                await requests.aclose()  # now rather than by the collector, when the call ended first


async def _asynchronous(items: Iterable[Q]) -> AsyncIterator[Q]:
    for item in items:
        yield item


class StreamUnaryCall(_RequestStreamingCall[Q, R]):
    """A stream of requests, one response: `await call.send(request)`, `await call.end()`, `response = await call`."""

    __slots__ = ("_response",)

    def __await__(self) -> Generator[Any, Any, R]:
        return self._receive().__await__()

    async def _receive(self) -> R:
        async for response in self._inbound:
            self._response = response
        return self._response

    def on_data(self, data: bytes, end_stream: bool) -> None:
        super().on_data(data, end_stream)
        if self._inbound.received > 1:
            self._abort(StatusCode.UNIMPLEMENTED, "the server sent more than the one response of this method")

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK and not self._inbound.received and not self._inbound.partial:
            outcome = Outcome(outcome.fields, StatusCode.UNIMPLEMENTED, "the server sent no response")
        super()._end(outcome)


class StreamStreamCall(_RequestStreamingCall[Q, R]):
    """Streams both ways: `await call.send(request)`, `await call.end()`, `async for response in call`."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[R]:
        return self._inbound
