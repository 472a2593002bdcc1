"""What is wrong in what a peer sends, and what each engine makes of it in each role: whose error, and its code."""

from __future__ import annotations

import pytest

from tests.http2 import frames as f
from tests.http2.conftest import MakeRig
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Rig
from wire.config import Http2Config
from wire.http2.codes import ErrorCode, FrameType, Setting

E = ErrorCode
T = FrameType
MiB = 1 << 20
LONG = Http2Config().max_frame_bytes + 1


# Connection errors.

CLOSED_AT_ONCE: list[tuple[str, bytes, ErrorCode]] = [
    ("frame too long, its header alone", f.frame(T.DATA, 0, 1, length=LONG), E.FRAME_SIZE_ERROR),
    ("unknown frame too long", f.frame(0xEE, 0, 0, length=LONG), E.FRAME_SIZE_ERROR),
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


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"<!DOCTYPE HTML>", b"SSH-2.0-x\r\n", b"2"])
def test_a_server_that_speaks_something_else_is_known_at_its_first_byte(engine_name: str, data: bytes) -> None:
    rig = Rig(engine_name, client=True, settle=False)
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
    rig.open()
    rig.feed(f.headers(3, (*f.RESPONSE, (b"content-length", b"3"))), f.headers(3, f.TRAILERS, end=True))
    assert rig.resets() == []
    assert [call[0] for call in rig.calls()] == ["headers", "trailers"]


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
