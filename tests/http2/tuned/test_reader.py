from __future__ import annotations

import pytest

from tests.http2 import frames as f
from wire.config import Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.tuned.decoder import ConnectionFault
from wire.http2.tuned.frames import CONTINUATION, HEADERS, SETTINGS
from wire.http2.tuned.reader import FrameReader, without_padding


def settled(**config: int) -> FrameReader:
    reader = FrameReader(True, Http2Config(**config))
    reader.judge_place(SETTINGS, 0, 0)
    return reader


def test_bytes_pass_through_while_nothing_is_left_over() -> None:
    assert settled().complete(b"\0bc") == b"\0bc"


@pytest.mark.parametrize("size", [1, 8, 9, 10, 25, 100])
def test_a_frame_in_pieces_comes_out_whole_with_what_is_behind_it(size: int) -> None:
    reader = settled()
    data = f.data(1, bytes(20)) + f.ping()
    out = b""
    for at in range(0, len(data), size):
        out = reader.complete(data[at : at + size])
        if len(out) < 29:  # as an engine does, which finds no whole frame in it
            reader.partial = out or reader.partial
        else:
            assert out == data[: at + size]
            return
    pytest.fail("the frame never came out")


def test_a_long_frame_comes_out_by_itself_when_much_is_behind_it() -> None:
    reader = settled()
    data = f.data(1, bytes(40_000)) + f.data(1, bytes(20_000))
    reader.partial = data[:30_000]
    assert reader.complete(data[30_000:]) == data[:40_009]
    behind = reader.take_behind()
    assert behind[reader.start :] == data[40_009:]
    assert not reader.behind


def test_nothing_is_kept_behind_a_frame_that_ends_the_connection() -> None:
    reader = settled()
    data = f.data(1, bytes(40_000)) + f.data(1, bytes(20_000))
    reader.partial = data[:30_000]
    reader.complete(data[30_000:])
    reader.clear()
    assert not reader.behind


def test_the_preface_is_taken_off_in_pieces_and_judged_at_its_first_wrong_byte() -> None:
    reader = FrameReader(False, Http2Config())
    assert [reader.complete(piece) for piece in (b"PRI * ", f.PREFACE[6:23], b"\nrest")] == [b"", b"", b"rest"]
    with pytest.raises(ConnectionFault) as caught:
        FrameReader(False, Http2Config()).complete(b"G")
    assert caught.value.code == ErrorCode.PROTOCOL_ERROR


def test_a_field_block_is_put_together() -> None:
    reader = settled()
    assert reader.take_headers(1, f.END_STREAM | f.PADDED | f.PRIORITY, b"\1.....ab\0") is None
    assert reader.guarded
    reader.judge_place(CONTINUATION, 0, 1)
    assert reader.take_continuation(0, b"c") is None
    assert reader.take_continuation(f.END_HEADERS, b"d") == (b"abcd", True)
    assert not reader.guarded
    assert reader.take_headers(3, f.END_HEADERS, b"e") == b"e"


def test_a_field_block_is_bounded_before_its_frames_are_whole() -> None:
    reader = settled(max_header_list_bytes=1024, max_continuation_frames=2)
    with pytest.raises(ConnectionFault):
        reader.judge_size(HEADERS, 4097, 0)
    reader.take_headers(1, 0, bytes(4000))
    reader.judge_size(CONTINUATION, 96, 0)
    with pytest.raises(ConnectionFault):
        reader.judge_size(CONTINUATION, 97, 0)
    for _ in range(2):
        reader.take_continuation(0, b"")
    with pytest.raises(ConnectionFault) as caught:
        reader.judge_size(CONTINUATION, 0, 0)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_padding_may_fill_a_frame_but_not_pass_it() -> None:
    assert without_padding(f.PADDED, b"\2ab\0\0") == b"ab"
    assert without_padding(f.PADDED, b"\2\0\0") == b""
    with pytest.raises(ConnectionFault):
        without_padding(f.PADDED, b"\3\0\0")
