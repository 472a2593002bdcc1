"""Frames as `h2_reader` cuts them; what it refuses is in `test_engine_contract`."""

from __future__ import annotations

import pytest

from tests.http2 import frames as f
from wire.config import Http2Config
from wire.http2.codes import ErrorCode, FrameType
from wire.http2.h2.reader import Frame, FrameReader, PeerError, pack_frame, without_padding

START = f.PREFACE + f.settings()
FRAMES = [f.ping(), f.data(1, b"abc", pad=2), f.frame(0xEE, 7, 3, b"unknown"), f.window_update(0, 1)]


def read_all(reader: FrameReader, data: bytes, size: int) -> list[Frame]:
    return [frame for at in range(0, len(data), size) for frame in reader.read(data[at : at + size])]


@pytest.mark.parametrize("size", [1, 2, 9, 10, 1000])
def test_frames_come_out_whole_in_any_chunking(size: int) -> None:
    reader = FrameReader(False, Http2Config())
    found = read_all(reader, START + b"".join(FRAMES) + f.ping()[:12], size)
    assert [frame[3] for frame in found] == [f.settings(), *FRAMES]
    assert found[3][:3] == (0xEE, 7, 3)
    assert [frame[3] for frame in reader.read(f.ping()[12:])] == [f.ping()]


def test_a_field_block_comes_out_joined_under_its_first_flags() -> None:
    reader = FrameReader(True, Http2Config())
    pieces = f.headers(5, b"ab", end=True, end_headers=False, pad=3, priority=b"12345") + f.continuation(5, b"cd")
    found = read_all(reader, f.settings() + pieces, 4)[1:]
    assert len(found) == 1
    kind, flags, stream_id, block = found[0]
    assert (kind, flags & f.END_STREAM, stream_id, block) == (FrameType.HEADERS, f.END_STREAM, 5, b"abcd")


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    reader = FrameReader(True, Http2Config())
    [_, frame] = reader.read(f.settings() + f.frame(FrameType.DATA, 0, 2**31 | 5, b"x"))
    assert frame[2] == 5


def test_without_padding_cuts_both_ends() -> None:
    assert without_padding(f.data(1, b"abc", pad=4)) == b"abc"
    assert without_padding(f.data(1, b"", pad=0)) == b""
    with pytest.raises(PeerError) as raised:
        without_padding(f.frame(FrameType.DATA, f.PADDED, 1, b"\x01"))
    assert raised.value.code == ErrorCode.PROTOCOL_ERROR


def test_pack_frame_is_a_frame() -> None:
    assert pack_frame(FrameType.PING, 1, 0, b"12345678") == f.ping(ack=True)
    assert pack_frame(FrameType.DATA, 0, 7, bytes(70_000)) == f.data(7, bytes(70_000))
