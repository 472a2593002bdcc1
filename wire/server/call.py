"""One call on a server, from its request's headers to its status.

The shortest way, a unary request that arrives whole and a plain handler, is `answer` (`request_calls`): there is no
task, no queue and no future. Imports `connection`'s layer and below.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType
from typing import Any, ClassVar, Final

from wire.connection import MESSAGE_COST
from wire.errors import CodecError, MetadataError, UsageError, is_cancellation, is_loops_own
from wire.http2.codes import MIN_MAX_FRAME_BYTES, ErrorCode
from wire.http2.engine import MOST_ANSWER_BYTES, HeaderList, Stream
from wire.metadata import Fields, MetadataInput, limited_fields
from wire.outgoing import ROOM, TOGETHER_BYTES, OutgoingMessages
from wire.rpc.framing import KNOWN_PREFIXES, PREFIX_BYTES, PREFIXES, MessageReader, frame, pack_prefix
from wire.rpc.headers import OK_TRAILER_FIELDS, status_response, status_trailers
from wire.server.connection import OK_HEADERS, OK_TRAILERS, ServerConnection
from wire.server.context import ServerContext
from wire.server.handler_threads import InThread
from wire.server.postponed import PostponedTask
from wire.server.responses import generator_of
from wire.server.route import Route
from wire.status import CallError, RpcError, StatusCode
from wire.transport.begun import Begun
from wire.transport.contract import Task

_log = logging.getLogger("wire.server")

_WHOLE_BYTES: Final = MIN_MAX_FRAME_BYTES - PREFIX_BYTES
"""Of a message, that are copied behind its prefix, to leave in one frame; the rest is sent without a copy."""


_SMALL_COST: Final = PREFIX_BYTES + MESSAGE_COST


def _raise(error: BaseException) -> None:
    raise error


class ServerCall(ServerContext):
    """What the connection does with the call; handlers see the `ServerContext` part."""

    __slots__ = ("_code", "_done_callbacks", "_message", "_reader", "_task", "outgoing", "route")

    observed: ClassVar[type[ServerCall] | None] = None
    """What a call of this class becomes when it gets a done callback."""

    route: Route[Any, Any]

    def __init__(self, connection: ServerConnection, stream: Stream, headers: HeaderList) -> None:
        self.connection = connection
        self.stream = stream
        self.headers = headers
        self.route = headers.parsed.route
        self.cancelled = False
        self._finished = False
        self._headers_sent = False
        self._plain = connection.compress is None  # nothing but the message itself makes up the response
        self._trailing: Fields = ()
        self._reader: MessageReader | None = None
        self._task: Task | None = None
        self.outgoing: OutgoingMessages | None = None
        timeout_s: float | None = headers.own
        self.deadline = None if timeout_s is None else connection.heard_at + timeout_s

    @property
    def holder(self) -> object:
        return self

    # What the connection reports.

    @abstractmethod
    def on_data(self, data: bytes, end_stream: bool) -> None:
        """DATA has come."""

    def on_data_within(self, data: bytes, start: int, stop: int) -> bytes | None:
        """As `on_data` with `data[start:stop]`, which does not end the stream. Gives DATA to send at once, or None."""
        self.on_data(data[start:stop], False)
        return None

    def on_message(self, message: bytes) -> bytes | None:
        """As `on_data_within`, with DATA that is a whole plain message, here without its prefix."""
        self.on_data(frame(message), False)
        return None

    @abstractmethod
    def on_end(self) -> None:
        """The request is complete, without DATA in its last frame."""

    def answer(self, message: bytes) -> bytes:
        """Calls with one request, which came whole, uncompressed and short, with room for the reply. Gives the reply's
        DATA; b"" where it comes later, or was sent."""
        raise NotImplementedError

    def start(self) -> None:
        """Call the handler of a call that waits for no more than its headers."""

    def on_trailers(self, trailers: HeaderList) -> None:
        """A request with trailers: gRPC gives them no meaning."""
        self.on_end()

    def on_reset(self, code: int, by_peer: bool) -> bool:
        """The stream is gone; returns whether a handler was given what it brought."""
        served = self._task is not None or self._finished
        self.cancel()
        return served

    def on_writable(self) -> None:
        if self._finished:
            self._finish()  # what had waited behind the client's window is out
        if self.outgoing is not None:
            self.outgoing.on_writable()

    def expire(self) -> None:
        """The deadline has passed. Trailers that would wait behind queued messages help nobody: then reset."""
        if self.stream.queued_bytes:
            self.connection.engine.reset(self.stream, ErrorCode.CANCEL)
        else:
            self.fail(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        self.connection.wake()
        self.cancel()

    def cancel(self) -> None:
        """Nobody waits for this call any more: end its handler."""
        self.cancelled = True
        if not self._finished:
            self.connection.calls_failed += 1
        self._finish()
        self.connection.drop(self)
        task = self._task
        if task.__class__ is PostponedTask:
            task.cancel()
        elif task is not None:
            self.connection.cancel_task(task)

    def add_done_callback(self, callback: Callable[[ServerContext], object]) -> None:
        if self._finished:
            self.connection.runtime.call_soon(self._tell, callback)
            return
        if self.observed is not None:  # the first: calls that nobody observes have no test for it on their way
            self._code: StatusCode | None = None
            self._message = ""
            self._done_callbacks: list[Callable[[ServerContext], object]] = []
            self.__class__ = self.observed
        self._done_callbacks.append(callback)

    def _tell(self, callback: Callable[[ServerContext], object]) -> None:
        try:
            callback(self)
        except Exception:
            _log.exception("%s: a done callback raised an exception", self.route.path)

    # What a handler sends itself.

    async def send(self, response: Any, *, compress: bool = True) -> None:
        if not self.route.streams_responses:
            raise UsageError(f"{self.route.path} has one response: return it, or send it by `send_last`")
        if self.outgoing is None:
            self.outgoing = self._outgoing()
        await self.outgoing.send(self._framed(self._encode_open(response), compress))

    def send_last(self, response: Any) -> None:
        self._send_unsent()
        self._send_with_ok(self._encode_open(response))
        self.connection.wake()

    def _encode_open(self, response: Any) -> bytes:
        """The bytes of a response that a handler sends. Raises as `ServerContext.send` does."""
        if self._finished:
            raise RpcError(StatusCode.CANCELLED, "the call has ended")
        message = self.route.encode(response)
        if len(message) > self.connection.max_send_bytes:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, self._too_long(message))
        return message

    def end(
        self, code: StatusCode = StatusCode.OK, message: str = "", *, trailing_metadata: MetadataInput | None = None
    ) -> None:
        if self._finished:
            return
        if trailing_metadata is not None:
            self.set_trailing_metadata(trailing_metadata)
        if code != StatusCode.OK or message:
            self.fail(code, message, self._trailing)
        elif self.route.streams_responses:
            self._succeed()
        else:
            raise UsageError(f"{self.route.path} has one response: end it well by `send_last`")
        self.connection.wake()

    def reset(self, error_code: int = ErrorCode.CANCEL) -> None:
        if not self._finished:
            self._send_unsent()
            self.connection.engine.reset(self.stream, ErrorCode(error_code))
            self._finish()
            self.connection.wake()

    # Waiting for room for its reply (`ServerConnection.hold`).

    def begin(self, what: Any) -> bool:
        """Go on with what `hold` was given: a function, or an awaitable and its context. True when a task does."""
        if isinstance(what, tuple):
            response, context = what
            self._spawn(self._run(response, waited=True), context, response)
        else:
            what()
        return self._task is not None

    # Ending.

    def fail(self, code: StatusCode, message: str, metadata: Fields = ()) -> None:
        """End the call with a status; does nothing on one that has ended."""
        if self._finished:
            return
        self._send_unsent()
        if code is not StatusCode.OK:
            self.connection.calls_failed += 1
        fields = status_trailers if self._headers_sent else status_response
        self.connection.engine.send_headers(self.stream, HeaderList(fields(code, message, metadata)), end_stream=True)
        self._finish()

    def _finish(self) -> None:
        self._finished = True
        self._plain = False
        if self.stream.closed:
            self.stream.call = None  # call and stream hold each other: without this they would wait for the collector
        if self.deadline is not None and not self.stream.queued_bytes:  # else the deadline frees what is queued
            self.connection.deadlines.discard(self)

    def _fail_with(self, error: BaseException) -> None:
        """The status for what a handler raised."""
        if isinstance(error, RpcError) and not isinstance(error, CallError):
            trailing = self._trailing
            if error.trailing_metadata is not None:
                try:
                    trailing = limited_fields(error.trailing_metadata, self.connection.max_metadata_bytes)
                except MetadataError as refusal:
                    _log.error("%s: the status goes without its metadata: %s", self.route.path, refusal)
            code = StatusCode.UNKNOWN if error.code == StatusCode.OK else error.code
            self.fail(code, error.message, trailing)
        elif is_cancellation(error, self.connection.runtime.cancelled):
            self.fail(StatusCode.CANCELLED, "the call was cancelled")
        elif not self._finished:
            _log.error("%s: the handler raised an exception", self.route.path, exc_info=error)
            self.fail(StatusCode.UNKNOWN, "the handler raised an exception")

    def _send_response(self, response: Any) -> None:
        """End the call with its one response."""
        if self._finished:
            return
        message = self._encode(response)
        if message is not None:
            self._send_with_ok(message)

    def _send_with_ok(self, message: bytes) -> None:
        if self._plain and len(message) <= _WHOLE_BYTES:
            data = pack_prefix(0, len(message)) + message
            self.connection.engine.send_reply(self.stream, OK_HEADERS, data, OK_TRAILERS)
            self._finish()
        else:
            self.connection.engine.send_data(self.stream, self._framed(message))
            self._succeed()

    def _encode(self, response: Any) -> bytes | None:
        """The response's bytes; None after failing the call because it has none."""
        try:
            message = self.route.encode(response)
        except CodecError as error:
            self._unencoded(error)
            return None
        if len(message) > self.connection.max_send_bytes:
            self.fail(StatusCode.RESOURCE_EXHAUSTED, self._too_long(message))
            return None
        return message

    def _unencoded(self, error: CodecError) -> None:
        _log.error("%s: the response cannot be encoded: %s", self.route.path, error)
        self.fail(StatusCode.INTERNAL, "the response could not be encoded")

    def _too_long(self, message: bytes) -> str:
        return f"response of {len(message)} bytes is over the server's limit of {self.connection.max_send_bytes}"

    def _framed(self, message: bytes, compress: bool = True) -> bytes | memoryview:
        """A message as DATA, whose headers are sent before it, and so is the beginning of a long one."""
        if not self._headers_sent:
            self._send_headers()
        if self._compress is None or not compress:
            return self._send_beginning(message) if len(message) > _WHOLE_BYTES else frame(message, None)
        return frame(message, self._compress)

    def _send_beginning(self, message: bytes) -> memoryview:
        """Send a frame's worth of a long message; gives the rest of it. A copy of 1 MiB behind its prefix would take
        a millisecond, where the memory is new."""
        connection = self.connection
        if self.outgoing is not None:
            self.outgoing.flush()
        connection.make_room()
        connection.engine.send_data(self.stream, pack_prefix(0, len(message)) + message[:_WHOLE_BYTES])
        return memoryview(message)[_WHOLE_BYTES:]

    def _send_unsent(self) -> None:
        """Messages that were put have gone to the engine, before something else does."""
        if self.outgoing is not None:
            self.outgoing.flush()

    def _succeed(self) -> None:
        if self._finished:
            return
        self._send_unsent()
        if not self._headers_sent:
            self._send_headers()
        trailers = HeaderList(OK_TRAILER_FIELDS + self._trailing) if self._trailing else OK_TRAILERS
        self.connection.engine.send_headers(self.stream, trailers, end_stream=True)
        self._finish()

    # Running handlers.

    def _start(self, request: Any) -> None:
        """Call the handler, and bring what it returns to the client.

        It runs in a copy of the context in which the server was entered, and so does its task: a context variable that
        it sets is gone with the call.
        """
        context = self.connection.context.copy()
        try:
            self._take(context.run(self.route.handler, request, self), context)
        except BaseException as error:
            self._fail_within(error)

    def _take(self, response: Any, context: Context) -> None:
        """What the handler returned."""
        route = self.route
        if response.__class__ is route.response_type:
            self._send_response(response)
        elif route.streams_responses:
            self._spawn(self._run_stream(response), context, response)
        elif response.__class__ is CoroutineType:
            self._spawn(self._run(response), context, response)
        elif response.__class__ is Begun:
            self.connection.running.add(self)
            self._task = response.spawn(self._run(response, waited=True))
        elif response.__class__ is InThread:
            self.connection.running.add(self)
            self._task = response
            response.give_to(self)
        elif isinstance(response, Awaitable):
            self._spawn(self._run(response), context)
        else:
            self._send_response(response)

    def _fail_within(self, error: BaseException) -> None:
        """A handler that runs within the event loop's callback has raised it. Let through, it would end the connection
        and all of its calls. What ends the program does so from a callback of its own, when this connection's other
        calls were answered."""
        self._fail_with(error)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.connection.runtime.call_soon(_raise, error)

    def returned(self, response: Any, error: BaseException | None, context: Context) -> None:
        """A handler in a thread has ended."""
        connection = self.connection
        self._task = None
        if error is not None:
            self._fail_within(error)
        elif response.__class__ is not self.route.response_type and isinstance(response, Awaitable):
            self._spawn(self._run(response), context)
            return
        else:
            self._send_response(response)
        connection.handler_ended(self)

    def _spawn(self, run: Coroutine[Any, Any, None], context: Context, response: Any = None) -> None:
        """Run `run` in a task, for what the handler has returned."""
        connection = self.connection
        connection.running.add(self)
        turns = connection.turns
        if turns.free:
            turns.free -= 1
            self._task = context.run(connection.runtime.spawn, run)
        else:
            self._spawn_in_turn(partial(context.run, connection.runtime.spawn, run), run, response)

    def _spawn_in_turn(self, start: Callable[[], Task], run: Coroutine[Any, Any, None], response: Any) -> None:
        """As `_spawn`, when many tasks begin."""
        turns = self.connection.turns
        if turns.let_go():
            self._task = start()
        else:
            self._task = postponed = PostponedTask(self, start, run, response)
            turns.add(self.connection, postponed.begin, tasks=1)

    def begin_task(self, task: Task | None) -> None:
        """The handler's task has begun after others; None: it has not, since it was cancelled."""
        self._task = task
        if task is None:
            self.connection.handler_ended(self)

    async def _run(self, response: Any, *, waited: bool = False) -> None:
        """A handler's task. Its cancellation comes from `cancel`, or from the event loop's end."""
        try:
            connection = self.connection
            if (
                waited
                or connection.engine.held_bytes <= connection.hold_at_bytes
                or not connection.hold(self, (response, copy_context()))
            ):
                self._send_response(await response)
        except BaseException as error:
            self._fail_with(error)
            if is_loops_own(error, self.connection.runtime.cancelled):
                raise
        finally:
            self._task = None  # its exception would hold this frame, and with it the call
            self.connection.handler_ended(self)

    async def _run_stream(self, responses: Any) -> None:
        """As `_run`, for a stream of responses. One coroutine and no more: each takes its part of a message's time."""
        try:
            connection = self.connection
            if responses.__class__ is CoroutineType and (responses := await responses) is None:
                self._succeed()  # it has sent them itself
                return
            self.outgoing = outgoing = self.outgoing or self._outgoing()  # the handler may have sent some itself
            encode = self.route.encode
            whole_bytes = min(_WHOLE_BYTES, connection.max_send_bytes)
            answer_bytes = -1  # less than this has a response that needs no look
            begun = False
            compress = None
            generator = await generator_of(responses)
            async with aclosing(generator):
                async for response in generator:
                    try:
                        message = encode(response)
                    except CodecError as error:
                        if not self._finished:
                            self._unencoded(error)
                        return
                    size = len(message)
                    if size < answer_bytes:
                        unsent = outgoing.unsent
                        if unsent is ROOM:
                            outgoing.unsent = message  # whoever handles the request sends it
                            continue
                        room = connection.turn_room - size - _SMALL_COST
                        if unsent.__class__ is bytearray and room > 0 and len(unsent) < TOGETHER_BYTES:
                            unsent += PREFIXES[size] + message  # as `put` does
                            connection.turn_room = room
                            continue
                    if self._finished:
                        return
                    if size > whole_bytes:
                        if size > connection.max_send_bytes:
                            self.fail(StatusCode.RESOURCE_EXHAUSTED, self._too_long(message))
                            return
                        begun = True
                        must_wait = outgoing.put(self._framed(message))
                        del message, response  # which nobody needs while the handler waits
                        if must_wait:
                            await outgoing.wait()
                        compress = self._compress
                        continue
                    if not begun:
                        begun = True
                        if not self._headers_sent:
                            self._send_headers()
                        compress = self._compress
                        if compress is None:
                            answer_bytes = min(MOST_ANSWER_BYTES - PREFIX_BYTES, whole_bytes) + 1
                    if compress is None:
                        data = (PREFIXES[size] if size < KNOWN_PREFIXES else pack_prefix(0, size)) + message
                    else:
                        data = frame(message, compress)
                    if outgoing.put(data):
                        await outgoing.wait()
            self._succeed()
        except BaseException as error:
            self._fail_with(error)
            if is_loops_own(error, self.connection.runtime.cancelled):
                raise
        finally:
            self._task = None
            self.connection.handler_ended(self)

    def _outgoing(self) -> OutgoingMessages:
        return OutgoingMessages(self.connection, self.stream)
