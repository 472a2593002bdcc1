"""Times, spans and wrappers: the Python value on one side, google's message on the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf import duration_pb2, timestamp_pb2, wrappers_pb2

from tests.codec.generated import kinds
from wire.codec import codec_for

CODEC = codec_for(kinds.WellKnown)


@pytest.mark.parametrize(
    ("time", "seconds", "nanos"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0, 0),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC), -1, 500_000_000),
        (datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1577836800, 0),
        (datetime(1, 1, 1, tzinfo=UTC), -62135596800, 0),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 253402300799, 999_999_000),
    ],
)
def test_a_datetime_is_a_timestamp(time: datetime, seconds: int, nanos: int) -> None:
    timestamp = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos).SerializeToString()
    encoded = CODEC.encode(kinds.WellKnown(at=time))
    assert encoded == b"\x0a" + bytes((len(timestamp),)) + timestamp
    assert CODEC.decode(encoded).at == time


@pytest.mark.parametrize(
    ("span", "seconds", "nanos"),
    [
        (timedelta(), 0, 0),
        (timedelta(seconds=-1, microseconds=-500_000), -1, -500_000_000),
        (timedelta(microseconds=-1), 0, -1000),
        (timedelta(days=3_652_500, microseconds=999_999), 315_576_000_000, 999_999_000),
    ],
)
def test_a_timedelta_is_a_duration(span: timedelta, seconds: int, nanos: int) -> None:
    duration = duration_pb2.Duration(seconds=seconds, nanos=nanos).SerializeToString()
    encoded = CODEC.encode(kinds.WellKnown(span=span))
    assert encoded == b"\x12" + bytes((len(duration),)) + duration
    assert CODEC.decode(encoded).span == span


@pytest.mark.parametrize(("nanos", "microseconds"), [(1999, 1), (-1999, -1), (999, 0), (-999, 0)])
def test_what_is_below_a_microsecond_is_cut_off(nanos: int, microseconds: int) -> None:
    duration = duration_pb2.Duration(nanos=nanos).SerializeToString()
    assert CODEC.decode(b"\x12" + bytes((len(duration),)) + duration).span == timedelta(microseconds=microseconds)


def test_a_wrapper_is_its_value_and_absent_is_none() -> None:
    absent = CODEC.decode(b"")
    assert (absent.int32_value, absent.string_value, absent.at) == (None, None, None)
    empty = CODEC.decode(b"\x32\x00\x62\x00\x0a\x00")
    assert (empty.int32_value, empty.string_value) == (0, "")
    assert empty.at == datetime(1970, 1, 1, tzinfo=UTC)
    assert CODEC.encode(kinds.WellKnown(int32_value=0)) == b"\x32\x00"
    wrapper = wrappers_pb2.DoubleValue(value=2.5).SerializeToString()
    assert CODEC.encode(kinds.WellKnown(double_value=2.5)) == b"\x5a" + bytes((len(wrapper),)) + wrapper
    assert CODEC.decode(b"\x72\x03\x0a\x01a\x72\x00").strings == ["a", ""]


def test_occurrences_of_a_timestamp_are_merged_before_they_are_converted() -> None:
    assert CODEC.decode(b"\x0a\x02\x08\x01\x0a\x04\x10\xc0\x84\x3d").at == datetime(
        1970, 1, 1, 0, 0, 1, 1000, tzinfo=UTC
    )
