"""The state of one stream (RFC 9113 §5.1), as this engine keeps it. Imports `windows` and the contract.

The RFC's states as the two halves that they are made of:

                          remote (what the peer sends)     local (what we send)
    server: open          OPEN                             WAITING until our headers, then OPEN
    client: open          WAITING until their headers,     OPEN
                          then OPEN
    half-closed (remote)  ENDED                            as above
    half-closed (local)   as above                         ENDED
    closed                ENDED                            ENDED, `closed`, out of `Engine.streams`
"""

from __future__ import annotations

from collections import deque
from typing import Final

from wire.http2.engine import HeaderList
from wire.http2.send_queue import Chunk
from wire.http2.tuned.windows import Flow

WAITING: Final = 0
OPEN: Final = 1
ENDED: Final = 2

END_ON_DATA: Final = HeaderList(())
"""As `TunedStream.ending`: no trailers, END_STREAM on the last DATA frame."""


class TunedStream(Flow):
    """One stream. `queue`: DATA that waits for a window; None until some first has to. `ending`: what ends our half
    once the queue is empty, trailers or `END_ON_DATA`. `content_length`: as received, None without one; only then are
    `received_bytes` of DATA counted."""

    __slots__ = ("content_length", "ending", "local", "queue", "received_bytes", "remote")

    def __init__(
        self, stream_id: int, send_window: int, receive_window: int, remote: int, local: int, content_length: int | None
    ) -> None:
        # The fields of the two classes above are set here too: one call instead of three, for each stream there is.
        self.id = stream_id
        self.call = None
        self.queued_bytes = 0
        self.closed = False
        self.send_window = send_window
        self.receive_window = receive_window
        self.credit_bytes = 0
        self.remote = remote
        self.local = local
        self.content_length = content_length
        self.received_bytes = 0
        self.queue: deque[Chunk] | None = None
        self.ending: HeaderList | None = None
