"""What `wire.http2.engine` promises, held against every engine in both roles. Limits and floods: `test_limits`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2 import frames as f
from tests.http2.conftest import MakeRig
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Rig
from wire.config import Http2Config
from wire.errors import ConfigurationError, UsageError
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.http2.engine import HeaderList, engine_factory

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
    rig.feed(f.settings(ack=True))
    assert rig.calls() == []


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
    assert [call[0] for call in rig.calls()] == ["headers"]
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


# Connection errors.

CLOSED_AT_ONCE: list[tuple[str, bytes, ErrorCode]] = [
    ("frame too long, its header alone", f.frame(T.DATA, 0, 1, length=65_537), E.FRAME_SIZE_ERROR),
    ("unknown frame too long", f.frame(0xEE, 0, 0, length=65_537), E.FRAME_SIZE_ERROR),
    ("SETTINGS of 5 bytes", f.frame(T.SETTINGS, 0, 0, length=5), E.FRAME_SIZE_ERROR),
    ("SETTINGS acknowledgement with contents", f.frame(T.SETTINGS, f.ACK, 0, length=6), E.FRAME_SIZE_ERROR),
    ("PING of 7 bytes", f.frame(T.PING, 0, 0, length=7), E.FRAME_SIZE_ERROR),
    ("RST_STREAM of 5 bytes", f.frame(T.RST_STREAM, 0, 1, length=5), E.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of 3 bytes", f.frame(T.WINDOW_UPDATE, 0, 1, length=3), E.FRAME_SIZE_ERROR),
    ("PRIORITY of 4 bytes", f.frame(T.PRIORITY, 0, 1, length=4), E.FRAME_SIZE_ERROR),
    ("GOAWAY of 7 bytes", f.frame(T.GOAWAY, 0, 0, length=7), E.FRAME_SIZE_ERROR),
    ("padded DATA of nothing", f.frame(T.DATA, f.PADDED, 1, length=0), E.FRAME_SIZE_ERROR),
    ("HEADERS too short for their priority", f.frame(T.HEADERS, 0x20, 1, length=4), E.FRAME_SIZE_ERROR),
    ("DATA on stream 0", f.data(0, b"x"), E.PROTOCOL_ERROR),
    ("HEADERS on stream 0", f.headers(0), E.PROTOCOL_ERROR),
    ("PRIORITY on stream 0", f.priority(0), E.PROTOCOL_ERROR),
    ("RST_STREAM on stream 0", f.rst_stream(0), E.PROTOCOL_ERROR),
    ("CONTINUATION on stream 0", f.continuation(0), E.PROTOCOL_ERROR),
    ("SETTINGS on a stream", f.frame(T.SETTINGS, 0, 1), E.PROTOCOL_ERROR),
    ("PING on a stream", f.frame(T.PING, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    ("GOAWAY on a stream", f.frame(T.GOAWAY, 0, 1, bytes(8)), E.PROTOCOL_ERROR),
    ("CONTINUATION of nothing", f.continuation(1), E.PROTOCOL_ERROR),
    ("PUSH_PROMISE", f.frame(T.PUSH_PROMISE, f.END_HEADERS, 1, b"\0\0\0\2"), E.PROTOCOL_ERROR),
    ("DATA with more padding than frame", f.frame(T.DATA, f.PADDED, 1, b"\x02x"), E.PROTOCOL_ERROR),
    ("HEADERS with more padding than frame", f.frame(T.HEADERS, 0x2C, 1, b"\x01\0\0\0\0\0"), E.PROTOCOL_ERROR),
    ("DATA on an idle stream", f.data(9, b"x"), E.PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", f.rst_stream(9), E.PROTOCOL_ERROR),
    ("WINDOW_UPDATE on an idle stream", f.window_update(9, 1), E.PROTOCOL_ERROR),
    ("DATA on an even stream", f.data(2, b"x"), E.PROTOCOL_ERROR),
    ("HEADERS on an even stream", f.headers(2), E.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 0", f.window_update(0, 0), E.PROTOCOL_ERROR),
    ("WINDOW_UPDATE past the largest", f.window_update(0, 2**31 - 1), E.FLOW_CONTROL_ERROR),
    ("a window larger than any", f.settings({Setting.INITIAL_WINDOW_SIZE: 2**31}), E.FLOW_CONTROL_ERROR),
    ("frames smaller than any", f.settings({Setting.MAX_FRAME_SIZE: 16_383}), E.PROTOCOL_ERROR),
    ("frames larger than any", f.settings({Setting.MAX_FRAME_SIZE: 1 << 24}), E.PROTOCOL_ERROR),
    ("push neither on nor off", f.settings({Setting.ENABLE_PUSH: 2}), E.PROTOCOL_ERROR),
    (
        "a wrong setting that a right one follows",
        f.settings([(Setting.MAX_FRAME_SIZE, 1), (Setting.MAX_FRAME_SIZE, 20_000)]),
        E.PROTOCOL_ERROR,
    ),
    ("an index of no table", f.headers(1, f.indexed(99)), E.COMPRESSION_ERROR),
    ("the index 0", f.headers(1, b"\x80"), E.COMPRESSION_ERROR),
    ("half a literal", f.headers(1, b"\x00\x05abc"), E.COMPRESSION_ERROR),
    ("a table larger than offered", f.headers(1, f.table_size(4097)), E.COMPRESSION_ERROR),
    ("a table size after a field", f.headers(1, f.block(f.REQUEST) + f.table_size(0)), E.COMPRESSION_ERROR),
    ("Huffman padding of a byte", f.headers(1, b"\x00\x82\xff\xff\x01x"), E.COMPRESSION_ERROR),
    ("an integer without end", f.headers(1, b"\xff" + b"\xff" * 20), E.COMPRESSION_ERROR),
]


@pytest.mark.parametrize("client_role", [False, True], ids=["server", "client"])
@pytest.mark.parametrize(
    ("data", "code"), [case[1:] for case in CLOSED_AT_ONCE], ids=[case[0] for case in CLOSED_AT_ONCE]
)
def test_a_broken_connection_is_closed(engine_name: str, client_role: bool, data: bytes, code: ErrorCode) -> None:
    rig = Rig(engine_name, client=client_role)
    if client_role:
        rig.open()
    rig.feed(data)
    assert rig.verdict() == code
    calls = len(rig.sink.calls)
    rig.feed(f.ping(), f.settings(), f.headers(11))
    assert len(rig.sink.calls) == calls
    assert rig.sent() == []


@pytest.mark.parametrize(
    "data",
    [f.ping(), f.settings(ack=True), f.headers(1), f.frame(0xEE)],
    ids=["PING", "acknowledgement", "HEADERS", "unknown"],
)
@pytest.mark.parametrize("client_role", [False, True], ids=["server", "client"])
def test_the_first_frame_must_be_settings(engine_name: str, client_role: bool, data: bytes) -> None:
    rig = Rig(engine_name, client=client_role, settle=False)
    rig.feed(b"" if client_role else f.PREFACE, data)
    assert rig.verdict() == E.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nXM", b"\0"],
    ids=["HTTP/1.1", "TLS", "almost", "zero"],
)
def test_a_wrong_preface_is_answered_by_goaway(engine_name: str, data: bytes) -> None:
    rig = Rig(engine_name, client=False, settle=False)
    rig.feed(data)
    assert rig.verdict() == E.PROTOCOL_ERROR


def test_a_wrong_preface_is_known_at_its_first_wrong_byte(engine_name: str) -> None:
    rig = Rig(engine_name, client=False, settle=False)
    for byte in b"PRI * HTTP/2.0\r\n\r\n":
        rig.feed(bytes([byte]))
    assert rig.verdict() is None
    rig.feed(b"X")
    assert rig.verdict() == E.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "data",
    [f.ping(), f.headers(1), f.headers(3), f.continuation(3), f.data(1, b"x"), f.frame(0xEE, 0, 1), f.priority(1)],
    ids=["PING", "HEADERS", "another stream", "another's CONTINUATION", "DATA", "unknown", "PRIORITY"],
)
def test_nothing_may_come_between_the_pieces_of_a_field_block(server: MakeRig, data: bytes) -> None:
    rig = server()
    rig.feed(f.headers(1, end_headers=False), data)
    assert rig.verdict() == E.PROTOCOL_ERROR


def test_a_server_must_not_offer_push(client: MakeRig, engine_name: str) -> None:
    rig = client()
    rig.feed(f.settings({Setting.ENABLE_PUSH: 1}))
    assert rig.verdict() == E.PROTOCOL_ERROR
    rig = Rig(engine_name, client=False)
    rig.feed(f.settings({Setting.ENABLE_PUSH: 1}), f.settings({Setting.ENABLE_PUSH: 0}))
    assert rig.verdict() is None


def test_a_stream_id_that_was_skipped_is_a_protocol_error(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(5), f.headers(3))
    assert rig.verdict() == E.PROTOCOL_ERROR


def test_settings_must_not_open_a_window_too_far(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1), f.window_update(1, 2**31 - 1 - 65_535), f.settings({Setting.INITIAL_WINDOW_SIZE: 65_536}))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


def test_goaway_names_the_highest_stream_and_says_why(server: MakeRig) -> None:
    rig = server(max_concurrent_streams=1)
    rig.feed(f.headers(1), f.headers(7), f.data(0, b"secret"))
    goaway = rig.sent()[-1]
    assert (goaway.kind, goaway.number, goaway.code) == (T.GOAWAY, 7, E.PROTOCOL_ERROR)
    assert goaway.payload[8:].decode().isprintable()
    assert b"secret" not in goaway.payload


def test_a_connection_error_ends_sending_and_leaves_the_streams_to_the_layer_above(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.feed(f.data(0, b"x"))
    assert [call[0] for call in rig.sink.calls] == ["error"]
    rig.sent()
    rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
    rig.engine.consumed(stream, 100)
    rig.engine.reset(stream, E.CANCEL)
    rig.engine.ping(bytes(8))
    rig.engine.goaway()
    assert rig.sent() == []


# Stream errors: the stream goes, the connection stays.

MALFORMED_REQUESTS: list[tuple[str, f.Fields]] = [
    ("a name in capitals", (*f.REQUEST, (b"Key", b"x"))),
    ("an empty name", (*f.REQUEST, (b"", b"x"))),
    ("a space in a name", (*f.REQUEST, (b"a b", b"x"))),
    ("a colon in a name", (*f.REQUEST, (b"a:b", b"x"))),
    ("a name beyond ASCII", (*f.REQUEST, (b"caf\xe9", b"x"))),
    ("CR in a value", (*f.REQUEST, (b"key", b"a\rb"))),
    ("LF in a value", (*f.REQUEST, (b"key", b"a\nb"))),
    ("NUL in a value", (*f.REQUEST, (b"key", b"a\0b"))),
    ("LF in the path", ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/\n"))),
    ("a value that starts with a space", (*f.REQUEST, (b"key", b" x"))),
    ("a value that ends with a tab", (*f.REQUEST, (b"key", b"x\t"))),
    ("connection", (*f.REQUEST, (b"connection", b"close"))),
    ("transfer-encoding", (*f.REQUEST, (b"transfer-encoding", b"chunked"))),
    ("te: gzip", (*f.REQUEST[:-1], (b"te", b"gzip"))),
    ("no method", f.REQUEST[1:]),
    ("no scheme", (f.REQUEST[0], *f.REQUEST[2:])),
    ("no path", (*f.REQUEST[:2], *f.REQUEST[3:])),
    ("an empty path", (*f.REQUEST[:2], (b":path", b""), *f.REQUEST[3:])),
    ("two paths", (f.REQUEST[2], *f.REQUEST)),
    ("an unknown pseudo-field", ((b":protocol", b"x"), *f.REQUEST)),
    ("a response's pseudo-field", ((b":status", b"200"), *f.REQUEST)),
    ("a pseudo-field after a field", (*f.REQUEST[1:], f.REQUEST[0])),
    ("a host that differs", (*f.REQUEST, (b"host", b"elsewhere"))),
    ("CONNECT with a path", ((b":method", b"CONNECT"), *f.REQUEST[1:])),
    ("no field at all", ()),
    ("a content-length that is no number", (*f.REQUEST, (b"content-length", b"+3"))),
    ("two content-lengths", (*f.REQUEST, (b"content-length", b"3"), (b"content-length", b"3"))),
]


@pytest.mark.parametrize(
    "fields", [case[1] for case in MALFORMED_REQUESTS], ids=[case[0] for case in MALFORMED_REQUESTS]
)
def test_a_malformed_request_is_reset_and_never_reported(server: MakeRig, fields: f.Fields) -> None:
    rig = server()
    other = rig.open()
    rig.feed(f.headers(3, fields), f.data(3, b"late"), f.ping())
    assert rig.engine.queued_replies == 2
    assert rig.resets() == [(3, E.PROTOCOL_ERROR)]
    assert rig.calls() == [("ping",)]
    assert list(rig.engine.streams) == [other.id]


LEGAL_REQUESTS: list[tuple[str, f.Fields]] = [
    ("no authority", (*f.REQUEST[:3], *f.REQUEST[4:])),
    ("a host that agrees", (*f.REQUEST, (b"host", b"localhost"))),
    ("CONNECT", ((b":method", b"CONNECT"), (b":authority", b"localhost"))),
    ("an empty value", (*f.REQUEST, (b"key", b""))),
    ("a value beyond ASCII", (*f.REQUEST, (b"key", b"\xff\x80"))),
    ("odd names", (*f.REQUEST, (b"!#$%&'*+-.^_`|~09az", b"x"))),
    ("white space within a value", (*f.REQUEST, (b"key", b"a \t b"))),
    ("a field twice", (*f.REQUEST, (b"key", b"1"), (b"key", b"2"))),
    ("another path form", (*f.REQUEST[:2], (b":path", b"no-slash"), *f.REQUEST[3:])),
]


@pytest.mark.parametrize("fields", [case[1] for case in LEGAL_REQUESTS], ids=[case[0] for case in LEGAL_REQUESTS])
def test_a_request_that_is_only_unusual_is_reported(server: MakeRig, fields: f.Fields) -> None:
    rig = server()
    rig.feed(f.headers(1, fields))
    assert rig.calls() == [("headers", 1, fields, False)]


@pytest.mark.parametrize(
    "fields",
    [(), f.REQUEST, ((b":status", b"20"),), ((b":status", b"abc"),), (*f.RESPONSE, (b"Key", b"x")), f.RESPONSE * 2],
    ids=["nothing", "a request", "two digits", "letters", "capitals", "twice"],
)
def test_a_malformed_response_resets_its_stream(client: MakeRig, fields: f.Fields) -> None:
    rig = client()
    rig.open()
    other = rig.open()
    rig.feed(f.headers(1, fields))
    assert rig.calls() == [("reset", 1, E.PROTOCOL_ERROR, False)]
    assert rig.resets() == [(1, E.PROTOCOL_ERROR)]
    assert list(rig.engine.streams) == [other.id]


def test_white_space_around_a_servers_values_is_let_through(client: MakeRig) -> None:
    rig = client()
    rig.open()
    trailers = (*f.TRAILERS, (b"grpc-message", b"it failed: "))
    rig.feed(f.headers(1, f.RESPONSE), f.headers(1, trailers, end=True))
    assert rig.calls()[1:] == [("trailers", 1, trailers)]


STREAM_ERRORS: list[tuple[str, bool, list[bytes], ErrorCode]] = [
    ("trailers without END_STREAM", False, [f.headers(1, f.TRAILERS)], E.PROTOCOL_ERROR),
    ("trailers with a pseudo-field", False, [f.headers(1, ((b":path", b"/"),), end=True)], E.PROTOCOL_ERROR),
    ("trailers with a bad name", False, [f.headers(1, ((b"A", b"/"),), end=True)], E.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 0", False, [f.window_update(1, 0)], E.PROTOCOL_ERROR),
    ("WINDOW_UPDATE past the largest", False, [f.window_update(1, 2**31 - 1)], E.FLOW_CONTROL_ERROR),
    ("DATA after the end", False, [f.data(1, end=True), f.data(1, b"x")], E.STREAM_CLOSED),
    ("HEADERS after the end", False, [f.data(1, end=True), f.headers(1, f.TRAILERS, end=True)], E.STREAM_CLOSED),
    ("DATA before the headers", True, [f.data(1, b"x")], E.PROTOCOL_ERROR),
    ("DATA after a 1xx", True, [f.headers(1, ((b":status", b"100"),)), f.data(1, b"x")], E.PROTOCOL_ERROR),
    ("a 1xx that ends the stream", True, [f.headers(1, ((b":status", b"100"),), end=True)], E.PROTOCOL_ERROR),
    ("trailers without END_STREAM", True, [f.headers(1, f.RESPONSE), f.headers(1, f.TRAILERS)], E.PROTOCOL_ERROR),
    ("a second response", True, [f.headers(1, f.RESPONSE), f.headers(1, f.RESPONSE, end=True)], E.PROTOCOL_ERROR),
    ("DATA after the end", True, [f.headers(1, f.RESPONSE, end=True), f.data(1, b"x")], E.STREAM_CLOSED),
]


@pytest.mark.parametrize(
    ("client_role", "data", "code"),
    [case[1:] for case in STREAM_ERRORS],
    ids=[f"{'client' if case[1] else 'server'}: {case[0]}" for case in STREAM_ERRORS],
)
def test_a_stream_error_costs_one_stream(
    engine_name: str, client_role: bool, data: list[bytes], code: ErrorCode
) -> None:
    rig = Rig(engine_name, client=client_role)
    stream = rig.open()
    other = rig.open()
    rig.feed(*data)
    assert rig.engine.queued_replies == 1
    assert rig.resets() == [(1, code)]
    assert rig.sink.calls[-1] == ("reset", 1, code, False)
    assert stream.closed
    assert list(rig.engine.streams) == [other.id]
    rig.calls()
    rig.feed(f.data(1, b"late"), f.headers(1, f.TRAILERS, end=True), f.rst_stream(1), f.window_update(1, 0), f.ping())
    assert rig.calls() == [("ping",)]
    assert rig.resets() == []


def test_a_streams_end_is_not_reported_when_it_is_at_fault(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1, (*f.REQUEST, (b"content-length", b"3"))), f.data(1, b"four", end=True))
    assert [call[0] for call in rig.calls()] == ["headers", "reset"]


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        ([f.data(1, b"ab"), f.data(1, b"c", end=True)], True),
        ([f.data(1, b"abc", pad=5), f.data(1, end=True)], True),
        ([f.data(1, b"abc"), f.headers(1, f.TRAILERS, end=True)], True),
        ([f.data(1, b"ab", end=True)], False),
        ([f.data(1, b"abcd")], False),
        ([f.data(1, end=True)], False),
        ([f.data(1, b"ab"), f.headers(1, f.TRAILERS, end=True)], False),
    ],
)
def test_content_length_must_be_the_data_received(server: MakeRig, data: list[bytes], fits: bool) -> None:
    rig = server()
    rig.feed(f.headers(1, (*f.REQUEST, (b"content-length", b"3"))), *data)
    assert ("reset", 1, E.PROTOCOL_ERROR, False) in rig.sink.calls or fits
    assert rig.resets() == ([] if fits else [(1, E.PROTOCOL_ERROR)])


def test_a_content_length_without_data_is_malformed_in_a_request_but_not_in_a_response(
    server: MakeRig, client: MakeRig
) -> None:
    rig = server()
    rig.feed(f.headers(1, (*f.REQUEST, (b"content-length", b"3")), end=True))
    assert rig.resets() == [(1, E.PROTOCOL_ERROR)]
    assert rig.calls() == []
    rig = client()
    rig.open()
    rig.feed(f.headers(1, (*f.RESPONSE, (b"content-length", b"3")), end=True))
    assert rig.resets() == []
    assert rig.calls()[0][0] == "headers"


# Closed streams.


def test_a_peers_reset_is_reported_with_its_code(engine_name: str) -> None:
    for client_role in (False, True):
        rig = Rig(engine_name, client=client_role)
        stream = rig.open()
        rig.feed(f.rst_stream(1, 0x1234), f.rst_stream(1, 0x1234), f.window_update(1, 5))
        assert rig.calls() == [("reset", 1, 0x1234, True)]
        assert stream.closed
        assert rig.sent() == []


@pytest.mark.parametrize("ending", ["reset by the peer", "ended by both"])
@pytest.mark.parametrize("data", [f.data(1, b"x"), f.headers(1, f.TRAILERS, end=True)], ids=["DATA", "HEADERS"])
def test_frames_on_a_stream_that_was_not_reset_by_us_are_an_error(server: MakeRig, ending: str, data: bytes) -> None:
    rig = server()
    stream = rig.open(end=ending == "ended by both")
    if ending == "ended by both":
        rig.engine.send_headers(stream, RESPONSE, end_stream=True)
    else:
        rig.feed(f.rst_stream(1))
    rig.feed(f.window_update(1, 1), f.rst_stream(1))
    assert rig.verdict() is None
    rig.feed(data)
    assert rig.verdict() == E.STREAM_CLOSED


def test_frames_that_crossed_our_reset_are_read_past(engine_name: str) -> None:
    for client_role in (False, True):
        rig = Rig(engine_name, client=client_role)
        stream = rig.open()
        rig.engine.reset(stream, E.CANCEL)
        assert rig.resets() == [(1, E.CANCEL)]
        assert stream.closed
        rig.feed(f.headers(1, f.RESPONSE), f.data(1, b"x"), f.window_update(1, 1), f.headers(1, f.TRAILERS, end=True))
        rig.feed(f.rst_stream(1, E.REFUSED_STREAM))
        assert rig.calls() == []
        assert rig.sent() == []
        rig.engine.reset(stream, E.CANCEL)
        assert rig.sent() == []


def test_sends_on_a_closed_stream_are_dropped(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.feed(f.rst_stream(1))
    rig.engine.send_headers(stream, RESPONSE)
    rig.engine.send_data(stream, b"x")
    rig.engine.send_headers(stream, TRAILERS, end_stream=True)
    rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
    rig.engine.reset(stream, E.CANCEL)
    assert stream.queued_bytes == 0
    assert rig.sent() == []


def test_sends_after_our_end_are_dropped(client: MakeRig) -> None:
    rig = client()
    stream = rig.engine.send_request(REQUEST, b"all")
    rig.sent()
    rig.engine.send_data(stream, b"more")
    rig.engine.send_data(stream, b"", end_stream=True)
    assert rig.sent() == []
    assert not stream.closed


def test_the_sink_may_reset_within_a_report(server: MakeRig) -> None:
    rig = server()
    rig.sink.react["headers"] = lambda stream: rig.engine.reset(stream, E.CANCEL)
    rig.feed(f.headers(1), f.data(1, b"x"), f.data(1, b"y", end=True), f.ping())
    assert rig.calls() == [("headers", 1, f.REQUEST, False), ("ping",)]
    rig.sink.react = {"data": lambda stream: rig.engine.reset(stream, E.CANCEL)}
    rig.feed(f.headers(3), f.data(3, b"x"), f.data(3, b"y", end=True), f.ping())
    assert rig.calls() == [("headers", 3, f.REQUEST, False), ("data", 3, b"x", False), ("ping",)]


def test_the_sink_may_reply_within_a_report(server: MakeRig) -> None:
    rig = server()
    rig.sink.react["data"] = lambda stream: rig.engine.send_reply(stream, RESPONSE, b"y", TRAILERS)
    rig.feed(*[f.headers(1 + 2 * at) + f.data(1 + 2 * at, b"x", end=True) for at in range(20)])
    assert len(rig.sent_fields()) == 40
    assert not rig.engine.streams


# Flow control: what we may send.


def test_data_is_framed_as_the_peer_allows(client: MakeRig) -> None:
    rig = client()
    stream = rig.engine.send_request(REQUEST, bytes(40_000))
    assert [len(frame.payload) for frame in rig.sent()[1:]] == [16_384, 16_384, 40_000 - 2 * 16_384]
    assert [frame.end for frame in rig.last[1:]] == [False, False, True]
    assert stream.queued_bytes == 0
    rig.feed(f.settings({Setting.MAX_FRAME_SIZE: 20_000}))
    rig.open()
    rig.engine.send_data(rig.engine.streams[3], bytes(20_000))
    assert [len(frame.payload) for frame in rig.sent()] == [20_000]


def test_data_past_the_window_waits_and_keeps_its_order(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    message = bytes(range(256)) * 300
    rig.engine.send_data(stream, message)
    rig.engine.send_data(stream, b"second")
    assert stream.queued_bytes == len(message) + 6 - 65_535
    received = rig.sent_data()
    assert len(received) == 65_535
    rig.feed(f.window_update(1, 10))
    received += rig.sent_data()
    assert rig.calls() == []
    rig.feed(f.window_update(1, MiB))
    received += rig.sent_data()
    assert received == message + b"second"
    assert rig.calls() == [("writable", 1)]
    assert stream.queued_bytes == 0
    rig.feed(f.window_update(1, 1))
    assert rig.calls() == []


def test_trailers_wait_behind_queued_data(server: MakeRig) -> None:
    rig = server()
    stream = rig.open(end=True)
    rig.engine.send_reply(stream, RESPONSE, bytes(70_000), TRAILERS)
    assert [section for _, section, _ in rig.sent_fields()] == [f.RESPONSE]
    assert not stream.closed
    assert stream.queued_bytes == 70_000 - 65_535
    rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
    assert rig.sent_fields() == [(1, f.TRAILERS, True)]
    assert stream.closed
    assert rig.calls() == [("writable", 1)]


def test_the_reset_after_an_early_end_waits_behind_the_trailers(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_reply(stream, RESPONSE, bytes(70_000), TRAILERS)
    assert T.RST_STREAM not in rig.sent_kinds()
    rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
    assert rig.sent_kinds() == [T.DATA, T.HEADERS, T.RST_STREAM]
    assert stream.closed


def test_an_end_waits_behind_queued_data(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_536))
    rig.engine.send_data(stream, b"", end_stream=True)
    rig.engine.send_data(stream, b"too late")
    assert not rig.sent()[-1].end
    rig.feed(f.window_update(0, 1), f.window_update(1, 1))
    assert [(frame.payload, frame.end) for frame in rig.sent()] in (
        [(b"\0", True)],
        [(b"\0", False), (b"", True)],
    )


def test_an_empty_end_needs_no_window(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_535))
    rig.sent()
    rig.engine.send_data(stream, b"", end_stream=True)
    assert [(frame.payload, frame.end) for frame in rig.sent()] == [(b"", True)]


def test_the_connections_window_is_shared_in_turn(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: MiB}))
    streams = [rig.open() for _ in range(3)]
    for stream in streams:
        rig.engine.send_data(stream, bytes(100_000))
    assert len(rig.sent_data(1)) == 65_535
    rig.feed(f.window_update(0, 6 * 16_384))
    frames = rig.sent()
    assert sum(len(frame.payload) for frame in frames) == 6 * 16_384
    assert {frame.stream_id for frame in frames} == {1, 3, 5}
    rig.feed(f.window_update(0, MiB))
    assert sorted(call[1] for call in rig.calls() if call[0] == "writable") == [1, 3, 5]
    assert all(stream.queued_bytes == 0 for stream in streams)


def test_a_stream_with_a_closed_window_does_not_hold_up_others(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    first, second = rig.open(), rig.open()
    rig.engine.send_data(first, bytes(100_000))
    rig.sent()
    rig.engine.send_data(second, b"through")
    assert rig.sent_data(3) == b"through"


def test_a_new_initial_window_moves_open_streams(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_535 + 100))
    rig.sent()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 65_535 + 40}))
    assert len(rig.sent_data()) == 40
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 0}))  # the window is below zero now (§6.9.2)
    rig.feed(f.window_update(1, 65_535 + 40))
    assert rig.sent_data() == b""
    rig.calls()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 60}))
    assert len(rig.sent_data()) == 60
    assert rig.calls() == [("settings",), ("writable", 1)]


def test_a_reset_drops_what_is_queued(engine_name: str) -> None:
    for by_peer in (False, True):
        rig = Rig(engine_name, client=True)
        stream = rig.open()
        rig.engine.send_data(stream, bytes(100_000), end_stream=True)
        rig.sent()
        if by_peer:
            rig.feed(f.rst_stream(1))
        else:
            rig.engine.reset(stream, E.CANCEL)
        assert stream.queued_bytes == 0
        rig.sent()
        rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
        assert rig.sent() == []
        assert not any(call[0] == "writable" for call in rig.calls())


def test_the_sink_may_send_when_it_is_told_that_it_can(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_536))
    rig.sent()
    rig.sink.react["writable"] = lambda stream: rig.engine.send_data(stream, b"more", end_stream=True)
    rig.feed(f.window_update(0, 100), f.window_update(1, 100))
    assert rig.sent_data() == b"\0more"


# Flow control: what the peer may send.


def granted(rig: Rig, stream_id: int) -> int:
    """Bytes of WINDOW_UPDATE in what was sent last."""
    return sum(frame.number for frame in rig.last if (frame.kind, frame.stream_id) == (T.WINDOW_UPDATE, stream_id))


def pour(rig: Rig, stream_id: int, size_bytes: int, pad: int | None = None) -> tuple[int, int]:
    """Send DATA as a peer does that keeps to a window of 64 KiB; (granted to the connection, to the stream)."""
    connection = stream = 0
    for _ in range(size_bytes // 16_384):
        rig.feed(f.data(stream_id, bytes(16_384 if pad is None else 16_384 - 1 - pad), pad=pad))
        rig.sent()
        connection += granted(rig, 0)
        stream += granted(rig, stream_id)
    return connection, stream


SMALL: dict[str, Any] = {"stream_window_bytes": 65_535, "connection_window_bytes": 65_535}


def test_consumed_data_is_granted_again_in_large_steps(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.open()
    rig.feed(f.data(1, bytes(1000)))
    assert rig.sent() == []
    connection, stream = pour(rig, 1, 20 * 65_536)
    assert rig.verdict() is None
    assert connection > 19 * 65_536
    assert stream > 19 * 65_536


def test_padding_is_granted_again(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.open()
    pour(rig, 1, 20 * 65_536, pad=255)
    assert rig.verdict() is None


def test_unread_data_is_granted_when_it_is_consumed(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.sink.grant = False
    stream = rig.open()
    rig.feed(f.data(1, bytes(60_000)))
    assert rig.sent() == []
    rig.engine.consumed(stream, 60_000)
    rig.sent()
    assert (granted(rig, 0), granted(rig, 1)) == (60_000, 60_000)


def test_the_connections_part_is_granted_after_the_streams_end(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.sink.grant = False
    for _ in range(10):
        stream = rig.open()
        rig.feed(f.data(stream.id, bytes(40_000), end=True))
        rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
        assert stream.closed
        rig.engine.consumed(stream, 40_000)
        rig.sent()
        assert granted(rig, stream.id) == 0
    stream = rig.open()
    rig.feed(f.data(stream.id, bytes(40_000)), f.rst_stream(stream.id))
    rig.engine.consumed(stream, 40_000)
    stream = rig.open()
    rig.feed(f.data(stream.id, bytes(40_000)))
    assert rig.verdict() is None


@pytest.mark.parametrize("fault", ["late", "refused", "malformed", "too long"])
def test_the_connections_window_does_not_leak_through_streams_that_fail(server: MakeRig, fault: str) -> None:
    rig = server(**SMALL, max_concurrent_streams=1, control_burst=1000)
    for at in range(40):
        rig.feed(f.window_update(0, 1))
        stream_id = 1 + 4 * at
        fields = (*f.REQUEST, (b"content-length", b"1")) if fault == "too long" else f.REQUEST
        rig.feed(f.headers(stream_id, fields))
        if fault == "late":
            rig.engine.reset(rig.sink.streams[stream_id], E.CANCEL)
        elif fault == "malformed":
            rig.feed(f.headers(stream_id, f.TRAILERS))
        elif fault == "refused":
            rig.feed(f.headers(stream_id + 2))
        rig.feed(f.data(stream_id + (2 if fault == "refused" else 0), bytes(16_000)))
        rig.sent()
        if fault == "refused":
            rig.engine.reset(rig.sink.streams[stream_id], E.CANCEL)
    assert rig.verdict() is None


@pytest.mark.parametrize("whose", ["stream", "connection"])
def test_more_data_than_a_window_is_a_connection_error(server: MakeRig, whose: str) -> None:
    rig = server(stream_window_bytes=65_535 if whose == "stream" else MiB, connection_window_bytes=MiB)
    rig.sink.grant = False
    rig.open()
    rig.open()
    size_bytes = 65_535 if whose == "stream" else MiB
    for at in range(0, size_bytes, 16_384):
        rig.feed(f.data(1, bytes(min(16_384, size_bytes - at))))
    assert rig.verdict() is None
    rig.feed(f.data(1 if whose == "stream" else 3, b"x"))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


def test_data_on_a_closed_stream_counts_against_the_connections_window(server: MakeRig) -> None:
    rig = server(stream_window_bytes=MiB, connection_window_bytes=65_535)
    rig.sink.grant = False
    stream = rig.open()
    rig.feed(f.data(1, bytes(65_000)))
    rig.engine.reset(stream, E.CANCEL)
    rig.feed(f.data(1, bytes(535)))
    assert rig.verdict() is None
    rig.feed(f.data(1, bytes(65_535)))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


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
