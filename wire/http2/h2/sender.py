"""Everything that the reference engine sends, and the state that both halves share: h2's connection above all.

In: calls from the layer above, and from `engine`, which derives from `H2Sender`, what a peer's frames set free. Out:
the bytes that `take` gives. Imports h2, what the folder above shares, and `wire.errors`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from struct import Struct
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from wire.config import Http2Config
from wire.errors import UsageError
from wire.http2.codes import (
    DEFAULT_WINDOW_BYTES,
    MAX_STREAM_ID,
    PREFACE,
    ErrorCode,
    FrameType,
)
from wire.http2.engine import NO_LIMIT, Fields, HeaderList, Sink, Stream
from wire.http2.h2.reader import (
    pack_frame,
)
from wire.http2.limits import EXPLAINING_BYTES, Limits
from wire.http2.receive_budget import ReceiveBudget
from wire.http2.reset_memory import ResetMemory
from wire.http2.send_queue import MOST_FRAMED_BYTES, Chunk, append_chunk

_TWO_UINTS: Final = Struct(">LL")

# Inbound sections never reach h2, and what wire sends is its own.
_H2_CONFIGS: Final = {
    client: H2Configuration(
        client_side=client,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
    )
    for client in (False, True)
}


class _Connection(H2Connection):
    """h2's connection without its count of open streams, which scans them all for each new one. We count ourselves."""

    open_inbound_streams = 0
    open_outbound_streams = 0


class H2Stream(Stream):
    """`ending`: our end was accepted; `ended`: it was framed; `peer_ended`: the peer's came. `trailers` follow `queue`.

    `answered`: a client has the final response's headers. `expected_bytes`: content-length, -1 for none.
    `receive_window`: what the peer may send. `credit_bytes`: what was consumed and is not granted again yet.
    """

    __slots__ = (
        "answered",
        "credit_bytes",
        "ended",
        "ending",
        "expected_bytes",
        "peer_ended",
        "queue",
        "receive_window",
        "received_bytes",
        "trailers",
    )

    def __init__(self, stream_id: int, receive_window: int) -> None:
        super().__init__(stream_id)
        self.receive_window = receive_window
        self.ending = False
        self.ended = False
        self.peer_ended = False
        self.answered = False
        self.expected_bytes = -1
        self.received_bytes = 0
        self.credit_bytes = 0
        self.queue: deque[Chunk] | None = None
        self.trailers: HeaderList | None = None


class H2Sender:
    """The sending half of the engine."""

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        self.streams: dict[int, H2Stream] = {}
        self.can_open = client
        self.drained = False
        self.queued_replies = 0
        self.held_bytes = 0
        self._more_to_write = False  # the sink knows of it
        self._waiting_bytes = 0  # of `held_bytes`, what is queued on streams
        self.peer_max_header_list_bytes = NO_LIMIT
        self._client = client
        self._sink = sink
        self._config = config
        self._limits = Limits(config)
        self._h2 = _Connection(_H2_CONFIGS[client])
        self._h2.local_settings = Settings(
            client,
            {
                SettingCodes.HEADER_TABLE_SIZE: config.header_table_bytes,
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_CONCURRENT_STREAMS: config.max_concurrent_streams,
                SettingCodes.INITIAL_WINDOW_SIZE: config.stream_window_bytes,
                SettingCodes.MAX_FRAME_SIZE: config.max_frame_bytes,
                SettingCodes.MAX_HEADER_LIST_SIZE: config.max_header_list_bytes,
            },
        )
        self._h2.max_inbound_frame_size = config.max_frame_bytes

        self._failed = False
        self._next_id = 1  # client: of the next stream
        self._highest_id = -1  # server: of the streams the peer has opened
        self._resets = ResetMemory()
        self._last_id: int | None = None  # named by our final GOAWAY

        self._out: list[bytes] = []  # ahead of what h2 holds
        self._ready: dict[int, H2Stream] = {}  # have queued DATA and a window; the connection's is closed
        self._budget = ReceiveBudget(
            config.stream_window_bytes, config.max_stream_window_bytes, config.receive_budget_bytes
        )

    def start(self) -> None:
        self._h2.initiate_connection()
        increment = self._config.connection_window_bytes - DEFAULT_WINDOW_BYTES
        if increment:
            self._h2.increment_flow_control_window(increment)
        if not self._client:
            self._h2.receive_data(PREFACE)  # the peer's own is judged here

    def open_stream(self, headers: HeaderList, extra: Fields = (), end_stream: bool = False) -> Stream:
        if not self.can_open:
            raise UsageError("this connection can open no stream now")
        stream = H2Stream(self._next_id, self._config.stream_window_bytes)
        self._next_id += 2
        self.drained = self._next_id > MAX_STREAM_ID
        self.streams[stream.id] = stream
        self._update_can_open()
        self._limits.written += 1
        self._h2.send_headers(stream.id, headers.fields + extra, end_stream)
        stream.ending = stream.ended = end_stream
        return stream

    def send_request(self, headers: HeaderList, data: bytes, extra: Fields = (), call: Any = None) -> Stream:
        stream = self.open_stream(headers, extra)
        stream.call = call
        self.send_data(stream, data, True)
        return stream

    def send_headers(self, stream: Stream, headers: HeaderList, end_stream: bool = False) -> None:
        own = self.streams.get(stream.id)
        if own is None or own.ending or self._failed:
            return
        own.ending = end_stream
        if own.queued_bytes:
            own.trailers = headers
            return
        self._limits.written += 1
        self._h2.send_headers(own.id, headers.fields, end_stream)
        if end_stream:
            self._ended(own)

    def send_data(self, stream: Stream, data: bytes | bytearray | memoryview, end_stream: bool = False) -> None:
        own = self.streams.get(stream.id)
        if own is None or own.ending or self._failed:
            return
        own.ending = end_stream
        if data:
            if own.queue is None:
                own.queue = deque()
            append_chunk(own.queue, data)
            own.queued_bytes += len(data)
            self._waiting_bytes += len(data)
            self.held_bytes += len(data)
            if own.queued_bytes == len(data):
                self._ready[own.id] = own
                self._pump(own)
        elif end_stream and not own.queued_bytes:
            self._limits.written += 1
            self._h2.end_stream(own.id)
            self._ended(own)

    def send_reply(self, stream: Stream, headers: HeaderList, data: bytes, trailers: HeaderList) -> None:
        self.send_headers(stream, headers)
        self.send_data(stream, data)
        self.send_headers(stream, trailers, True)

    def _pump(self, sending: H2Stream | None = None) -> None:
        """Frame queued DATA, a frame of each stream in turn, until the connection's window is closed.

        `sending`: a stream whose sender is at work, and need not be told that it is writable.
        """
        ready = self._ready
        while ready and self._h2.outbound_flow_control_window > 0:
            if sending is None and (self._more_to_write or self.framed_bytes >= MOST_FRAMED_BYTES):
                if not self._more_to_write:
                    self._more_to_write = True
                    self._sink.on_more_to_write()
                return
            stream = ready.pop(next(iter(ready)))
            if self._send_frame(stream):
                ready[stream.id] = stream
            elif not stream.queued_bytes and stream is not sending:
                self._sink.on_writable(stream)

    def write_more(self) -> None:
        self._more_to_write = False
        self._pump()

    def _send_frame(self, stream: H2Stream) -> bool:
        """One DATA frame, and what follows the last. True when more is queued and the stream's window is open."""
        connection = self._h2
        window = connection.streams[stream.id].outbound_flow_control_window
        room = min(window, connection.outbound_flow_control_window, connection.max_outbound_frame_size)
        if room <= 0:
            return False
        assert stream.queue is not None
        data = stream.queue.popleft()
        if len(data) > room:
            stream.queue.appendleft(data[room:])
            data = data[:room]
        stream.queued_bytes -= len(data)
        self._waiting_bytes -= len(data)
        emptied = not stream.queued_bytes
        end = emptied and stream.ending and stream.trailers is None
        connection.send_data(stream.id, memoryview(data), end)
        self._limits.written += 1
        if not emptied and len(data) < EXPLAINING_BYTES:
            self._limits.dribbled += 1
        if not emptied:
            return window > len(data)
        if stream.trailers is not None:
            self._limits.written += 1
            connection.send_headers(stream.id, stream.trailers.fields, True)
        if stream.ending:
            self._ended(stream)
        return False

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        own = self.streams.get(stream.id)
        if own is not None and not self._failed:
            self._reset(own, code)

    def consumed(self, stream: Stream, size: int) -> bool:
        own = self.streams.get(stream.id)
        if own is None or self._failed:
            return False
        grants = self._budget.consumed(own, size)
        self._widen(grants)
        return bool(grants)

    def expect(self, stream: Stream, size: int) -> None:
        own = self.streams.get(stream.id)
        if own is not None and not own.peer_ended and not self._failed:
            self._widen(self._budget.expect(own, size))

    def _widen(self, grants: Iterable[tuple[int, int]]) -> None:
        for stream_id, increment in grants:
            if not self.streams[stream_id].peer_ended:
                self._h2.increment_flow_control_window(increment, stream_id)

    def ping(self, payload: bytes) -> None:
        if not self._failed:
            self._limits.awaited += 1
            self._h2.ping(payload)

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> None:
        if self._failed:
            return
        last_id = MAX_STREAM_ID
        if final:
            if self._last_id is None:
                self._last_id = max(self._highest_id, 0)
            self.drained = True
            self.can_open = False
        if self._last_id is not None:
            last_id = self._last_id
        self._queue(pack_frame(FrameType.GOAWAY, 0, 0, _TWO_UINTS.pack(last_id, code) + debug))

    @property
    def framed_bytes(self) -> int:
        return self.held_bytes - self._waiting_bytes

    def take(self) -> bytes:
        self.queued_replies = 0
        self.held_bytes = self._waiting_bytes
        if not self._out:
            return self._h2.data_to_send()
        self._queue(b"")
        data = b"".join(self._out)
        self._out.clear()
        return data

    def take_pieces(self) -> list[Chunk]:
        return [self.take()]

    def close(self) -> None:
        self._failed = self.drained = True
        self.can_open = False
        for stream in self.streams.values():
            self._empty(stream)
        self.streams.clear()
        self._ready.clear()
        self._out.clear()
        self.held_bytes = 0
        del self._sink  # which holds this engine
        self._h2.clear_outbound_data_buffer()
        self._h2._frame_dispatch_table.clear()  # it holds the methods of what it belongs to

    # Streams' ends.

    def _reset(self, stream: H2Stream, code: ErrorCode) -> None:
        # Its own window: h2 would tell the lesser of it and the connection's, which will be granted again.
        window_bytes = self._h2.streams[stream.id].inbound_flow_control_window
        self._h2.reset_stream(stream.id, code)
        self._resets.add(stream.id, window_bytes)
        self._close(stream)

    def _peer_ended(self, stream: H2Stream) -> None:
        stream.peer_ended = True
        if stream.ended:
            self._close(stream)

    def _ended(self, stream: H2Stream) -> None:
        """END_STREAM was framed."""
        stream.ended = True
        if stream.peer_ended:
            self._close(stream)
        elif not self._client:
            self._reset(stream, ErrorCode.NO_ERROR)  # §8.1

    def _empty(self, stream: H2Stream) -> None:
        """The stream is closed, and holds nothing any more."""
        stream.closed = True
        self._waiting_bytes -= stream.queued_bytes
        self.held_bytes -= stream.queued_bytes
        stream.queued_bytes = 0
        stream.queue = stream.trailers = None

    def _close(self, stream: H2Stream) -> None:
        self._empty(stream)
        del self.streams[stream.id]
        self._h2.streams.pop(stream.id, None)
        self._ready.pop(stream.id, None)
        if self._budget.shares:
            self._widen(self._budget.forget(stream.id))
        self._update_can_open()

    def _update_can_open(self) -> None:
        if self._client:
            limit = self._h2.remote_settings.max_concurrent_streams
            self.can_open = not self.drained and len(self.streams) < limit

    def _queue(self, frame: bytes) -> None:
        """Queue a frame of our own making, behind those that h2 made."""
        self._out += (self._h2.data_to_send(), frame)
