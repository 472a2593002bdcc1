"""What the tuned engine must keep to for any bytes at all, and sessions to start breaking from.

An input's first byte says which side of a connection the engine is and under which limits, its second in which pieces
the bytes come that follow; they stand behind a well-formed beginning. `check` asserts:

1. `receive` raises nothing.
2. The sink hears, and the engine ends up with, what the h2 engine does for the same bytes in one piece.
3. What is written stays in proportion to what was read.
4. What either engine holds, after each piece, stays in proportion to what was read, and within a number of bytes that
   its configuration gives.

Used by `fuzz_engine`, which looks for such bytes by coverage, and by `tests/http2/test_mutated_bytes.py`.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

from tests.http2 import frames as f
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Recorder, feed
from wire.config import EngineName, Http2Config
from wire.http2.engine import RESETS_REMEMBERED, HeaderList, Stream
from wire.http2.engines import engine_factory
from wire.http2.limits import HARD_HEADER_FACTOR
from wire.http2.tuned.decoder import DEFAULT_TABLE_BYTES, MAX_REMEMBERED_BYTES

CLIENT, TIGHT, REPLIES = 1, 2, 4
"""Bits of the first byte: our role, narrow limits, and whether the layer above answers."""

_TIGHT = Http2Config(
    max_concurrent_streams=2,
    header_table_bytes=128,
    max_header_list_bytes=1024,
    max_header_fields=16,
    max_continuation_frames=2,
    max_queued_replies=4,
    reset_burst=3,
    control_burst=20,
)
_HELD_BYTES = 50_000
_HELD_PER_BYTE = 100
_STREAM_BYTES = 4096
_LOOKS = 32  # at what is held, in one input: each goes over all of an engine's objects
_WRITTEN_BYTES = 1000
_WRITTEN_PER_BYTE = 20  # a request of a few bytes may be answered by a reply of a hundred


class _Above(Recorder):
    """Answers requests as they end, where it answers at all."""

    engine: Any
    replies = False

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        self.answer = b"reply" if self.replies and stream.id & 2 else None
        return super().on_request(stream, headers, data, start, stop)

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        super().on_headers(stream, headers, end_stream)
        self._answer(stream, end_stream)

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        self._answer(stream, end_stream)
        super().on_data(stream, data, end_stream)

    def _answer(self, stream: Stream, end_stream: bool) -> None:
        if self.replies and end_stream:
            self.engine.send_reply(stream, RESPONSE, b"reply", TRAILERS)


def bound_bytes(config: Http2Config) -> int:
    """Most that an engine may hold for one peer: a frame and a field block that are not
    complete, the HPACK tables and what is remembered of blocks, its streams with their
    replies, and what is queued for it."""
    field_block = HARD_HEADER_FACTOR * config.max_header_list_bytes
    remembered = 2 * MAX_REMEMBERED_BYTES
    tables = 2 * 10 * (config.header_table_bytes + DEFAULT_TABLE_BYTES)
    streams = (config.max_concurrent_streams + RESETS_REMEMBERED) * _STREAM_BYTES
    queued = 100 * config.max_queued_replies
    return _HELD_BYTES + queued + config.max_frame_bytes + field_block + remembered + tables + streams


def _run(name: EngineName, shape: int, pieces: Sequence[bytes]) -> tuple[Any, _Above, int]:
    client = bool(shape & CLIENT)
    above = _Above()
    config = _TIGHT if shape & TIGHT else Http2Config()
    engine = above.engine = engine_factory(name)(client, above, config)
    above.replies = bool(shape & REPLIES) and not client
    engine.start()
    feed(engine, f.settings() if client else f.PREFACE + f.settings(), 0.0)
    if client:
        for _ in range(3):
            engine.send_request(REQUEST, b"request")
    written = len(engine.take())
    every = len(pieces) // _LOOKS + 1
    read = 0
    for number, piece in enumerate(pieces):
        feed(engine, piece, 1.0)
        read += len(piece)
        if number % every == 0 or number == len(pieces) - 1:
            assert footprint_bytes(engine) <= min(bound_bytes(config), _HELD_BYTES + _HELD_PER_BYTE * read)
    return engine, above, written + len(engine.take())


def check(data: bytes) -> None:
    """Fails, or raises whatever should not have been raised, where one of the above does not hold."""
    if len(data) < 2:
        return
    shape, size, session = data[0], data[1] or 256, data[2:]
    pieces = [session[at : at + size] for at in range(0, len(session), size)]
    engine, above, written = _run("tuned", shape, pieces)
    reference, expected, _ = _run("h2", shape, [session])
    assert above.calls == expected.calls
    for attribute in ("can_open", "drained", "queued_replies"):
        assert getattr(engine, attribute) == getattr(reference, attribute)
    assert set(engine.streams) == set(reference.streams)
    assert written <= _WRITTEN_BYTES + _WRITTEN_PER_BYTE * len(session)


def footprint_bytes(root: object) -> int:
    """Memory of an object and what it alone leads to; classes, functions and the sink left out. 0 on PyPy."""
    seen: set[int] = set()
    found = [root]
    total = 0
    while found:
        each: Any = found.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, Recorder, Http2Config)) or callable(each):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each, 0)
        if isinstance(each, (dict, OrderedDict)):
            found += [*each.keys(), *each.values()]
        elif isinstance(each, (list, tuple, set, deque)):
            found += each
        else:
            names = {name for cls in type(each).__mro__ for name in getattr(cls, "__slots__", ())}
            found += [getattr(each, name) for name in names if hasattr(each, name)]
            found += getattr(each, "__dict__", {}).values()
    return total


def sessions() -> Iterator[bytes]:
    """Well-formed inputs: each kind of frame, in both roles, and field blocks in each encoding."""
    for shape in range(8):
        head = bytes((shape, 0))
        encoder = Encoder()
        if shape & TIGHT:
            encoder.header_table_size = 128
        common = f.settings({3: 100, 4: 1000, 5: 20_000, 1: 100}) + f.settings(ack=True) + f.window_update(0, 1000)
        common += f.ping() + f.ping(ack=True) + f.priority(1) + f.frame(77, 5, 1, b"unknown")
        if shape & CLIENT:
            yield (
                head
                + common
                + b"".join(
                    f.headers(stream_id, encoder.encode([(b":status", b"103")]))
                    + f.headers(stream_id, encoder.encode(f.RESPONSE))
                    + f.data(stream_id, b"reply", pad=3)
                    + f.window_update(stream_id, 5)
                    + f.headers(stream_id, encoder.encode(f.TRAILERS), end=True)
                    for stream_id in (1, 3)
                )
                + f.rst_stream(5)
                + f.goaway(5, 0, b"bye")
            )
            continue
        requests = b""
        for number, kind in enumerate((HeaderTuple, NeverIndexedHeaderTuple, HeaderTuple)):
            stream_id = 2 * number + 1
            block = encoder.encode([*f.REQUEST, kind(b"grpc-timeout", b"%dm" % (number * 111))], huffman=number > 0)
            requests += f.headers(stream_id, block[:9], end_headers=False, pad=number, priority=bytes(5))
            requests += f.continuation(stream_id, block[9:])
            requests += f.data(stream_id, b"request") + f.window_update(stream_id, 77)
            requests += f.data(stream_id, b"", end=True) if number else f.headers(stream_id, f.TRAILERS, end=True)
        yield head + common + requests + f.rst_stream(5) + f.goaway(0, 0, b"bye")
