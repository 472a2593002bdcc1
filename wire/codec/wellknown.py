"""What Python sees in place of google.protobuf's wrappers, Timestamp and Duration, and the way there and back.

betterproto2 shows a Timestamp as a datetime, a Duration as a timedelta and a wrapper as its bare value. Its own
conversions are used but for Duration: there they make another span of a negative one with a fraction, go through
float, and round where google's Python rounds towards zero. In: message classes. Out: pairs of functions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from operator import methodcaller
from typing import Any

_MICROSECOND = timedelta(microseconds=1)


def conversions(message_type: type[Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """For a message class that Python does not see: message → Python's value, and Python's value → message."""
    if message_type.__name__ == "Duration" and message_type.__module__.endswith("google.protobuf"):
        return timedelta_of_duration, lambda delta: duration_of_timedelta(message_type, delta)
    return methodcaller("to_wrapped"), message_type.from_wrapped


def timedelta_of_duration(duration: Any) -> timedelta:
    """Cut to microseconds, towards zero. OverflowError past a timedelta's range of 2.7 million years."""
    nanos = duration.nanos
    return timedelta(seconds=duration.seconds, microseconds=nanos // 1000 if nanos >= 0 else -(-nanos // 1000))


def duration_of_timedelta(message_type: type[Any], delta: timedelta) -> Any:
    """Seconds and nanoseconds of the same sign, as duration.proto asks."""
    microseconds = delta // _MICROSECOND
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    sign = -1 if microseconds < 0 else 1
    return message_type(seconds=sign * seconds, nanos=sign * fraction * 1000)
