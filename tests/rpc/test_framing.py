"""Length-prefixed messages: cut out of DATA in any pieces, and judged by their prefix."""

from __future__ import annotations

import gzip
import sys
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.rpc.compression import compressor, decompressor
from wire.rpc.framing import MessageReader, cut_packed, frame, frame_all
from wire.status import RpcError, StatusCode

LIMIT = 1000


@given(st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=8), st.data())
def test_any_pieces_give_the_same_messages(messages: list[tuple[bytes, bool]], data: st.DataObject) -> None:
    gz = compressor("gzip")
    stream = b"".join(frame(message, gz if compressed else None) for message, compressed in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = MessageReader(LIMIT, decompressor(b"gzip"))
    found = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        found += [reader.plain(message) for message in reader.feed(stream[start:end])]
        whole = sum(len(frame(m, gz if c else None)) for m, c in messages[: len(found)])
        assert reader.partial == (end > whole)
    assert found == [message for message, _ in messages]


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.booleans()), max_size=12),
    st.lists(st.integers(0, 4), max_size=12),
    st.data(),
)
def test_messages_that_are_not_cut_out_are_left_as_they_travelled(
    messages: list[tuple[bytes, bool]], most: list[int], data: st.DataObject
) -> None:
    gz = compressor("gzip")
    frames = [frame(message, gz if compressed else None) for message, compressed in messages]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=len(most), min_size=len(most))))
    reader = MessageReader(LIMIT, decompressor(b"gzip"))
    at = 0
    for start, end, limit in zip([0, *cuts], [*cuts, len(stream)], [*most, 2], strict=True):
        found = reader.feed(stream[start:end], limit)
        assert len(found) <= limit
        assert [reader.plain(message) for message in found] == [
            message for message, _ in messages[at : at + len(found)]
        ]
        at += len(found)
        assert reader.uncut == b"".join(frames[at : at + reader.uncut_count])
        assert not reader.uncut_count or len(found) == limit
        at += reader.uncut_count
        reader.uncut, reader.uncut_count = b"", 0
    assert at == len(messages)


def test_a_long_message_in_many_pieces_is_joined_once() -> None:
    """Quadratic joining would take minutes here."""
    reader = MessageReader(1 << 24)
    stream = frame(bytes(1 << 24))
    pieces = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    assert [m for piece in pieces for m in reader.feed(piece)] == [bytes(1 << 24)]


@pytest.mark.parametrize(
    ("prefix", "code"),
    [
        (b"\x02\0\0\0\0", StatusCode.INTERNAL),
        (b"\xff\0\0\0\0", StatusCode.INTERNAL),
        (b"\x01\0\0\0\0", StatusCode.INTERNAL),
        (b"\0\0\0\x03\xe9", StatusCode.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_a_bad_prefix_is_judged_before_its_body(prefix: bytes, code: StatusCode) -> None:
    reader = MessageReader(LIMIT)
    assert reader.feed(prefix[:4]) == []
    with pytest.raises(RpcError) as caught:
        reader.feed(prefix[4:])
    assert caught.value.code is code


def test_the_limit_itself_is_allowed() -> None:
    assert MessageReader(LIMIT).feed(frame(bytes(LIMIT))) == [bytes(LIMIT)]


def test_a_compressed_message_unfolds_only_when_it_is_asked_for() -> None:
    reader = MessageReader(LIMIT, decompressor(b"gzip"))
    (message,) = reader.feed(frame(bytes(LIMIT + 1), gzip.compress))
    assert len(message) < 100
    with pytest.raises(RpcError) as caught:
        reader.plain(message)
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_a_message_in_tiny_pieces_takes_its_own_size() -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="memory is counted by tracemalloc, which PyPy lacks")
    reader = MessageReader(1 << 20)
    stream = frame(bytes(1 << 18))
    tracemalloc.start()
    for at in range(0, len(stream) - 2, 2):
        assert reader.feed(stream[at : at + 2]) == []
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 1.3 * len(stream)
    assert reader.feed(stream[at + 2 :]) == [bytes(1 << 18)]


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=4), st.lists(st.integers(1, 9000), max_size=8))
def test_what_only_adds_to_a_message_may_be_added(sizes: list[int], steps: list[int]) -> None:
    messages = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    data = b"".join(map(frame, messages))
    reader = MessageReader(10_000)
    taken: list[bytes] = []
    at = 0
    for step in [*steps, len(data)]:
        end = min(at + step, len(data))
        if end > at and not reader.add(data, at, end):
            taken += reader.feed(data[at:end])
        at = end
    assert taken == messages
    assert not reader.partial


@pytest.mark.parametrize("size", [0, 1, LIMIT])
@pytest.mark.parametrize("first", [0, 1, 4])
def test_a_message_is_whole_though_part_of_its_prefix_came_before(first: int, size: int) -> None:
    reader = MessageReader(LIMIT)
    data = frame(bytes(size))
    for _ in range(2):
        reader.feed(data[:first])
        assert reader.whole(b"." + data + b".", 1 + first, 1 + len(data)) == bytes(size)
        assert not reader.partial


@pytest.mark.parametrize(
    "data", [frame(b"abc")[:-1], frame(b"abc") + b"d", frame(bytes(LIMIT + 1)), b"\1" + frame(b"abc")[1:]]
)
@pytest.mark.parametrize("first", [0, 1, 5])
def test_other_messages_are_not_whole(first: int, data: bytes) -> None:
    reader = MessageReader(LIMIT, decompressor(b"gzip"))
    if first < 5 or len(data) < LIMIT:
        reader.feed(data[:first])
        held = reader.size_bytes
        assert reader.whole(data, first, len(data)) is None
        assert reader.size_bytes == held


@given(st.lists(st.sampled_from([0, 3, 3, 3, 3, 3, 200]), max_size=40), st.integers(1, 20))
def test_equal_messages_are_cut_as_others_are(sizes: list[int], most: int) -> None:
    messages = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    data = b"".join(map(frame, messages))
    reader = MessageReader(1000)
    assert reader.feed(data, most) == messages[:most]
    packed = bytearray(reader.uncut)
    taken: list[bytes] = []
    while packed:
        taken += cut_packed(packed, most)
    assert taken == messages[most:]
    if messages:
        assert frame_all(messages) == data


def test_messages_are_cut_while_another_thread_looks() -> None:
    """Whoever holds the frames that run, as a sampling profiler, holds what is in them."""
    seen: list[FrameType] = []
    packed = bytearray(frame_all([b""] * 10))
    sys.setprofile(lambda frame, event, _: seen.append(frame))
    try:
        messages = cut_packed(packed, 5)
    finally:
        sys.setprofile(None)
    assert messages == [b""] * 5
    assert len(packed) == 25
