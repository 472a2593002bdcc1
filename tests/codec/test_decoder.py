"""What decoding accepts and refuses, rule by rule (protobuf.dev, "Encoding"; limits as in upb)."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import betterproto2
import pytest

from tests.codec.generated import kinds
from wire.codec import codec_for, decoding
from wire.codec.decoding import message_bytes
from wire.codec.schema import read_fields
from wire.errors import DecodeError


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes((value & 127 | 128,))
        value >>= 7
    return encoded + bytes((value,))


def _wrapped(levels: int, tag: bytes, innermost: bytes = b"") -> bytes:
    for _ in range(levels):
        innermost = tag + _varint(len(innermost)) + innermost
    return innermost


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", kinds.Scalars()),
        (b"\x18\x05", kinds.Scalars(int32_value=5)),
        (b"\x18\x05\x18\x06", kinds.Scalars(int32_value=6)),  # the last one wins
        (b"\x18" + b"\xff" * 9 + b"\x01", kinds.Scalars(int32_value=-1)),
        (b"\x18\xff\xff\xff\xff\x0f", kinds.Scalars(int32_value=-1)),  # 32 bits are enough
        (b"\x18\xff\xff\xff\xff\xff\x01", kinds.Scalars(int32_value=-1)),  # the rest is cut off
        (b"\x28\xff\xff\xff\xff\xff\x01", kinds.Scalars(uint32_value=0xFFFFFFFF)),
        (b"\x38\xff\xff\xff\xff\x1f", kinds.Scalars(sint32_value=-(1 << 31))),
        (b"\x20" + b"\xff" * 9 + b"\x01", kinds.Scalars(int64_value=-1)),
        (b"\x30" + b"\xff" * 9 + b"\x7f", kinds.Scalars(uint64_value=(1 << 64) - 1)),  # bits past 64 are cut off
        (b"\x68\x80\x01", kinds.Scalars(bool_value=True)),
        (b"\x68\x80\x80\x00", kinds.Scalars(bool_value=False)),
        (b"\x98\x00\x05", kinds.Scalars(int32_value=5)),  # a tag longer than it need be
        (b"\x7a\x81\x80\x80\x80\x00a", kinds.Scalars(bytes_value=b"a")),  # a length, too, up to five bytes
        (b"\x80\x01\xc8\x01", kinds.Scalars(enum_value=kinds.Color.BLUE)),
        (b"\xf8\xff\xff\xff\x0f\x09", kinds.Scalars(far_away=9)),  # the highest field number
    ],
)
def test_scalars(data: bytes, expected: kinds.Scalars) -> None:
    assert codec_for(kinds.Scalars).decode(data) == expected


@pytest.mark.parametrize(
    ("message_type", "data", "reason"),
    [
        (kinds.OneBytes, b"\x0a", "end in the middle"),
        (kinds.OneBytes, b"\x0a\x02a", "end in the middle"),
        (kinds.OneBytes, b"\x0a\xff\xff\xff\xff\x07", "end in the middle"),
        (kinds.OneBytes, b"\x0a\xff\xff\xff\xff\x0f", "over 2 GiB"),
        (kinds.OneBytes, b"\x0a\x81\x80\x80\x80\x80\x00a", "longer than five bytes"),
        (kinds.OneInt, b"\x08", "end in the middle"),
        (kinds.OneInt, b"\x08\x80", "end in the middle"),
        (kinds.OneInt, b"\x80", "end in the middle"),
        (kinds.OneInt, b"\x08" + b"\x80" * 10 + b"\x00", "longer than ten bytes"),
        (kinds.OneInt, b"\x88\x80\x80\x80\x10\x05", "longer than 32 bits"),
        (kinds.OneInt, b"\x88\x80\x80\x80\x80\x00\x05", "longer than 32 bits"),
        (kinds.Scalars, b"\x15\x00\x00\x00", "end in the middle"),
        (kinds.Scalars, b"\x09\x00\x00\x00\x00\x00\x00\x00", "end in the middle"),
        (kinds.Nothing, b"\x00\x00", "field number 0"),
        (kinds.Nothing, b"\x02\x00", "field number 0"),
        (kinds.OneInt, b"\x05\x00\x00\x00\x00", "field number 0"),
        (kinds.Maps, b"\x0a\x02\x00\x00", "field number 0"),
        (kinds.Nothing, b"\x0b\x00\x00\x0c", "field number 0"),
        (kinds.Nothing, b"\x0e", "wire type 6"),
        (kinds.Nothing, b"\x0f", "wire type 7"),
        (kinds.Nothing, b"\x0c", "a group ends that did not start"),
        (kinds.Nothing, b"\x0b\x14", "does not match"),
        (kinds.Nothing, b"\x0b", "end in the middle"),
        (kinds.Nothing, b"\x0d\x00\x00\x00", "end in the middle"),
        (kinds.Nothing, b"\x09\x00", "end in the middle"),
        (kinds.Nothing, b"\x0a\x01", "end in the middle"),
        (kinds.OneString, b"\x0a\x01\xff", r"OneString\.text \(string\): the text is not valid UTF-8"),
        (kinds.OneString, b"\x0a\x03\xed\xa0\x80", "not valid UTF-8"),  # a surrogate
        (kinds.OneString, b"\x0a\x02\xc0\x80", "not valid UTF-8"),  # longer than it need be
        (kinds.Lists, b"\x72\x01\xff", r"Lists\.string_values \(repeated string\): the text is not valid UTF-8"),
        (kinds.Maps, b"\x62\x03\x0a\x01\xff", "not valid UTF-8"),
        (kinds.WellKnown, b"\x62\x03\x0a\x01\xff", "not valid UTF-8"),
        (kinds.Lists, b"\x1a\x01\x80", "end in the middle"),  # packed lists must end with a value
        (kinds.Lists, b"\x1a\x0b" + b"\x80" * 10 + b"\x00", "longer than ten bytes"),
        (kinds.Lists, b"\x0a\x07" + b"\0" * 7, "end in the middle"),
        (kinds.Choice, b"\x1a\x01\x18\x08\x01", "end in the middle"),  # also in a member that is overwritten
        (kinds.Choice, b"\x1a\x01\x1a\x1a\x02\x01a", "end in the middle"),  # also where joining two would hide it
        (kinds.Choice, b"\x1a\x02\x18\x01\x1a\x01\x18\x1a\x01\x05", "end in the middle"),
        (kinds.WellKnown, b"\x0a\x07\x08\xff\xff\xff\xff\xff\x7f", "cannot hold the value"),
    ],
)
def test_malformed_bytes_are_refused(message_type: type[betterproto2.Message], data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        codec_for(message_type).decode(data)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16_383, 16_384, 16_385, (1 << 21) - 1, 1 << 21, (1 << 21) + 1])
def test_a_message_that_is_one_field_is_read_whatever_its_length(size: int) -> None:
    decode = codec_for(kinds.OneBytes).decode
    payload = b"\x0a" * size
    head = b"\x0a" + _varint(size)
    data = head + payload
    if 128 <= size < 1 << 21:
        assert decoding.long_head(0x0A, len(data)) == head
    assert decode(data) == kinds.OneBytes(payload=payload)
    assert decode(data + b"\x18\x05").payload == payload  # an unknown field behind it
    assert decode(b"\x18\x05" + data).payload == payload
    if size:
        with pytest.raises(DecodeError):
            decode(data[:-1])


def test_every_truncation_of_a_field_is_refused() -> None:
    whole = codec_for(kinds.Optionals).encode(
        kinds.Optionals(
            double_value=1.5, int64_value=-1, fixed32_value=7, string_value="ü" * 70, enum_value=kinds.Color.BLUE
        )
    )
    ends = {9, 20, 25, 168, len(whole)}  # behind double, int64, fixed32, string and enum
    for size in range(1, len(whole)):
        if size in ends:
            codec_for(kinds.Optionals).decode(whole[:size])
        else:
            with pytest.raises(DecodeError):
                codec_for(kinds.Optionals).decode(whole[:size])


@pytest.mark.parametrize("wrong", ["text", None, 5, [1]])
def test_what_is_not_bytes_is_refused(wrong: Any) -> None:
    with pytest.raises(DecodeError, match="bytes are expected, not"):
        codec_for(kinds.OneBytes).decode(wrong)


def test_other_kinds_of_buffers_give_a_message_of_plain_bytes() -> None:
    for buffer in (bytearray(b"\x0a\x01x"), memoryview(b"\x0a\x01x")):
        payload = codec_for(kinds.OneBytes).decode(buffer).payload  # type: ignore[arg-type]
        assert type(payload) is bytes


def test_lists_are_read_packed_and_unpacked_and_mixed() -> None:
    decode = codec_for(kinds.Lists).decode
    assert decode(b"\x1a\x03\x01\xac\x02").int32_values == [1, 300]
    assert decode(b"\x18\x01\x1a\x01\x02\x18\xac\x02").int32_values == [1, 2, 300]
    assert decode(b"\x90\x01\x05\x92\x01\x01\x06").unpacked_values == [5, 6]
    assert decode(b"\x4d\x01\0\0\0\x4a\x08\x02\0\0\0\x03\0\0\0").fixed32_values == [1, 2, 3]
    assert decode(b"\x6a\x02\x00\x05").bool_values == [False, True]
    assert decode(b"\x82\x01\x02\xc8\x01\x80\x01\x07").enum_values == [kinds.Color.BLUE, kinds.Color(7)]
    assert decode(b"\x1a\x00").int32_values == []


def test_bits_beyond_the_kind_are_cut_off_in_lists_too() -> None:
    long = b"\xff\xff\xff\xff\xff\x01"
    decode = codec_for(kinds.Lists).decode
    assert decode(b"\x1a\x06" + long).int32_values == [-1]
    assert decode(b"\x2a\x06" + long).uint32_values == [0xFFFFFFFF]
    assert decode(b"\x3a\x06" + long).sint32_values == [-(1 << 31)]
    assert decode(b"\x22\x0a" + b"\xff" * 9 + b"\x01").int64_values == [-1]
    assert decode(b"\x32\x0a" + b"\xff" * 9 + b"\x7f").uint64_values == [(1 << 64) - 1]
    assert decode(b"\x82\x01\x06" + long).enum_values == [kinds.Color.NEGATIVE]


def test_an_enum_keeps_a_number_that_it_does_not_know() -> None:
    message = codec_for(kinds.Scalars).decode(b"\x80\x01\x2a")
    assert isinstance(message.enum_value, kinds.Color)
    assert (message.enum_value, message.enum_value.name) == (42, "")
    assert codec_for(kinds.Scalars).encode(message) == b"\x80\x01\x2a"


def test_occurrences_of_a_message_field_are_merged() -> None:
    decode = codec_for(kinds.Tree).decode
    message = decode(b"\x12\x03\x0a\x01a" + b"\x12\x02\x1a\x00" + b"\x12\x05\x1a\x03\x0a\x01c" + b"\x12\x03\x0a\x01b")
    assert message == kinds.Tree(left=kinds.Tree(label="b", children=[kinds.Tree(), kinds.Tree(label="c")]))


def test_members_of_a_oneof_overwrite_each_other_and_messages_merge_only_with_themselves() -> None:
    decode = codec_for(kinds.Choice).decode
    scalars = kinds.Scalars
    assert decode(b"\x08\x01\x12\x01a") == kinds.Choice(text="a")
    assert decode(b"\x1a\x02\x18\x01\x1a\x02\x20\x01") == kinds.Choice(scalars=scalars(int32_value=1, int64_value=1))
    assert decode(b"\x1a\x02\x18\x01\x08\x01\x1a\x02\x20\x01") == kinds.Choice(scalars=scalars(int64_value=1))
    assert decode(b"\x08\x00") == kinds.Choice(number=0)
    assert decode(b"\x1a\x00") == kinds.Choice(scalars=scalars())


def test_map_entries_may_lack_key_or_value_and_the_last_one_wins() -> None:
    decode = codec_for(kinds.Maps).decode
    assert decode(b"\x0a\x00").int32_map == {0: 0}
    assert decode(b"\x0a\x02\x08\x05").int32_map == {5: 0}
    assert decode(b"\x0a\x02\x10\x05").int32_map == {0: 5}
    assert decode(b"\x0a\x04\x10\x05\x08\x01").int32_map == {1: 5}
    assert decode(b"\x0a\x04\x08\x01\x10\x02\x0a\x04\x08\x01\x10\x03").int32_map == {1: 3}
    assert decode(b"\x72\x00").message_map == {"": kinds.Choice()}
    assert decode(b"\x6a\x00").enum_map == {"": kinds.Color.UNSPECIFIED}
    assert decode(b"\x72\x0a\x12\x02\x08\x01\x12\x04\xa2\x01\x01z").message_map == {
        "": kinds.Choice(number=1, note="z")
    }


def test_unknown_fields_are_kept_where_they_were_and_sent_again() -> None:
    newer = kinds.Newer(number=1, text="x", four=4, eight=8, nested=kinds.Newer(number=2))
    data = codec_for(kinds.Newer).encode(newer)
    older = codec_for(kinds.Tree).decode(b"\x12" + bytes((len(data),)) + data + data)
    assert older == kinds.Tree(left=kinds.Tree())
    assert codec_for(kinds.Tree).encode(older) == b"\x12" + bytes((len(data),)) + data + data


@pytest.mark.parametrize(
    "field",
    [
        b"\x0b\x08\x01\x13\x14\x0c",  # a group with a varint and a group in it
        b"\x0a\x01a",  # an int32 by number that comes as bytes,
        b"\x0d\x01\0\0\0",  # as four bytes
        b"\x09\x01\0\0\0\0\0\0\0",  # and as eight
    ],
)
def test_groups_and_fields_of_another_wire_type_are_kept_as_unknown(field: bytes) -> None:
    message = codec_for(kinds.OneInt).decode(field + b"\x08\x05")
    assert message.number == 5
    assert codec_for(kinds.OneInt).encode(message) == b"\x08\x05" + field


def test_a_map_entry_with_unknown_fields_is_kept_as_unknown_as_a_whole() -> None:
    entry = b"\x0a\x06\x08\x01\x10\x02\x18\x09"
    message = codec_for(kinds.Maps).decode(entry)
    assert message.int32_map == {}
    assert codec_for(kinds.Maps).encode(message) == entry


@pytest.mark.parametrize("tag", [b"\x12", b"\x1a"])
def test_messages_nest_a_hundred_deep_and_no_deeper(tag: bytes) -> None:
    decode = codec_for(kinds.Tree).decode
    decode(_wrapped(100, tag))
    with pytest.raises(DecodeError, match="nested deeper than the limit"):
        decode(_wrapped(101, tag))


def test_entries_of_maps_and_groups_count_as_nesting() -> None:
    decode = codec_for(kinds.Tree).decode
    by_number = b""
    for _ in range(50):
        by_number = _wrapped(1, b"\x2a", _wrapped(1, b"\x12", by_number))
    decode(by_number)
    decode(_wrapped(1, b"\x12", b"\xa3\x06" * 99 + b"\xa4\x06" * 99))
    for too_deep in (_wrapped(1, b"\x12", by_number), _wrapped(1, b"\x12", b"\xa3\x06" * 100 + b"\xa4\x06" * 100)):
        with pytest.raises(DecodeError, match="nested deeper than the limit"):
            decode(too_deep)


def _traced_peak_bytes(message_type: type[betterproto2.Message], data: bytes) -> int:
    tracemalloc = pytest.importorskip("tracemalloc", reason="memory is counted by tracemalloc, which PyPy lacks")
    decode = codec_for(message_type).decode
    tracemalloc.start()
    try:
        decode(data)
    finally:
        peak_bytes: int = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak_bytes


def test_a_message_is_read_where_it_stands_however_deep_it_is() -> None:
    payload = _wrapped(1, b"\x0a", bytes(1 << 20))
    for nested in (
        _wrapped(99, b"\x12", payload),
        _wrapped(99, b"\x1a", payload),
        _wrapped(49, b"\x2a", _wrapped(1, b"\x12", payload)),
    ):
        assert _traced_peak_bytes(kinds.Tree, nested) < 3 << 20
    for _ in range(99):  # merged at each level with another occurrence
        payload = _wrapped(1, b"\x12", payload) + b"\x12\x02\x0a\x00"
    assert _traced_peak_bytes(kinds.Tree, payload) < 3 << 20


@pytest.mark.parametrize(
    ("message_type", "piece", "times"),
    [
        (kinds.Tree, b"\x1a\x00", 400_000),
        (kinds.Lists, b"\x8a\x01\x00", 600_000),
        (kinds.Tree, b"\x12\x02\x0a\x00", 600_000),
        (kinds.Maps, b"\x0a\x00", 700_000),
        (kinds.Lists, b"\x80\x01\x2a", 500_000),
        (kinds.Choice, b"\x1a\x00\x08\x01", 500_000),
    ],
)
def test_what_takes_more_memory_than_its_bytes_is_refused_beyond_a_limit(
    message_type: type[betterproto2.Message], piece: bytes, times: int
) -> None:
    decode = codec_for(message_type).decode
    assert decode(piece * 2000) is not None
    with pytest.raises(DecodeError, match="would take more memory than the limit"):
        decode(piece * times)


def test_what_a_message_is_charged_is_what_it_takes() -> None:
    for message_type, piece in ((kinds.Tree, b"\x1a\x00"), (kinds.Lists, b"\x8a\x01\x00")):
        charged = message_bytes(read_fields(kinds.Tree if message_type is kinds.Tree else kinds.OneInt))
        taken = _traced_peak_bytes(message_type, piece * 10_000) / 10_000
        assert 0.6 * charged < taken < 1.3 * charged


def test_a_nested_message_ends_where_its_length_says() -> None:
    decode = codec_for(kinds.Tree).decode
    for content in (b"\x22\x01\x10", b"\x22\x02\x10\x80", b"\x22\x02\x0d\x00", b"\x22\x02\x09\x00", b"\x22\x01\x0b"):
        with pytest.raises(DecodeError, match="end in the middle"):
            decode(content + b"\x0a\x0c" + b"\x0c" * 12)


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="PyPy's stack is not counted in frames")
def test_a_stack_that_is_nearly_full_ends_in_a_decode_error() -> None:
    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            codec_for(kinds.Tree).decode(_wrapped(100, b"\x1a"))

    codec_for(kinds.Tree).decode(b"\x1a\x00")
    frames = len(inspect.stack(0))
    with pytest.raises(DecodeError, match="nested deeper"):
        descend(sys.getrecursionlimit() - frames - 60)


@pytest.mark.parametrize(
    "piece",
    [
        b"\x12\x02\x08\x01",  # a message that occurs again, with an unknown field in it
        b"\x12\x02\x12\x00",  # a message in a message
        b"\x80\x06\x01",  # unknown fields
        b"\x1a\x00",  # items of a list
        b"\x22\x04\x0a\x02\x08\x01",
    ],
)
def test_time_and_memory_grow_linearly_with_repetition(piece: bytes) -> None:
    """Not timed: a quadratic decoder would need minutes for this."""
    repeated = piece * 100_000
    message = codec_for(kinds.Tree).decode(repeated)
    assert len(codec_for(kinds.Tree).encode(message)) <= len(repeated)


@pytest.mark.parametrize("kind", decoding.UNPACK)
def test_long_packed_lists_are_read_in_pieces_of_which_each_lets_other_threads_run(kind: str) -> None:
    unpack = decoding.UNPACK[kind]
    for body in (b"\x01" * 40, b"\x81\x02" * 20, (b"\x80" * 9 + b"\x01") * 4):
        few = list(unpack(body))
        assert list(unpack(body * 20_000)) == few * 20_000
