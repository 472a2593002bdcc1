"""Requests that a server's engine reads as a whole and offers to its sink, as `wire.http2.engine` says.

A unary request is HEADERS and one DATA frame that ends the stream. Most clients write them one behind the other; those
of nghttp2 write the HEADERS of all their new calls first, and those of grpc-go do so in bursts. Each way has its loop.
Imports `control` and what is above it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from wire.config import Http2Config
from wire.http2.codes import MAX_STREAM_ID
from wire.http2.engine import SHORT_REPLY_BYTES, Sink
from wire.http2.tuned.control import ControlFrames
from wire.http2.tuned.fields import REQUEST, Section
from wire.http2.tuned.frames import END_HEADERS, END_STREAM, HEADER, HEADER_BYTES, HEADERS, WORD_AND_FLAGS
from wire.http2.tuned.streams import OPEN, TunedStream

_MOST_UNREPORTED: Final = 128
"""Requests whose DATA is looked for behind the HEADERS of others: to report so many together is a slice's work."""

_unpack_header = HEADER.unpack_from


RequestShape = tuple[bytes, int, int, Callable[..., tuple[Any, ...]]]
"""Of whole requests with header blocks of one length: how they begin, the same as `HEADER` unpacks it, where their DATA
is, and what reads all before that."""


@lru_cache(512)
def request_shape(word: int) -> RequestShape:
    """Of requests that begin with this length and type of frame."""
    block_bytes = word >> 8
    return (
        WORD_AND_FLAGS.pack(word, END_HEADERS),
        word,
        block_bytes + 2 * HEADER_BYTES,
        Struct(f">IBI{block_bytes}sIBI").unpack_from,
    )


class WholeRequests(ControlFrames):
    """See the module."""

    __slots__ = ("_beginning", "_shape", "_unreported")

    def __init__(self, client: bool, sink: Sink, config: Http2Config) -> None:
        super().__init__(client, sink, config)
        self._shape = request_shape(HEADERS)
        """Of the last requests."""
        self._beginning = self._shape[0]
        """A read that begins so is probably nothing but what `_receive_whole` handles."""
        self._unreported: dict[int, Section] = {}
        """By stream, the requests of this read whose DATA has not been met: each may yet be offered whole."""

    @abstractmethod
    def _on_section(self, stream_id: int, section: Section, ends_stream: bool) -> None:
        """A decoded field section, on a stream in any state."""

    def _receive_whole(self, data: bytes, at: int, limit: int) -> int:
        """Requests that are whole, as nearly all unary ones are: HEADERS, and the DATA that ends them. Handles those
        that follow each other from `at` on and begin before `limit`, and have the last ones' shape, as far as windows
        and the sink allow; returns where the first frame begins that was not handled."""
        streams = self.streams
        connection = self._connection
        unreported = self._unreported
        decoder = self._decoder
        on_request = self._sink.on_request
        low_bytes = self._connection_low_bytes
        short_bytes = self._short_request_bytes
        _, head_word, data_at, unpack = self._shape
        end = len(data)
        known_block: bytes | None = None  # `section` is its
        while at < limit:
            start = at + data_at
            if start > end:
                return at
            word, flags, stream_id, block, data_word, data_flags, data_id = unpack(data, at)
            size = data_word >> 8
            stop: int = start + size
            if (
                word != head_word
                or flags != END_HEADERS
                or stream_id != self._highest_peer_id + 2
                or stream_id == MAX_STREAM_ID
                or data_id != stream_id
                or data_flags != END_STREAM
                or data_word & 0xFF  # it is not DATA
                or stop > end
                or size > short_bytes
                or size >= connection.receive_window - low_bytes
                or connection.send_window < SHORT_REPLY_BYTES
                or len(streams) + len(unreported) >= self._stream_limit
            ):
                return at
            if block != known_block:
                found = decoder.sections.get(block)
                known_block = None if found is None else block
                section = decoder.decode(block) if found is None else found
                if section.kind != REQUEST:
                    self._report()
                    self._on_section(stream_id, section, False)
                    return start - HEADER_BYTES
            self._highest_peer_id = stream_id
            if section.content_length is not None and section.content_length != size:
                unreported[stream_id] = section
                return start - HEADER_BYTES
            stream = self._spare
            if stream is None:
                stream = self._spare = TunedStream(stream_id, self._peer_window_bytes, self._stream_window_bytes)
            else:
                stream.id = stream_id
            streams[stream_id] = stream
            reply = on_request(stream, section, data, start, stop)
            if reply:
                self._send_short_reply(stream_id, reply)
            else:
                self._spare = None
                if reply is None:
                    del streams[stream_id]
                    unreported[stream_id] = section
                    self._report()
                    return start - HEADER_BYTES
            connection.receive_window -= size
            at = stop
        return at

    def _receive_apart(self, data: bytes, at: int, limit: int) -> int:
        """As `_receive_whole`, where the DATA of each request stands behind the HEADERS of others. Requests whose
        DATA was not met are left in `_unreported`."""
        streams = self.streams
        connection = self._connection
        unreported = self._unreported
        decoder = self._decoder
        on_request = self._sink.on_request
        low_bytes = self._connection_low_bytes
        short_bytes = self._short_request_bytes
        max_frame_bytes = self._config.max_frame_bytes
        end = len(data)
        known_block: bytes | None = None  # `section` is its
        while at < limit:
            word, flags, stream_id = _unpack_header(data, at)
            start = at + HEADER_BYTES
            size = word >> 8
            stop: int = start + size
            if stop > end:
                break
            if flags == END_STREAM:
                section = unreported.get(stream_id)
                if (
                    section is None
                    or word & 0xFF  # it is not DATA
                    or size > short_bytes
                    or size >= connection.receive_window - low_bytes
                    or connection.send_window < SHORT_REPLY_BYTES
                    or (section.content_length is not None and section.content_length != size)
                ):
                    break
                stream = self._spare
                if stream is None:
                    stream = self._spare = TunedStream(stream_id, self._peer_window_bytes, self._stream_window_bytes)
                else:
                    stream.id = stream_id
                streams[stream_id] = stream
                reply = on_request(stream, section, data, start, stop)
                if reply:
                    self._send_short_reply(stream_id, reply)
                else:
                    self._spare = None
                    if reply is None:
                        del streams[stream_id]
                        self._report()
                        break
                del unreported[stream_id]
                connection.receive_window -= size
            else:
                if (
                    flags != END_HEADERS
                    or word & 0xFF != HEADERS
                    or stream_id != self._highest_peer_id + 2
                    or stream_id == MAX_STREAM_ID
                    or size > max_frame_bytes
                    or len(streams) + len(unreported) >= self._stream_limit
                    or len(unreported) == _MOST_UNREPORTED
                ):
                    break
                block = data[start:stop]
                if block != known_block:
                    found = decoder.sections.get(block)
                    known_block = None if found is None else block
                    opening = decoder.decode(block) if found is None else found
                    if opening.kind != REQUEST:
                        self._report()
                        self._on_section(stream_id, opening, False)
                        return stop
                self._highest_peer_id = stream_id
                unreported[stream_id] = opening
            at = stop
        return at

    def _report(self) -> None:
        """Report the requests that were not offered, in the order in which their HEADERS came."""
        unreported = self._unreported
        sections = list(unreported.items())
        unreported.clear()
        for stream_id, section in sections:
            stream = TunedStream(stream_id, self._peer_window_bytes, self._stream_window_bytes, OPEN)
            stream.content_length = section.content_length
            self.streams[stream_id] = stream
            self._sink.on_headers(stream, section, False)
