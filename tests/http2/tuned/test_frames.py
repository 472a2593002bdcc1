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
