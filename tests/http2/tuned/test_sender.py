"""How the tuned engine sends, where the contract leaves it free."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2 import frames as f
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Rig
from wire.http2.codes import ErrorCode, FrameType
from wire.http2.engine import HeaderList


def server(**config: Any) -> Rig:
    return Rig("tuned", client=False, **config)


@pytest.mark.parametrize("size", [5, 1024, 1025, 10_000])
def test_a_reply_in_the_short_way_is_the_reply_in_the_long_way(size: int) -> None:
    rig = server()
    written = []
    for _ in range(5):
        stream = rig.open(end=True)
        rig.engine.send_reply(stream, RESPONSE, bytes(size), TRAILERS)
        frames = rig.sent()
        assert {frame.stream_id for frame in frames} == {stream.id}
        written.append([(frame.kind, frame.flags, frame.payload) for frame in frames])
        assert stream.closed
        assert not rig.engine.streams
    assert rig.engine._reply_shapes  # type: ignore[attr-defined]
    assert written[1] == written[2] == written[3] == written[4]
    assert [kind for kind, _, _ in written[4]] == [FrameType.HEADERS, FrameType.DATA, FrameType.HEADERS]
    assert [len(payload) for _, _, payload in written[4]] == [2, size, 1]


def test_the_short_way_is_left_when_the_peers_table_changes() -> None:
    rig = server()
    fields = f.FieldReader()
    for table_bytes in (None, None, None, 64, None, 4096, None, None):
        if table_bytes is not None:
            rig.feed(f.settings({1: table_bytes}))
        rig.engine.send_reply(rig.open(end=True), RESPONSE, b"reply", TRAILERS)
        sections = fields.read(frame for frame in rig.sent() if frame.kind == FrameType.HEADERS)
        assert [section for _, section, _ in sections] == [f.RESPONSE, f.TRAILERS]


def test_the_short_way_is_left_when_another_list_enters_the_table() -> None:
    rig = server()
    fields = f.FieldReader()
    other = HeaderList(((b":status", b"200"), (b"content-type", b"application/grpc+proto")), shared=True)
    for headers in (RESPONSE, RESPONSE, RESPONSE, other, RESPONSE, other, other, RESPONSE):
        rig.engine.send_reply(rig.open(end=True), headers, b"reply", TRAILERS)
        sections = fields.read(frame for frame in rig.sent() if frame.kind == FrameType.HEADERS)
        assert [section for _, section, _ in sections] == [headers.fields, f.TRAILERS]


def test_a_closed_window_makes_the_short_way_wait_like_any_other() -> None:
    rig = server()
    for _ in range(3):
        rig.engine.send_reply(rig.open(end=True), RESPONSE, b"reply", TRAILERS)
        rig.sent()
    rig.feed(f.settings({4: 3}))
    stream = rig.open(end=True)
    rig.engine.send_reply(stream, RESPONSE, b"reply", TRAILERS)
    assert rig.sent_data(stream.id) == b"rep"
    assert stream.queued_bytes == 2
    rig.feed(f.window_update(stream.id, 2))
    assert [frame.end for frame in rig.sent()] == [False, True]
    assert stream.closed


def test_streams_take_turns_when_the_connections_window_opens() -> None:
    rig = server()
    streams = [rig.open(end=True) for _ in range(3)]
    rig.feed(f.settings({4: 2**20}))
    for stream in streams:
        rig.engine.send_headers(stream, RESPONSE)
        rig.engine.send_data(stream, bytes(100_000))
    rig.sent()
    rig.feed(f.window_update(0, 100_000))
    sent = [frame.stream_id for frame in rig.sent() if frame.kind == FrameType.DATA]
    assert sent[:6] == [streams[0].id, streams[1].id, streams[2].id] * 2


def test_a_long_field_section_goes_out_in_continuations() -> None:
    rig = Rig("tuned", client=True)
    extra = ((b"x-long", b"v" * 40_000),)
    rig.engine.open_stream(REQUEST, extra)
    frames = rig.sent()
    assert [frame.kind for frame in frames] == [FrameType.HEADERS, FrameType.CONTINUATION, FrameType.CONTINUATION]
    ((_, fields, _),) = f.FieldReader().read(frames)
    assert fields == f.REQUEST + extra


def test_a_frame_that_comes_in_many_reads_is_not_joined_at_each() -> None:
    rig = server(max_frame_bytes=2**20, stream_window_bytes=2**20)
    stream = rig.open()
    frame = f.data(stream.id, bytes(2**20 - 1), end=True)
    for at in range(0, len(frame), 1000):
        before = rig.engine._reader.partial  # type: ignore[attr-defined]
        rig.feed(frame[at : at + 1000])
        if at > 2000 and rig.engine._reader.partial:  # type: ignore[attr-defined]
            assert rig.engine._reader.partial is before  # type: ignore[attr-defined]
    assert rig.calls()[-1] == ("data", stream.id, bytes(2**20 - 1), True)


def test_replies_in_the_short_way_explain_the_clients_window_updates() -> None:
    rig = server(control_burst=1, controls_per_s=0.0)  # its SETTINGS
    for _ in range(10):
        rig.engine.send_reply(rig.open(end=True), RESPONSE, b"reply", TRAILERS)
    rig.feed(f.window_update(0, 1) * 60)  # HEADERS, DATA and trailers each explain two
    assert rig.verdict() is None
    rig.feed(f.window_update(0, 1))
    assert rig.verdict() == ErrorCode.ENHANCE_YOUR_CALM


def test_small_messages_of_a_stream_leave_in_one_frame_before_its_end() -> None:
    rig = server()
    stream, other = rig.open(), rig.open()
    for each in (stream, other):
        rig.engine.send_headers(each, RESPONSE)
    rig.sent()
    for number in range(3):
        rig.engine.send_data(stream, b"%d" % number)
    rig.engine.send_data(other, b"other")
    rig.engine.ping(bytes(8))
    rig.engine.send_data(stream, b"behind the ping")
    rig.engine.send_headers(stream, TRAILERS, end_stream=True)
    rig.engine.send_data(stream, b"too late")
    sent = rig.sent()
    assert [(frame.stream_id, frame.payload) for frame in sent if frame.kind == FrameType.DATA] == [
        (1, b"012behind the ping"),
        (3, b"other"),
    ]
    assert [frame.kind for frame in sent if frame.stream_id == 1][:2] == [FrameType.DATA, FrameType.HEADERS]
    rig.engine.send_data(other, b"next turn")
    assert [frame.payload for frame in rig.sent()] == [b"next turn"]


def test_joined_frames_are_no_longer_than_one_and_long_messages_are_not_copied() -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_headers(stream, RESPONSE)
    rig.sent()
    for size in (100, 5000, 5000, *[1000] * 20):
        rig.engine.send_data(stream, bytes(size))
    sizes = [len(frame.payload) for frame in rig.sent()]
    assert sizes == [100, 5000, 5000 + 11 * 1000, 9 * 1000]
    assert stream.queued_bytes == 0
    assert rig.engine.windows[0] == 65_535 - sum(sizes)


def test_messages_that_are_joined_explain_window_updates_as_those_that_are_not() -> None:
    rig = server(control_burst=1, controls_per_s=0.0)  # its SETTINGS
    stream = rig.open()
    rig.engine.send_headers(stream, RESPONSE)
    for _ in range(9):
        rig.engine.send_data(stream, b"small")
    assert len(rig.sent()[-1].payload) == 9 * 5
    rig.feed(f.window_update(0, 1) * 20)
    assert rig.verdict() is None
    rig.feed(f.window_update(0, 1))
    assert rig.verdict() == ErrorCode.ENHANCE_YOUR_CALM


def test_what_was_sent_before_a_connection_error_leaves_before_its_goaway() -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_headers(stream, RESPONSE)
    rig.engine.send_data(stream, b"message")
    rig.feed(f.window_update(0, 0))
    assert rig.verdict() == ErrorCode.PROTOCOL_ERROR


def test_what_was_sent_in_a_turn_leaves_before_a_reset() -> None:
    rig = server()
    stream, other = rig.open(), rig.open()
    for each in (stream, other):
        rig.engine.send_headers(each, RESPONSE)
        rig.engine.send_data(each, b"message")
    rig.engine.reset(stream, ErrorCode.CANCEL)
    rig.feed(f.rst_stream(other.id))
    kinds = [frame.kind for frame in rig.sent() if frame.stream_id == stream.id]
    assert kinds == [FrameType.HEADERS, FrameType.DATA, FrameType.RST_STREAM]
    assert rig.engine.held_bytes == 0
