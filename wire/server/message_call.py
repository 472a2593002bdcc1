"""A call whose handler is a plain function of each of its requests (`service.per_message`).

A message runs from `on_message` back to the engine's loop without a task, a queue or a future, as a unary request does;
several that come at once are handled in one loop, and their responses leave together. Only where the client does not
take what was sent, or a message is compressed or heavy, a task sees to the requests until none waits. Imports
`request_calls` and what is below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire.errors import CodecError, is_loops_own
from wire.http2.engine import MOST_ANSWER_BYTES, HeaderList, Stream
from wire.messages import CREDIT_BYTES
from wire.metadata import Fields
from wire.outgoing import TOGETHER_BYTES, OutgoingMessages
from wire.rpc.framing import PREFIX_BYTES, frame_all
from wire.server.call import ServerCall
from wire.server.connection import ServerConnection
from wire.server.observed import ObservedCall
from wire.server.request_calls import StreamRequestCall
from wire.status import StatusCode


class MessageCall(StreamRequestCall):
    """See the module."""

    __slots__ = (
        "_answer_bytes",
        "_context",
        "_responses",
        "_run_within",
        "_short_bytes",
        "_taken_bytes",
        "_wanted_bytes",
    )

    outgoing: OutgoingMessages

    def __init__(self, connection: ServerConnection, stream: Stream, headers: HeaderList) -> None:
        super().__init__(connection, stream, headers)
        self._context = connection.context.copy()
        self._run_within = self._context.run
        self.outgoing = self._outgoing()
        self._answer_bytes = -1  # less than this has a response that whoever has read the request sends
        self._taken_bytes = 0  # of requests that were handled and are not granted again yet
        self._responses: list[bytes] = []  # responses of a loop over requests, which go before all else
        self._short_bytes = min(self.route.inline_bytes - PREFIX_BYTES, connection.max_receive_bytes) + 1
        # Less than this has a whole message that is handled at once; 0: others wait, or one has come in part.
        self._wanted_bytes = self._short_bytes

    def start(self) -> None:
        self._started = True  # there is nothing to do before the first request

    def on_message(self, message: bytes) -> bytes | None:
        size = len(message)
        if size >= self._wanted_bytes:
            self._receive(self._incoming.feed_whole, message, False)
            return None
        self._incoming.received += 1
        self._taken_bytes = taken_bytes = self._taken_bytes + size + PREFIX_BYTES
        if taken_bytes >= CREDIT_BYTES:
            self._grant()
        route = self.route
        decode, run_within, encode = route.decode, self._run_within, route.encode
        try:
            request = decode(message)
        except CodecError as error:
            self._undecoded(error)
            return None
        try:
            response = run_within(route.handler, request, self)
            if response is None or self._finished:
                return None
            try:
                message = encode(response)
            except CodecError as error:
                self._unencoded(error)
                return None
            size = len(message)
            if (
                size < self._answer_bytes
                and not self.stream.queued_bytes
                and not self.outgoing.unsent
                and self.connection.turn_room > 0
            ):
                return message
            if self._send_one(message):
                self._spawn_catching_up(must_wait=True)
        except BaseException as error:
            self._fail_within(error)
        return None

    def _receive(self, feed: Callable[[bytes], None], data: bytes, end_stream: bool) -> None:
        if self._finished or self._task is not None:
            super()._receive(feed, data, end_stream)
            return
        self._wanted_bytes = 0
        super()._receive(feed, data, False)
        self._go_on()
        if end_stream:
            self.on_end()

    def on_end(self) -> None:
        super().on_end()
        if self._task is None:
            self._succeed()

    def on_reset(self, code: int, by_peer: bool) -> bool:
        super().on_reset(code, by_peer)
        return self._incoming.received > 0

    # Several requests.

    def _go_on(self) -> None:
        """Answer what came in another way than as one whole message."""
        if self._answer_light():
            self._spawn_catching_up(must_wait=True)
        elif self._incoming.waiting:
            self._spawn_catching_up(must_wait=False)
        else:
            self._rest()

    def _rest(self) -> None:
        """No request waits, though one may have come in part."""
        if not self._finished:
            if self._incoming.partial:
                self._grant()
                self._incoming.expect()
            else:
                self._wanted_bytes = self._short_bytes

    def _answer_light(self) -> bool:
        """Answer the requests that are here and need not be awaited. True when the next one must wait."""
        incoming = self._incoming
        while not self._finished:
            requests = incoming.take_light()
            if not requests:
                return False
            try:
                count, must_wait = self._run_within(self._answer_all, requests)
            except BaseException as error:
                self._fail_within(error)
                return False
            if not self._finished:
                incoming.taken(requests, count)
                if must_wait:
                    return True
        return False

    def _answer_all(self, requests: list[bytes]) -> tuple[int, bool]:
        """Answer requests until one must wait: how many, and whether the next one must. The handler may do to the call
        what it likes between them: that finds sent what was to be sent before."""
        route = self.route
        decode, handler, encode = route.decode, route.handler, route.encode
        append = self._responses.append
        size_bytes = 0
        most_bytes = self._most_together()
        count = 0
        for message in requests:
            count += 1
            try:
                request = decode(message)
            except CodecError as error:
                self._undecoded(error)
                break
            response = handler(request, self)
            if self._finished:
                break
            if response is None:
                continue
            try:
                message = encode(response)
            except CodecError as error:
                self._unencoded(error)
                break
            size_bytes += len(message)
            if size_bytes <= most_bytes:
                append(message)
                continue
            must_wait = self._send_responses()
            if self._send_one(message) or must_wait:
                return count, True
            size_bytes = 0
            most_bytes = self._most_together()
        return count, self._send_responses()

    def _most_together(self) -> int:
        if not self._headers_sent or self._compress is not None:
            return -1
        return min(TOGETHER_BYTES, self.connection.max_send_bytes)

    def _send_headers(self, metadata: Fields = ()) -> None:
        super()._send_headers(metadata)
        if self._compress is None:
            self._answer_bytes = min(MOST_ANSWER_BYTES - PREFIX_BYTES, self.connection.max_send_bytes) + 1

    def _send_responses(self) -> bool:
        """True when more must wait."""
        messages = self._responses
        if not messages:
            return False
        count = len(messages)
        data = frame_all(messages)
        messages.clear()
        return self.outgoing.put(data, count)

    def _send_unsent(self) -> None:
        self._send_responses()
        super()._send_unsent()

    def _respond(self, request: Any) -> bool:
        """Give a request to the handler, and send its response. True when the next one must wait."""
        try:
            response = self._run_within(self.route.handler, request, self)
            if response is None or self._finished:
                return False
            message = self._encode(response)
            return message is not None and self._send_one(message)
        except BaseException as error:
            self._fail_within(error)
            return False

    def _send_one(self, message: bytes) -> bool:
        if len(message) > self.connection.max_send_bytes:
            self.fail(StatusCode.RESOURCE_EXHAUSTED, self._too_long(message))
            return False
        return self.outgoing.put(self._framed(message))

    def _undecoded(self, error: CodecError) -> None:
        self.fail(StatusCode.INTERNAL, f"a message could not be decoded: {error}")

    def _grant(self) -> None:
        taken_bytes, self._taken_bytes = self._taken_bytes, 0
        if taken_bytes and self.connection.engine.consumed(self.stream, taken_bytes):
            self.connection.wake()

    # Requests that must wait.

    def _spawn_catching_up(self, *, must_wait: bool) -> None:
        self._wanted_bytes = 0
        # A copy: a task that begins at once does so within the context that it is given, which no handler enters then.
        ServerCall._spawn(self, self._catch_up(must_wait), self._context.copy())
        if self not in self.connection.running:  # an eager task, which has ended
            self._task = None

    async def _catch_up(self, must_wait: bool) -> None:
        """Answer the requests that came meanwhile, and those that come as long as this has not ended."""
        incoming = self._incoming
        try:
            if must_wait:
                await self.outgoing.wait()
            while incoming.waiting and not self._finished:
                must_wait = self._answer_light()
                if not must_wait and incoming.waiting and not self._finished:
                    must_wait = self._respond(await incoming.take())
                    incoming.let_go()
                if must_wait:
                    await self.outgoing.wait()
            if incoming.ended:
                self._succeed()
        except BaseException as error:
            self._fail_with(error)
            if is_loops_own(error, self.connection.runtime.cancelled):
                raise
        finally:
            self._task = None  # its exception would hold this frame, and with it the call
            self._rest()
            self.connection.handler_ended(self)

    # What may happen between requests.

    def _finish(self) -> None:
        self._wanted_bytes = 0
        self._responses.clear()
        super()._finish()


class ObservedMessageCall(ObservedCall, MessageCall):
    """With done callbacks."""

    __slots__ = ()


MessageCall.observed = ObservedMessageCall
