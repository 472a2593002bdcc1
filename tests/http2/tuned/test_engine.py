"""How the tuned engine receives, where the contract leaves it free."""

from __future__ import annotations

import pytest

from tests.http2 import frames as f
from tests.http2.rig import RESPONSE, TRAILERS, Rig
from wire.http2.codes import ErrorCode, FrameType


def test_a_repeated_block_hands_over_the_same_section() -> None:
    rig = Rig("tuned", client=False)
    for _ in range(3):
        rig.open()
    first, second, third = rig.sink.sections
    assert first is second is third


def test_reading_in_one_piece_or_byte_by_byte_is_the_same() -> None:
    session = b"".join(
        f.headers(stream_id) + f.data(stream_id, b"hello") + f.data(stream_id, b"", end=True) for stream_id in (1, 3, 5)
    )
    whole, pieces = Rig("tuned", client=False), Rig("tuned", client=False)
    whole.feed(session)
    for at in range(len(session)):
        pieces.feed(session[at : at + 1])
    assert pieces.calls() == whole.calls()


@pytest.mark.parametrize("size", [1000, 20_000, 45_000, 70_000, 130_000])
def test_reading_long_frames_in_one_piece_or_in_several_is_the_same(size: int) -> None:
    longs = b"".join(
        f.data(stream_id, bytes([stream_id]) * 40_000) + f.data(stream_id, b"hello") for stream_id in (1, 3)
    )
    session = f.headers(1) + f.headers(3) + longs + f.data(3, b"end", end=True)
    whole, pieces = Rig("tuned", client=False), Rig("tuned", client=False)
    whole.feed(session)
    for at in range(0, len(session), size):
        pieces.feed(session[at : at + size])
    assert pieces.calls() == whole.calls()


def test_nothing_behind_a_long_frame_is_read_once_the_engine_is_closed() -> None:
    rig = Rig("tuned", client=False)
    stream = rig.open()
    rig.sink.react["data"] = lambda _: rig.engine.close()
    data = f.data(stream.id, bytes(40_000))
    rig.feed(data[:10_000])
    rig.feed(data[10_000:] + f.headers(3) + f.data(3, bytes(40_000)))
    assert rig.calls()[-1] == ("data", stream.id, bytes(40_000), False)


def test_credit_goes_back_in_halves_of_the_windows() -> None:
    rig = Rig(
        "tuned", client=False, stream_window_bytes=80_000, connection_window_bytes=100_000, receive_budget_bytes=0
    )
    stream = rig.open()
    granted = []
    for _ in range(10):
        rig.feed(f.data(stream.id, bytes(10_000)))
        granted += [(frame.stream_id, frame.number) for frame in rig.sent()]
    assert granted == [(1, 40_000), (0, 50_000), (1, 40_000), (0, 50_000)]


def test_replies_from_within_a_read_leave_no_stream_behind() -> None:
    rig = Rig("tuned", client=False)
    rig.sink.react["data"] = lambda stream: rig.engine.send_reply(stream, RESPONSE, b"reply", TRAILERS)
    for first in range(1, 2001, 200):
        rig.feed(*(f.headers(id_) + f.data(id_, b"hello", end=True) for id_ in range(first, first + 200, 2)))
        assert not rig.engine.streams
        assert len(rig.sent()) == 300


def test_the_connection_is_drained_when_its_stream_ids_are_used_up() -> None:
    rig = Rig("tuned", client=False)
    rig.feed(f.headers(2**31 - 3))
    assert not rig.engine.drained
    rig.feed(f.headers(2**31 - 1))
    assert rig.engine.drained
    assert len(rig.engine.streams) == 2


def test_nothing_is_read_after_a_connection_error_raised_within_a_read() -> None:
    rig = Rig("tuned", client=False)
    rig.feed(f.headers(1), f.headers(2), f.headers(3))
    assert rig.calls() == [("headers", 1, f.REQUEST, False), ("error", ErrorCode.PROTOCOL_ERROR)]
    rig.feed(f.headers(3))
    assert rig.calls() == []


def test_a_response_may_end_with_data() -> None:
    rig = Rig("tuned", client=True)
    stream = rig.open(end=True)
    rig.feed(f.headers(stream.id, f.RESPONSE), f.data(stream.id, b"reply", end=True))
    assert rig.calls()[-1] == ("data", stream.id, b"reply", True)
    assert stream.closed
    assert not rig.engine.streams


class _Echo:
    """A call that answers each message at once."""

    def on_data_within(self, data: bytes, start: int, stop: int) -> bytes:
        return data[start + 5 : stop]

    def on_message(self, message: bytes) -> bytes:
        return message


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(5, "big") + message


@pytest.mark.parametrize("sizes", [[3] * 6, [3, 3, 4, 0, 0, 0, 0, 0, 0, 3, 1019]])
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("window_bytes", [65_535, 20])
def test_answers_are_framed_behind_their_lengths_and_those_of_one_stream_together(
    sizes: list[int], streams: int, window_bytes: int
) -> None:
    rig = Rig("tuned", client=False)
    rig.feed(f.settings({4: window_bytes}))
    opened = [rig.open() for _ in range(streams)]
    for stream in opened:
        stream.call = _Echo()
        rig.engine.send_headers(stream, RESPONSE)
    rig.sent()
    messages = [bytes((65 + number,)) * size for number, size in enumerate(sizes)]
    for _ in range(2):
        rig.feed(*(f.data(stream.id, _framed(message)) for message in messages for stream in opened))
        expected = b"".join(map(_framed, messages))
        frames = [frame for frame in rig.sent() if frame.kind == FrameType.DATA]
        if window_bytes > len(expected):
            assert len(frames) == streams
        sent = {
            stream.id: b"".join(each.payload for each in frames if each.stream_id == stream.id) for stream in opened
        }
        for stream in opened:
            rig.feed(f.window_update(stream.id, len(expected)))
            assert sent[stream.id] + rig.sent_data(stream.id) == expected
    rig.engine.send_data(opened[0], b"as it is")
    rig.feed(f.data(opened[0].id, _framed(b"request")))
    assert rig.sent_data(opened[0].id) == b"as it is" + _framed(b"request")
