"""The tuned engine: header sections and DATA that it receives. The other frames are in `control`, what it sends in
`sender`; the contract is `wire.http2.engine`.

`receive` runs one loop over the frames of one read. DATA on an open stream, and HEADERS that are a whole field block,
are handled in the loop itself, and requests that are whole in one of their own; all else, including whatever is wrong
with these, by a method for each type of frame. A rule broken at the cost of the connection raises `ConnectionFault`
from anywhere below and is caught in `receive`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import length_hint
from typing import Final

from wire.config import Http2Config
from wire.http2.codes import (
    MAX_STREAM_ID,
    ErrorCode,
)
from wire.http2.engine import Sink
from wire.http2.limits import LEAST_DATA_BYTES, LEAST_STALL_S, tiny
from wire.http2.tuned import frames
from wire.http2.tuned.decoder import ConnectionFault
from wire.http2.tuned.fields import INFORMATIONAL, OVERSIZE, REQUEST, RESPONSE, TRAILERS, Section
from wire.http2.tuned.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    count_alike,
    unpack_alike,
)
from wire.http2.tuned.reader import FrameReader, without_padding
from wire.http2.tuned.requests import WholeRequests, request_shape
from wire.http2.tuned.streams import CONNECTION, ENDED, OPEN, TunedStream

_PROTOCOL_ERROR: Final = ErrorCode.PROTOCOL_ERROR

SLICE_BYTES: Final = 1 << 12
"""Of what was read, in which the frames of one slice begin: 400 of the smallest DATA that carries something, 40 unary
calls. A turn lasts a slice longer than it may."""

_FLAGS_AT: Final = 4  # in a frame header

_WHOLE_BLOCK: Final = (END_HEADERS, END_HEADERS | END_STREAM)

FRAME_COST: Final = 512
"""What a frame of DATA that is longer takes of a slice."""

_unpack_header = frames.HEADER.unpack_from
_message_header = frames.MESSAGE_HEADER.pack


class TunedEngine(WholeRequests):
    """One HTTP/2 connection. `client`: our role; `sink`: hears what was received; `config`: limits and windows."""

    __slots__ = ("_reader", "_sections", "_skipped")

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._reader = FrameReader(client, config)
        self._sections = self._decoder.sections
        self._now = float("inf")  # until the first read
        self._settled = False  # our SETTINGS are acknowledged
        self._skipped = range(0)  # the ids that the peer left out last
        self._judge_short_requests()

    def receive(self, data: bytes, now: float) -> bool:
        if self._failed:
            return False
        if now - self._now >= LEAST_STALL_S:
            self._limits.stalled(self._now, now)
        self._now = now
        reader = self._reader
        try:
            if reader.partial or reader.rest or reader.guarded:  # as before the preface
                data = reader.complete(data)
                if reader.behind:
                    self._receive_frames(data)
                    if self._failed:
                        return False
                    data = reader.take_behind()
            elif data.startswith(self._beginning) and (size := len(data)) <= SLICE_BYTES:
                at = self._receive_whole(data, 0, size)
                if at == size:
                    return False
                reader.start = at
            return self._receive_frames(data)
        except ConnectionFault as fault:
            reader.clear()
            with suppress(ConnectionFault):
                self._report()
            self._fail(fault.code, fault.reason)
            return False

    def _receive_frames(self, data: bytes) -> bool:
        """The frames of `data` that begin within a slice; what is behind them is kept. True when that may hold more."""
        reader = self._reader
        guarded = reader.guarded
        unreported = self._unreported
        offers = self._short_request_bytes >= 0
        end = len(data)
        at = reader.start
        limit = min(end - HEADER_BYTES + 1, at + SLICE_BYTES)
        streams = self.streams
        sections = self._sections
        connection = self._connection
        sink = self._sink
        max_frame_bytes = self._config.max_frame_bytes
        low_bytes = self._connection_low_bytes
        while at < limit:
            word, flags, stream_id = _unpack_header(data, at)
            kind = word & 0xFF
            size = word >> 8
            start = at + HEADER_BYTES
            stop = start + size
            if unreported or (offers and kind == HEADERS and flags == END_HEADERS and stop < limit):
                if not guarded:
                    # HEADERS that end within a slice are shorter than the longest frame of any configuration.
                    whole = kind == HEADERS and stop < limit and data[stop + _FLAGS_AT] == END_STREAM
                    if whole:
                        self._shape = request_shape(word)
                        self._beginning = self._shape[0]
                        after = self._receive_whole(data, at, limit)
                    else:
                        after = self._receive_apart(data, at, limit)
                    if after > at:
                        at = after
                        continue
                if unreported:
                    self._report()
            if kind <= HEADERS and stop <= end and size <= max_frame_bytes and not guarded:
                if kind == DATA:
                    if not flags and size >= LEAST_DATA_BYTES:
                        after = self._receive_data(data, at, limit)
                        if after > at:
                            at = after
                            continue
                    open_stream = streams.get(stream_id)
                    if (
                        open_stream is not None
                        and open_stream.remote == OPEN
                        and flags <= END_STREAM
                        and (size >= LEAST_DATA_BYTES or flags)
                        and size <= connection.receive_window
                        and size <= open_stream.receive_window
                        and open_stream.content_length is None
                    ):
                        at = stop
                        connection.receive_window -= size
                        if connection.receive_window <= low_bytes:
                            self._grant_connection()
                        if flags:
                            open_stream.remote = ENDED
                            if open_stream.local == ENDED:
                                self._forget(stream_id)
                            sink.on_data(open_stream, data[start:stop], True)
                        else:
                            open_stream.receive_window -= size
                            sink.on_data(open_stream, data[start:stop], False)
                        continue
                elif flags in _WHOLE_BLOCK and 0 < stream_id < MAX_STREAM_ID:
                    at = stop
                    block = data[start:stop]
                    section = sections.get(block)
                    if section is None:
                        section = self._decoder.decode(block)
                    if (
                        section.kind == REQUEST
                        and stream_id == self._highest_peer_id + 2
                        and len(streams) < self._stream_limit
                        and (flags == END_HEADERS or not section.content_length)
                    ):
                        self._highest_peer_id = stream_id
                        stream = streams[stream_id] = TunedStream(
                            stream_id, self._peer_window_bytes, self._stream_window_bytes
                        )
                        if flags == END_HEADERS:
                            stream.remote = OPEN
                            stream.content_length = section.content_length
                        sink.on_headers(stream, section, flags != END_HEADERS)
                        continue
                    self._on_section(stream_id, section, flags != END_HEADERS)
                    continue
            reader.judge_size(kind, size, flags)
            if stop > end:
                break
            stream_id &= MAX_STREAM_ID  # the reserved bit is ignored (§4.1)
            reader.judge_place(kind, flags, stream_id)
            if HANDLERS.get(kind, TunedEngine._on_other)(self, stream_id, flags, data[start:stop]):
                limit = stop  # that was work enough for a slice
            guarded = reader.guarded
            at = stop
        else:
            if end - at >= HEADER_BYTES:
                reader.rest = data
                reader.start = at
                return True
        reader.start = 0
        if at < end:
            reader.partial = data[at:]
        if unreported:
            self._report()
        return False

    def _receive_data(self, data: bytes, at: int, limit: int) -> int:
        """The DATA frames at `at` that follow each other, are whole, end no stream, and belong to calls, whose answers
        are framed here. Where the first frame begins that is not one of these: that may be `at`."""
        get_stream = self.streams.get
        connection = self._connection
        least_left = self._connection_low_bytes
        left = connection.receive_window
        most_word = self._config.max_frame_bytes << 8
        out = self._out
        end = len(data)
        known_word = -1  # of the frame before: the next one is as long, mostly
        size = step = answers = answer_bytes = 0
        while at < limit:
            word, flags, stream_id = _unpack_header(data, at)
            count = 1  # of frames that are handled at once, as they are alike
            if word != known_word:
                if word & 0xFF or word > most_word:
                    break
                size = word >> 8
                if size < LEAST_DATA_BYTES:
                    break
                known_word = word
                step = HEADER_BYTES + size
            elif size <= FRAME_COST and not flags:
                alike = count_alike(data, at, min(end, limit + step - 1), size)
                if alike and left - alike * size > least_left:
                    count = alike
            start = at + HEADER_BYTES
            stop = at + count * step
            messages: Iterator[tuple[int, bytes | None]]
            if count > 1:
                messages = unpack_alike(size)(memoryview(data)[at:stop])
            elif flags or stop > end or left - size <= least_left:
                break
            else:
                messages = iter(((stream_id, None),))
                if size > FRAME_COST:
                    limit = min(limit + size - FRAME_COST, end - HEADER_BYTES + 1)
            for stream_id, message in messages:
                stream = get_stream(stream_id)
                if (
                    stream is None
                    or (call := stream.call) is None
                    or (window := stream.receive_window - size) < 0
                    or stream.remote != OPEN
                    or stream.content_length is not None
                ):
                    count -= 1 + length_hint(messages)
                    break
                stream.receive_window = window
                answer = call.on_data_within(data, start, stop) if message is None else call.on_message(message)
                if answer is not None:
                    answer_size = LEAST_DATA_BYTES + len(answer)
                    window = stream.send_window - answer_size
                    connection_window = connection.send_window - answer_size
                    if (
                        window < 0
                        or connection_window < 0
                        or stream.turn == self._turn
                        or stream.local != OPEN
                        or stream.queue
                    ):
                        self.send_data(stream, len(answer).to_bytes(LEAST_DATA_BYTES, "big") + answer)
                    else:  # as `send_data` does
                        stream.send_window = window
                        connection.send_window = connection_window
                        if answer_size != stream.answer_size:
                            stream.answer_size = answer_size
                            stream.answer_head = _message_header(answer_size << 8 | DATA, 0, stream_id, 0, len(answer))
                        out += stream.answer_head, answer
                        stream.turn = self._turn
                        stream.data_end = len(out)
                        answers += 1
                        answer_bytes += answer_size
            left -= count * size
            at += count * step
            if at != stop:
                break
        connection.receive_window = left
        self._limits.written += answers
        self.held_bytes += answer_bytes
        return at

    # Field sections -------------------------------------------------------------------------------------------------

    def _on_headers(self, stream_id: int, flags: int, body: bytes) -> None:
        block = self._reader.take_headers(stream_id, flags, body)
        if block is not None:
            self._on_block(stream_id, block, bool(flags & END_STREAM))

    def _on_continuation(self, stream_id: int, flags: int, body: bytes) -> None:
        whole = self._reader.take_continuation(flags, body)
        if whole is not None:
            self._on_block(stream_id, *whole)

    def _on_block(self, stream_id: int, block: bytes, ends_stream: bool) -> None:
        self._on_section(stream_id, self._sections.get(block) or self._decoder.decode(block), ends_stream)

    def _on_section(self, stream_id: int, section: Section, ends_stream: bool) -> None:
        """A decoded field section, on a stream in any state."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._client or stream_id <= self._highest_peer_id or not stream_id & 1:
                self._on_section_late(stream_id, ends_stream)
            else:
                self._on_request(stream_id, section, ends_stream)
        elif stream.remote == ENDED:
            self._stream_error(stream, ErrorCode.STREAM_CLOSED)  # §5.1, half-closed (remote)
        elif section.kind == OVERSIZE:
            self._stream_error(stream, ErrorCode.ENHANCE_YOUR_CALM)
        elif stream.remote == OPEN:
            self._on_trailers(stream, section, ends_stream)
        else:
            self._on_response(stream, section, ends_stream)

    def _on_section_late(self, stream_id: int, ends_stream: bool) -> None:
        """A section on a stream that is not open, and that it cannot open."""
        if not self._resets.explains_section(stream_id, ends_stream):
            self._charge_control()
        if self._is_idle(stream_id) or stream_id in self._skipped:
            raise ConnectionFault(_PROTOCOL_ERROR, "HEADERS on an identifier that cannot be used")  # §5.1.1
        if not self._resets.excuses(stream_id):
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def _on_request(self, stream_id: int, section: Section, ends_stream: bool) -> None:
        if stream_id > self._highest_peer_id + 2:
            self._skipped = range(self._highest_peer_id + 2, stream_id, 2)
            self._unused_ids += len(self._skipped)
        self._highest_peer_id = stream_id
        if stream_id == MAX_STREAM_ID:
            self.drained = True
        if len(self.streams) >= self._stream_limit:
            self._reset_unseen(stream_id, ErrorCode.REFUSED_STREAM)  # §5.1.2, §6.8
        elif section.kind == OVERSIZE:
            self._reset_unseen(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
        elif section.kind != REQUEST or (ends_stream and section.content_length):
            self._reset_unseen(stream_id, _PROTOCOL_ERROR)  # §8.1.1
        else:
            stream = self.streams[stream_id] = TunedStream(
                stream_id, self._peer_window_bytes, self._stream_window_bytes
            )
            if not ends_stream:
                stream.remote = OPEN
            stream.content_length = section.content_length
            self._sink.on_headers(stream, section, ends_stream)

    def _on_response(self, stream: TunedStream, section: Section, ends_stream: bool) -> None:
        if section.kind == INFORMATIONAL and not ends_stream:
            self._charge_control()
            return
        if section.kind != RESPONSE:
            self._stream_error(stream, _PROTOCOL_ERROR)
            return
        stream.remote = OPEN
        stream.content_length = section.content_length
        if ends_stream:
            self._end_remote(stream)
        self._sink.on_headers(stream, section, ends_stream)

    def _on_trailers(self, stream: TunedStream, section: Section, ends_stream: bool) -> None:
        if section.kind != TRAILERS or not ends_stream or not self._fits_length(stream, 0, True):
            self._stream_error(stream, _PROTOCOL_ERROR)  # §8.1
            return
        self._end_remote(stream)
        self._sink.on_trailers(stream, section)

    def _fits_length(self, stream: TunedStream, size: int, ends_stream: bool) -> bool:
        """Whether `size` more bytes of DATA agree with the stream's content-length (§8.1.1).

        A response may have one and no DATA at all: the length of what another method would have got.
        """
        length = stream.content_length
        if length is None:
            return True
        stream.received_bytes += size
        received = stream.received_bytes
        return received == length or (received < length and not ends_stream) or (self._client and received == 0)

    # DATA -----------------------------------------------------------------------------------------------------------

    def _on_data(self, stream_id: int, flags: int, body: bytes) -> None:
        data = without_padding(flags, body)
        size = len(body)
        ends_stream = bool(flags & END_STREAM)
        stream = self.streams.get(stream_id)
        if (
            not ends_stream
            and tiny(size, len(data))
            and not (
                size == len(data) and self._limits.explains_tiny(self._granted_bytes - self._connection.receive_window)
            )
        ) or (stream is None and not self._resets.explains_data(stream_id, size, ends_stream)):
            self._charge_control()
        if not self._connection.take_in(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA past the connection's window")
        if self._connection.receive_window <= self._connection_low_bytes:
            self._grant_connection()
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(_PROTOCOL_ERROR, "DATA on an idle stream")
            if not self._resets.excuses(stream_id):
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "DATA on a closed stream")
            return
        if stream.remote != OPEN:
            self._stream_error(stream, ErrorCode.STREAM_CLOSED if stream.remote == ENDED else _PROTOCOL_ERROR)
            return
        if not stream.take_in(size):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA past its stream's window")
        if not self._fits_length(stream, len(data), ends_stream):
            self._stream_error(stream, _PROTOCOL_ERROR)
            return
        if ends_stream:
            self._end_remote(stream)
        elif size > len(data):
            stream.receive_window += size - len(data)
            self._out.append(frames.window_update(stream_id, size - len(data)))
        if data or ends_stream:
            self._sink.on_data(stream, data, ends_stream)

    def _grant_connection(self) -> None:
        """On reader, whatever becomes of the stream: one that nobody reads must not hold up the others."""
        connection = self._connection
        increment = self._config.connection_window_bytes - connection.receive_window
        connection.receive_window += increment
        self._granted_bytes += increment
        self._out.append(frames.window_update(CONNECTION, increment))


HANDLERS: Final[dict[int, Callable[[TunedEngine, int, int, bytes], bool | None]]] = {
    DATA: TunedEngine._on_data,
    HEADERS: TunedEngine._on_headers,
    RST_STREAM: TunedEngine._on_rst_stream,
    SETTINGS: TunedEngine._on_settings,
    PUSH_PROMISE: TunedEngine._on_push_promise,
    PING: TunedEngine._on_ping,
    GOAWAY: TunedEngine._on_goaway,
    WINDOW_UPDATE: TunedEngine._on_window_update,
    CONTINUATION: TunedEngine._on_continuation,
}
"""The frames that no short way was taken for, by type."""
