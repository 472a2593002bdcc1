"""The tuned engine on a client: the loop over the frames that a server sends, and whole requests.

The answer to a unary call is three frames that come in one read: HEADERS, one DATA, HEADERS with END_STREAM. Their two
header blocks are the same bytes from call to call, so that once an answer is known the next ones are recognized as a
whole, by a comparison and a `struct` unpack, and reported by one call of the sink's. Whatever looks different is read
frame by frame.

Imports `engine`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from wire.config import Http2Config
from wire.http2.codes import MAX_STREAM_ID, MIN_MAX_FRAME_BYTES
from wire.http2.engine import Fields, HeaderList, Sink
from wire.http2.limits import LEAST_DATA_BYTES
from wire.http2.tuned import frames
from wire.http2.tuned.engine import HANDLERS, SLICE_BYTES, TunedEngine
from wire.http2.tuned.fields import RESPONSE, TRAILERS, Section
from wire.http2.tuned.frames import DATA, END_HEADERS, END_STREAM, HEADER_BYTES, HEADERS
from wire.http2.tuned.streams import ENDED, OPEN, WAITING, TunedStream

_frame_header = frames.HEADER.pack
_unpack_header = frames.HEADER.unpack_from
_word_and_flags = frames.WORD_AND_FLAGS.pack
_NOTHING: Final = (b"", b"")

_MOST_SPARES: Final = 128

_Shape = tuple[bytes, int, int, Callable[..., tuple[Any, ...]], bytes, bytes, bytes]


@lru_cache(512)
def _shape(head: bytes, word: int, ending: bytes) -> _Shape:
    """Of answers with these header blocks around DATA of this length, with its type: the first block with the beginning
    of DATA, the size of DATA, that of all, what unpacks the rest, and what it must give beside the three streams."""
    middle = head + _word_and_flags(word, 0)
    layout = Struct(f">5sI{len(middle)}xI{word >> 8}x5sI{len(ending)}s")
    first = _word_and_flags(len(head) << 8 | HEADERS, END_HEADERS)
    last = _word_and_flags(len(ending) << 8 | HEADERS, END_HEADERS | END_STREAM)
    return middle, word >> 8, layout.size, layout.unpack_from, first, last, ending


class _Answer:
    """What the answers of a server have in common: the two header blocks, and what they mean, to the sink too.

    `word`: how the first frame begins. `data_at`: where the DATA is. `most_bytes`, `least_bytes`: of DATA that one may
    have, and of all that it has at least. `shape`: the last one's.
    """

    __slots__ = ("data_at", "ending", "head", "headers", "least_bytes", "meaning", "most_bytes", "shape", "word")

    def __init__(self, head: bytes, headers: Section, ending: bytes, meaning: Any, most_bytes: int) -> None:
        self.head = head
        self.headers = headers
        self.ending = ending
        self.meaning = meaning
        self.most_bytes = most_bytes
        self.word = len(head) << 8 | HEADERS
        self.data_at = len(head) + 2 * HEADER_BYTES
        self.shape = _shape(head, DATA, ending)
        self.least_bytes = self.shape[2]


class ClientEngine(TunedEngine):
    """A client's `TunedEngine`."""

    __slots__ = ("_answer", "_begun", "_requests", "_seen", "_spares")

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._requests: dict[HeaderList, tuple[Callable[..., bytes], int, bytes]] = self._encoder.kept
        """For lists whose blocks are known: what packs HEADERS and the header of DATA, how the first begins, the
        block."""
        self._answer: _Answer | None = None
        self._begun = b""  # the block of the last answer that began
        self._spares: list[TunedStream] = []
        """Of answers that were taken whole: as new but for what `send_request` sets, and nobody has them any more."""
        self._seen = _NOTHING  # the blocks of the last one that ended, if it was read in parts

    def send_request(self, headers: HeaderList, data: bytes, extra: Fields = (), call: Any = None) -> TunedStream:
        size = len(data)
        connection = self._connection
        if (
            not 0 < size <= self._peer_max_frame_bytes
            or size > self._peer_window_bytes
            or size > connection.send_window
            or not self.can_open
        ):
            return super().send_request(headers, data, extra, call)
        stream_id = self._next_id
        self._next_id = stream_id + 2
        streams = self.streams
        spares = self._spares
        if spares:
            stream = spares.pop()
            stream.id = stream_id
            stream.send_window = self._peer_window_bytes - size
            stream.remote = WAITING
            stream.closed = False
        else:
            window_bytes = self._peer_window_bytes - size
            stream = TunedStream(stream_id, window_bytes, self._stream_window_bytes, WAITING, ENDED)
        stream.call = call
        streams[stream_id] = stream
        if stream_id == MAX_STREAM_ID:
            self.drained = True
            self.can_open = False
        elif len(streams) >= self._peer_max_streams:
            self.can_open = False
        connection.send_window -= size
        self.held_bytes += size
        self._limits.written += 2
        known = None if extra else self._requests.get(headers)
        if known is None:
            block = self._encoder.encode(headers, extra)
            start = frames.header_block(stream_id, block, False, self._peer_max_frame_bytes)
            self._out += start, _frame_header(size << 8, END_STREAM, stream_id), data
            if not extra:
                self._keep_request(headers)
        else:
            pack, word, block = known
            self._out += pack(word, END_HEADERS, stream_id, block, size << 8, END_STREAM, stream_id), data
        return stream

    def _keep_request(self, headers: HeaderList) -> None:
        """Make `send_request` short for these headers, if their block stays what it is."""
        if self._encoder.keeps(headers):
            block = self._encoder.encode(headers)
            if len(block) <= MIN_MAX_FRAME_BYTES:
                self._requests[headers] = Struct(f">IBI{len(block)}sIBI").pack, len(block) << 8 | HEADERS, block

    def _receive_frames(self, data: bytes) -> bool:
        """As for servers, with the frames of answers in place of requests."""
        reader = self._reader
        end = len(data)
        at = reader.start
        limit = min(end - HEADER_BYTES + 1, at + SLICE_BYTES)
        answer = self._answer
        streams = self.streams
        sections = self._sections
        connection = self._connection
        sink = self._sink
        max_frame_bytes = self._config.max_frame_bytes
        while at < limit:
            word, flags, stream_id = _unpack_header(data, at)
            if answer is not None and word == answer.word and flags == END_HEADERS and not reader.guarded:
                after = self._receive_whole(data, at, limit)
                if after > at:
                    at = after
                    continue
            kind = word & 0xFF
            size = word >> 8
            start = at + HEADER_BYTES
            stop = start + size
            if kind <= HEADERS and stop <= end and size <= max_frame_bytes and not reader.guarded:
                stream = streams.get(stream_id)
                if kind == DATA:
                    if not flags and size >= LEAST_DATA_BYTES:
                        after = self._receive_data(data, at, limit)
                        if after > at:
                            at = after
                            continue
                    if (
                        stream is not None
                        and stream.remote == OPEN
                        and flags <= END_STREAM
                        and (size >= LEAST_DATA_BYTES or flags)
                        and size <= connection.receive_window
                        and size <= stream.receive_window
                        and stream.content_length is None
                    ):
                        at = stop
                        connection.receive_window -= size
                        if connection.receive_window <= self._connection_low_bytes:
                            self._grant_connection()
                        if flags:
                            stream.remote = ENDED
                            if stream.local == ENDED:
                                self._forget(stream_id)
                            sink.on_data(stream, data[start:stop], True)
                        else:
                            stream.receive_window -= size
                            call = stream.call
                            if call is None:
                                sink.on_data(stream, data[start:stop], False)
                            else:
                                call.on_data_within(data, start, stop)
                        continue
                elif flags & ~END_STREAM == END_HEADERS and 0 < stream_id < MAX_STREAM_ID:
                    at = stop
                    block = data[start:stop]
                    section = sections.get(block)
                    if section is None:
                        section = self._decoder.decode(block)
                    # The two sections of an answer to a request that is complete, as nearly all are.
                    if stream is not None and stream.local == ENDED:
                        if flags == END_HEADERS:
                            if stream.remote == WAITING and section.kind == RESPONSE:
                                stream.remote = OPEN
                                stream.content_length = section.content_length
                                self._begun = block
                                sink.on_headers(stream, section, False)
                                continue
                        elif stream.remote == OPEN and section.kind == TRAILERS and stream.content_length is None:
                            self._forget(stream_id)
                            sink.on_trailers(stream, section)
                            self._learn(block)
                            answer = self._answer
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
            at = stop
        else:
            if end - at >= HEADER_BYTES:
                reader.rest = data
                reader.start = at
                return True
        reader.start = 0
        if at < end:
            reader.partial = data[at:]
        return False

    def _learn(self, ending: bytes) -> None:
        """An answer ended whose blocks were `_begun` and this one. Blocks that come twice running are recognized from
        then on; those that change each time, as where servers answer in turn with different metadata, are not."""
        seen = self._begun, ending
        if seen != self._seen:
            self._seen = seen
            return
        known = self._answer
        if known is not None and known.head == self._begun and known.ending == ending and self._means(known):
            return
        headers = self._sections.get(self._begun)
        trailers = self._sections.get(ending)
        if headers is None or trailers is None or headers.kind != RESPONSE or headers.content_length is not None:
            self._answer = None
        else:
            answer = self._sink.whole_answer(headers, trailers)
            most_bytes = min(self._config.max_frame_bytes, self._stream_window_bytes)
            self._answer = None if answer is None else _Answer(self._begun, headers, ending, answer, most_bytes)
            self._beginning = _word_and_flags(len(self._begun) << 8 | HEADERS, END_HEADERS)

    def _means(self, answer: _Answer) -> bool:
        """Whether the blocks still mean what they did: when the table that they refer to changes, all sections are
        forgotten."""
        return self._sections.get(answer.head) is answer.headers

    def _receive_whole(self, data: bytes, at: int, limit: int) -> int:
        """Whole answers that begin at `at` and follow each other, those that begin before `limit`. Where the first
        frame is that is no part of one."""
        answer = self._answer
        if answer is None or self._sections.get(answer.head) is not answer.headers:  # as `_means`
            return at
        streams = self.streams
        shape = answer.shape
        middle, size, answer_bytes, unpack, first, last, ending = shape
        meaning = answer.meaning
        spares = self._spares
        data_at = answer.data_at
        connection = self._connection
        room = most = connection.receive_window - self._connection_low_bytes - 1  # until it has to be granted
        end = len(data)
        while at < limit:
            if not data.startswith(middle, at + HEADER_BYTES):
                if at + answer.least_bytes > end:
                    break
                word, _, _ = _unpack_header(data, at + data_at - HEADER_BYTES)
                if word & 0xFF != DATA or word >> 8 == size or word >> 8 > answer.most_bytes:
                    break
                shape = answer.shape = _shape(answer.head, word, answer.ending)
                middle, size, answer_bytes, unpack, first, last, ending = shape
                continue
            after = at + answer_bytes
            if after > end:
                break
            head, stream_id, data_id, tail, end_id, block = unpack(data, at)
            stream = streams.get(stream_id)
            if (
                head != first
                or tail != last
                or block != ending
                or data_id != stream_id
                or end_id != stream_id
                or size > room
                or stream is None
                or stream.remote != WAITING  # then its window is what it was at first
                or stream.local != ENDED
            ):
                break
            # What `_forget` does for a stream that has no DATA, in either direction.
            stream.remote = ENDED
            stream.closed = True
            del streams[stream_id]
            if not self.can_open:
                self._update_can_open()
            start = at + data_at
            if not stream.call.on_response(meaning, data, start, start + size):
                stream.remote = WAITING
                stream.closed = False
                streams[stream_id] = stream
                self._update_can_open()
                break
            stream.call = None
            self._seen = _NOTHING
            if len(spares) < _MOST_SPARES:
                spares.append(stream)
            room -= size
            at = after
        connection.receive_window -= most - room
        return at


def tuned_engine(client: bool, sink: Sink, config: Http2Config) -> TunedEngine:
    """The engine for a role."""
    return (ClientEngine if client else TunedEngine)(client, sink, config)
