"""What `wire.http2.engine` promises, held against every engine in both roles: calls, HPACK, PING, GOAWAY and chunks.

Errors are in `test_engine_errors`, windows in `test_engine_windows`, limits and floods in `test_limits`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hpack import Decoder

from tests.http2 import frames as f
from tests.http2.conftest import MakeRig
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Asker, Rig
from wire.config import Http2Config
from wire.errors import ConfigurationError, UsageError
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.http2.engine import HeaderList, Stream
from wire.http2.engines import engine_factory

E = ErrorCode
T = FrameType
MiB = 1 << 20


def test_an_unknown_engine_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r'called "fast"'):
        engine_factory("fast")  # type: ignore[arg-type]


# Start.


def announced(rig: Rig) -> dict[int, int]:
    settings = rig.sent()[0]
    assert settings.kind == T.SETTINGS
    pairs = [settings.payload[at : at + 6] for at in range(0, len(settings.payload), 6)]
    return {int.from_bytes(pair[:2]): int.from_bytes(pair[2:]) for pair in pairs}


def test_a_server_starts_with_its_settings(engine_name: str) -> None:
    config = Http2Config(max_concurrent_streams=77, stream_window_bytes=70_000, max_frame_bytes=20_000)
    rig = Rig(
        engine_name,
        client=False,
        settle=False,
        max_concurrent_streams=config.max_concurrent_streams,
        stream_window_bytes=config.stream_window_bytes,
        max_frame_bytes=config.max_frame_bytes,
    )
    settings = announced(rig)
    assert settings[Setting.MAX_CONCURRENT_STREAMS] == config.max_concurrent_streams
    assert settings[Setting.INITIAL_WINDOW_SIZE] == config.stream_window_bytes
    assert settings[Setting.MAX_FRAME_SIZE] == config.max_frame_bytes
    assert settings[Setting.MAX_HEADER_LIST_SIZE] == config.max_header_list_bytes
    assert settings.get(Setting.HEADER_TABLE_SIZE, 4096) == config.header_table_bytes
    assert settings.get(Setting.ENABLE_PUSH, 0) == 0
    assert [(frame.kind, frame.stream_id, frame.number) for frame in rig.last[1:]] == [
        (T.WINDOW_UPDATE, 0, config.connection_window_bytes - 65_535)
    ]


def test_a_client_starts_with_the_preface_and_push_disabled(engine_name: str) -> None:
    rig = Rig(engine_name, client=True, settle=False)
    data = rig.engine.take()
    assert data.startswith(f.PREFACE)
    assert bytes([0, Setting.ENABLE_PUSH, 0, 0, 0, 0]) in f.parse(data)[0].payload
    assert rig.engine.can_open


def test_settings_are_acknowledged_and_reported(engine_name: str) -> None:
    rig = Rig(engine_name, client=True, settle=False)
    rig.sent()
    rig.feed(f.settings({Setting.MAX_FRAME_SIZE: 20_000, 0xFACE: 1}))
    assert rig.calls() == [("settings",)]
    assert rig.engine.queued_replies == 1
    assert [(frame.kind, frame.flags) for frame in rig.sent()] == [(T.SETTINGS, f.ACK)]
    assert rig.engine.queued_replies == 0
    rig.feed(f.settings(ack=True), f.settings(ack=True))
    assert rig.calls() == [("settings_ack",)]


# Requests and replies.


def test_a_server_reports_a_request_in_order(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1), f.data(1, b"one"), f.data(1, b"two", end=True))
    assert rig.calls() == [("headers", 1, f.REQUEST, False), ("data", 1, b"one", False), ("data", 1, b"two", True)]
    assert list(rig.engine.streams) == [1]
    assert rig.engine.streams[1] is rig.sink.streams[1]


def test_a_request_may_be_headers_alone_or_end_in_an_empty_frame_or_trailers(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1, end=True))
    rig.feed(f.headers(3), f.data(3, end=True))
    rig.feed(f.headers(5), f.headers(5, f.TRAILERS, end=True))
    assert rig.calls() == [
        ("headers", 1, f.REQUEST, True),
        ("headers", 3, f.REQUEST, False),
        ("data", 3, b"", True),
        ("headers", 5, f.REQUEST, False),
        ("trailers", 5, f.TRAILERS),
    ]


def test_send_reply_is_headers_data_and_trailers(server: MakeRig) -> None:
    rig = server()
    stream = rig.open(end=True)
    rig.engine.send_reply(stream, RESPONSE, b"payload", TRAILERS)
    assert rig.sent_fields() == [(1, f.RESPONSE, False), (1, f.TRAILERS, True)]
    assert [(frame.kind, frame.payload) for frame in rig.last if frame.kind == T.DATA] == [(T.DATA, b"payload")]
    assert stream.closed
    assert not rig.engine.streams
    assert rig.calls() == []


_WHOLE = f.headers(1) + f.data(1, b"request", end=True)


def _reply_at_once(rig: Rig, reply: bytes = b"reply") -> None:
    """Answers every request as it ends, whether the engine offers it whole or not."""
    rig.sink.answer = reply
    whole = rig.sink.on_request
    taken: set[int] = set()

    def on_request(stream: Stream, *rest: Any) -> bytes | None:
        taken.add(stream.id)
        return whole(stream, *rest)

    def on_data(stream: Stream) -> None:
        if stream.id not in taken and rig.sink.calls[-1][3]:
            rig.engine.send_reply(stream, RESPONSE, reply, TRAILERS)

    rig.sink.on_request = on_request  # type: ignore[method-assign, assignment]
    rig.sink.react["data"] = on_data


@pytest.mark.parametrize("data", [b"", b"r", b"request", bytes(16_384)], ids=len)
def test_a_request_that_may_be_offered_whole_is_answered_the_same_either_way(server: MakeRig, data: bytes) -> None:
    rig = server()
    _reply_at_once(rig)
    rig.feed(*(f.headers(each) + f.data(each, data, end=True) for each in (1, 3, 5)))
    assert rig.calls() == [
        call for each in (1, 3, 5) for call in (("headers", each, f.REQUEST, False), ("data", each, data, True))
    ]
    frames = rig.sent()
    assert [(frame.kind, frame.stream_id, frame.end) for frame in frames] == [
        (kind, each, last)
        for each in (1, 3, 5)
        for kind, last in ((T.HEADERS, False), (T.DATA, False), (T.HEADERS, True))
    ]
    assert [fields for _, fields, _ in f.FieldReader().read(frames)] == [f.RESPONSE, f.TRAILERS] * 3
    assert rig.sink.offers == (3 if rig.name == "tuned" else 0)
    assert not rig.engine.streams


@pytest.mark.parametrize(
    "reads",
    [
        (_WHOLE[:-1], _WHOLE[-1:]),
        (f.headers(1), f.data(1, b"request", end=True)),
        (f.headers(1) + f.data(1, b"req") + f.data(1, b"uest", end=True),),
        (f.headers(1) + f.data(1, b"request", end=True, pad=3),),
        (f.headers(1) + f.ping() + f.data(1, b"request", end=True),),
        (f.settings({4: 16_383}) + _WHOLE,),
    ],
    ids=[
        "cut",
        "two reads",
        "two frames",
        "padded",
        "a ping between",
        "small window",
    ],
)
def test_other_requests_are_not_offered(server: MakeRig, reads: tuple[bytes, ...]) -> None:
    rig = server()
    _reply_at_once(rig)
    for read in reads:
        rig.feed(read)
    assert b"".join(call[2] for call in rig.calls() if call[0] == "data") == b"request"
    assert rig.sent_data(1) == b"reply"
    assert rig.sink.offers == 0


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("length", [6, 7, 8])
def test_an_offered_request_has_the_length_that_it_says(server: MakeRig, length: int, apart: bool) -> None:
    rig = server()
    _reply_at_once(rig)
    fields = (*f.REQUEST, (b"content-length", b"%d" % length))
    rig.feed(f.headers(1, fields), f.headers(3) if apart else b"", f.data(1, b"request", end=True))
    assert rig.sink.offers == (rig.name == "tuned" and length == 7)
    frames = rig.sent()
    assert [frame.kind for frame in frames] == ([T.HEADERS, T.DATA, T.HEADERS] if length == 7 else [T.RST_STREAM])
    assert [call[:2] for call in rig.calls() if call[0] == "reset"] == ([] if length == 7 else [("reset", 1)])


@pytest.mark.parametrize("order", ["HHHDDD", "HDHDHD", "HHDDHD", "HDHHDD"])
@pytest.mark.parametrize("backwards", [False, True])
def test_requests_are_offered_in_the_order_of_their_data(server: MakeRig, order: str, backwards: bool) -> None:
    rig = server()
    _reply_at_once(rig)
    opened = iter((1, 3, 5))
    waiting: list[int] = []
    answered: list[int] = []
    read = b""
    for kind in order:
        if kind == "H":
            waiting.append(next(opened))
            read += f.headers(waiting[-1])
        else:
            answered.append(waiting.pop(-1 if backwards else 0))
            read += f.data(answered[-1], b"%d" % answered[-1], end=True)
    rig.feed(read)
    assert [call[1:3] for call in rig.calls() if call[0] == "data"] == [(each, b"%d" % each) for each in answered]
    assert [frame.stream_id for frame in rig.sent() if frame.kind == T.DATA] == answered
    assert rig.sink.offers == (3 if rig.name == "tuned" else 0)
    assert not rig.engine.streams


@pytest.mark.parametrize(
    "behind",
    [b"", f.ping(), f.headers(5, end=True), f.data(1, b"part"), f.data(3, b"", end=True), f.settings({4: 0}), b"\0\0"],
    ids=["nothing", "a ping", "a whole one", "a part", "an end", "settings", "a part of a frame"],
)
def test_requests_that_are_not_offered_are_reported_in_order(server: MakeRig, behind: bytes) -> None:
    rig = server()
    rig.feed(f.headers(1) + f.headers(3) + behind)
    assert [call[:2] for call in rig.calls() if call[0] != "ping"][:2] == [("headers", 1), ("headers", 3)]
    assert {1, 3} <= set(rig.engine.streams) | {3 if behind == f.data(3, b"", end=True) else 1}


def test_requests_are_reported_before_the_error_behind_them(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1) + f.headers(3) + f.data(0, b"x", end=True))
    assert [call[0] for call in rig.calls()] == ["headers", "headers", "error"]


def test_an_offered_request_counts_against_the_connections_window(server: MakeRig) -> None:
    rig = server(connection_window_bytes=100_000)
    _reply_at_once(rig)
    for each in range(1, 11, 2):
        rig.feed(f.headers(each), f.data(each, bytes(10_000), end=True))
        granted = [frame for frame in rig.sent() if frame.kind == T.WINDOW_UPDATE]
        assert rig.engine.windows[1] == 100_000 - each // 2 * 10_000 - 10_000 or granted
    assert rig.engine.windows[1] == 100_000


@pytest.mark.parametrize("apart", [False, True])
def test_windows_may_close_in_the_middle_of_a_read_of_requests(server: MakeRig, apart: bool) -> None:
    rig = server()
    _reply_at_once(rig)
    head = {each: f.headers(each) for each in range(1, 13, 2)}
    end = {each: f.data(each, b"request", end=True) for each in head}
    if apart:
        open_ = [head[1], head[3], head[5], end[1], end[3]]
        shut = [head[7], head[9], head[11], end[7], end[9], end[11], end[5]]
    else:
        open_ = [head[1], end[1], head[3], end[3]]
        shut = [head[each] + end[each] for each in (5, 7, 9, 11)]
    rig.feed(*open_, f.settings({4: 0}), *shut)
    assert [frame.stream_id for frame in rig.sent() if frame.kind == T.DATA] == [1, 3]
    rig.feed(f.settings({4: 65_535}))
    assert [frame.stream_id for frame in rig.sent() if frame.kind == T.DATA] == [5, 7, 9, 11]
    assert not rig.engine.streams


def test_an_offered_request_may_be_answered_later(server: MakeRig) -> None:
    rig = server()
    _reply_at_once(rig, b"")
    rig.feed(_WHOLE)
    stream = rig.sink.streams[1]
    if rig.sink.offers:
        assert not rig.sent()
        rig.engine.send_reply(stream, RESPONSE, b"reply", TRAILERS)
        assert rig.sent_data(1) == b"reply"
    assert stream.closed


def test_windows_that_change_between_offered_requests_hold_for_the_next(server: MakeRig) -> None:
    rig = server()
    _reply_at_once(rig)
    rig.feed(_WHOLE)
    rig.sent()
    rig.feed(f.settings({4: 20_000}))
    _reply_at_once(rig, b"")
    rig.feed(f.headers(3) + f.data(3, b"request", end=True))
    if rig.sink.offers:
        rig.engine.send_reply(rig.sink.streams[3], RESPONSE, bytes(30_000), TRAILERS)
        assert len(rig.sent_data(3)) == 20_000
        rig.feed(f.headers(5) + f.data(5, b"request", end=True))
        assert rig.sink.streams[5] is not rig.sink.streams[3]


@pytest.mark.parametrize("sizes", [(0, 4096), (4096, 100, 300), (300, 0), (9999, 0, 50, 4096)], ids=str)
def test_of_table_sizes_in_one_frame_the_least_and_the_last_hold(server: MakeRig, sizes: tuple[int, ...]) -> None:
    """What the peer's table lost meanwhile is not referred to (RFC 7541 §4.2)."""
    rig = server()
    _reply_at_once(rig)
    decoder = Decoder()
    for stream_id in (1, 3, 5, 7):
        if stream_id == 5:
            rig.feed(f.settings([(1, size) for size in sizes]))
            for size in sizes:
                decoder.max_allowed_table_size = decoder.header_table_size = size
        rig.feed(f.headers(stream_id), f.data(stream_id, b"request", end=True))
        blocks = [frame.payload for frame in rig.sent() if frame.kind == T.HEADERS]
        assert [tuple(decoder.decode(block, raw=True)) for block in blocks] == [f.RESPONSE, f.TRAILERS]


def test_trailers_only_end_the_stream(server: MakeRig) -> None:
    rig = server()
    stream = rig.open(end=True)
    rig.engine.send_headers(stream, RESPONSE, end_stream=True)
    assert rig.sent_fields() == [(1, f.RESPONSE, True)]
    assert stream.closed


def test_a_server_that_ends_first_resets_with_no_error(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_headers(stream, RESPONSE, end_stream=True)
    assert rig.sent_kinds() == [T.HEADERS, T.RST_STREAM]
    assert rig.last[-1].code == E.NO_ERROR
    assert stream.closed
    assert rig.engine.queued_replies == 0
    rig.feed(f.data(1, b"late"), f.headers(1, f.TRAILERS, end=True), f.ping())
    assert rig.calls() == [("ping",)]


def test_a_client_sends_a_request_and_reports_the_reply(client: MakeRig) -> None:
    rig = client()
    extra = ((b"grpc-timeout", b"1S"),)
    stream = rig.engine.send_request(REQUEST, b"question", extra)
    assert rig.sent_fields() == [(1, f.REQUEST + extra, False)]
    assert [(frame.payload, frame.end) for frame in rig.last if frame.kind == T.DATA] == [(b"question", True)]
    rig.feed(f.headers(1, f.RESPONSE), f.data(1, b"answer"), f.headers(1, f.TRAILERS, end=True))
    assert rig.calls() == [
        ("headers", 1, f.RESPONSE, False),
        ("data", 1, b"answer", False),
        ("trailers", 1, f.TRAILERS),
    ]
    assert stream.closed
    assert not rig.engine.streams


def test_streams_have_the_odd_numbers_in_turn(client: MakeRig) -> None:
    rig = client()
    assert [rig.open().id for _ in range(4)] == [1, 3, 5, 7]
    assert list(rig.engine.streams) == [1, 3, 5, 7]


def test_a_client_may_end_a_stream_without_data(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, b"one")
    rig.engine.send_data(stream, b"")
    rig.engine.send_data(stream, b"", end_stream=True)
    assert [(frame.payload, frame.end) for frame in rig.sent()] == [(b"one", False), (b"", True)]
    assert not stream.closed
    rig.feed(f.headers(1, f.RESPONSE, end=True))
    assert rig.calls() == [("headers", 1, f.RESPONSE, True)]
    assert stream.closed


def test_no_error_after_a_complete_response_is_no_reset(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.feed(f.headers(1, f.RESPONSE, end=True))
    assert not stream.closed
    rig.feed(f.rst_stream(1, E.NO_ERROR))
    assert rig.calls() == [("headers", 1, f.RESPONSE, True)]
    assert stream.closed
    rig.engine.send_data(stream, b"into nothing", end_stream=True)
    assert rig.sent() == []


def test_no_error_before_the_response_is_complete_is_a_reset(client: MakeRig) -> None:
    rig = client()
    rig.open()
    rig.feed(f.headers(1, f.RESPONSE), f.rst_stream(1, E.NO_ERROR))
    assert rig.calls()[1:] == [("reset", 1, E.NO_ERROR, True)]


def test_informational_responses_are_swallowed(client: MakeRig) -> None:
    rig = client()
    rig.open()
    rig.feed(f.headers(1, ((b":status", b"100"),)), f.headers(1, ((b":status", b"103"), (b"link", b"x"))))
    rig.feed(f.headers(1, f.RESPONSE, end=True))
    assert rig.calls() == [("headers", 1, f.RESPONSE, True)]


def test_a_repeated_section_is_the_same_object(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1), f.headers(3), f.headers(5, (*f.REQUEST, (b"grpc-timeout", b"1S"))), f.headers(7))
    first, second, other, again = rig.sink.sections
    assert first is second is again
    assert other is not first
    assert other.get(b"grpc-timeout") == b"1S"


def test_padding_and_priority_are_taken_off(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1, pad=7, priority=b"\x80\0\0\0\xff"), f.data(1, b"x", pad=9), f.data(1, b"y", end=True, pad=0))
    assert rig.calls() == [("headers", 1, f.REQUEST, False), ("data", 1, b"x", False), ("data", 1, b"y", True)]


def test_a_field_block_may_come_in_pieces(server: MakeRig) -> None:
    rig = server()
    block = f.block(f.REQUEST)
    rig.feed(
        f.headers(1, block[:3], end=True, end_headers=False, pad=2),
        f.continuation(1, b"", end_headers=False),
        f.continuation(1, block[3:]),
    )
    assert rig.calls() == [("headers", 1, f.REQUEST, True)]


def test_large_sections_are_sent_in_pieces(client: MakeRig) -> None:
    rig = client()
    extra = tuple((b"key-%d" % at, bytes([65 + at]) * 9_000) for at in range(4))
    rig.engine.open_stream(REQUEST, extra)
    assert rig.sent_fields() == [(1, f.REQUEST + extra, False)]
    assert [frame.kind for frame in rig.last][:2] == [T.HEADERS, T.CONTINUATION]
    assert all(len(frame.payload) <= 16_384 for frame in rig.last)


def test_what_carries_no_meaning_is_read_past(server: MakeRig) -> None:
    rig = server()
    rig.feed(
        f.priority(0x55),
        f.headers(1, priority=b"\0\0\0\x01\0"),  # depends on itself: RFC 9113 knows no priorities
        f.priority(1, b"\0\0\0\x01\0"),
        f.frame(0xBE, 0xFF, 0, b"unknown"),
        f.frame(0xBE, 0xFF, 1, b"unknown"),
        f.settings({0x8: 7, 0xFFFF: 7}),
        f.settings(ack=True),
        f.ping(ack=True),
        f.data(1, b"x", end=True),
    )
    assert rig.calls() == [
        ("headers", 1, f.REQUEST, False),
        ("settings",),
        ("ping_ack", b"12345678"),
        ("data", 1, b"x", True),
    ]
    assert rig.sent_kinds() == [T.SETTINGS]


# The dynamic tables (RFC 7541).


def test_an_index_into_the_dynamic_table_is_understood(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1, f.block(f.REQUEST) + f.literal(b"trace", b"abc", indexing=True)))
    rig.feed(f.headers(3, f.block(f.REQUEST) + f.indexed(62)))
    assert rig.sink.sections[1].get(b"trace") == b"abc"


@pytest.mark.parametrize("reason", ["refused", "malformed", "closed"])
def test_a_section_that_is_not_reported_still_changes_the_table(server: MakeRig, reason: str) -> None:
    rig = server(max_concurrent_streams=1)
    first = rig.open()
    added = f.literal(b"trace", b"abc", indexing=True)
    if reason == "refused":
        rig.feed(f.headers(3, f.block(f.REQUEST) + added))
    elif reason == "malformed":
        rig.feed(f.headers(1, added))
    else:
        rig.engine.reset(first, E.CANCEL)
        rig.feed(f.headers(1, added, end=True))
    rig.engine.reset(first, E.CANCEL)
    rig.feed(f.headers(5, f.block(f.REQUEST) + f.indexed(62)))
    assert rig.sink.sections[-1].get(b"trace") == b"abc"


def test_a_smaller_table_binds_the_peer_from_its_acknowledgement(engine_name: str) -> None:
    rig = Rig(engine_name, client=False, settle=False, header_table_bytes=0)
    added = f.block(f.REQUEST) + f.literal(b"trace", b"abc", indexing=True)
    rig.feed(f.PREFACE, f.settings(), f.headers(1, added), f.headers(3, f.block(f.REQUEST) + f.indexed(62)))
    assert [call[0] for call in rig.calls()] == ["settings", "headers", "headers"]
    rig.feed(f.settings(ack=True), f.headers(5, f.table_size(0) + f.block(f.REQUEST)))
    assert [call[0] for call in rig.calls()] == ["settings_ack", "headers"]
    rig.feed(f.headers(7, f.table_size(4096) + f.block(f.REQUEST)))
    assert rig.verdict() == E.COMPRESSION_ERROR


def test_our_encoder_keeps_to_the_peers_table(client: MakeRig) -> None:
    rig = client()
    extra = ((b"trace", b"abc"),)
    for table_bytes in (0, 100, 0, 4096, 1 << 30, 64, 64):
        rig.feed(f.settings([(Setting.HEADER_TABLE_SIZE, table_bytes)]))
    for _ in range(3):
        rig.engine.open_stream(REQUEST, extra)
        fields = rig.sent_fields()
        assert [section for _, section, _ in fields] == [f.REQUEST + extra]


def test_our_encoder_takes_no_more_table_than_it_needs(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.settings([(Setting.HEADER_TABLE_SIZE, 1 << 30)]))
    for at in range(200):
        extra = ((b"trace", b"%0100d" % at),)
        rig.engine.reset(rig.engine.open_stream(REQUEST, extra), E.CANCEL)
        assert rig.sent_fields() == [(1 + 2 * at, f.REQUEST + extra, False)]  # read with a table of 4,096 bytes


def test_changes_of_the_table_are_told_by_the_smallest_and_the_last(client: MakeRig) -> None:
    rig = client()
    rig.open()
    for at in range(500):
        rig.feed(f.settings([(Setting.HEADER_TABLE_SIZE, 4000 - at)]))
    rig.sent()
    rig.engine.open_stream(REQUEST)
    assert len(rig.sent()[0].payload) < len(f.block(f.REQUEST)) + 6


# PING.


def test_ping_is_answered_and_reported(engine_name: str) -> None:
    for client_role in (False, True):
        rig = Rig(engine_name, client=client_role)
        rig.feed(f.ping(b"payload!"))
        assert rig.calls() == [("ping",)]
        assert rig.engine.queued_replies == 1
        assert rig.sent() == [f.Frame(T.PING, f.ACK, 0, b"payload!")]
        rig.engine.ping(b"question")
        assert rig.sent() == [f.Frame(T.PING, 0, 0, b"question")]
        rig.feed(f.ping(b"question", ack=True))
        assert rig.calls() == [("ping_ack", b"question")]


# GOAWAY and the number of streams.


def test_a_client_opens_no_more_streams_than_its_peer_allows(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.settings({Setting.MAX_CONCURRENT_STREAMS: 2}))
    rig.open()
    assert rig.engine.can_open
    stream = rig.open()
    assert not rig.engine.can_open
    assert not rig.engine.drained
    with pytest.raises(UsageError):
        rig.engine.open_stream(REQUEST)
    with pytest.raises(UsageError):
        rig.engine.send_request(REQUEST, b"x")
    assert rig.sent() == []
    rig.engine.reset(stream, E.CANCEL)
    assert rig.engine.can_open
    rig.feed(f.settings({Setting.MAX_CONCURRENT_STREAMS: 0}))
    assert not rig.engine.can_open
    rig.feed(f.settings({Setting.MAX_CONCURRENT_STREAMS: 2}))
    assert rig.engine.can_open
    rig.open()
    rig.feed(f.headers(1, f.RESPONSE), f.rst_stream(1))
    assert rig.engine.can_open


def test_one_stream_too_many_is_refused_alone(server: MakeRig) -> None:
    rig = server(max_concurrent_streams=2)
    first, second = rig.open(), rig.open()
    rig.feed(f.headers(5, end=True), f.headers(7), f.data(7, b"late", end=True))
    assert rig.engine.queued_replies == 2
    assert rig.resets() == [(5, E.REFUSED_STREAM), (7, E.REFUSED_STREAM)]
    assert rig.calls() == []
    rig.feed(f.data(1, b"x", end=True), f.data(3, b"y", end=True))
    assert [call[0] for call in rig.calls()] == ["data", "data"]
    rig.engine.send_reply(first, RESPONSE, b"x", TRAILERS)
    rig.feed(f.headers(9))
    assert rig.calls() == [("headers", 9, f.REQUEST, False)]
    assert list(rig.engine.streams) == [second.id, 9]


def test_a_received_goaway_refuses_what_it_leaves_out(client: MakeRig) -> None:
    rig = client()
    first, second, third = rig.open(), rig.open(), rig.open()
    rig.feed(f.goaway(3, E.NO_ERROR, b"bye"))
    assert rig.calls() == [("reset", 5, E.REFUSED_STREAM, True), ("goaway", 3, E.NO_ERROR, b"bye")]
    assert third.closed
    assert not rig.engine.can_open
    assert rig.engine.drained
    with pytest.raises(UsageError):
        rig.engine.open_stream(REQUEST)
    rig.engine.send_data(second, b"still", end_stream=True)
    assert rig.sent_data(3) == b"still"
    rig.feed(f.headers(1, f.RESPONSE), f.data(1, b"x"), f.headers(1, f.TRAILERS, end=True), f.headers(5, f.RESPONSE))
    assert [call[0] for call in rig.calls()] == ["headers", "data", "trailers"]
    rig.engine.send_data(first, b"", end_stream=True)
    assert first.closed
    rig.feed(f.goaway(1))
    assert rig.calls() == [("reset", 3, E.REFUSED_STREAM, True), ("goaway", 1, E.NO_ERROR, b"")]


def test_the_sink_may_reset_others_when_a_goaway_refuses_streams(client: MakeRig) -> None:
    rig = client()
    streams = [rig.open() for _ in range(3)]

    def reset_all(_: Stream) -> None:
        for stream in streams:
            rig.engine.reset(stream, E.CANCEL)

    rig.sink.react["reset"] = reset_all
    rig.feed(f.goaway(1))
    assert [call[:2] for call in rig.calls()] == [("reset", 3), ("goaway", 1)]
    assert not rig.engine.streams


def test_a_goaway_that_announces_a_shutdown_leaves_every_stream(client: MakeRig) -> None:
    rig = client()
    rig.open()
    rig.feed(f.goaway(2**31 - 1))
    assert rig.calls() == [("goaway", 2**31 - 1, E.NO_ERROR, b"")]
    assert not rig.engine.can_open
    assert list(rig.engine.streams) == [1]


def test_a_clients_goaway_leaves_its_streams_to_it(server: MakeRig) -> None:
    rig = server()
    stream = rig.open(end=True)
    rig.feed(f.goaway(0, 0x99, b"leaving"))
    assert rig.calls() == [("goaway", 0, 0x99, b"leaving")]
    assert rig.engine.drained
    rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
    assert [section for _, section, _ in rig.sent_fields()] == [f.RESPONSE, f.TRAILERS]


def test_a_server_shuts_down_in_two_steps(server: MakeRig) -> None:
    rig = server()
    rig.open()
    rig.engine.goaway(final=False)
    goaway = rig.sent()[0]
    assert (goaway.number, goaway.code, goaway.payload[8:]) == (2**31 - 1, E.NO_ERROR, b"")
    assert not rig.engine.drained
    third = rig.open(end=True)
    rig.engine.goaway(E.NO_ERROR, b"done")
    goaway = rig.sent()[0]
    assert (goaway.number, goaway.payload[8:]) == (3, b"done")
    assert rig.engine.drained
    rig.feed(f.headers(5, end=True), f.data(1, b"x", end=True))
    assert rig.resets() == [(5, E.REFUSED_STREAM)]
    assert rig.calls() == [("data", 1, b"x", True)]
    rig.engine.send_reply(third, RESPONSE, b"x", TRAILERS)
    assert [section for _, section, _ in rig.sent_fields()] == [f.RESPONSE, f.TRAILERS]
    rig.feed(f.data(0, b"x"))
    assert rig.verdict() == E.PROTOCOL_ERROR
    assert rig.last[-1].number == 3


def test_a_client_that_says_goaway_opens_nothing_more(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.goaway()
    assert [(frame.kind, frame.number) for frame in rig.sent()] == [(T.GOAWAY, 0)]
    assert not rig.engine.can_open
    assert rig.engine.drained
    rig.feed(f.headers(1, f.RESPONSE), f.headers(1, f.TRAILERS, end=True))
    assert [call[0] for call in rig.calls()] == ["headers", "trailers"]
    rig.engine.send_data(stream, b"", end_stream=True)
    assert not rig.engine.streams


def test_the_last_stream_id_drains_the_connection(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(2**31 - 3))
    assert not rig.engine.drained
    rig.feed(f.headers(2**31 - 1))
    assert rig.engine.drained
    assert list(rig.engine.streams) == [2**31 - 3, 2**31 - 1]


# Chunks.

CONVERSATIONS: dict[str, tuple[bool, bytes]] = {
    "requests": (
        False,
        f.headers(1, pad=3, priority=b"\0\0\0\0\x05")
        + f.data(1, b"abc" * 100, pad=4)
        + f.ping()
        + f.headers(3, f.block(f.REQUEST)[:10], end=True, end_headers=False)
        + f.continuation(3, f.block(f.REQUEST)[10:])
        + f.data(1, end=True)
        + f.settings({Setting.INITIAL_WINDOW_SIZE: 7})
        + f.rst_stream(3, 5)
        + f.headers(5, f.TRAILERS)
        + f.goaway(0, 1, b"x"),
    ),
    "a connection error in the middle": (False, f.headers(1) + f.ping() + f.data(0, b"x") + f.headers(3)),
    "replies": (
        True,
        f.headers(1, ((b":status", b"103"),))
        + f.headers(1, f.RESPONSE)
        + f.data(1, b"abc", pad=1)
        + f.headers(1, f.TRAILERS, end=True)
        + f.data(3, b"early")
        + f.goaway(3),
    ),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_chunks_make_no_difference(engine_name: str, conversation: str) -> None:
    client_role, data = CONVERSATIONS[conversation]

    def run(size: int, trailing: bytes = b"") -> tuple[object, object]:
        rig = Rig(engine_name, client=client_role)
        if client_role:
            rig.engine.send_request(REQUEST, b"x")
            rig.engine.send_request(REQUEST, b"x")
            rig.engine.send_request(REQUEST, b"x")
        rig.sent()
        everything = data + trailing
        for at in range(0, len(everything), size):
            rig.feed(everything[at : at + size])
        return rig.calls(), rig.sent()

    whole = run(len(data))
    assert len(whole[0]) > 2  # type: ignore[arg-type]
    assert run(1) == whole
    assert run(7) == whole
    assert run(10 * len(data), trailing=f.ping()[:16]) == whole


def test_the_preface_may_come_byte_by_byte(engine_name: str) -> None:
    rig = Rig(engine_name, client=False, settle=False)
    for byte in f.PREFACE + f.settings() + f.headers(1):
        rig.feed(bytes([byte]))
    assert [call[0] for call in rig.calls()] == ["settings", "headers"]


def test_nothing_to_send_is_no_bytes(server: MakeRig) -> None:
    assert server().engine.take() == b""


def test_header_lists_are_found_by_name_and_compared_by_identity() -> None:
    one, two = HeaderList(f.REQUEST), HeaderList(f.REQUEST)
    assert one.get(b"te") == b"trailers"
    assert one.get(b"absent") is None
    assert one != two
    assert len({one, two}) == 2


# Slices.


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_long_read_is_handled_in_slices(engine_name: str, pieces: int) -> None:
    rig = Rig(engine_name, client=False)
    ids = range(1, 1801, 2)
    data = b"".join(f.headers(stream_id) for stream_id in ids) + f.ping()[:12]
    counts = []
    for at in range(0, len(data), -(-len(data) // pieces)):
        assert rig.engine.receive(data[at : at - (-len(data) // pieces)], rig.now)
        counts.append(len(rig.sink.streams))
    while rig.engine.receive(b"", rig.now):
        counts.append(len(rig.sink.streams))
    assert len(counts) > 2
    if engine_name == "h2":  # the tuned engine may report the requests of some slices together
        assert counts == sorted(set(counts))
    assert max(later - earlier for earlier, later in pairwise([0, *counts])) < 300
    assert list(rig.sink.streams) == list(ids)
    rig.feed(f.ping()[12:])
    assert rig.calls()[-1] == ("ping",)
    assert not rig.engine.receive(b"", rig.now)


@pytest.mark.parametrize("size", range(4080, 4120))
def test_a_read_may_end_in_a_header_wherever_slices_do(engine_name: str, size: int) -> None:
    rig = Rig(engine_name, client=False)
    rig.open()
    updates = f.window_update(1, 1) * 400
    rig.feed(updates[:size])
    rig.feed(updates[size:], f.ping())
    assert rig.calls()[-1] == ("ping",)


def test_a_frame_that_begins_in_a_slice_is_handled_whole(engine_name: str) -> None:
    rig = Rig(engine_name, client=False)
    stream = rig.open()
    assert not rig.engine.receive(f.data(stream.id, bytes(65_536)), rig.now)
    assert rig.calls()[-1] == ("data", 1, bytes(65_536), False)


def test_a_connection_error_ends_its_slices(engine_name: str) -> None:
    rig = Rig(engine_name, client=False)
    assert not rig.engine.receive(f.data(0, b"x") + f.ping() * 10_000, rig.now)
    assert not rig.engine.receive(f.ping() * 10_000, rig.now)


def test_a_call_may_be_given_data_where_it_lies_in_what_was_read(engine_name: str) -> None:
    rig = Rig(engine_name, client=False)
    stream, other = rig.open(), rig.open()
    given: list[bytes] = []

    class Call:
        def on_data_within(self, data: bytes, start: int, stop: int) -> None:
            given.append(data[start:stop])

    stream.call = Call()
    rig.feed(f.data(stream.id, b"first"), f.data(other.id, b"other"), f.data(stream.id, b"last", end=True))
    reported = [call[1:3] for call in rig.calls() if call[0] == "data"]
    assert given + [data for each, data in reported if each == stream.id] == [b"first", b"last"]
    assert reported[-1] == (stream.id, b"last")
    assert (other.id, b"other") in reported


_MESSAGE = b"\0\0\0\0\x03abc"


@pytest.mark.parametrize("at", [0, 1, 5, 19])
@pytest.mark.parametrize(
    ("odd", "end"),
    [
        (b"\0\0\0\0\x04abcd", False),
        (b"\1\0\0\0\x03abc", False),
        (b"\0\0\0\0\x04abc", False),
        (b"\0\0\0\0\x02abc", False),
        (_MESSAGE, True),
    ],
)
def test_messages_that_are_alike_are_told_in_their_order_with_whatever_stands_among_them(
    engine_name: str, at: int, odd: bytes, end: bool
) -> None:
    rig = Rig(engine_name, client=False)
    streams = [rig.open() for _ in range(20)]
    for stream in streams:
        Asker(rig.sink, stream)
    sent = [("data", stream.id, _MESSAGE[:-1] + bytes((stream.id,)), False) for stream in streams]
    sent[at] = ("data", streams[at].id, odd, end)
    rig.feed(*(f.data(stream_id, data, end=ends) for _, stream_id, data, ends in sent))
    assert rig.calls()[-20:] == sent


def test_messages_that_are_alike_are_told_up_to_what_a_handler_resets(engine_name: str) -> None:
    rig = Rig(engine_name, client=False)
    streams = [rig.open() for _ in range(10)]
    for stream in streams:
        Asker(rig.sink, stream)
    rig.sink.react["data"] = lambda stream: rig.engine.reset(streams[-1], ErrorCode.CANCEL)
    rig.feed(*(f.data(stream.id, _MESSAGE) for stream in streams))
    assert [call[1] for call in rig.calls() if call[0] == "data"] == [stream.id for stream in streams[:-1]]


@pytest.mark.parametrize("streams", [1, 20])
def test_messages_that_are_alike_pass_no_window(engine_name: str, streams: int) -> None:
    rig = Rig(engine_name, client=False, connection_window_bytes=65_536, stream_window_bytes=65_536)
    rig.sink.grant = False
    for _ in range(streams):
        Asker(rig.sink, rig.open())
    message = b"\0\0\0\1\xf4" + bytes(500)
    fit = 65_536 // 505
    rig.feed(*(f.data(stream_id, message) for _ in range(fit + 1) for stream_id in rig.sink.streams))
    *calls, last = rig.calls()
    assert len([call for call in calls if call[0] == "data"]) == fit * streams
    assert last == ("error", ErrorCode.FLOW_CONTROL_ERROR)
