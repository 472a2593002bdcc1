"""Calls on a client that stream in one direction or both, from below. See `exchange`;
`unary_exchange` has the fourth kind.

Imports `exchange`, `messages` and what is below them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import Any, Generic, TypeVar

from wire.client.exchange import Caller, Exchange, Options
from wire.connection import Connection
from wire.errors import UsageError, WireError, is_loops_own
from wire.http2.engine import Stream
from wire.messages import IncomingMessages
from wire.outgoing import OutgoingMessages
from wire.rpc.framing import MessageReader, frame
from wire.rpc.headers import Outcome, ResponseHead
from wire.service import Method
from wire.status import CallError, RpcError, StatusCode
from wire.transport.contract import Future, Task

Q = TypeVar("Q")
R = TypeVar("R")


class _StreamExchange(Exchange[R]):
    """What the three kinds that stream have in common."""

    __slots__ = ("_waiters", "head_came", "incoming")

    def __init__(self, channel: Caller, method: Method[Any, R], options: Options) -> None:
        super().__init__(channel, method, options)
        self._waiters: list[Future[None]] = []
        self.head_came = False
        self.incoming: IncomingMessages[R] = IncomingMessages(
            channel.runtime,
            MessageReader(channel.config.calls.max_receive_message_bytes),
            self.prepared.decoder,
            self.cancel,
            lambda error: self._abort(error.code, error.message),
            CallError,
        )

    def _attach(self, connection: Connection, stream: Stream) -> None:
        super()._attach(connection, stream)
        self.incoming.attach(connection, stream)

    async def wait(self) -> None:
        """Until the call starts, its response begins, or it ends."""
        waiter = self.future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            self.cancel()
            raise

    async def began(self, keeper: object) -> None:
        """Until the response has begun, or the call has ended. `keeper` lives as long as this waits."""
        while not self.head_came and self.code is None:
            await self._woken()

    async def ended(self, keeper: object) -> None:
        while self.code is None:
            await self._woken()

    async def _woken(self) -> None:
        """As `wait`, but who waits may be cancelled, and the call goes on."""
        waiter = self.future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def head(self) -> None:
        """Until the response begins. Raises `RpcError` when the call ends badly before it."""
        while not self.head_came and self.code is None:
            await self.wait()
        if self.code not in (None, StatusCode.OK) and not self.head_came:
            raise self.error()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _on_head(self, head: ResponseHead) -> None:
        self.incoming.reader.decompress = head.decompress
        self.head_came = True
        self._wake()

    def on_data_within(self, data: bytes, start: int, stop: int) -> None:
        try:
            if self.code is None:
                self.incoming.feed_within(data, start, stop)
        except RpcError as error:
            self._abort(error.code, error.message)

    def on_message(self, message: bytes) -> None:
        try:
            if self.code is None:
                self.incoming.feed_message(message)
        except RpcError as error:
            self._abort(error.code, error.message)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        try:
            if self.code is None:
                self.incoming.feed(data)
        except RpcError as error:
            self._abort(error.code, error.message)
            return
        if end_stream:
            self._end_without_status()

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK and self.incoming.partial:
            outcome = Outcome(outcome.fields, StatusCode.INTERNAL, "the responses ended in the middle of a message")
        super()._end(outcome)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is not None:
            return
        super()._finish(code, message)
        self.incoming.end(None if code is StatusCode.OK else self.error())
        if code in (StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED):
            self.incoming.discard()


class ServerStreamExchange(_StreamExchange[R]):
    """One request, a stream of responses."""

    __slots__ = ("_request",)

    def __init__(self, channel: Caller, method: Method[Q, R], request: Q, options: Options) -> None:
        super().__init__(channel, method, options)
        self._request = self._encode(request)
        channel.entrance.submit(self)

    def start(self, connection: Connection) -> None:
        if self._extra and self._too_large_for(connection):
            return
        self._attach(
            connection, connection.engine.send_request(self.prepared.headers, self._request, self._request_extra())
        )


class BidiExchange(_StreamExchange[R], Generic[Q, R]):
    """Streams both ways. Requests come from an iterator, or by `send` and `end`."""

    __slots__ = ("_outgoing", "_pump", "_requests_ended", "_sent", "_sent_bytes")

    def __init__(
        self,
        channel: Caller,
        method: Method[Q, R],
        requests: AsyncIterable[Q] | Iterable[Q] | None,
        options: Options,
    ) -> None:
        super().__init__(channel, method, options)
        self._outgoing: OutgoingMessages | None = None
        self._requests_ended = False
        self._sent: list[bytes] | None = []  # for another attempt; None once there can be none
        self._sent_bytes = 0
        self._pump: Task | None = None
        channel.entrance.submit(self)
        if requests is not None:
            self._pump = channel.runtime.spawn(self.pump(requests))

    async def send(self, request: Q, call: object = None) -> None:
        """See `client_call`. `call`: the user's, which lives as long as this waits."""
        data = self._encode(request)
        outgoing = self._outgoing
        if outgoing is None or self.code is not None or self._requests_ended:
            outgoing = await self._started()
        if self._sent is not None:
            self._keep(data)
        try:
            if not outgoing.put(data):
                return
            await outgoing.wait()
        except BaseException:  # the task was cancelled, and with it the call, as whoever waits for a call does
            self.cancel()
            raise
        if self.code not in (None, StatusCode.OK):  # it ended meanwhile
            raise self.error()

    async def _started(self) -> OutgoingMessages:
        """Until requests can be sent. Raises as `send` where they cannot."""
        if self._requests_ended:
            raise UsageError("the requests were already ended")
        while self._outgoing is None and self.code is None:
            await self.wait()
        if self.code is not None or self._outgoing is None:
            if self.code is StatusCode.OK:
                raise UsageError("the server has ended the call, and takes no more requests")
            raise self.error()
        return self._outgoing

    async def end(self, call: object = None) -> None:
        """See `client_call`."""
        while self._outgoing is None and self.code is None:
            await self.wait()
        if not self._requests_ended:
            self._requests_ended = True
            if self.code is None and self._outgoing is not None:
                self._outgoing.end()

    def _keep(self, data: bytes) -> None:
        assert self._sent is not None
        self._sent_bytes += len(data)
        if self._sent_bytes > self._channel.config.calls.retry_buffer_bytes:
            self._sent = None
        else:
            self._sent.append(data)

    def start(self, connection: Connection) -> None:
        if self._extra and self._too_large_for(connection):
            return
        stream = connection.engine.open_stream(self.prepared.headers, self._request_extra())
        self._attach(connection, stream)
        self._outgoing = OutgoingMessages(connection, stream)
        for data in self._sent or ():
            connection.engine.send_data(stream, data)
        if self._requests_ended:
            self._outgoing.end()
        self._wake()

    def _rewind(self) -> bool:
        if self._sent is None:
            return False
        if self._outgoing is not None:
            self._outgoing.close()  # whoever waits to send has been heard: the message is kept
            self._outgoing = None
        return True

    def on_writable(self) -> None:
        if self._outgoing is not None:
            self._outgoing.on_writable()

    def _on_head(self, head: ResponseHead) -> None:
        self._sent = None
        super()._on_head(head)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is None:
            super()._finish(code, message)
            self._sent = None
            if self._outgoing is not None:
                self._outgoing.close()
            if self._pump is not None:
                self._pump.cancel()

    async def pump(self, requests: AsyncIterable[Q] | Iterable[Q]) -> None:
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


class ClientStreamExchange(BidiExchange[Q, R]):
    """A stream of requests, one response."""

    __slots__ = ()

    def on_data_within(self, data: bytes, start: int, stop: int) -> None:
        self.on_data(data[start:stop], False)

    def on_message(self, message: bytes) -> None:
        self.on_data(frame(message), False)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        super().on_data(data, end_stream)
        if self.incoming.received > 1:
            self._abort(StatusCode.UNIMPLEMENTED, "the server sent more than the one response of this method")

    def _end(self, outcome: Outcome) -> None:
        if outcome.code is StatusCode.OK and not self.incoming.received and not self.incoming.partial:
            outcome = Outcome(outcome.fields, StatusCode.UNIMPLEMENTED, "the server sent no response")
        super()._end(outcome)
