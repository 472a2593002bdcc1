"""A call whose handler is a plain function of each of its requests (`service.per_message`).

A message runs from `on_data` to `Engine.send_data` without a task, a queue or a future, as a unary request does. Only
where the client does not take what was sent, where a message does not come whole, or is long, a task sees to the
requests until none waits. Imports `request_calls` and what is below it.
"""

from __future__ import annotations

from typing import Any

from wire.errors import CodecError, is_loops_own
from wire.http2.engine import Stream
from wire.outgoing import OutgoingMessages
from wire.rpc.headers import RequestHead
from wire.server.call import ObservedCall, ServerCall
from wire.server.connection import ServerConnection
from wire.server.request_calls import StreamRequestCall
from wire.status import StatusCode


class MessageCall(StreamRequestCall):
    """See the module."""

    __slots__ = ("_context", "_run_within")

    outgoing: OutgoingMessages

    def __init__(self, connection: ServerConnection, stream: Stream, head: RequestHead) -> None:
        super().__init__(connection, stream, head)
        self._context = connection.context.copy()
        self._run_within = self._context.run
        self.outgoing = self._outgoing()

    def start(self) -> None:
        self._started = True  # there is nothing to do before the first request

    def on_data_within(self, data: bytes, start: int, stop: int) -> None:
        self.on_data(data[start:stop], False)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        if self._finished or self._task is not None or not data:
            super().on_data(data, end_stream)
            return
        incoming = self._incoming
        message = incoming.reader.whole(data)
        if message is None or len(data) > self.route.inline_bytes:
            super().on_data(data, False)
            self._go_on()
        else:
            incoming.received += 1
            if self.connection.engine.consumed(self.stream, len(data)):
                self.connection.wake()
            if self._answer(message):
                self._spawn_catching_up(must_wait=True)
        if end_stream:
            self.on_end()

    def on_end(self) -> None:
        super().on_end()
        if self._task is None:
            self._succeed()

    def on_reset(self, code: int, by_peer: bool) -> bool:
        super().on_reset(code, by_peer)
        return self._incoming.received > 0

    def _go_on(self) -> None:
        """Answer what came in another way than as one whole message."""
        incoming = self._incoming
        while not self._finished:
            message = incoming.take_short()
            if message is None:
                if incoming.waiting or incoming.partial:
                    self._spawn_catching_up(must_wait=False)
                return
            if self._answer(message):
                self._spawn_catching_up(must_wait=True)
                return

    def _answer(self, message: bytes) -> bool:
        """As `_respond`, to a request that is to be decoded."""
        try:
            request = self.route.decode(message)
        except CodecError as error:
            self.fail(StatusCode.INTERNAL, f"a message could not be decoded: {error}")
            return False
        return self._respond(request)

    def _respond(self, request: Any) -> bool:
        """Give a request to the handler, and send its response. True when the next one must wait."""
        try:
            response = self._run_within(self.route.handler, request, self)
            if response is None or self._finished:
                return False
            message = self._encode(response)
            return message is not None and self.outgoing.put(self._framed(message))
        except BaseException as error:
            self._fail_within(error)
            return False

    def _spawn_catching_up(self, *, must_wait: bool) -> None:
        ServerCall._spawn(self, self._catch_up(must_wait), self._context)
        if self not in self.connection.running:  # an eager task, which has ended
            self._task = None

    async def _catch_up(self, must_wait: bool) -> None:
        """Answer the requests that came meanwhile, and those that come as long as this has not ended."""
        incoming = self._incoming
        try:
            if must_wait:
                await self.outgoing.wait()
            while (incoming.waiting or incoming.partial) and not self._finished:
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
            self.connection.handler_ended(self)


class ObservedMessageCall(ObservedCall, MessageCall):
    """With done callbacks."""

    __slots__ = ()


MessageCall.observed = ObservedMessageCall
