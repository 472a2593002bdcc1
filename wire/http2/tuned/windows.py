"""Flow control (RFC 9113 §5.2, §6.9): the windows of a stream, and of the connection alike.

The connection is stream 0, as it is on the wire, and has the same two windows. The engine's loop repeats `take_in`
in place for DATA on open streams, where two calls would cost it a tenth of a unary exchange. What is granted
when is decided in `receive_budget`. Imports the contract's `Stream`."""

from __future__ import annotations

from typing import Final

from wire.http2.codes import MAX_WINDOW_BYTES
from wire.http2.engine import Stream

CONNECTION: Final = 0


class Flow(Stream):
    """The windows of one stream, or with id 0 of the connection. All in bytes.

    `send_window`: what we may send; may be negative (§6.9.2). `receive_window`: what the peer may send.
    `credit_bytes`: what was consumed and is not granted again yet."""

    __slots__ = ("credit_bytes", "receive_window", "send_window")

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.call = None
        self.queued_bytes = 0
        self.closed = False
        self.send_window = send_window
        self.receive_window = receive_window
        self.credit_bytes = 0

    def widen(self, increment: int) -> bool:
        """A WINDOW_UPDATE, or a new initial window (then perhaps negative). False if it passes 2³¹-1 (§6.9.1)."""
        self.send_window += increment
        return self.send_window <= MAX_WINDOW_BYTES

    def take_in(self, size: int) -> bool:
        """DATA came, its padding counted (§6.9.1). False if it is more than was granted."""
        self.receive_window -= size
        return self.receive_window >= 0
