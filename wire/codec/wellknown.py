"""What Python sees in place of google.protobuf's wrappers, Timestamp and Duration, and the way there and back.

betterproto2 shows a Timestamp as a datetime, a Duration as a timedelta and a wrapper as its bare value. The conversions
of the two times are our own: betterproto2's cost three times as much, and its negative Durations with a fraction come
out as another span. In: message classes. Out: pairs of functions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

Conversions = tuple[Callable[[Any], Any], Callable[[Any], Any]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def conversions(message_type: type[Any]) -> Conversions:
    """For a message class that Python does not see: message → Python's value, and Python's value → message."""
    match message_type.__name__:
        case "Timestamp":
            return _datetime_of_timestamp, lambda time: _timestamp_of_datetime(message_type, time)
        case "Duration":
            return _timedelta_of_duration, lambda span: _duration_of_timedelta(message_type, span)
        case _:
            return attrgetter("value"), message_type


def _datetime_of_timestamp(timestamp: Any) -> datetime:
    """Cut to microseconds, towards the past. OverflowError outside of the years 1 to 9999."""
    return _EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1000)


def _timestamp_of_datetime(message_type: type[Any], time: datetime) -> Any:
    if time.tzinfo is None:
        raise ValueError("the datetime has no time zone")
    since = time - _EPOCH
    return message_type(since.days * 86400 + since.seconds, since.microseconds * 1000)


def _timedelta_of_duration(duration: Any) -> timedelta:
    """Cut to microseconds, towards zero. OverflowError past a timedelta's range of 2.7 million years."""
    nanos = duration.nanos
    return timedelta(0, duration.seconds, nanos // 1000 if nanos >= 0 else -(-nanos // 1000))


def _duration_of_timedelta(message_type: type[Any], span: timedelta) -> Any:
    """Seconds and nanoseconds of the same sign, as duration.proto asks."""
    microseconds = span // _MICROSECOND
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    sign = -1 if microseconds < 0 else 1
    return message_type(sign * seconds, sign * fraction * 1000)
