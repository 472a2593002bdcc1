"""The two kinds of calls on a server: those with one request, and those with a stream of them. See `call`.

Imports `call` and what is below it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import Any, Final

from wire.errors import CodecError
from wire.http2.engine import HeaderList, Stream
from wire.messages import IncomingMessages
from wire.outgoing import ROOM, OutgoingMessages
from wire.rpc.framing import KNOWN_PREFIXES, PREFIX_BYTES, PREFIXES, MessageReader, pack_prefix, unpack_prefix
from wire.server.call import ServerCall
from wire.server.connection import ServerConnection
from wire.server.observed import ObservedCall
from wire.status import RpcError, StatusCode
from wire.transport.begun import Begun

_WAITS: Final = 100  # a task that is begun before it is made costs a third more if it waits
_UNTIMED: Final = 15  # of sixteen


class UnaryRequestCall(ServerCall):
    """A call with one request."""

    __slots__ = ("_request", "_unread_bytes")

    def on_data(self, data: bytes, end_stream: bool) -> None:
        size = len(data) - PREFIX_BYTES
        # One frame with one whole message, uncompressed: as a number, its prefix is the message's length.
        if (
            end_stream
            and self._reader is None
            and int.from_bytes(data[:PREFIX_BYTES], "big") == size
            and 0 <= size <= self.connection.max_receive_bytes
        ):
            connection = self.connection
            if connection.engine.held_bytes > connection.hold_at_bytes and connection.hold(
                self, partial(self._go_on, data[PREFIX_BYTES:])
            ):
                return
            if size > self.route.inline_bytes:
                self._handle_long(data[PREFIX_BYTES:])
            else:
                self._handle(data[PREFIX_BYTES:])
        else:
            self._collect(data, end_stream)

    def _collect(self, data: bytes, end_stream: bool) -> None:
        """A request in several frames, a compressed one, or one that is wrong."""
        if self._finished:
            self.connection.engine.consumed(self.stream, len(data))
            return
        if self._reader is None:
            self._reader = MessageReader(self.connection.max_receive_bytes, self.head.decompress)
            self._request: list[bytes] = []
        try:
            self._request += self._reader.feed(data, 2)
        except RpcError as error:
            self.fail(error.code, error.message)
            return
        if len(self._request) + self._reader.partial > 1:
            self.fail(StatusCode.UNIMPLEMENTED, "the method takes one request, and more than one came")
        elif end_stream:
            self.on_end()
        else:  # one byte more than the message has shows that there is another
            self.connection.engine.expect(self.stream, self._reader.missing_bytes + 1)

    def on_end(self) -> None:
        if self._finished:
            return
        if self._reader is not None and self._reader.partial:
            self.fail(StatusCode.INTERNAL, "the request ended in the middle of a message")
        elif self._reader is None or not self._request:
            self.fail(StatusCode.UNIMPLEMENTED, "the method takes one request, and none came")
        else:
            message = self._request.pop()
            connection = self.connection
            if connection.engine.held_bytes <= connection.hold_at_bytes or not connection.hold(
                self, partial(self._go_on, message)
            ):
                self._go_on(message)

    def _go_on(self, message: bytes) -> None:
        """The whole request is here, and there is room for the reply."""
        if self._reader is None:  # it came in one frame
            self._handle_long(message)
            return
        self._unread_bytes = PREFIX_BYTES + len(message)
        if message.__class__ is bytes:
            self._handle_long(message)
            return
        try:
            plain = self._reader.plain_if_short(message, self.route.decoder.inline_inflate_bytes)
        except RpcError as error:
            self.fail(error.code, error.message)
            return
        if plain is None:
            self._to_thread(message, self._reader.plain)
        else:
            self._handle_long(plain)

    def _handle_long(self, message: bytes) -> None:
        """A request that may be heavy: then it goes through the thread."""
        if self.route.decoder.is_heavy(message):
            self._to_thread(message)
        else:
            self._grant()
            self._handle(message)
            if self._task is not None and len(message) > self.route.inline_bytes:  # it holds the message
                self._hold(len(message))

    def _to_thread(self, message: bytes, inflate: Callable[[bytes], bytes] | None = None) -> None:
        connection = self.connection
        connection.running.add(self)
        self.route.decoder.decode_in_thread(
            connection.thread_turns,
            self,
            message,
            lambda: not self._finished,
            self._handle_decoded,
            inflate,
            partial(self._postponed, message, inflate),
        )

    def _postponed(self, message: bytes, inflate: Callable[[bytes], bytes] | None) -> bool:
        """It is the request's turn in the thread. True when it waits for room for the reply instead."""
        connection = self.connection
        if connection.engine.held_bytes <= connection.hold_at_bytes or not connection.hold(
            self, partial(self._to_thread, message, inflate)
        ):
            return False
        connection.handler_ended(self)
        return True

    def _hold(self, size_bytes: int) -> bool:
        """The handler has, or is about to have, so long a request. False when the call was refused for that."""
        held = self.connection.held
        if held.hold(self, size_bytes):
            return True
        self.fail(StatusCode.RESOURCE_EXHAUSTED, held.refusal)
        self.cancel()
        return False

    def _start_long(self, request: Any) -> None:
        """There is room for the reply to a request that came from the thread."""
        self._start(request)
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        """The handler has returned, unless it goes on in a task or a thread."""
        if self._task is None:
            self.connection.handler_ended(self)

    def _grant(self) -> None:
        """Nothing holds the request as it travelled any more. One that came in one frame was granted then."""
        if self._reader is not None:
            self.connection.engine.consumed(self.stream, self._unread_bytes)

    def cancel(self) -> None:
        super().cancel()
        self.connection.thread_turns.drop(self)

    def _handle(self, message: bytes) -> None:
        try:
            request = self.route.decode(message)
        except CodecError as error:
            self._refuse(error)
            return
        self._start(request)

    def answer(self, message: bytes) -> bytes:
        # As `_handle` and what it comes to, for a plain handler in one piece: the shortest way there is.
        route = self.route
        decode, encode = route.decode, route.encode  # called as attributes, they would be looked for as methods first
        connection = self.connection
        try:
            request = decode(message)
        except CodecError as error:
            self._refuse(error)
            return b""
        context = connection.context.copy()
        try:
            response = context.run(route.handler, request, self)
            if response.__class__ is CoroutineType:
                response = self._begin(response, context)
            if response.__class__ is route.response_type and self._plain and self.__class__ is route.call_type:
                try:
                    message = encode(response)
                except CodecError as error:
                    self._unencoded(error)
                    return b""
                size = len(message)
                if size <= connection.short_reply_bytes:
                    self._finished = True
                    return (PREFIXES[size] if size < KNOWN_PREFIXES else pack_prefix(0, size)) + message
            ServerCall._take(self, response, context)
        except BaseException as error:
            self._fail_within(error)
        return b""

    def _take(self, response: Any, context: Context) -> None:
        if response.__class__ is CoroutineType:
            response = self._begin(response, context)
        super()._take(response, context)

    def _begin(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        """Run a handler's coroutine up to its first wait where others mostly ended without one, and soon: such need no
        task, and no share of a turn. As `Runtime.begin`."""
        route = self.route
        connection = self.connection
        if route.waits:
            route.waits -= 1
            return coroutine
        turns = connection.turns
        if not turns.free or route.streams_responses:
            return coroutine
        route.begun = count = route.begun + 1
        began_at = 0.0 if count & _UNTIMED else perf_counter()
        begun = connection.runtime.begin(coroutine, context)
        if begun.__class__ is Begun or (began_at and perf_counter() - began_at > turns.long_s):
            route.waits = _WAITS
        return begun

    def _handle_decoded(self, request: Any, error: CodecError | RpcError | None, size_bytes: int) -> None:
        """A heavy request comes from the thread."""
        self._grant()
        if not self._finished:
            connection = self.connection
            if error is None:
                if self._hold(size_bytes) and (
                    connection.engine.held_bytes <= connection.hold_at_bytes
                    or not connection.hold(self, partial(self._start_long, request))
                ):
                    self._start(request)
            elif isinstance(error, RpcError):
                self.fail(error.code, error.message)
            else:
                self._refuse(error)
        self._leave_if_idle()

    def _refuse(self, error: CodecError) -> None:
        # statuscodes.md: "Error parsing request proto" is INTERNAL.
        self.fail(StatusCode.INTERNAL, f"the request could not be decoded: {error}")


class StreamRequestCall(ServerCall):
    """A call with a stream of requests: its handler starts with the first of them, or without any at the loop's next
    turn, and takes them as they come."""

    __slots__ = ("_incoming", "_opened_at", "_started")

    def __init__(self, connection: ServerConnection, stream: Stream, headers: HeaderList) -> None:
        super().__init__(connection, stream, headers)
        self._opened_at = connection.heard_at
        reader = MessageReader(connection.max_receive_bytes, self.head.decompress)
        self._incoming = IncomingMessages(connection.runtime, reader, self.route.decoder, room=connection.held)
        self._incoming.attach(connection, stream)
        self._started = False
        connection.start_soon(self)

    @property
    def holder(self) -> object:
        return self._incoming

    def start(self) -> None:
        if not self._started and not self._finished:
            self._started = True
            self._start(self._incoming)

    def _spawn(self, run: Coroutine[Any, Any, None], context: Context, response: Any = None) -> None:
        if self._incoming.ended:  # there is nothing to wait for: it need not go on at once
            super()._spawn(run, context, response)
            return
        connection = self.connection
        resumable = connection.runtime.resumable(run, context)
        if resumable is None:
            super()._spawn(run, context, response)
            return
        connection.running.add(self)
        self._incoming.task, start = resumable
        turns = connection.turns
        if turns.free:
            turns.free -= 1
            self._task = start()
        else:
            self._spawn_in_turn(start, run, response)

    def _outgoing(self) -> OutgoingMessages:
        return OutgoingMessages(self.connection, self.stream, self._incoming)

    def on_data_within(self, data: bytes, start: int, stop: int) -> bytes | None:
        compressed, size = unpack_prefix(data, start)
        if size == stop - start - PREFIX_BYTES and not compressed:
            return self.on_message(data[start + PREFIX_BYTES : stop])
        incoming = self._incoming
        if self._finished or not incoming.reader.add(data, start, stop):
            message = incoming.reader.whole(data, start, stop)
            if message is None:
                self.on_data(data[start:stop], False)
            else:
                self._receive(incoming.feed_whole, message, False)
        return None

    def on_message(self, message: bytes) -> bytes | None:
        incoming = self._incoming
        if len(message) >= incoming.wanted_bytes:  # nobody waits for it, or it is long
            self._receive(incoming.feed_whole, message, False)
            return None
        incoming.wanted_bytes = -1
        incoming.received += 1
        incoming.handed = message
        outgoing = self.outgoing
        if (
            outgoing is None
            or outgoing.unsent is not None  # messages that the answer has its place behind
            or self.stream.queued_bytes
            or self.connection.turn_room <= 0
        ):
            if not incoming.task.resume():  # type: ignore[union-attr]
                self._hand_later()
            return None
        outgoing.unsent = ROOM
        if not incoming.task.resume():  # type: ignore[union-attr]
            self._hand_later()
        answer: Any = outgoing.unsent
        outgoing.unsent = None
        if answer.__class__ is bytes:
            return answer
        if answer:
            self.connection.engine.send_data(self.stream, answer)
        return None

    def _hand_later(self) -> None:
        """The handler's task cannot go on now with the message that was handed to it."""
        incoming = self._incoming
        incoming.messages.append(incoming.handed)  # type: ignore[arg-type]
        incoming.handed = None
        incoming.task.wake()  # type: ignore[union-attr]

    def on_data(self, data: bytes, end_stream: bool) -> None:
        self._receive(self._incoming.feed, data, end_stream)

    def _receive(self, feed: Callable[[bytes], None], data: bytes, end_stream: bool) -> None:
        """`feed`: of the incoming messages, what takes `data`."""
        if self._finished:
            self.connection.engine.consumed(self.stream, len(data))
            return
        try:
            feed(data)
        except RpcError as error:
            self.fail(error.code, error.message)
            self.cancel()
            return
        if end_stream:
            self.on_end()
        elif not self._started:
            self.start()

    def on_reset(self, code: int, by_peer: bool) -> bool:
        # Headers that a reset follows in the same read started a handler that nobody ever waited for. A later reset,
        # as by a client whose deadline has passed, ends one of the handlers that `running` bounds.
        waited = self._incoming.received > 0 or self.connection.heard_at > self._opened_at
        return super().on_reset(code, by_peer) and waited

    def on_end(self) -> None:
        if self._incoming.partial:
            self.fail(StatusCode.INTERNAL, "the requests ended in the middle of a message")
            self.cancel()
        else:
            self._incoming.end()
            if not self._started:
                self.start()

    def _finish(self) -> None:
        super()._finish()
        if self.outgoing is not None:
            self.outgoing.unsent = None
        incoming = self._incoming
        if not incoming.ended:
            incoming.end(RpcError(StatusCode.CANCELLED, "the call has ended"))
        incoming.discard()


class ObservedUnaryRequestCall(ObservedCall, UnaryRequestCall):
    """With done callbacks."""

    __slots__ = ()


class ObservedStreamRequestCall(ObservedCall, StreamRequestCall):
    """With done callbacks."""

    __slots__ = ()


UnaryRequestCall.observed = ObservedUnaryRequestCall
StreamRequestCall.observed = ObservedStreamRequestCall
