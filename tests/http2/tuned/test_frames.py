from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import frames as f
from wire.http2.codes import ErrorCode, FrameType
from wire.http2.tuned import frames


def test_each_builder_gives_the_frame_of_its_name() -> None:
    built = (
        frames.settings({3: 100, 4: 65_535})
        + frames.SETTINGS_ACK
        + frames.ping(b"12345678", frames.ACK)
        + frames.rst_stream(5, ErrorCode.CANCEL)
        + frames.window_update(0, 1000)
        + frames.goaway(7, ErrorCode.NO_ERROR, b"why")
    )
    assert built == (
        f.settings({3: 100, 4: 65_535})
        + f.settings(ack=True)
        + f.ping(ack=True)
        + f.rst_stream(5, ErrorCode.CANCEL)
        + f.window_update(0, 1000)
        + f.goaway(7, ErrorCode.NO_ERROR, b"why")
    )


@given(st.binary(max_size=100), st.booleans(), st.integers(1, 40))
def test_a_block_is_split_into_continuations_of_at_most_the_frame_size(block: bytes, end: bool, most: int) -> None:
    first, *rest = f.parse(frames.header_block(9, block, end, most))
    assert first.kind == FrameType.HEADERS
    assert first.end == end
    assert all(frame.kind == FrameType.CONTINUATION and not frame.flags & ~f.END_HEADERS for frame in rest)
    assert b"".join(frame.payload for frame in (first, *rest)) == block
    assert all(len(frame.payload) <= most and frame.stream_id == 9 for frame in (first, *rest))
    ends = [bool(frame.flags & f.END_HEADERS) for frame in (first, *rest)]
    assert ends == [False] * len(rest) + [True]


_LIKE = f.data(1, b"\0\0\0\0\x03abc")


@given(st.integers(0, 100), st.binary(max_size=40), st.integers(0, 16), st.integers(0, 255))
def test_frames_are_alike_but_for_stream_and_message(count: int, rest: bytes, place: int, byte: int) -> None:
    other = bytearray(_LIKE)
    other[place] = byte
    ids = range(1, 2 * count, 2)
    data = b"ab" + b"".join(f.data(each, b"\0\0\0\0\x03" + bytes((each, 0, 1))) for each in ids) + other + rest
    found = frames.count_alike(data, 2, len(data) - len(rest), 8)
    alike = count + (other[:5] == _LIKE[:5] and other[9:14] == _LIKE[9:14])
    assert found == (min(alike, 64) if alike >= 4 else 0)
    messages = list(frames.unpack_alike(8)(memoryview(data)[2 : 2 + 17 * found]))
    assert messages[:count] == [(each, bytes((each, 0, 1))) for each in ids][:found]


@given(st.integers(0, 4), st.integers(1, 255))
def test_frames_are_not_alike_that_carry_something_else_than_one_message(place: int, bits: int) -> None:
    data = bytearray(_LIKE)
    data[9 + place] ^= bits
    assert not frames.count_alike(bytes(data) * 10, 0, len(data) * 10, 8)
