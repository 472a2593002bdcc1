"""The state of one stream (RFC 9113 §5.1) and its windows (§5.2, §6.9), as this engine keeps them.

The RFC's states as the two halves that they are made of:

                          remote (what the peer sends)     local (what we send)
    server: open          OPEN                             WAITING until our headers, then OPEN
    client: open          WAITING until their headers,     OPEN
                          then OPEN
    half-closed (remote)  ENDED                            as above
    half-closed (local)   as above                         ENDED
    closed                ENDED                            ENDED, `closed`, out of `Engine.streams`

The connection is stream 0, as it is on the wire, and has the same two windows. The engine's loop repeats `take_in` in
place for DATA on open streams, where two calls would cost it a tenth of a unary exchange. What is granted when is
decided in `receive_budget`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from wire.http2.codes import MAX_WINDOW_BYTES
from wire.http2.engine import HeaderList, Stream
from wire.http2.send_queue import Chunk

CONNECTION: Final = 0

WAITING: Final = 0
OPEN: Final = 1
ENDED: Final = 2

END_ON_DATA: Final = HeaderList(())
"""As `TunedStream.ending`: no trailers, END_STREAM on the last DATA frame."""


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


class TunedStream(Flow):
    """One stream. `turn`: the engine's when it last framed DATA, `data_end`: where that ends in its list. `head`: the
    header of its last DATA frame, of `head_size` bytes, which the next one mostly is, too; `answer_head`: the same with
    the length of a message, of the last that was an answer. `queue`: DATA that waits for a window; None until some
    first has to. `ending`: what ends our half once the queue is empty, trailers or `END_ON_DATA`. `content_length`: as
    received, None without one; only then are `received_bytes` of DATA counted."""

    __slots__ = (
        "answer_head",
        "answer_size",
        "content_length",
        "data_end",
        "ending",
        "head",
        "head_size",
        "local",
        "queue",
        "received_bytes",
        "remote",
        "turn",
    )

    data_end: int
    head: bytes
    answer_head: bytes

    def __init__(
        self, stream_id: int, send_window: int, receive_window: int, remote: int = ENDED, local: int = WAITING
    ) -> None:
        # As a server's for a request that has ended: who opens another one sets what differs. The fields of the two
        # classes above are set here too: one call instead of three, for each stream there is.
        self.id = stream_id
        self.call = None
        self.queued_bytes = 0
        self.closed = False
        self.send_window = send_window
        self.receive_window = receive_window
        self.credit_bytes = 0
        self.remote = remote
        self.local = local
        self.content_length: int | None = None
        self.received_bytes = 0
        self.turn = self.head_size = self.answer_size = -1
        self.queue: deque[Chunk] | None = None
        self.ending: HeaderList | None = None
