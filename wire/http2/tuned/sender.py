"""What an engine sends for calls: requests, replies, DATA under flow control, resets. PING and GOAWAY are in `control`.

In: calls from the layer above, and from `engine`, which derives from `TunedSender`, what a peer's frames set free. Out:
frames, in the list that `take` joins. Header blocks are encoded when they are queued for the wire, never before,
since their order is that of the peer's HPACK state; so trailers behind queued DATA stay a header list until their
turn.

Imports the modules of this folder, and `wire.errors`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from wire.errors import UsageError
from wire.http2.codes import (
    DEFAULT_WINDOW_BYTES,
    MAX_STREAM_ID,
    PREFACE,
    ErrorCode,
    Setting,
)
from wire.http2.engine import Fields, HeaderList
from wire.http2.limits import EXPLAINING_BYTES, LEAST_DATA_BYTES
from wire.http2.receive_budget import Grants
from wire.http2.send_queue import JOINED_BYTES, MOST_FRAMED_BYTES, SMALL_BYTES, Chunk, append_chunk
from wire.http2.tuned import frames
from wire.http2.tuned.frames import DATA, END_HEADERS, END_STREAM, HEADER_BYTES
from wire.http2.tuned.replies import TOGETHER_BYTES, ReplyShapes, reply_shapes
from wire.http2.tuned.state import EngineState
from wire.http2.tuned.streams import CONNECTION, END_ON_DATA, ENDED, OPEN, WAITING, TunedStream

_PIECE_BYTES: Final = 1 << 12
"""Pieces that are shorter on average are joined sooner than each is handed on."""

_LAST_HEADERS: Final = END_HEADERS | END_STREAM
_frame_header = frames.HEADER.pack

AnyStream = Any
"""The contract hands out `Stream`s and takes any back; here they are the `TunedStream`s that this engine made."""


class TunedSender(EngineState):
    """The sending half of an engine."""

    __slots__ = ()

    def start(self) -> None:
        config = self._config
        settings: dict[int, int] = {
            Setting.HEADER_TABLE_SIZE: config.header_table_bytes,
            Setting.MAX_CONCURRENT_STREAMS: config.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: config.stream_window_bytes,
            Setting.MAX_FRAME_SIZE: config.max_frame_bytes,
            Setting.MAX_HEADER_LIST_SIZE: config.max_header_list_bytes,
        }
        if self._client:
            self._out.append(PREFACE)
            del settings[Setting.MAX_CONCURRENT_STREAMS]  # a server opens none
            settings[Setting.ENABLE_PUSH] = 0
        self._out.append(frames.settings(settings))
        # The connection's window is not a setting: it starts at 65,535 (§6.9.2).
        if config.connection_window_bytes > DEFAULT_WINDOW_BYTES:
            self._out.append(frames.window_update(CONNECTION, config.connection_window_bytes - DEFAULT_WINDOW_BYTES))

    @property
    def framed_bytes(self) -> int:
        return self.held_bytes - self._waiting_bytes

    def take(self) -> bytes:
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self._turn += 1
        self.queued_replies = 0
        self.held_bytes = self._waiting_bytes
        return data

    def take_pieces(self) -> list[Chunk]:
        pieces = self._out.copy()
        if len(pieces) * _PIECE_BYTES > self.framed_bytes:
            return [self.take()]
        self._out.clear()
        self._turn += 1
        self.queued_replies = 0
        self.held_bytes = self._waiting_bytes
        return pieces

    def close(self) -> None:
        self._failed = self.drained = True
        self.can_open = False
        for stream in self.streams.values():
            self._close_stream(stream)
        self.streams.clear()
        self._out.clear()
        self.held_bytes = 0
        del self._sink  # which holds this engine

    # Requests -------------------------------------------------------------------------------------------------------

    def open_stream(self, headers: HeaderList, extra: Fields = (), end_stream: bool = False) -> TunedStream:
        if not self.can_open:
            raise UsageError("no stream can be opened on this connection now")
        stream_id = self._next_id
        self._next_id = stream_id + 2
        stream = self.streams[stream_id] = TunedStream(
            stream_id, self._peer_window_bytes, self._stream_window_bytes, WAITING, ENDED if end_stream else OPEN
        )
        if self._next_id > MAX_STREAM_ID:
            self.drained = True
            self.can_open = False
        elif len(self.streams) >= self._peer_max_streams:
            self.can_open = False
        block = self._encoder.encode(headers, extra)
        self._limits.written += 1
        self._out.append(frames.header_block(stream_id, block, end_stream, self._peer_max_frame_bytes))
        return stream

    def send_request(self, headers: HeaderList, data: bytes, extra: Fields = (), call: Any = None) -> TunedStream:
        stream = self.open_stream(headers, extra)
        stream.call = call
        size = len(data)
        connection = self._connection
        if 0 < size <= stream.send_window and size <= connection.send_window and size <= self._peer_max_frame_bytes:
            stream.send_window -= size
            connection.send_window -= size
            self.held_bytes += size
            self._limits.written += 1
            self._out += _frame_header(size << 8 | DATA, END_STREAM, stream.id), data
            stream.local = ENDED
        else:
            self.send_data(stream, data, True)
        return stream

    # Replies and parts of either ------------------------------------------------------------------------------------

    def send_headers(self, stream: AnyStream, headers: HeaderList, end_stream: bool = False) -> None:
        if stream.local == ENDED or stream.ending is not None:
            return
        if stream.queue:
            stream.ending = headers
        else:
            self._write_headers(stream, headers, end_stream)

    def send_data(self, stream: AnyStream, data: bytes | bytearray | memoryview, end_stream: bool = False) -> None:
        size = len(data)
        connection = self._connection
        window = stream.send_window - size
        connection_window = connection.send_window - size
        if (
            window >= 0
            and connection_window >= 0
            and not end_stream
            and size
            and size <= self._peer_max_frame_bytes
            and stream.local == OPEN
            and not stream.queue  # nor then an end behind it
        ):
            # One frame of a stream that goes on, which is what streaming is made of.
            self.held_bytes += size
            stream.send_window = window
            connection.send_window = connection_window
            turn = self._turn
            if size <= SMALL_BYTES:
                self._limits.written += 1
                if stream.turn == turn and self._join(stream, data):
                    return
            elif data.__class__ is bytearray:
                # Messages that are joined explain as many WINDOW_UPDATEs as they would one by one: none is shorter.
                self._limits.written += size // LEAST_DATA_BYTES
                if stream.turn == turn and self._join(stream, data):
                    return
            else:
                self._limits.written += 1
            if size != stream.head_size:
                stream.head_size = size
                stream.head = _frame_header(size << 8 | DATA, 0, stream.id)
            out = self._out
            out += stream.head, data
            stream.turn = turn
            stream.data_end = len(out)
            return
        if stream.local != OPEN or stream.ending is not None:
            if stream.local == WAITING:
                raise UsageError("DATA was sent before headers")
            return
        self.held_bytes += size
        waiting = bool(stream.queue)
        # An end without DATA needs no window (§6.9.1).
        if not waiting and (not size or (size <= stream.send_window and size <= connection.send_window)):
            self._write_data(stream, data, end_stream)
            return
        if size:
            if stream.queue is None:
                stream.queue = deque()
            append_chunk(stream.queue, data)
            stream.queued_bytes += size
            self._waiting_bytes += size
        if end_stream:
            stream.ending = END_ON_DATA
        if not waiting:
            self._write_queue(stream)

    def _join(self, stream: TunedStream, data: bytes | bytearray | memoryview) -> bool:
        """Put DATA into the frame of the same stream that the next `take` gives, unless they are too long for one."""
        out = self._out
        at = stream.data_end - 1
        header, last = out[at - 1], out[at]  # behind the header, the prefix of a message that was an answer
        size = len(header) - HEADER_BYTES + len(last) + len(data)
        if size > JOINED_BYTES:
            return False
        if not isinstance(last, bytearray):
            last = out[at] = bytearray(header[HEADER_BYTES:]) + last
        last += data
        out[at - 1] = _frame_header(size << 8 | DATA, 0, stream.id)
        return True

    def _write_data(self, stream: TunedStream, data: bytes | bytearray | memoryview, end_stream: bool) -> None:
        """Frame data that both windows take, which may be empty, and the stream's end."""
        size = len(data)
        most = self._peer_max_frame_bytes
        stream.send_window -= size
        self._connection.send_window -= size
        out = self._out
        if size > most:
            data = memoryview(data)  # each byte is copied once, when what is queued is joined
            header = _frame_header(most << 8 | DATA, 0, stream.id)
            cuts = range(most, size, most)
            for cut in cuts:
                out += header, data[cut - most : cut]
            self._limits.written += len(cuts)
            data = data[cut:]
            size -= cut
        if size or end_stream:
            out += _frame_header(size << 8 | DATA, END_STREAM if end_stream else 0, stream.id), data
            self._limits.written += 1
        if end_stream:
            self._end_local(stream)

    def send_reply(self, stream: AnyStream, headers: HeaderList, data: bytes, trailers: HeaderList) -> None:
        if stream.local != WAITING:
            return
        size = len(data)
        if (
            (headers, trailers) == self._short_reply
            and stream.remote == ENDED
            and 0 < size <= stream.send_window
            and size <= self._connection.send_window
            and size <= self._peer_max_frame_bytes
        ):
            self._send_short_reply(stream.id, data)
            stream.local = ENDED
            stream.closed = True
            return
        self._write_headers(stream, headers, False)
        self.send_data(stream, data)
        self.send_headers(stream, trailers, True)

    def _send_short_reply(self, stream_id: int, data: bytes) -> None:
        """The reply to a request that is complete: the sink's headers and trailers around one DATA frame, which the
        windows take. There is nothing to encode, queue or reset; the stream is forgotten."""
        shapes = self._reply_shapes
        if shapes is None:
            shapes = self._find_reply_shapes()
        size = len(data)
        self._connection.send_window -= size
        self.held_bytes += size
        self._limits.written += 3
        del self.streams[stream_id]
        if size <= TOGETHER_BYTES:
            pack, head, middle, tail, end = shapes[size]
            self._out.append(pack(head, stream_id, middle, stream_id, data, tail, stream_id, end))
        else:
            before, behind = shapes.around(stream_id, size)
            self._out += before, data, behind

    def _find_reply_shapes(self) -> ReplyShapes:
        """Of the next reply; kept once the two header blocks are what they will be when sent again."""
        assert self._short_reply is not None
        encoder = self._encoder
        start, end = [encoder.encode(fields) for fields in self._short_reply]
        if encoder.changed:
            encoder.changed = False
        elif all(encoder.keeps(fields) for fields in self._short_reply):
            self._reply_shapes = reply_shapes(start, end)
            return self._reply_shapes
        return ReplyShapes(start, end)

    def reset(self, stream: AnyStream, code: ErrorCode) -> None:
        if stream.closed or self._failed:
            return
        self._out.append(frames.rst_stream(stream.id, code))
        self._resets.add(stream.id, stream.receive_window)
        self._forget(stream.id)

    # Flow control ---------------------------------------------------------------------------------------------------

    def consumed(self, stream: AnyStream, size: int) -> bool:
        credit_bytes = stream.credit_bytes + size
        step_bytes = self._credit_step_bytes
        if self._shares and (share := self._shares.get(stream.id)) is not None:
            step_bytes = 0 if share.message_bytes else step_bytes + share.widened_bytes // 2
        if credit_bytes < step_bytes:
            stream.credit_bytes = credit_bytes  # as the budget would say, with nothing to grant yet
            return False
        if stream.closed or self._failed:
            return False
        grants = self._budget.consumed(stream, size)
        self._widen(grants)
        return bool(grants)

    def expect(self, stream: AnyStream, size: int) -> None:
        if stream.remote == OPEN and not self._failed:
            self._widen(self._budget.expect(stream, size))

    def _widen(self, grants: Grants) -> None:
        for stream_id, increment in grants:
            if self.streams[stream_id].remote == OPEN:
                self._out.append(frames.window_update(stream_id, increment))

    # The ways out ---------------------------------------------------------------------------------------------------

    def _write_headers(self, stream: TunedStream, headers: HeaderList, end_stream: bool) -> None:
        encoder = self._encoder
        block = encoder.encode(headers)
        if encoder.changed:
            encoder.changed = False
            self._reply_shapes = None
        self._limits.written += 1
        self._out.append(frames.header_block(stream.id, block, end_stream, self._peer_max_frame_bytes))
        stream.local = OPEN
        if end_stream:
            self._end_local(stream)

    def _write_queue(self, stream: TunedStream) -> None:
        """Frame what the windows allow of what is queued on one stream, and its end behind it. What only the
        connection's window holds up waits for its turn in `_ready`; what the stream's own does, for a WINDOW_UPDATE."""
        while stream.queue:
            if stream.send_window <= 0:
                return
            if self._connection.send_window <= 0:
                self._ready[stream.id] = stream
                return
            self._write_queued_frame(stream)

    def write_more(self) -> None:
        self._more_to_write = False
        self._write_turns()

    def _write_turns(self) -> None:
        """A window opened: one frame of each ready stream in turn, until the connection's window is closed."""
        ready = self._ready
        while ready and self._connection.send_window > 0 and not self._more_to_write:
            if self.held_bytes - self._waiting_bytes >= MOST_FRAMED_BYTES:
                self._more_to_write = True
                self._sink.on_more_to_write()
                return
            stream_id = next(iter(ready))
            stream = ready.pop(stream_id)
            if stream.send_window <= 0:
                continue
            self._write_queued_frame(stream)
            if stream.queue:
                ready[stream_id] = stream
            else:
                self._sink.on_writable(stream)

    def _write_queued_frame(self, stream: TunedStream) -> None:
        """One frame of a queue that is not empty, both windows being open; behind the last one, the stream's end."""
        queue = stream.queue
        assert queue
        connection = self._connection
        chunk = queue[0]
        size = min(len(chunk), stream.send_window, connection.send_window, self._peer_max_frame_bytes)
        if size == len(chunk):
            queue.popleft()
        else:
            queue[0] = chunk[size:]
            chunk = chunk[:size]
        stream.queued_bytes -= size
        self._waiting_bytes -= size
        stream.send_window -= size
        connection.send_window -= size
        self._limits.written += 1
        if queue and size < EXPLAINING_BYTES:
            self._limits.dribbled += 1
        ending = None if queue else stream.ending
        flags = END_STREAM if ending is END_ON_DATA else 0
        self._out += _frame_header(size << 8 | DATA, flags, stream.id), chunk
        if flags:
            self._end_local(stream)
        elif ending is not None:
            self._write_headers(stream, ending, True)

    def _end_remote(self, stream: TunedStream) -> None:
        """END_STREAM came."""
        stream.remote = ENDED
        if stream.local == ENDED:
            self._forget(stream.id)

    @property
    def windows(self) -> tuple[int, int]:
        return self._connection.send_window, self._connection.receive_window

    def _end_local(self, stream: TunedStream) -> None:
        """END_STREAM was sent."""
        stream.local = ENDED
        if stream.remote == ENDED:
            self._forget(stream.id)
        elif not self._client:
            # §8.1: a complete response may ask the client to stop sending what is no longer wanted.
            self._out.append(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
            self._resets.add(stream.id, stream.receive_window)
            self._forget(stream.id)

    def _forget(self, stream_id: int) -> None:
        """The stream is closed."""
        self._close_stream(self.streams.pop(stream_id))
        if self._shares:
            self._widen(self._budget.forget(stream_id))
        if self._client and not self.can_open:
            self._update_can_open()

    def _close_stream(self, stream: TunedStream) -> None:
        stream.closed = True
        stream.local = stream.remote = ENDED
        if stream.queue:
            stream.queue.clear()
            self._waiting_bytes -= stream.queued_bytes
            self.held_bytes -= stream.queued_bytes
            stream.queued_bytes = 0
            self._ready.pop(stream.id, None)

    def _update_can_open(self) -> None:
        """After anything that it depends on has changed."""
        self.can_open = self._client and not self.drained and len(self.streams) < self._peer_max_streams
