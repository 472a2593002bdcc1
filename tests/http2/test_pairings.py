"""Every engine, as client and as server, talks to every other in memory, through bytes in arbitrary pieces."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Recorder, feed
from wire.config import EngineName, Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.engine import HeaderList, Stream
from wire.http2.engines import engine_factory

_ENGINES: tuple[EngineName, ...] = ("h2", "tuned")
_SMALL_WINDOWS = Http2Config(stream_window_bytes=65_535, connection_window_bytes=65_535, max_frame_bytes=2**14)


class Echo(Recorder):
    """Sends each stream's DATA back, as one reply or as it comes."""

    engine: Any
    streaming = False

    reply: tuple[HeaderList, HeaderList] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[int, bytes] = {}

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        return None

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        super().on_headers(stream, headers, end_stream)
        self.bodies[stream.id] = b""
        if self.streaming:
            self.engine.send_headers(stream, RESPONSE)

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        super().on_data(stream, data, end_stream)
        if self.streaming:
            self.engine.send_data(stream, data)
            if end_stream:
                self.engine.send_headers(stream, TRAILERS, end_stream=True)
            return
        self.bodies[stream.id] += data
        if end_stream:
            self.engine.send_reply(stream, RESPONSE, self.bodies.pop(stream.id), TRAILERS)


class Pair:
    def __init__(self, client: EngineName, server: EngineName, config: Http2Config) -> None:
        self.random = Random(1)
        self.replies = Recorder()
        self.echo = Echo()
        self.client = engine_factory(client)(True, self.replies, config)
        self.replies.engine = self.client
        self.server = self.echo.engine = engine_factory(server)(False, self.echo, config)
        self.client.start()
        self.server.start()
        self.exchange()

    def exchange(self) -> None:
        """Carry bytes both ways until neither has any."""
        quiet = 0
        while quiet < 2:
            for source, target in ((self.client, self.server), (self.server, self.client)):
                data = source.take()
                quiet = 0 if data else quiet + 1
                while data:
                    size = self.random.choice([1, 9, 100, 20_000, len(data)])
                    feed(target, data[:size], 0.0)
                    data = data[size:]

    def reply(self, stream: Stream) -> bytes:
        """The DATA of a stream that came to its good end."""
        calls = [call for call in self.replies.calls if call[1:2] == (stream.id,) and call[0] != "writable"]
        assert calls[0] == ("headers", stream.id, RESPONSE.fields, False)
        assert calls[-1] == ("trailers", stream.id, TRAILERS.fields)
        assert stream.closed
        return b"".join(call[2] for call in calls if call[0] == "data")


@pytest.fixture(params=[(client, server) for client in _ENGINES for server in _ENGINES], ids="-".join)
def names(request: pytest.FixtureRequest) -> tuple[EngineName, EngineName]:
    pair: tuple[EngineName, EngineName] = request.param
    return pair


def test_many_small_calls_get_their_own_replies(names: tuple[EngineName, EngineName]) -> None:
    pair = Pair(*names, Http2Config())
    for batch in range(4):
        messages = [b"%d-%d" % (batch, number) for number in range(50)]
        streams = [pair.client.send_request(REQUEST, each, ((b"x-number", each),)) for each in messages]
        pair.exchange()
        assert [pair.reply(stream) for stream in streams] == messages
    assert not pair.client.streams
    assert not pair.server.streams


@pytest.mark.parametrize("streaming", [False, True])
def test_large_messages_cross_small_windows(names: tuple[EngineName, EngineName], streaming: bool) -> None:
    pair = Pair(*names, _SMALL_WINDOWS)
    pair.echo.streaming = streaming
    messages = [pair.random.randbytes(size) for size in (300_000, 1, 65_536, 200_000)]
    streams = [pair.client.send_request(REQUEST, message) for message in messages]
    pair.exchange()
    assert [pair.reply(stream) for stream in streams] == messages


def test_resets_and_goaway_leave_the_other_streams_alone(names: tuple[EngineName, EngineName]) -> None:
    pair = Pair(*names, _SMALL_WINDOWS)
    kept, dropped, refused = (pair.client.send_request(REQUEST, bytes(150_000)) for _ in range(3))
    pair.client.reset(dropped, ErrorCode.CANCEL)
    data = pair.client.take()
    feed(pair.server, data, 0.0)
    pair.server.reset(pair.echo.streams[refused.id], ErrorCode.REFUSED_STREAM)
    pair.server.goaway()
    pair.exchange()
    assert pair.reply(kept) == bytes(150_000)
    assert ("reset", dropped.id, ErrorCode.CANCEL, True) in pair.echo.calls
    assert ("reset", refused.id, ErrorCode.REFUSED_STREAM, True) in pair.replies.calls
    assert not pair.client.can_open
    assert pair.client.drained
    assert not pair.client.streams
    assert not pair.server.streams
