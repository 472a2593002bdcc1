"""The two engines held together: same frames, whatever their chunking, same sink calls, windows, verdict and error
code.

Hypothesis plays the peer and the layer above at once, in both roles, with well-formed and broken frames. What may
differ is named here and nowhere else: HPACK choices, when WINDOW_UPDATE is sent, and the texts of GOAWAY."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.http2 import frames as f
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Asker, Recorder, feed
from wire.config import EngineName, Http2Config
from wire.http2.codes import ErrorCode, FrameType
from wire.http2.engine import HeaderList, Stream
from wire.http2.engines import engine_factory

SHARED = {each.fields: each for each in (REQUEST, RESPONSE, TRAILERS)}
REPLY = b"reply"  # 300 of which are more than is copied between its frames
OF_STREAMS = ("headers", "data", "trailers", "reset", "writable")

EXTRA_FIELDS = [
    (b"grpc-timeout", b"99999999u"),
    (b"grpc-timeout", b"1S"),
    (b"content-length", b"5"),
    (b"content-length", b"0"),
    (b"x-empty", b""),
    (b"x-long", b"v" * 300),
    (b"x-bin", bytes(range(0x80, 0x100))),
    (b"host", b"localhost"),
    (b"cookie", b"a=b"),
    (b"authorization", b"secret"),
]
BAD_FIELDS = [
    (b"Upper", b"x"),
    (b"", b"x"),
    (b"a b", b"x"),
    (b"x:y", b"x"),
    (b"x\x80", b"x"),
    (b"x", b"a\r\nb"),
    (b"x", b"a\0b"),
    (b"x", b" padded"),
    (b"x", b"padded\t"),
    (b"x", b" "),
    (b"te", b"gzip"),
    (b"te", b"Trailers"),
    (b"connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"x"),
    (b"content-length", b""),
    (b"content-length", b"+5"),
    (b"content-length", b"1" * 19),
    (b"host", b"elsewhere"),
    (b":path", b"/late"),
    (b":status", b"200"),
    (b":unknown", b"x"),
]
REQUEST_SHAPES: list[f.Fields] = [
    ((b":method", b"CONNECT"), (b":authority", b"localhost:1")),
    ((b":method", b"CONNECT"), *f.REQUEST[1:]),
    ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/")),
    ((b":method", b""), *f.REQUEST[1:]),
    (f.REQUEST[0], f.REQUEST[1], (b":path", b""), *f.REQUEST[3:]),
    f.REQUEST[1:],
    (*f.REQUEST[:3], *f.REQUEST[:1], *f.REQUEST[3:]),
    (),
]
RESPONSE_SHAPES: list[f.Fields] = [
    ((b":status", b"100"),),
    ((b":status", b"103"), (b"link", b"x")),
    ((b":status", b"404"),),
    ((b":status", b"20"),),
    ((b":status", b"2000"),),
    ((b":status", b"abc"),),
    ((b":status", b"200"), (b":status", b"200")),
    (),
]

TIGHT = Http2Config(
    stream_window_bytes=65_535,
    connection_window_bytes=65_535,
    max_frame_bytes=2**14,
    max_concurrent_streams=3,
    header_table_bytes=256,
    max_header_list_bytes=1024,
    max_header_fields=16,
    max_continuation_frames=2,
    max_queued_replies=4,
    reset_burst=5,
    resets_per_s=1.0,
    control_burst=25,
    controls_per_s=10.0,
)
ROOMY = Http2Config(stream_window_bytes=65_535, connection_window_bytes=100_000, max_concurrent_streams=8)
WIDE = Http2Config(max_concurrent_streams=300)


class Above(Recorder):
    """`answers`: some requests are answered as they end, some later, whether they are offered or come in parts. What is
    answered is forgotten, as its stream may be another's. `begun`: answers that the session has sent a part of."""

    answers = False
    begun: set[int]

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        self.answer = (REPLY, b"", None, REPLY * 300)[stream.id % 8 // 2] if self.answers else None
        answer = super().on_request(stream, headers, data, start, stop)
        if answer:
            del self.streams[stream.id]
        return answer

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        super().on_data(stream, data, end_stream)
        if self.answers and end_stream and stream.id % 8 in (1, 7) and stream.id not in self.begun:
            self.engine.send_reply(stream, RESPONSE, REPLY if stream.id % 8 == 1 else REPLY * 300, TRAILERS)
            if stream.closed:
                del self.streams[stream.id]

    def told(self) -> tuple[Any, ...]:
        """What was heard. Requests that are answered as they end may be told of late, behind those that ended first."""
        if not self.answers:
            return (self.calls,)
        streams: dict[int, list[Any]] = {}
        for call in self.calls:
            streams.setdefault(call[1] if call[0] in OF_STREAMS else 0, []).append(call)
        return streams, [call for call in self.calls if call[0] != "headers"]


class Side:
    """One engine, its sink, and a reader of what it writes."""

    def __init__(self, name: EngineName, client: bool, config: Http2Config) -> None:
        self.sink = Above()
        self.engine: Any = engine_factory(name)(client, self.sink, config)
        self.sink.engine = self.engine
        self._fields = f.FieldReader()

    def written(self) -> list[Any]:
        """What was written since the last call, field blocks decoded, without what engines may do each in its way."""
        found: list[Any] = []
        for frame in f.parse(self.engine.take()):
            if frame.kind in {FrameType.HEADERS, FrameType.CONTINUATION}:
                found += self._fields.read([frame])
            elif frame.kind == FrameType.GOAWAY:
                found.append((frame.kind, frame.payload[:8]))
            elif frame.kind != FrameType.WINDOW_UPDATE:
                found.append(frame)
        return found

    def windows(self) -> tuple[Any, ...]:
        """The connection's windows, sending and receiving, and those of its streams while both sides may send."""
        engine = self.engine
        if hasattr(engine, "_h2"):
            connection = engine._h2
            streams = {
                id_: (connection.streams[id_].outbound_flow_control_window, stream.receive_window)
                for id_, stream in engine.streams.items()
                if not stream.peer_ended
            }
            return connection.outbound_flow_control_window, engine._receive_window, streams
        return (
            engine._connection.send_window,
            engine._connection.receive_window,
            {id_: (each.send_window, each.receive_window) for id_, each in engine.streams.items() if each.remote != 2},
        )

    def state(self) -> tuple[Any, ...]:
        engine = self.engine
        return (
            engine.can_open,
            engine.drained,
            engine.queued_replies,
            {id_: (stream.queued_bytes, stream.closed) for id_, stream in self.sink.streams.items()},
            set(engine.streams),
        )


class Session:
    """A connection of both engines with the same peer and the same layer above.

    `act` makes one step; everything left open about it follows from the seed. It fails where the engines' sinks,
    windows or states differ, or in the end what they wrote.
    """

    def __init__(self, client: bool, seed: int) -> None:
        self.random = Random(seed)
        self.client = client
        self.config = self.random.choice([TIGHT, ROOMY, WIDE])
        self.sides = [Side("h2", client, self.config), Side("tuned", client, self.config)]
        self.encoder = Encoder()
        self.next_id = 1
        self.now = 1.0
        self.failed = False
        self.grant = self.rarely(2)
        self.consumed_bytes: dict[int, int] = {}
        self.answered: set[int] = set()
        answers = not client and not self.rarely(3)
        for side in self.sides:
            side.sink.answers = answers
            side.sink.begun = self.answered
            side.sink.grant = self.grant
            side.sink.takes = not self.rarely(4)
            side.engine.start()
            side.written()
        self.feed(b"" if self.client else f.PREFACE)
        self.feed(
            f.settings({4: self.random.choice([0, 10, 20_000, 65_535, 10**6]), 3: self.random.choice([0, 3, 100])})
        )
        self.feed(f.settings(ack=True) + f.window_update(0, self.random.choice([1, 10**6, 10**7])))
        if self.config.header_table_bytes < 4096:
            self.encoder.header_table_size = self.config.header_table_bytes

    def act(self, action: str, seed: int) -> None:
        self.random.seed(seed)
        reference = self.sides[0]
        if action in STARTS or (reference.sink.streams and (reference.engine.streams or self.rarely(10))):
            getattr(self, action)()

    def rarely(self, one_in: int) -> bool:
        return self.random.randrange(one_in) == 0

    def feed(self, received: bytes) -> None:
        """Give `received` to both, each in pieces of its own."""
        for side in self.sides:
            cuts = sorted(self.random.randint(0, len(received)) for _ in range(self.random.randrange(4)))
            for start, stop in pairwise([0, *cuts, len(received)]):
                feed(side.engine, received[start:stop], self.now)
        self.compare()

    def compare(self) -> None:
        reference, tuned = self.sides
        assert tuned.sink.told() == reference.sink.told()
        self.failed = any(call[0] == "error" for call in reference.sink.calls)
        assert tuned.state() == reference.state()
        if not self.failed:
            assert tuned.windows() == reference.windows()

    def any_stream(self) -> int:
        """Mostly one that is open, or was."""
        opened = sorted(self.sides[0].engine.streams)
        known = range(1, self.next_id, 2)
        if not known or self.rarely(40):
            return self.random.choice([0, 1, 2, self.next_id, self.next_id + 2, 2**31 - 1, 2**31 + 1])
        stream_id: int = self.random.choice(known if not opened or self.rarely(5) else opened)
        return stream_id

    def fields(self, base: f.Fields, shapes: list[f.Fields]) -> f.Fields:
        random = self.random
        if self.rarely(10):
            base = random.choice(shapes)
        extra = random.choices(EXTRA_FIELDS, k=random.choice([0, 0, 1, 3]))
        if self.rarely(10):
            extra.insert(random.randint(0, len(extra)), random.choice(BAD_FIELDS))
        if self.rarely(20):
            extra += [(b"many", b"")] * random.choice([10, 40, 200])
        return (*base, *extra)

    def block(self, fields: f.Fields) -> bytes:
        """`fields` in one of the encodings there are."""
        if self.rarely(15):
            self.encoder.header_table_size = self.random.choice([0, 60, 256, self.config.header_table_bytes])
        kinds = self.random.choices([HeaderTuple, HeaderTuple, NeverIndexedHeaderTuple], k=len(fields))
        encoded = [kind(*field) for kind, field in zip(kinds, fields, strict=True)]
        block: bytes = self.encoder.encode(encoded, huffman=self.rarely(2))
        if self.rarely(60):
            block = self.random.choice([block[:-1], b"\x80" + block, block + b"\x3f\xe1\x1f", b"\xff" * 9, b"\x40\x81"])
        return block

    def headers(self, stream_id: int, fields: f.Fields, end_stream: bool) -> bytes:
        """HEADERS, sometimes with padding, priority and CONTINUATIONs."""
        block = self.block(fields)
        pad = self.random.choice([0, 1, 9]) if self.rarely(6) else None
        priority = b"\0\0\0\1\7" if self.rarely(6) else b""
        if self.rarely(3):
            cuts = sorted(self.random.randint(0, len(block)) for _ in range(self.random.choice([1, 1, 2, 3])))
            first, *pieces = [block[start:stop] for start, stop in pairwise([0, *cuts, len(block)])]
            return f.headers(
                stream_id, first, end=end_stream, end_headers=False, pad=pad, priority=priority
            ) + b"".join(
                f.continuation(stream_id, piece, end_headers=number == len(pieces))
                for number, piece in enumerate(pieces, 1)
            )
        return f.headers(stream_id, block, end=end_stream, pad=pad, priority=priority)

    def settings_and_time(self) -> None:
        self.now += self.random.choice([0.0, 0.3, 2.0])
        values = {
            1: [0, 100, 4096, 2**20],
            2: [0],
            3: [0, 1, 100, 2**32 - 1],
            4: [0, 1, 100, 20_000, 65_535, 10**6, 2**31 - 1 if self.rarely(5) else 0, 2**31 if self.rarely(9) else 0],
            5: [2**14, 2**20, 2**24 - 1, 100 if self.rarely(9) else 2**14],
            6: [0, 1000],
            77: [5],
        }
        chosen = self.random.sample(sorted(values), k=self.random.randrange(4))
        self.feed(f.settings({each: self.random.choice(values[each]) for each in chosen}))

    def data_frame(self) -> None:
        size = self.random.choice([0, 1, 5, 5, 40, 9000, 16_000])
        pad = self.random.choice([0, 3, 255]) if self.rarely(5) else None
        self.feed(f.data(self.any_stream(), bytes(size), end=self.rarely(2), pad=pad))

    def window_update(self) -> None:
        increment = self.random.choice([0, 2**31 - 1] if self.rarely(15) else [1, 5, 100, 20_000])
        self.feed(f.window_update(0 if self.rarely(2) else self.any_stream(), increment))

    def rst_stream(self) -> None:
        self.feed(f.rst_stream(self.any_stream(), self.random.choice([0, 8, 99])))

    def ping_or_goaway(self) -> None:
        if self.rarely(10):
            self.feed(f.goaway(self.random.choice([0, 1, 3, 2**31 - 1]), 0, b"bye"))
        else:
            self.feed(f.ping(ack=self.rarely(2)))

    def any_frame(self) -> None:
        kind, flags = self.random.randrange(13), self.random.randrange(256)
        if not self.rarely(4):
            return
        if self.rarely(20):
            size = self.random.choice([16_385, 65_537, 2**24 - 1])
            self.feed(f.frame(kind, flags, self.any_stream(), length=size))
        elif self.rarely(2):
            self.feed(f.frame(self.random.choice([2, 10, 250]), flags, self.any_stream(), bytes(5)))
        elif self.rarely(2):
            self.feed(f.frame(kind, flags, self.any_stream(), self.random.randbytes(self.random.randrange(12))))

    # The layer above.

    def on_both(self, stream_id: int, method: str, *args: Any) -> None:
        for side in self.sides:
            getattr(side.engine, method)(side.sink.streams[stream_id], *args)
        self.compare()

    def known_stream(self) -> int:
        opened = sorted(self.sides[0].engine.streams)
        known = sorted(self.sides[0].sink.streams)
        stream_id: int = self.random.choice(known if not opened or self.rarely(8) else opened)
        return stream_id

    def send_data(self) -> None:
        stream_id = self.known_stream()
        if stream_id in self.answered:
            self.read_output()  # the tuned engine joins small pieces that leave together
            self.on_both(stream_id, "send_data", bytes(self.random.choice([0, 1, 30, 20_000, 70_000])), self.rarely(2))

    def send_headers(self) -> None:
        stream_id = self.known_stream()
        fields, end_stream = (f.TRAILERS, True) if stream_id in self.answered else (f.RESPONSE, self.rarely(3))
        self.answered.add(stream_id)
        self.on_both(stream_id, "send_headers", SHARED[fields] if self.rarely(2) else HeaderList(fields), end_stream)

    def reset(self) -> None:
        if self.rarely(3):
            self.on_both(self.known_stream(), "reset", self.random.choice([ErrorCode.CANCEL, ErrorCode.NO_ERROR]))

    def consumed(self) -> None:
        if self.grant:
            return
        stream_id = self.known_stream()
        received = sum(len(call[2]) for call in self.sides[0].sink.calls if call[:2] == ("data", stream_id))
        size = self.random.randint(0, received - self.consumed_bytes.get(stream_id, 0))
        self.consumed_bytes[stream_id] = self.consumed_bytes.get(stream_id, 0) + size
        self.on_both(stream_id, "consumed", size)

    def read_output(self) -> None:
        assert self.sides[1].written() == self.sides[0].written()
        self.compare()

    def goaway(self) -> None:
        if self.rarely(10):
            final = self.rarely(2)
            for side in self.sides:
                side.engine.goaway(final=final)
            self.compare()

    # Actions of a server's peer, and of what is above a server.

    def request(self) -> None:
        stream_id = self.next_id
        if self.rarely(8):
            stream_id = max(stream_id + self.random.choice([2, 2, 4, 1, -2]), 1)
        self.feed(self.headers(stream_id, self.fields(f.REQUEST, REQUEST_SHAPES), self.rarely(3)))
        if stream_id & 1:
            self.next_id = max(self.next_id, stream_id + 2)

    def plain_request(self) -> None:
        block = self.encoder.encode(f.REQUEST)
        self.feed(f.headers(self.next_id, block) + f.data(self.next_id, bytes(21), end=True))
        self.next_id += 2

    def burst(self) -> None:
        """Many requests in one read, each with what belongs to it behind it, or behind the HEADERS of others."""
        burst = b""
        waiting: list[bytes] = []
        size = self.random.choice([21, 21, 21, 1000, 16_000])
        apart, odd = self.random.choice([1, 5, 40, 300]), self.random.choice([5, 50, 500, 5000])
        for _ in range(self.random.choice([2, 4, 9, 9, 30, 30, 200])):
            stream_id, self.next_id = self.next_id, self.next_id + 2
            fields = f.REQUEST
            if self.rarely(odd):
                fields += ((b"content-length", b"%d" % self.random.choice([size, size, 0, size + 1])),)
            if self.rarely(odd):
                burst += self.headers(stream_id, self.fields(fields, REQUEST_SHAPES), self.rarely(3))
            else:
                burst += f.headers(stream_id, self.encoder.encode(fields))
            waiting.append(self.rest(stream_id) if self.rarely(odd) else f.data(stream_id, bytes(size), end=True))
            if self.rarely(odd):
                between = [f.ping(), f.priority(stream_id), f.window_update(0, 5), f.settings({4: 0})]
                waiting.append(self.random.choice([*between, f.settings({4: 20_000})]))
            while waiting and (len(waiting) >= apart or self.rarely(apart)):
                burst += waiting.pop(self.random.choice([0, 0, -1]))
        self.feed(burst + b"".join(waiting))

    def rest(self, stream_id: int) -> bytes:
        """What may come behind a request's HEADERS in place of its one DATA."""
        whole = f.data(stream_id, bytes(21), end=True)
        choices = [
            b"",
            f.rst_stream(stream_id),
            whole + whole,
            whole + f.rst_stream(stream_id),
            f.data(stream_id, bytes(5)) + f.data(stream_id, bytes(16), end=True),
            f.data(stream_id, bytes(21), end=True, pad=self.random.choice([0, 200])),
            f.data(stream_id, bytes(21)) + f.data(stream_id, end=True),
            f.data(stream_id, end=True),
            f.data(stream_id | 1 << 31, bytes(21), end=True),
            f.data(stream_id, bytes(self.random.choice([16_384, 16_385])), end=True),
            f.data(stream_id + 2, bytes(21), end=True),
            f.window_update(stream_id, self.random.choice([5, 0, 2**31 - 1])) + whole,
        ]
        return self.random.choice(choices)

    def trailers(self) -> None:
        fields = self.fields(f.TRAILERS, [f.REQUEST, f.RESPONSE])
        self.feed(self.headers(self.any_stream(), fields, not self.rarely(10)))

    def send_reply(self) -> None:
        stream_id = self.known_stream()
        if stream_id not in self.answered:
            self.answered.add(stream_id)
            message = bytes(self.random.choice([5, 21, 20_000]))
            self.on_both(stream_id, "send_reply", SHARED[f.RESPONSE], message, SHARED[f.TRAILERS])

    # The same for a client.

    def open_stream(self) -> None:
        if not self.sides[0].engine.can_open:
            return
        whole, end_stream = self.rarely(2), self.rarely(2)
        headers = SHARED[f.REQUEST] if self.rarely(2) else HeaderList(f.REQUEST)
        extra = tuple(self.random.choices([*EXTRA_FIELDS[:2], *EXTRA_FIELDS[-2:]], k=self.random.randrange(3)))
        for side in self.sides:
            if whole:
                stream = side.engine.send_request(headers, b"request", extra)
            else:
                stream = side.engine.open_stream(headers, extra, end_stream)
            side.sink.streams[stream.id] = stream
            Asker(side.sink, stream)
            self.next_id = stream.id + 2
        self.answered.add(self.next_id - 2)
        self.compare()

    def response(self) -> None:
        self.feed(self.headers(self.any_stream(), self.fields(f.RESPONSE, RESPONSE_SHAPES), self.rarely(3)))

    def whole_replies(self) -> None:
        replies = b""
        for _ in range(self.random.choice([1, 2, 5])):
            stream_id = self.any_stream()
            data = f.data(stream_id, b"reply" * self.random.choice([1, 1, 3000]))
            replies += f.headers(stream_id, self.encoder.encode(f.RESPONSE)) + data
            if self.rarely(5):
                replies += f.data(stream_id, b"end", end=True)
            else:
                replies += f.headers(stream_id, self.encoder.encode(f.TRAILERS), end=True)
        self.feed(replies)


ANY_TIME = ("settings_and_time", "ping_or_goaway", "any_frame", "read_output", "goaway")
STARTS = (*ANY_TIME, "request", "plain_request", "burst", "open_stream")
ON_STREAMS = ("data_frame", "window_update", "rst_stream", "trailers", "send_data", "send_headers", "reset", "consumed")
ACTIONS = {
    False: (*ANY_TIME, *ON_STREAMS, "request", "plain_request", "burst", "burst", "send_reply"),
    True: (*ANY_TIME, *ON_STREAMS, "open_stream", "whole_replies", "response"),
}
seeds = st.integers(0, 2**64 - 1)


class ServersAgree(RuleBasedStateMachine):
    client = False

    @initialize(seed=seeds)
    def connect(self, seed: int) -> None:
        self.session = Session(self.client, seed)

    @rule(choice=st.integers(0, 17), seed=seeds)
    def act(self, choice: int, seed: int) -> None:
        actions = ACTIONS[self.client]
        self.session.act(actions[choice % len(actions)], seed)

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.read_output()


class ClientsAgree(ServersAgree):
    client = True


TestServersAgree = ServersAgree.TestCase
TestClientsAgree = ClientsAgree.TestCase
TestServersAgree.settings = TestClientsAgree.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)


@pytest.mark.parametrize("client", [False, True])
def test_long_sessions_agree(client: bool) -> None:
    """By plain chance: fewer repetitions and longer sessions than hypothesis makes."""
    for seed in range(150):
        session = Session(client, seed)
        for _ in range(120):
            session.act(session.random.choice(ACTIONS[client]), session.random.getrandbits(64))
            if session.failed:
                break
        session.read_output()
