"""One engine between a recording sink and a peer made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.http2 import frames as f
from wire.config import Http2Config
from wire.http2.codes import ErrorCode, FrameType
from wire.http2.engine import Engine, HeaderList, Stream
from wire.http2.engines import engine_factory

REQUEST = HeaderList(f.REQUEST, shared=True)
RESPONSE = HeaderList(f.RESPONSE, shared=True)
TRAILERS = HeaderList(f.TRAILERS, shared=True)


def feed(engine: Any, data: bytes, now: float) -> int:
    """Bytes for an engine, which handles all of them; in how many slices."""
    slices = 1
    while engine.receive(data, now):
        data = b""
        slices += 1
    return slices


class Recorder:
    """A sink that writes everything down. `grant`: whether DATA counts as consumed when it comes. `serves`: whether
    streams that are reset had brought a handler a request. `takes`: whether whole answers are taken as such. `answer`:
    what an offered request is taken and answered with; `offers`: those that were taken."""

    engine: Engine
    reply: tuple[HeaderList, HeaderList] | None = (RESPONSE, TRAILERS)
    answer: bytes | None = None
    offers = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.streams: dict[int, Stream] = {}
        self.sections: list[HeaderList] = []
        self.grant = True
        self.serves = False
        self.takes = True
        self.whole = 0
        self.asks = False  # whether streams have an `Asker`
        self.explained: list[bool] = []  # of each ping
        self.react: dict[str, Callable[[Stream], object]] = {}

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        assert self.engine.streams[stream.id] is stream
        if self.answer is None:
            return None
        self.offers += 1
        self.streams[stream.id] = stream
        self._note("headers", stream, headers.fields, False)
        self._note("data", stream, data[start:stop], True)
        return self.answer

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        self.streams[stream.id] = stream
        self.sections.append(headers)
        self._note("headers", stream, headers.fields, end_stream)

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        assert type(data) is bytes
        assert data or end_stream
        self._note("data", stream, data, end_stream)
        if self.grant:
            self.engine.consumed(stream, len(data))

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        self.sections.append(trailers)
        self._note("trailers", stream, trailers.fields)

    def whole_answer(self, headers: HeaderList, trailers: HeaderList) -> Any:
        return (headers, trailers) if self.asks else None

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> bool:
        assert stream.closed
        assert stream.queued_bytes == 0
        self._note("reset", stream, code, by_peer)
        return self.serves

    def on_writable(self, stream: Stream) -> None:
        assert stream.queued_bytes == 0
        self._note("writable", stream)

    def on_settings(self) -> None:
        self.calls.append(("settings",))

    def on_more_to_write(self) -> None:
        self.calls.append(("more_to_write",))

    def on_settings_ack(self) -> None:
        self.calls.append(("settings_ack",))

    def on_ping(self, explained: bool) -> None:
        self.calls.append(("ping",))
        self.explained.append(explained)

    def on_ping_ack(self, payload: bytes) -> None:
        self.calls.append(("ping_ack", payload))

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.calls.append(("goaway", last_stream_id, code, debug))

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        assert reason
        assert reason.isprintable()
        self.calls.append(("error", code))

    def _note(self, name: str, stream: Stream, *rest: Any) -> None:
        self.calls.append((name, stream.id, *rest))
        if name in self.react:
            self.react[name](stream)


class Asker:
    """A call whose stream is told in parts of what its sink may take whole."""

    def __init__(self, sink: Recorder, stream: Stream) -> None:
        self._sink = sink
        self._stream = stream
        stream.call = self
        sink.asks = True

    def on_response(self, answer: Any, data: bytes, start: int, stop: int) -> bool:
        sink, stream = self._sink, self._stream
        assert stream.closed
        assert stream.id not in sink.engine.streams
        if not sink.takes or stop - start < 5:
            return False
        headers, trailers = answer
        sink.whole += 1
        sink.on_headers(stream, headers, False)
        sink.on_data(stream, data[start:stop], False)
        sink.on_trailers(stream, trailers)
        return True

    def on_data_within(self, data: bytes, start: int, stop: int) -> None:
        self._sink.on_data(self._stream, data[start:stop], False)

    def on_message(self, message: bytes) -> None:
        self._sink.on_data(self._stream, len(message).to_bytes(5, "big") + message, False)


class Rig:
    """A started engine. `now` is its clock; `feed` lets the peer speak, `sent` tells what the engine says."""

    def __init__(self, name: str, *, client: bool, settle: bool = True, **config: Any) -> None:
        self.name = name
        self.client = client
        self.config = Http2Config(**config)
        self.sink = Recorder()
        self.engine: Engine = engine_factory(name)(client, self.sink, self.config)  # type: ignore[arg-type]
        self.sink.engine = self.engine
        self.now = 1000.0
        self._fields = f.FieldReader()
        self.last: list[f.Frame] = []
        self.engine.start()
        if settle:
            self.feed(b"" if client else f.PREFACE, f.settings())
            self.sent()
            self.feed(f.settings(ack=True))
            self.calls()

    def feed(self, *data: bytes) -> None:
        """Everything in one read."""
        feed(self.engine, b"".join(data), self.now)

    def sent(self) -> list[f.Frame]:
        """The frames since the last time."""
        self.last = f.parse(self.engine.take())
        return self.last

    def sent_kinds(self) -> list[FrameType]:
        return [frame.kind for frame in self.sent()]

    def sent_fields(self) -> list[tuple[int, f.Fields, bool]]:
        return self._fields.read(self.sent())

    def sent_data(self, stream_id: int = 1) -> bytes:
        """The DATA of a stream among what is sent, joined."""
        return b"".join(
            frame.payload for frame in self.sent() if frame.kind == FrameType.DATA and frame.stream_id == stream_id
        )

    def resets(self) -> list[tuple[int, ErrorCode]]:
        """The RST_STREAMs among what is sent."""
        return [(frame.stream_id, frame.code) for frame in self.sent() if frame.kind == FrameType.RST_STREAM]

    def calls(self) -> list[tuple[Any, ...]]:
        """What the sink was told since the last time."""
        calls = self.sink.calls[:]
        self.sink.calls.clear()
        return calls

    def verdict(self) -> ErrorCode | None:
        """The code of the connection error, with the GOAWAY that must come with it; None while there is none."""
        errors = [call[1] for call in self.sink.calls if call[0] == "error"]
        if not errors:
            return None
        assert len(errors) == 1
        assert not self.engine.can_open
        assert self.engine.drained
        last = self.sent()[-1]
        assert last.kind == FrameType.GOAWAY
        assert last.code == errors[0]
        return errors[0]  # type: ignore[no-any-return]

    def open(self, *, end: bool = False) -> Stream:
        """A stream: the peer's request at a server, ours at a client."""
        if self.client:
            stream = self.engine.open_stream(REQUEST, (), end)
        else:
            stream_id = max(self.sink.streams, default=-1) + 2
            self.feed(f.headers(stream_id, end=end))
            stream = self.sink.streams[stream_id]
        self.sent()
        self.calls()
        return stream
