"""Messages of one streaming call on their way: `IncomingMessages` to whoever iterates over them, `OutgoingMessages` to
the peer.

Both are bounded. Incoming messages that nobody has taken keep their bytes off the flow-control window; an
outgoing sender waits while its stream's window is closed, or the transport is not being read. Imports `connection`,
`http2.engine`, `rpc.framing` and `errors`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from copy import copy
from typing import Generic, Protocol, TypeVar

from wire.connection import Connection
from wire.errors import CodecError, UsageError
from wire.http2.engine import Stream
from wire.message_decoder import MessageDecoder
from wire.rpc.framing import PREFIX_BYTES, Compressed, MessageReader, unpack_prefix
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future, Resumable, Runtime

M = TypeVar("M")

_CUT_MESSAGES = 64  # that wait as objects of their own


class Room(Protocol):
    """Bounds the long messages that are held by those whom they were given to (`server.held_messages`)."""

    @property
    def refusal(self) -> str: ...

    def hold(self, holder: object, size_bytes: int) -> bool: ...

    def leave(self, holder: object) -> None: ...


class IncomingMessages(Generic[M]):
    """Received messages, decoded as they are taken. An async iterator for one task.

    It ends after the last message when the peer ended well, and otherwise raises the error that `end` was given.
    """

    __slots__ = (
        "_abandoned",
        "_connection",
        "_decode",
        "_decoder",
        "_error",
        "_error_type",
        "_failed",
        "_inline_bytes",
        "_messages",
        "_packed",
        "_room",
        "_runtime",
        "_stream",
        "_waiter",
        "ended",
        "reader",
        "received",
        "task",
    )

    def __init__(
        self,
        runtime: Runtime,
        reader: MessageReader,
        decoder: MessageDecoder[M],
        abandoned: Callable[[], None] | None = None,
        failed: Callable[[RpcError], object] | None = None,
        error_type: type[RpcError] = RpcError,
        room: Room | None = None,
    ) -> None:
        """`abandoned` is called when a task that waits for a message is cancelled, `failed` when a message cannot be
        decoded; an `error_type` is raised then. `room`: for long messages, with this as their holder until the next
        one is taken."""
        self._runtime = runtime
        self._connection: Connection | None = None
        self._stream: Stream | None = None
        self.reader = reader
        self._decoder = decoder
        self._decode = decoder.decode
        self._inline_bytes = decoder.inline_bytes
        self._abandoned = abandoned
        self._failed = failed
        self._error_type = error_type
        self._room = room
        self.received = 0
        """Messages that have come."""
        self._messages: deque[bytes] = deque()
        self._packed = bytearray()  # further messages, as they travelled: as objects small ones take ten times as much
        self.ended = False
        """No more will come."""
        self._error: BaseException | None = None
        self._waiter: Future[None] | None = None
        self.task: Resumable | None = None
        """That of the handler, where messages are handed to it as they come and not a turn of the loop later."""

    def attach(self, connection: Connection, stream: Stream) -> None:
        """The stream that messages come from is open."""
        self._connection = connection
        self._stream = stream

    def feed(self, data: bytes) -> None:
        """DATA has come. Raises `RpcError` as `MessageReader` does."""
        reader = self.reader
        if not self._messages and not self._packed:
            message = reader.whole(data)
            if message is not None:
                self.received += 1
                if self._waiter is None or self.task is None or not self.task.resume(message):
                    self._messages.append(message)
                    self._wake()
                return
        messages = reader.feed(data, 0 if self._packed else _CUT_MESSAGES - len(self._messages))
        if messages or reader.uncut_count:
            self.received += len(messages)
            self._messages.extend(messages)
            if reader.uncut_count:
                self.received += reader.uncut_count
                self._packed += reader.uncut
                reader.uncut, reader.uncut_count = b"", 0
            if self._waiter is not None:
                self._hand_over()
        elif self._waiter is not None:
            self._expect()

    def _hand_over(self) -> None:
        """Several messages have come, and somebody waits for the first."""
        if self.task is not None and self._messages:
            message = self._messages.popleft()
            if self.task.resume(message):
                return
            self._messages.appendleft(message)
        self._wake()

    def _expect(self) -> None:
        """Somebody waits for the next message: let the rest of it come, if its window is too narrow for it. Not before:
        what is granted for it must not be held by messages that nobody takes."""
        missing_bytes = self.reader.missing_bytes
        if missing_bytes:
            assert self._connection is not None
            assert self._stream is not None
            self._connection.engine.expect(self._stream, missing_bytes)
            self._connection.wake()

    @property
    def waiting(self) -> bool:
        """Whether there are messages that nobody has taken."""
        return bool(self._messages or self._packed)

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return self.reader.partial

    def end(self, error: BaseException | None = None) -> None:
        """No more will come. An error is raised once the messages before it were taken."""
        if not self.ended:
            self.ended = True
            self._error = error
            self._abandoned = self._failed = None  # methods of the call that holds this
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[M]:
        return self

    async def take(self, keeper: object = None) -> M:
        """The next message, as `__anext__` gives it. `keeper` lives as long as this waits."""
        messages = self._messages
        message: bytes | None = None
        while not messages:
            if self._packed:
                self._cut()
                break
            if self.ended:
                if self._error is not None:
                    raise copy(self._error)  # one that was raised holds whoever raised it, by its traceback
                raise StopAsyncIteration
            waiter = None if self.task is None else self.task.parking()
            if self._waiter is not None and not self._waiter.done():
                raise UsageError("two tasks wait for the messages of one call")
            self._waiter = waiter or self._runtime.future()
            if self.reader.size_bytes:
                self._expect()
            try:
                if waiter is None:
                    await self._waiter
                else:
                    assert self.task is not None
                    message = await self.task.park()
                    self._waiter = None
                    if message is not None:
                        break
            except BaseException:
                if self._abandoned is not None:
                    self._abandoned()
                raise
        if message is None:
            message = messages.popleft()
        size_bytes = PREFIX_BYTES + len(message)
        try:
            if message.__class__ is bytes and size_bytes <= self._inline_bytes:
                if self._connection.engine.consumed(self._stream, size_bytes):  # type: ignore[union-attr, arg-type]
                    self._connection.wake()  # type: ignore[union-attr]
                return self._decode(message)
            return await self._take_long(message, size_bytes)
        except CodecError as error:
            failure = self._error_type(StatusCode.INTERNAL, f"a message could not be decoded: {error}")
        except RpcError as error:
            failure = self._error_type(error.code, error.message)
        self.discard()
        if self._failed is not None:
            self._failed(failure)
        self.ended = True
        self._error = copy(failure)
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame, which must not hold it

    __anext__ = take

    async def arrived(self, keeper: object = None) -> None:
        """Until there is a message to take, or there will be none. Cancelling who waits abandons nothing. `keeper` as
        for `take`."""
        while not (self._messages or self._packed or self.ended):
            if self._waiter is not None and not self._waiter.done():
                raise UsageError("two tasks wait for the messages of one call")
            self._waiter = waiter = self._runtime.future()
            if self.reader.size_bytes:
                self._expect()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None

    def take_short(self) -> bytes | None:
        """The next message, where that is here, plain, and short enough to be decoded at once; None where
        `take` has to be awaited. For who never waits here."""
        if self._packed and not self._messages:
            self._cut()
        if not self._messages:
            return None
        message = self._messages[0]
        size_bytes = PREFIX_BYTES + len(message)
        if message.__class__ is not bytes or size_bytes > self._inline_bytes:
            return None
        self._grant(size_bytes)
        return self._messages.popleft()

    async def _take_long(self, message: bytes, size_bytes: int) -> M:
        """One that is long or compressed, and travelled in so many bytes."""
        inflate = None
        if message.__class__ is not bytes:
            plain = self.reader.plain_if_short(message, self._decoder.inline_inflate_bytes)
            if plain is None:
                inflate = self.reader.plain
            else:
                message = plain
        if inflate is None and not self._decoder.is_heavy(message):
            decoded, held_bytes = self._decode(message), len(message)
        else:
            decoded, held_bytes = await self._decode_in_thread(message, inflate)
        self._grant(size_bytes)  # not before: what waits for the thread counts as unread
        if self._room is not None and held_bytes > self._inline_bytes:
            if not self._room.hold(self, held_bytes):
                raise RpcError(StatusCode.RESOURCE_EXHAUSTED, self._room.refusal)
            self._become(HoldingMessages)
        return decoded

    async def _decode_in_thread(self, message: bytes, inflate: Callable[[bytes], bytes] | None) -> tuple[M, int]:
        assert self._connection is not None
        try:
            return await self._decoder.decoded(self._connection.thread_turns, message, inflate)
        except (CodecError, RpcError):
            raise
        except BaseException:  # the task was cancelled
            if self._abandoned is not None:
                self._abandoned()
            raise

    def _cut(self) -> None:
        """Make messages of the first few that are packed."""
        packed = self._packed
        at = 0
        for _ in range(_CUT_MESSAGES):
            if at == len(packed):
                break
            compressed, size = unpack_prefix(packed, at)
            start = at + PREFIX_BYTES
            at = start + size
            message = bytes(packed[start:at])
            self._messages.append(Compressed(message) if compressed else message)
        del packed[:at]

    def _grant(self, size_bytes: int) -> None:
        assert self._connection is not None
        assert self._stream is not None
        if self._connection.engine.consumed(self._stream, size_bytes):
            self._connection.wake()

    def _become(self, kind: type[IncomingMessages[M]]) -> None:
        self.__class__ = kind

    def let_go(self) -> None:
        """Whoever took the last message holds it no longer."""

    def discard(self) -> None:
        """Nobody will take the rest: drop it."""
        self._messages.clear()
        self._packed.clear()


class HoldingMessages(IncomingMessages[M]):
    """Whoever takes them holds a long one, until the next is given to it. Those that never come to this have no test
    for it on their way."""

    __slots__ = ()

    async def take(self, keeper: object = None) -> M:
        room = self._room
        assert room is not None
        self._become(IncomingMessages)
        try:
            message = await IncomingMessages.take(self, keeper)
        except BaseException:
            self._become(HoldingMessages)
            raise
        if self.__class__ is IncomingMessages:  # it was a short one
            room.leave(self)
        return message

    __anext__ = take

    def let_go(self) -> None:
        assert self._room is not None
        self._become(IncomingMessages)
        self._room.leave(self)


class OutgoingMessages:
    """One call's messages to its peer."""

    __slots__ = ("_connection", "_ended", "_limit_bytes", "_stream", "_turn_over", "_waiters")

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._limit_bytes = connection.config.send_buffer_bytes
        self._ended = False
        self._turn_over = False
        self._waiters: list[Future[None]] = []

    async def send(self, data: bytes) -> None:
        """Queue one message as framed, then as `sent`."""
        self._connection.engine.send_data(self._stream, data)
        await self.sent(len(data))

    def end(self) -> None:
        """END_STREAM, behind what is queued."""
        self._connection.engine.send_data(self._stream, b"", end_stream=True)
        self._connection.wake()

    async def sent(self, size_bytes: int) -> None:
        """So much DATA was queued: returns when the peer's windows and the transport leave room for more."""
        if self.must_wait(size_bytes):
            await self.wait()

    def must_wait(self, size_bytes: int) -> bool:
        """So much DATA was queued. True when `wait` is to be awaited before more is."""
        connection = self._connection
        self._turn_over = connection.wrote(size_bytes)
        return self._turn_over or self._stream.queued_bytes > self._limit_bytes or connection.congested

    async def wait(self) -> None:
        """Until others have had their turn, and the peer's windows and the transport leave room for more."""
        connection = self._connection
        if self._turn_over:
            await connection.runtime.sleep(0)  # this sender may never have to wait
        if self._stream.queued_bytes > self._limit_bytes or connection.congested:
            await self._drained()

    async def _drained(self) -> None:
        stream = self._stream
        connection = self._connection
        while not self._ended and not connection.lost:
            if stream.queued_bytes > self._limit_bytes and not stream.closed:
                waiter = connection.runtime.future()
            elif connection.congested:
                waiter = connection.uncongested()
            else:
                return
            self._waiters = [each for each in self._waiters if not each.done()]
            self._waiters.append(waiter)
            await waiter

    def close(self) -> None:
        """The call has ended, though its stream may be open still: nothing waits for room any more."""
        self._ended = True
        self.on_writable()

    def on_writable(self) -> None:
        """The stream's queue ran empty, or the stream is gone: let senders go on."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
