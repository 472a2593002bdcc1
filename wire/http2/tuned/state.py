"""What an engine knows of its connection, for both of its halves: streams, windows, settings, what waits to be written.

Imports the modules of this folder that stand before `sender`.
"""

from __future__ import annotations

from wire.config import Http2Config
from wire.http2.codes import DEFAULT_WINDOW_BYTES, MAX_STREAM_ID, MIN_MAX_FRAME_BYTES
from wire.http2.engine import NO_LIMIT, Sink
from wire.http2.limits import Limits
from wire.http2.receive_budget import ReceiveBudget
from wire.http2.reset_memory import ResetMemory
from wire.http2.send_queue import Chunk
from wire.http2.tuned.encoder import Encoder
from wire.http2.tuned.replies import ReplyShapes
from wire.http2.tuned.streams import CONNECTION, Flow, TunedStream


class EngineState:
    """See the module."""

    __slots__ = (
        "_budget",
        "_client",
        "_config",
        "_connection",
        "_connection_low_bytes",
        "_credit_step_bytes",
        "_encoder",
        "_failed",
        "_goaway_id",
        "_granted_bytes",
        "_highest_peer_id",
        "_limits",
        "_more_to_write",
        "_next_id",
        "_out",
        "_peer_max_frame_bytes",
        "_peer_max_streams",
        "_peer_window_bytes",
        "_ready",
        "_reply_shapes",
        "_resets",
        "_shares",
        "_short_reply",
        "_short_request_bytes",
        "_sink",
        "_spare",
        "_stream_limit",
        "_stream_window_bytes",
        "_turn",
        "_waiting_bytes",
        "can_open",
        "drained",
        "held_bytes",
        "peer_max_header_list_bytes",
        "queued_replies",
        "streams",
    )

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        self.streams: dict[int, TunedStream] = {}
        self.can_open = client
        self.drained = False
        self.queued_replies = 0
        self.held_bytes = 0

        self._waiting_bytes = 0  # of `held_bytes`, what is queued on streams
        self._client = client
        self._sink = sink
        self._config = config
        self._limits = Limits(config)
        self._more_to_write = False  # the sink knows of it
        self._out: list[Chunk] = []
        self._turn = 0  # how often `_out` was taken
        self._failed = False
        self._resets = ResetMemory()
        self._encoder = Encoder()

        # The peer's settings, at their initial values (§6.5.2).
        self._peer_max_frame_bytes = MIN_MAX_FRAME_BYTES
        self._peer_max_streams = MAX_STREAM_ID
        self._peer_window_bytes = DEFAULT_WINDOW_BYTES
        self.peer_max_header_list_bytes = NO_LIMIT

        # Ours. The windows are opened again in steps of half their size.
        self._connection = Flow(CONNECTION, DEFAULT_WINDOW_BYTES, config.connection_window_bytes)
        self._granted_bytes = config.connection_window_bytes  # on the connection, ever
        self._connection_low_bytes = config.connection_window_bytes - config.connection_window_bytes // 2
        self._stream_window_bytes = config.stream_window_bytes
        self._budget = ReceiveBudget(
            config.stream_window_bytes, config.max_stream_window_bytes, config.receive_budget_bytes
        )
        self._shares = self._budget.shares
        self._credit_step_bytes = config.stream_window_bytes // 2

        self._next_id = 1
        self._highest_peer_id = -1  # so that a client's first stream is this plus 2
        self._stream_limit = 0 if client else config.max_concurrent_streams  # 0 also after a final GOAWAY
        self._goaway_id: int | None = None  # what our final GOAWAY named
        self._spare: TunedStream | None = None
        """Of a request that was offered whole and answered at once: as new, and nobody has it any more."""

        # Streams whose queue waits for nothing but the connection's window, in the order of their turns.
        self._ready: dict[int, TunedStream] = {}

        self._short_reply = sink.reply
        self._reply_shapes: ReplyShapes | None = None  # of replies between these two
