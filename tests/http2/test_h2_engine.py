"""What is particular to the engine over PyPI's h2; what it shares with the other is in `test_engine_contract`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http2 import frames as f
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Rig
from wire.http2.codes import MAX_STREAM_ID, ErrorCode, FrameType, Setting
from wire.http2.h2.engine import H2Engine


def engine_of(rig: Rig) -> H2Engine:
    assert isinstance(rig.engine, H2Engine)
    return rig.engine


def test_h2_forgets_streams_when_they_close() -> None:
    rig = Rig("h2", client=False)
    inside = engine_of(rig)._h2
    for at in range(4):
        rig.feed(f.headers(1 + 2 * at, end=at == 0))
    assert len(inside.streams) == 4
    rig.engine.send_reply(rig.sink.streams[1], RESPONSE, b"x", TRAILERS)
    rig.engine.send_reply(rig.sink.streams[3], RESPONSE, b"x", TRAILERS)
    rig.engine.reset(rig.sink.streams[5], ErrorCode.CANCEL)
    rig.feed(f.rst_stream(7))
    assert inside.streams == {}


def test_a_refused_stream_never_reaches_h2() -> None:
    rig = Rig("h2", client=False, max_concurrent_streams=1)
    rig.feed(f.headers(1), f.headers(3), f.headers(5, f.TRAILERS))
    assert list(engine_of(rig)._h2.streams) == [1]


def test_h2s_own_goaway_is_not_sent_beside_ours() -> None:
    rig = Rig("h2", client=False)
    rig.feed(f.headers(1), f.window_update(1, 2**31 - 1 - 65_535), f.ping())
    rig.feed(f.settings([(Setting.INITIAL_WINDOW_SIZE, 65_536)]))
    assert rig.sent_kinds() == [FrameType.PING, FrameType.GOAWAY]
    assert rig.last[-1].code == ErrorCode.FLOW_CONTROL_ERROR


def test_a_client_drains_when_its_stream_ids_are_used_up() -> None:
    rig = Rig("h2", client=True)
    engine_of(rig)._next_id = MAX_STREAM_ID - 2
    rig.engine.open_stream(REQUEST)
    assert rig.engine.can_open
    assert rig.engine.open_stream(REQUEST).id == MAX_STREAM_ID
    assert not rig.engine.can_open
    assert rig.engine.drained


def test_two_engines_talk_to_each_other() -> None:
    client, server = Rig("h2", client=True, settle=False), Rig("h2", client=False, settle=False)
    server.sink.react["data"] = lambda stream: server.engine.send_reply(stream, RESPONSE, bytes(200_000), TRAILERS)
    stream = client.engine.send_request(REQUEST, b"question")
    while data := client.engine.take():
        server.feed(data)
        client.feed(server.engine.take())
    calls = client.calls()
    assert sum(len(call[2]) for call in calls if call[0] == "data") == 200_000
    assert calls[-1] == ("trailers", 1, f.TRAILERS)
    assert stream.closed


FRAMES = [
    f.headers(1),
    f.headers(3, end=True, pad=5),
    f.headers(1, f.RESPONSE),
    f.headers(1, f.TRAILERS, end=True),
    f.headers(3, end_headers=False),
    f.continuation(3, f.REQUEST),
    f.data(1, b"abc"),
    f.data(1, b"abc", end=True, pad=3),
    f.settings([(Setting.INITIAL_WINDOW_SIZE, 5), (Setting.HEADER_TABLE_SIZE, 0)]),
    f.ping(),
    f.rst_stream(1),
    f.window_update(1, 1000),
    f.window_update(0, 1000),
    f.goaway(1),
    f.priority(1),
]


@settings(max_examples=200, deadline=None)
@given(
    st.booleans(),
    st.lists(st.sampled_from(FRAMES), max_size=12).map(b"".join),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(1, 60),
)
def test_mutated_bytes_never_raise(client: bool, data: bytes, mutations: list[tuple[int, int]], size: int) -> None:
    rig = Rig("h2", client=client)
    if client:
        rig.engine.send_request(REQUEST, bytes(100_000))
        rig.engine.open_stream(REQUEST)
    else:
        rig.sink.react["headers"] = lambda stream: rig.engine.send_reply(stream, RESPONSE, bytes(100_000), TRAILERS)
    rig.sent()
    mutated = bytearray(data)
    for at, byte in mutations:
        if at < len(mutated):
            mutated[at] = byte
    for at in range(0, len(mutated), size):
        rig.feed(bytes(mutated[at : at + size]))
    rig.verdict()
    rig.sent()
