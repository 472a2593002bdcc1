"""The tuned engine on a client: the loop over the frames that a server sends, and whole requests.

The answer to a unary call is three frames that come in one read: HEADERS, one DATA, HEADERS with END_STREAM. Their two
header blocks are the same bytes from call to call, so that once an answer is known the next ones are recognized as a
whole, by two `struct` unpacks, and reported by one call of the sink's. Whatever looks different is read frame by frame.

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
from wire.http2.tuned.streams import ENDED, OPEN, WAITING, TunedStream, asked

_frame_header = frames.HEADER.pack
_unpack_header = frames.HEADER.unpack_from
_LAST: Final = END_HEADERS | END_STREAM
_INTEGERS: Final = {1: "B", 2: "H", 4: "I"}
"""How `struct` reads a block of so many bytes as a number, which is compared in half the time."""

_KIND_AT: Final = 3  # where a frame's header says its type

_NOTHING: Final = (b"", b"")

_Unpack = Callable[..., tuple[Any, ...]]


@lru_cache(64)
def _unpackers(head_bytes: int, end_bytes: int) -> tuple[_Unpack, _Unpack]:
    """What reads HEADERS with a block of `head_bytes` and the header of the DATA behind it, and what reads the HEADERS
    behind that, with a block of `end_bytes`."""
    head = _INTEGERS.get(head_bytes, f"{head_bytes}s")
    end = _INTEGERS.get(end_bytes, f"{end_bytes}s")
    return Struct(f">IBI{head}IBI").unpack_from, Struct(f">IBI{end}").unpack_from


def _comparable(block: bytes) -> bytes | int:
    """A block as `_unpackers` give it."""
    return int.from_bytes(block, "big") if len(block) in _INTEGERS else block


class _Answer:
    """What the answers of a server have in common: the two header blocks, and what they mean, to the sink too.

    `word`: how the first frame begins. `parts`: what `_receive_answers` reads and compares, for a loop's locals.
    """

    __slots__ = ("ending", "head", "headers", "parts", "word")

    def __init__(self, head: bytes, headers: Section, ending: bytes, answer: Any, most_bytes: int) -> None:
        unpack_head, unpack_end = _unpackers(len(head), len(ending))
        self.head = head
        self.headers = headers
        self.ending = ending
        self.word = len(head) << 8 | HEADERS
        self.parts = (
            unpack_head,
            self.word,
            _comparable(head),
            2 * HEADER_BYTES + len(head),
            unpack_end,
            len(ending) << 8 | HEADERS,
            _comparable(ending),
            HEADER_BYTES + len(ending),
            answer,
            most_bytes,
        )


class ClientEngine(TunedEngine):
    """A client's `TunedEngine`."""

    __slots__ = ("_answer", "_begun", "_requests", "_seen")

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._requests: dict[HeaderList, tuple[Callable[..., bytes], int, bytes]] = self._encoder.kept
        """For lists whose blocks are known: what packs HEADERS and the header of DATA, how the first begins, the
        block."""
        self._answer: _Answer | None = None
        self._begun = b""  # the block of the last answer that began
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
        stream = streams[stream_id] = asked(stream_id, self._peer_window_bytes - size, self._stream_window_bytes, call)
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
        if answer is not None and at < limit and data[at + _KIND_AT] == HEADERS and not reader.guarded:
            # Most reads are answers and nothing else.
            after = self._receive_answers(answer, data, at, limit)
            if after > at:
                at = after
                self._seen = _NOTHING
                if at == end:
                    reader.start = 0
                    return False
        streams = self.streams
        sections = self._sections
        connection = self._connection
        sink = self._sink
        max_frame_bytes = self._config.max_frame_bytes
        while at < limit:
            word, flags, stream_id = _unpack_header(data, at)
            if answer is not None and word == answer.word and flags == END_HEADERS and not reader.guarded:
                after = self._receive_answers(answer, data, at, limit)
                if after > at:
                    at = after
                    self._seen = _NOTHING
                    continue
            kind = word & 0xFF
            size = word >> 8
            start = at + HEADER_BYTES
            stop = start + size
            if kind <= HEADERS and stop <= end and size <= max_frame_bytes and not reader.guarded:
                stream = streams.get(stream_id)
                if kind == DATA:
                    if not flags:
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

    def _means(self, answer: _Answer) -> bool:
        """Whether the blocks still mean what they did: when the table that they refer to changes, all sections are
        forgotten."""
        return self._sections.get(answer.head) is answer.headers

    def _receive_answers(self, answer: _Answer, data: bytes, at: int, limit: int) -> int:
        """Whole answers that begin at `at` and follow each other, those that begin before `limit`. Where the first
        frame is that is no part of one."""
        if self._sections.get(answer.head) is not answer.headers:  # as `_means`
            return at
        streams = self.streams
        (
            unpack_head,
            head_word,
            head_block,
            head_bytes,
            unpack_end,
            end_word,
            end_block,
            end_bytes,
            meaning,
            most_bytes,
        ) = answer.parts
        connection = self._connection
        room = most = connection.receive_window - self._connection_low_bytes - 1  # until it has to be granted
        last_end = len(data) - end_bytes
        last = min(limit - 1, last_end - head_bytes)
        while at <= last:
            word, flags, stream_id, block, data_word, data_flags, data_id = unpack_head(data, at)
            start = at + head_bytes
            size = data_word >> 8
            stop = start + size
            if (
                word != head_word
                or flags != END_HEADERS
                or block != head_block
                or data_id != stream_id
                or data_flags
                or data_word & 0xFF
                or stop > last_end
                or size > room
                or size > most_bytes
            ):
                break
            word, flags, end_id, block = unpack_end(data, stop)
            stream = streams.get(stream_id)
            if (
                word != end_word
                or flags != _LAST
                or end_id != stream_id
                or block != end_block
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
            if not stream.call.on_response(meaning, data, start, stop):
                stream.remote = WAITING
                stream.closed = False
                streams[stream_id] = stream
                self._update_can_open()
                break
            room -= size
            at = stop + end_bytes
        connection.receive_window -= most - room
        return at


def tuned_engine(client: bool, sink: Sink, config: Http2Config) -> TunedEngine:
    """The engine for a role."""
    return (ClientEngine if client else TunedEngine)(client, sink, config)
