"""The messages that one streaming call receives, on their way to whoever iterates over them.

They are bounded: those that nobody has taken keep their bytes off the flow-control window. Imports `connection`,
`message_decoder`, `http2.engine`, `rpc.framing`, `transport.begun` and `errors`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from copy import copy
from typing import Any, Generic, TypeVar

from wire.connection import Connection
from wire.errors import CodecError, UsageError
from wire.http2.engine import Stream
from wire.message_decoder import MessageDecoder, Room
from wire.rpc.framing import PREFIX_BYTES, MessageReader, cut_packed, frame, unpack_prefix
from wire.status import RpcError, StatusCode
from wire.transport.begun import begun_generator
from wire.transport.contract import Future, Resumable, Runtime

M = TypeVar("M")

_CUT_MESSAGES = 64  # that wait as objects of their own
CREDIT_BYTES = 4096
"""A sixteenth of the least window: credit for less than this may wait while messages are taken."""


class IncomingMessages(Generic[M]):
    """Received messages, decoded as they are taken. For one task, by `async for` or `anext`.

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
        "_packed",
        "_room",
        "_runtime",
        "_short_bytes",
        "_stream",
        "_waiter",
        "_wants_bytes",
        "ended",
        "handed",
        "messages",
        "reader",
        "received",
        "task",
        "wanted_bytes",
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
        self._short_bytes = min(decoder.inline_bytes - PREFIX_BYTES, reader.max_bytes) + 1
        self._abandoned = abandoned
        self._failed = failed
        self._error_type = error_type
        self._room = room
        self.received = 0
        """Messages that have come."""
        self.handed: bytes | None = None
        """One that has come for a task that waits for it, which goes on now."""
        self.messages: deque[bytes] = deque()
        """Those that nobody has taken; `_packed` has further ones."""
        self._packed = bytearray()  # as they travelled: as objects small ones take ten times as much
        self.ended = False
        """No more will come."""
        self._error: BaseException | None = None
        self._waiter: Future[None] | None = None
        self.task: Resumable | None = None
        """That of the handler, where messages are handed to it as they come and not a turn of the loop later."""
        self._wants_bytes = self._short_bytes  # of `wanted_bytes`, when the task comes to wait; 0: it is to look first
        self.wanted_bytes = -1
        """That task waits when this is not negative. A whole message that is shorter may be `handed` over at once."""

    def attach(self, connection: Connection, stream: Stream) -> None:
        """The stream that messages come from is open."""
        self._connection = connection
        self._stream = stream

    def feed(self, data: bytes) -> None:
        """DATA has come. Raises `RpcError` as `MessageReader` does."""
        if not data:
            return
        reader = self.reader
        begun = reader.size_bytes >= PREFIX_BYTES
        if not self.messages and not self._packed and (message := reader.whole(data, 0, len(data))) is not None:
            self._add(message)
            return
        messages = reader.feed(data, 0 if self._packed else _CUT_MESSAGES - len(self.messages))
        uncut_count = reader.uncut_count
        if uncut_count:
            self._packed += reader.uncut
            reader.uncut, reader.uncut_count = b"", 0
        self._wants_bytes = 0 if reader.size_bytes or self._packed or self.ended else self._short_bytes
        if messages or uncut_count:
            self.received += len(messages) + uncut_count
            self.messages.extend(messages)
            self._come()
        elif not begun and (self._waiter is not None or self.wanted_bytes >= 0):
            self.wanted_bytes = min(self.wanted_bytes, 0)
            self.expect()

    def feed_within(self, data: bytes, start: int, stop: int) -> None:
        """As `feed` with `data[start:stop]`, which has the prefix of a message at least."""
        if self.reader.add(data, start, stop):
            return
        compressed, size = unpack_prefix(data, start)
        if size == stop - start - PREFIX_BYTES and not compressed:
            self.feed_message(data[start + PREFIX_BYTES : stop])
        elif (message := self.reader.whole(data, start, stop)) is not None:
            self.feed_whole(message)
        else:
            self.feed(data[start:stop])

    def feed_message(self, message: bytes) -> None:
        """As `feed` with DATA that is this message behind its prefix."""
        if len(message) < self._wants_bytes and len(self.messages) < _CUT_MESSAGES:
            self.received += 1
            self.messages.append(message)
            waiter = self._waiter
            if waiter is None:
                self._come()
            else:
                self._waiter = None
                if not waiter.done():
                    waiter.set_result(None)
        else:
            self.feed_whole(message)

    def feed_whole(self, message: bytes) -> None:
        """As `feed_message`, where whoever waits for it has its turn with others that wait."""
        if len(message) <= self.reader.max_bytes and not (self.messages or self._packed or self.reader.size_bytes):
            self._add(message)
        else:
            self.feed(frame(message))

    def _add(self, message: bytes) -> None:
        """A whole message has come, before which there are none."""
        self._wants_bytes = self._short_bytes
        self.received += 1
        self.messages.append(message)
        self._come()

    def _come(self) -> None:
        """There are messages: let whoever waits for one go on, now where that is possible."""
        if self.wanted_bytes >= 0:
            self.wanted_bytes = -1
            if not self.task.resume():  # type: ignore[union-attr]
                self.task.wake()  # type: ignore[union-attr]
        else:
            self._wake()

    def expect(self) -> None:
        """Somebody waits for the next message: let the rest of it come, if its window is too narrow for it. Not before:
        what is granted for it must not be held by messages that nobody takes."""
        missing_bytes = self.reader.missing_bytes
        if missing_bytes:
            self._connection.engine.expect(self._stream, missing_bytes)  # type: ignore[union-attr, arg-type]
            self._connection.wake()  # type: ignore[union-attr]

    @property
    def waiting(self) -> bool:
        """Whether there are messages that nobody has taken."""
        return bool(self.messages or self._packed)

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return self.reader.partial

    def end(self, error: BaseException | None = None) -> None:
        """No more will come. An error is raised once the messages before it were taken."""
        if not self.ended:
            self.ended = True
            self._wants_bytes = 0
            self._error = error
            self._abandoned = self._failed = None  # methods of the call that holds this
            if self.wanted_bytes >= 0:
                self.wanted_bytes = -1
                self.task.wake()  # type: ignore[union-attr]
            else:
                self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and self._connection is not None:
            self._connection.release([waiter])
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[M]:
        return self.each()

    def each(self, keeper: object = None) -> AsyncIterator[M]:
        """What an `async for` goes over. `keeper` lives as long as that."""
        return begun_generator(self._each(keeper))

    async def _each(self, keeper: object) -> AsyncGenerator[M, None]:
        """The messages for an `async for`: as `take` gives them, with what they need kept at hand."""
        messages = self.messages
        popleft = messages.popleft
        decode = self._decode
        most_bytes = self._most_bytes()
        taken_bytes = 0
        message: Any = None
        yield message  # to `__aiter__`
        task = self.task
        try:
            while True:
                if messages:
                    message = popleft()
                else:
                    message = None  # whoever took it may drop it
                    wanted_bytes = self._wants_bytes
                    if wanted_bytes and task is not None and task.parking:
                        self.wanted_bytes = wanted_bytes
                        try:
                            await task.park
                        except BaseException:
                            self._given_up()
                            raise
                        message, self.handed = self.handed, None
                        if message is None:
                            continue
                    else:
                        if self._packed:
                            await self._cut_in_turn()
                        elif self.ended:
                            if self._error is not None:
                                raise copy(self._error)  # one that was raised holds whoever raised it, by its traceback
                            return
                        elif wanted_bytes and task is None and self._waiter is None:  # as `_wait` does
                            self._waiter = waiter = self._runtime.future()
                            try:
                                await waiter
                            except BaseException:
                                self._given_up()
                                raise
                        else:
                            self._grant(taken_bytes)
                            taken_bytes = 0
                            await self._wait()
                        task = self.task
                        if self.reader.decompress is not None:  # a client learns of that when it waits
                            most_bytes = -1
                        continue
                size = len(message)
                if size > most_bytes:
                    messages.appendleft(message)
                    message = await self.take()
                    most_bytes = self._most_bytes()
                    yield message
                    continue
                taken_bytes += size + PREFIX_BYTES
                try:
                    message = decode(message)
                except CodecError as error:
                    failure = self._undecoded(error)
                else:
                    if taken_bytes >= CREDIT_BYTES:
                        self._grant(taken_bytes)
                        taken_bytes = 0
                    yield message
                    continue
                try:
                    raise failure
                finally:
                    del failure
        finally:
            self._grant(taken_bytes)

    def _most_bytes(self) -> int:
        """Messages of so many bytes are decoded at once; -1 where that is to be looked into."""
        if self.reader.decompress is not None or self.__class__ is HoldingMessages:
            return -1
        return self._inline_bytes - PREFIX_BYTES

    async def take(self, keeper: object = None) -> M:
        """The next message, as `__anext__` gives it. `keeper` lives as long as this waits."""
        messages = self.messages
        while not messages:
            if self._packed:
                await self._cut_in_turn()
                continue
            if self.ended:
                if self._error is not None:
                    raise copy(self._error)
                raise StopAsyncIteration
            await self._wait()
        message = messages.popleft()
        size_bytes = PREFIX_BYTES + len(message)
        try:
            if message.__class__ is bytes and size_bytes <= self._inline_bytes:
                if self._connection.engine.consumed(self._stream, size_bytes):  # type: ignore[union-attr, arg-type]
                    self._connection.wake()  # type: ignore[union-attr]
                return self._decode(message)
            return await self._take_long(message, size_bytes)
        except (CodecError, RpcError) as error:
            failure = self._undecoded(error)
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame, which must not hold it

    __anext__ = take

    async def _wait(self) -> None:
        """Until a message has come or the end, perhaps."""
        if self.wanted_bytes >= 0 or (self._waiter is not None and not self._waiter.done()):
            raise UsageError("two tasks wait for the messages of one call")
        waiter: Awaitable[None]
        if self.task is not None and self.task.parking:
            self.wanted_bytes = self._wants_bytes
            waiter = self.task.park
        else:
            self._waiter = waiter = self._runtime.future()
        if self.reader.size_bytes:
            self.expect()
        try:
            await waiter
        except BaseException:
            self._given_up()
            raise
        if self.handed is not None:
            self.messages.append(self.handed)
            self.handed = None

    def _given_up(self) -> None:
        """The task that waits is cancelled."""
        self.wanted_bytes = -1
        if self._abandoned is not None:
            self._abandoned()

    def _undecoded(self, error: CodecError | RpcError) -> RpcError:
        """A message is no good: the error for whoever takes it. There will be no other."""
        if isinstance(error, RpcError):
            failure = self._error_type(error.code, error.message)
        else:
            failure = self._error_type(StatusCode.INTERNAL, f"a message could not be decoded: {error}")
        self.discard()
        if self._failed is not None:
            self._failed(failure)
        self.ended = True
        self._wants_bytes = 0
        self._error = copy(failure)
        return failure

    async def arrived(self, keeper: object = None) -> None:
        """Until there is a message to take, or there will be none. Cancelling who waits abandons nothing. `keeper` as
        for `take`."""
        while not (self.messages or self._packed or self.ended):
            if self.wanted_bytes >= 0 or (self._waiter is not None and not self._waiter.done()):
                raise UsageError("two tasks wait for the messages of one call")
            self._waiter = waiter = self._runtime.future()
            if self.reader.size_bytes:
                self.expect()
            try:
                await waiter
            finally:
                if self._waiter is waiter:
                    self._waiter = None

    def take_light(self) -> list[bytes]:
        """The next few messages, where they are here, plain, and can be decoded in this turn; where there are none,
        `take` has to be awaited. `taken` follows: they count as unread until then."""
        if self._packed and not self.messages and not self._connection.late():  # type: ignore[union-attr]
            self._cut()
        messages = self.messages
        if not messages:
            return []
        short_bytes = self._inline_bytes - PREFIX_BYTES
        if self.reader.decompress is None and max(map(len, messages)) <= short_bytes:
            taken = list(messages)
            messages.clear()
            return taken
        message = messages[0]
        if type(message) is bytes and (len(message) <= short_bytes or not self._decoder.is_heavy(message)):
            return [messages.popleft()]
        return []

    def taken(self, messages: list[bytes], count: int) -> None:
        """Of what `take_light` gave, so many were handled. The others are the next again."""
        if count < len(messages):
            self.messages.extendleft(reversed(messages[count:]))
            messages = messages[:count]
        self._grant(sum(map(len, messages)) + PREFIX_BYTES * count)

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
        try:
            return await self._decoder.decoded(self._connection.thread_turns, message, inflate)  # type: ignore[union-attr]
        except (CodecError, RpcError):
            raise
        except BaseException:  # the task was cancelled
            if self._abandoned is not None:
                self._abandoned()
            raise

    def _cut(self) -> None:
        """Make messages of the first few that are packed."""
        self.messages.extend(cut_packed(self._packed, _CUT_MESSAGES))
        if not self._packed and not self.reader.size_bytes and not self.ended:
            self._wants_bytes = self._short_bytes

    async def _cut_in_turn(self) -> None:
        """The same, in a turn of the loop to come when this one has lasted long enough."""
        if self._connection.late():  # type: ignore[union-attr]
            await self._connection.later()  # type: ignore[union-attr]
        if self._packed:
            self._cut()

    def _grant(self, size_bytes: int) -> None:
        if size_bytes and self._connection.engine.consumed(self._stream, size_bytes):  # type: ignore[union-attr, arg-type]
            self._connection.wake()  # type: ignore[union-attr]

    def _become(self, kind: type[IncomingMessages[M]]) -> None:
        self.__class__ = kind

    def let_go(self) -> None:
        """Whoever took the last message holds it no longer."""

    def discard(self) -> None:
        """Nobody will take the rest: drop it."""
        self.messages.clear()
        self._packed.clear()
        self._wants_bytes = 0


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
        self._become(IncomingMessages)
        self._room.leave(self)  # type: ignore[union-attr]
