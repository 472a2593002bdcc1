"""What a reader makes of a connection's bytes, well-formed or not."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.echo.v1.echo_wire import EchoServiceStub
from tests.http2 import frames
from tests.inspect.rig import Rig
from wire.http2.codes import ErrorCode, FrameType
from wire.inspect import Frame, Secrets, To
from wire.inspect.reader import ConnectionReader
from wire.inspect.schemas import Schemas
from wire.rpc.framing import frame as framed

ECHO_REQUEST = framed(b"\x0a\x05hello")


def echo_schemas() -> Schemas:
    schemas = Schemas()
    schemas.add_files(EchoServiceStub.service.files)
    return schemas


def with_fields(*extra: tuple[bytes, bytes]) -> frames.Fields:
    return (*frames.REQUEST, *extra)


def unary_call(rig: Rig) -> None:
    rig.to_server(frames.headers(1), frames.data(1, ECHO_REQUEST, end=True))
    rig.to_client(frames.headers(1, frames.RESPONSE), frames.data(1, framed(b"\x0a\x05HELLO")))
    rig.to_client(frames.headers(1, frames.TRAILERS, end=True))


def test_unary_call_is_told_frame_by_frame_and_as_a_whole() -> None:
    rig = Rig(schemas=echo_schemas())
    unary_call(rig)
    assert [(each.to, each.name, each.stream) for each in rig.frames] == [
        (To.SERVER, "HEADERS", 1),
        (To.SERVER, "DATA", 1),
        (To.CLIENT, "HEADERS", 1),
        (To.CLIENT, "DATA", 1),
        (To.CLIENT, "HEADERS", 1),
    ]
    request = rig.frames[1]
    assert request.method == "/echo.v1.EchoService/Echo"
    assert request.flags == ("END_STREAM",)
    (message,) = request.messages
    assert message.type_name == "echo.v1.EchoRequest"
    assert message.fields is not None
    assert [(each.name, each.content) for each in message.fields] == [("payload", b"hello")]
    (call,) = rig.calls
    assert (call.method, call.status, call.how) == ("/echo.v1.EchoService/Echo", "OK", "")
    assert (call.requests, call.request_bytes, call.responses, call.response_bytes) == (1, 7, 1, 7)
    assert call.took_s == pytest.approx(0.002)
    assert call.first_response_s == pytest.approx(0.001)


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 100])
def test_chunking_of_the_bytes_changes_no_record(piece_bytes: int) -> None:
    def read(pieces: int | None) -> list[Frame]:
        rig = Rig(greet=False)
        for to, data in (
            (To.SERVER, frames.PREFACE + frames.settings() + frames.headers(1) + frames.data(1, ECHO_REQUEST, pad=9)),
            (To.CLIENT, frames.settings({4: 70_000}) + frames.headers(1, frames.RESPONSE)),
            (To.CLIENT, frames.data(1, framed(b"x") * 3) + frames.headers(1, frames.TRAILERS, end=True)),
        ):
            step = pieces or len(data)
            for at in range(0, len(data), step):
                rig.reader.feed(to, data[at : at + step], 0.0)
        return rig.frames

    assert read(piece_bytes) == read(None)


def test_windows_are_counted_from_both_directions() -> None:
    rig = Rig(greet=False)
    rig.to_server(frames.PREFACE, frames.settings())
    rig.to_client(frames.settings({4: 100_000}))
    rig.to_server(frames.headers(1))
    rig.to_server(frames.data(1, bytes(1000)))
    assert (rig.frames[-1].stream_window_bytes, rig.frames[-1].connection_window_bytes) == (64_535, 64_535)
    rig.to_server(frames.settings(ack=True))  # from here on the stream's window is the one that was announced
    rig.to_server(frames.data(1, bytes(1000), pad=99))
    assert (rig.frames[-1].stream_window_bytes, rig.frames[-1].connection_window_bytes) == (97_900, 63_435)
    rig.to_client(frames.window_update(1, 5000), frames.window_update(0, 7000))
    assert rig.frames[-2].stream_window_bytes == 102_900
    assert rig.frames[-1].connection_window_bytes == 70_435
    rig.to_server(frames.headers(3), frames.data(3, b""))
    assert rig.frames[-1].stream_window_bytes == 100_000
    rig.to_client(frames.headers(3, frames.RESPONSE), frames.data(3, b""))
    assert rig.frames[-1].stream_window_bytes == 65_535
    rig.to_client(frames.headers(1, frames.RESPONSE), frames.data(1, bytes(5)))  # the other way has its own
    assert (rig.frames[-1].stream_window_bytes, rig.frames[-1].connection_window_bytes) == (65_530, 65_530)


def test_data_beyond_the_window_is_named() -> None:
    rig = Rig()
    rig.to_server(frames.headers(1), *[frames.data(1, bytes(16_384))] * 4)
    assert rig.problems == ["1 bytes more than the connection's window", "1 bytes more than the stream's window"]


def test_padding_and_priority_are_told_and_no_part_of_the_content() -> None:
    rig = Rig(schemas=echo_schemas())
    rig.to_server(frames.headers(1, pad=3, priority=b"\x80\0\0\x05\x0f"), frames.data(1, ECHO_REQUEST, pad=20))
    first, second = rig.frames
    assert first.details == (("depends_on", 5), ("weight", 16), ("exclusive", 1))
    assert first.padding_bytes == 3
    assert dict(first.fields)[":path"] == "/echo.v1.EchoService/Echo"
    assert second.padding_bytes == 20
    assert second.size_bytes == len(ECHO_REQUEST) + 21
    assert len(second.messages) == 1


def test_field_block_over_several_frames_is_decoded_with_the_last() -> None:
    block = frames.block(frames.REQUEST)
    rig = Rig()
    rig.to_server(
        frames.headers(1, block[:10], end_headers=False),
        frames.continuation(1, block[10:20], end_headers=False),
        frames.continuation(1, block[20:]),
    )
    assert [each.name for each in rig.frames] == ["HEADERS", "CONTINUATION", "CONTINUATION"]
    assert [len(each.fields) for each in rig.frames] == [0, 0, len(frames.REQUEST)]
    assert rig.frames[-1].method == "/echo.v1.EchoService/Echo"


def test_messages_over_and_within_frames() -> None:
    rig = Rig(schemas=echo_schemas())
    body = ECHO_REQUEST * 3
    rig.to_server(frames.headers(1), frames.data(1, body[:15]), frames.data(1, body[15:18]), frames.data(1, body[18:]))
    assert [[each.index for each in found.messages] for found in rig.frames[1:]] == [[1], [], [2, 3]]
    assert [found.message_progress for found in rig.frames[1:]] == [None, (1, 7), None]


def test_compressed_messages_are_shown_plain() -> None:
    rig = Rig(schemas=echo_schemas())
    plain = b"\x0a\x64" + b"y" * 100
    squeezed = gzip.compress(plain)
    body = b"\x01" + len(squeezed).to_bytes(4, "big") + squeezed
    rig.to_server(frames.headers(1, with_fields((b"grpc-encoding", b"gzip"))), frames.data(1, body))
    (message,) = rig.frames[-1].messages
    assert (message.compressed, message.plain_bytes) == (True, 102)
    assert message.fields is not None
    assert message.fields[0].content == b"y" * 100


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        (b"gzip", "message is not valid gzip"),
        (b"snappy", "its compression snappy is not known here"),
        (b"identity", "compressed, and no grpc-encoding says how"),
    ],
)
def test_message_that_cannot_be_decompressed_is_told_with_the_reason(encoding: bytes, problem: str) -> None:
    rig = Rig()
    rig.to_server(frames.headers(1, with_fields((b"grpc-encoding", encoding))), frames.data(1, b"\x01\0\0\0\x02zz"))
    (message,) = rig.frames[-1].messages
    assert message.fields is None
    assert message.problem == problem


def test_long_message_is_told_and_not_kept() -> None:
    rig = Rig(max_message_bytes=10)
    rig.to_server(frames.headers(1), frames.data(1, framed(bytes(11)) + framed(b"")))
    long, empty = rig.frames[-1].messages
    assert long.problem == "longer than the 10 bytes that are kept of a message"
    assert empty.fields == ()


def test_prefix_that_is_none_ends_the_cutting() -> None:
    rig = Rig()
    rig.to_server(frames.headers(1), frames.data(1, b"GET / HTTP"), frames.data(1, framed(b"x")))
    assert rig.problems == ["the prefix of a message begins with 71, which is neither 0 nor 1"]
    assert rig.frames[-1].messages == ()


def test_reset_ends_the_call_and_later_frames_still_name_it() -> None:
    rig = Rig()
    rig.to_server(frames.headers(1), frames.rst_stream(1, ErrorCode.CANCEL))
    (call,) = rig.calls
    assert (call.status, call.how) == ("CANCELLED", "RST_STREAM CANCEL by the client")
    rig.to_client(frames.data(1, b"late"))
    assert rig.frames[-1].method == "/echo.v1.EchoService/Echo"
    assert rig.problems == ["the stream is not open"]


def test_status_comes_from_trailers_http_or_the_loss_of_the_connection() -> None:
    rig = Rig()
    for stream in (1, 3, 5):
        rig.to_server(frames.headers(stream, end=True))
    refused = ((b":status", b"200"), (b"grpc-status", b"5"), (b"grpc-message", b"no%20such%0Athing"))
    rig.to_client(frames.headers(1, refused, end=True))
    rig.to_client(frames.headers(3, ((b":status", b"503"),), end=True))
    rig.lose()
    assert [(call.stream, call.status, call.status_message, call.how) for call in rig.calls] == [
        (1, "NOT_FOUND", "no such\nthing", ""),
        (3, "UNAVAILABLE", "", "HTTP status 503"),
        (5, "UNAVAILABLE", "", "the connection was lost"),
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "this is not HTTP/2 but HTTP/1"),
        (
            b"\x16\x03\x01\0\x05abcde",
            "this is not HTTP/2 but a TLS handshake: with its certificates a tap can look inside",
        ),
        (b"hello", "this is not HTTP/2: it does not begin with the preface"),
    ],
)
def test_other_protocols_are_named_once_and_passed_on_raw(data: bytes, problem: str) -> None:
    rig = Rig(greet=False)
    rig.to_server(data)
    rig.to_server(b"more")
    assert [(each.size_bytes, each.problem, each.content) for each in rig.raw] == [
        (len(data), problem, None),
        (4, "", None),
    ]


def test_server_that_answers_with_something_else() -> None:
    rig = Rig(greet=False)
    rig.to_client(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert rig.raw[0].problem == "this is not HTTP/2 but HTTP/1"


def test_block_that_cannot_be_decoded_ends_the_decoding_and_nothing_else() -> None:
    rig = Rig()
    rig.to_server(frames.headers(1, b"\xff\xff\xff\xff"), frames.headers(3), frames.ping(b"12345678"))
    assert len(rig.problems) == 2
    assert "cannot be read" in rig.problems[0]
    assert rig.problems[1].endswith("cannot be read: an earlier one could not")
    assert rig.frames[-1].details == (("payload", b"12345678".hex()),)
    rig.to_client(frames.headers(1, frames.RESPONSE))  # the other direction has tables of its own
    assert dict(rig.frames[-1].fields)[":status"] == "200"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (frames.frame(FrameType.PING, 0, 0, b"123"), "PING has 8 bytes, not 3"),
        (frames.frame(FrameType.RST_STREAM, 0, 1, b""), "RST_STREAM has 4 bytes, not 0"),
        (frames.frame(FrameType.SETTINGS, 0, 0, b"12345"), "the last setting is cut short"),
        (frames.frame(FrameType.SETTINGS, 1, 0, b""), "an acknowledgement of SETTINGS that were not sent"),
        (frames.settings({5: 1}), "MAX_FRAME_SIZE is from 16384 to 16777215"),
        (frames.frame(FrameType.PING, 0, 1, b"12345678"), "PING belongs to the connection, and names a stream"),
        (frames.frame(FrameType.DATA, 0, 0, b""), "DATA belongs to a stream, and names none"),
        (frames.frame(FrameType.GOAWAY, 0, 0, b"123"), "GOAWAY is cut short"),
        (frames.window_update(0, 0), "an increment of 0"),
        (frames.window_update(0, 2**31 - 1), "a window of 2147549182 bytes, over 2147483647"),
        (frames.continuation(1), "no field block has begun that this could continue"),
        (frames.frame(FrameType.HEADERS, 0xC, 1, b"\x09abc"), "9 bytes of padding are more than the frame has"),
    ],
)
def test_what_the_rfc_forbids_is_named(data: bytes, problem: str) -> None:
    rig = Rig()
    rig.to_server(data)
    assert problem in rig.problems


def test_frames_and_settings_outside_the_registry_are_shown_by_number() -> None:
    rig = Rig()
    rig.to_server(frames.frame(0x1F, 0x81, 0, b"zz"), frames.settings({0x99: 7}))
    assert rig.frames[0].name == "0x1f"
    assert rig.frames[0].flags == ("0x81",)
    assert rig.frames[1].details == (("0x0099", 7),)


def test_connection_that_is_met_in_the_middle_is_read_as_far_as_it_can_be() -> None:
    rig = Rig(whole=False, greet=False)
    rig.to_server(frames.data(7, framed(b"\x08\x01")), frames.headers(9), frames.data(9, framed(b"\x08\x02")))
    assert rig.frames[0].stream_window_bytes is None
    assert rig.frames[0].messages == ()  # of what, nobody can tell
    assert rig.frames[2].messages[0].fields is not None
    assert not rig.raw


def test_end_within_a_frame_is_told() -> None:
    rig = Rig()
    rig.to_server(frames.ping(b"12345678")[:-1])
    rig.lose()
    assert rig.raw[0].problem == "the connection ended 16 bytes into a frame"


def test_own_mistake_ends_the_reading_of_one_direction_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(ConnectionReader, "_settings", fail)
    rig = Rig(greet=False)
    rig.to_client(frames.settings())
    rig.to_client(frames.ping(b"12345678"))
    rig.to_server(frames.PREFACE, frames.ping(b"12345678"))
    assert rig.raw[0].problem == "the inspector failed on these bytes (RuntimeError)"
    assert [each.name for each in rig.frames] == ["PREFACE", "PING"]


def test_many_streams_that_never_end_are_forgotten() -> None:
    rig = Rig()
    for stream in range(1, 30_000, 2):
        rig.reader.feed(To.SERVER, frames.headers(stream), 0.0)
    assert len(rig.reader._streams) <= 10_000
    assert len(rig.reader._forgotten) <= 1000


PIECES = st.lists(
    st.tuples(
        st.sampled_from(list(To)),
        st.one_of(
            st.binary(max_size=60),
            st.builds(
                frames.frame,
                st.integers(0, 11),
                st.integers(0, 255),
                st.integers(0, 7),
                st.one_of(st.binary(max_size=30), st.just(frames.block(frames.REQUEST)), st.just(ECHO_REQUEST)),
            ),
        ),
    ),
    max_size=30,
)


@given(pieces=PIECES, whole=st.booleans(), greet=st.booleans(), shown=st.booleans())
def test_no_bytes_make_it_raise(pieces: list[tuple[To, bytes]], whole: bool, greet: bool, shown: bool) -> None:
    rig = Rig(whole=whole, greet=greet, schemas=echo_schemas(), secrets=Secrets(shown=shown))
    for to, data in pieces:
        rig.reader.feed(to, data, 0.0)
    rig.lose()
    assert not [each for each in rig.raw if "inspector failed" in each.problem]
