"""The messages that one streaming call sends, on their way to its peer.

Their sender waits while the stream's window is closed, the transport is not being read, or other streams have waited
for their turn. Imports `connection`, `messages` and `http2.engine`.
"""

from __future__ import annotations

from typing import Any, Final

from wire.connection import MESSAGE_COST, Connection
from wire.http2.engine import Stream
from wire.http2.send_queue import SMALL_BYTES
from wire.messages import IncomingMessages
from wire.rpc.framing import frame
from wire.transport.contract import Future

TOGETHER_BYTES: Final = 1 << 13
"""Of small messages of one turn or read, after which they are sent."""

ROOM: Final = ()
"""As `OutgoingMessages.unsent`: a request is handled, and whoever handles it takes the answer from there."""


class OutgoingMessages:
    """One call's messages to its peer."""

    __slots__ = (
        "_answered",
        "_connection",
        "_ended",
        "_limit_bytes",
        "_requests",
        "_sent_at",
        "_stream",
        "_turn_over",
        "_waiters",
        "unsent",
    )

    def __init__(self, connection: Connection, stream: Stream, requests: IncomingMessages[Any] | None = None) -> None:
        """`requests`: those that they answer, where each brings its sender the right to one more."""
        self._connection = connection
        self._stream = stream
        self._requests = requests
        self._answered = 0  # of these, when the turn's room was last used up
        self._limit_bytes = connection.config.send_buffer_bytes
        self._ended = False
        self._turn_over = False
        self._sent_at = -1  # in which turn the last message was sent
        self.unsent: bytes | bytearray | tuple[()] | None = None
        """What was put and is not with the engine yet: messages behind another of the same turn, which the connection
        asks for when it writes (`flush`). While a request is handled, the answer, as bytes without its prefix, which
        whoever handles it takes; `ROOM` while there is none."""
        self._waiters: list[Future[None]] = []

    async def send(self, data: bytes | memoryview) -> None:
        """`put`, and wait until the peer's windows and the transport leave room for more."""
        if self.put(data):
            await self.wait()

    def end(self) -> None:
        """END_STREAM, behind what is queued."""
        self.flush()
        self._connection.engine.send_data(self._stream, b"", end_stream=True)
        self._connection.wake()

    def put(self, data: bytes | bytearray | memoryview, count: int = 1) -> bool:
        """Queue one message as framed, or so many. True when `wait` is to be awaited before more follow."""
        connection = self._connection
        stream = self._stream
        unsent = self.unsent
        size = len(data)
        if unsent.__class__ is bytearray and size <= SMALL_BYTES:
            unsent += data
            if len(unsent) > TOGETHER_BYTES:
                self.flush()
                self.unsent = bytearray()
        elif unsent.__class__ is bytes and size <= SMALL_BYTES:
            self.unsent = bytearray(frame(unsent)) + data
        elif unsent is None and size <= SMALL_BYTES and self._sent_at == connection.turn and not stream.queued_bytes:
            self.unsent = bytearray(data)
            connection.gather(self)
        else:
            if unsent is not None and unsent is not ROOM:
                self.flush()
            self._sent_at = connection.turn
            connection.engine.send_data(stream, data)
        connection.turn_room = room = connection.turn_room - size - count * MESSAGE_COST
        return (room <= 0 or stream.queued_bytes > self._limit_bytes) and self._must_wait()

    def flush(self) -> None:
        """Give the engine what it has not got yet."""
        unsent = self.unsent
        if unsent.__class__ is bytes:
            unsent = frame(unsent)
        if unsent:
            self.unsent = ROOM
            self._connection.engine.send_data(self._stream, unsent)

    def written(self) -> None:
        """As `flush`, when the connection writes: its turn is over."""
        self.flush()
        self.unsent = None

    def _must_wait(self) -> bool:
        connection = self._connection
        turn_over = connection.turn_room <= 0 and connection.turn_over()
        if self._stream.queued_bytes <= self._limit_bytes and not connection.congested:
            requests = self._requests
            if turn_over and requests is not None and requests.received != self._answered:
                self._answered = requests.received
                return False  # it answers what has come, and then waits for more
            self._turn_over = turn_over
            return turn_over
        self._turn_over = turn_over
        return True

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
        self.unsent = None
        self.on_writable()

    def on_writable(self) -> None:
        """The stream's queue ran empty, or the stream is gone: let senders go on."""
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            self._connection.release(waiters)
