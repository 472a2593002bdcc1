"""What must hold of the codec for any input, and inputs to start from.

The first byte of an input chooses a message of tests/codec/protos/kinds.proto, the rest are its bytes. What must hold:

1. `decode` returns a message or raises DecodeError, and nothing else, for any bytes.
2. It accepts what upb accepts and no more, and finds the same values; tests/codec/reference.py lists the exceptions.
3. What was decoded can be encoded, and upb reads the same message from that.
4. Bytes that are decoded, encoded, decoded and encoded again do not change any more.
5. What a message holds once it is decoded stays in proportion to the input, and so do time and memory on the way
   (libFuzzer's own -timeout and -rss_limit_mb).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.codec.reference import CLASSES, assert_agreement
from tests.fuzz.engine_input import footprint_bytes
from wire.codec import codec_for
from wire.errors import DecodeError

NAMES = sorted(CLASSES)
_HELD_BYTES, _HELD_PER_BYTE = 5_000, 300


def check(data: bytes) -> None:
    """Raises AssertionError, or whatever else should not have been raised, where an invariant is broken."""
    if not data:
        return
    name, encoded = NAMES[data[0] % len(NAMES)], data[1:]
    assert_agreement(name, encoded)  # 1, 2 and 3
    codec = codec_for(CLASSES[name])
    try:
        message = codec.decode(encoded)
    except DecodeError:
        return
    assert footprint_bytes(message) <= _HELD_BYTES + _HELD_PER_BYTE * len(encoded)  # 5
    once = codec.encode(message)
    assert codec.encode(codec.decode(once)) == once  # 4


def seeds() -> Iterator[bytes]:
    """Inputs to start from: for each message and field number a field of each wire type, some with fields inside."""
    for index in range(len(NAMES)):
        prefix = bytes((index,))
        yield prefix
        for number in (*range(1, 25), 101, 105):
            varint, fixed64, length, start_group, end_group, fixed32 = (
                _tag(number, wire_type) for wire_type in range(6)
            )
            yield prefix + varint + b"\x01"
            yield prefix + varint + b"\xff" * 9 + b"\x01"
            yield prefix + fixed64 + b"\0\0\0\0\0\0\xf0\x3f"
            yield prefix + length + b"\x04\x0a\x02\x08\x01" + length + b"\x02\x10\x05"
            yield prefix + length + b"\x03abc"
            yield prefix + start_group + varint + b"\x01" + end_group
            yield prefix + fixed32 + b"\0\0\x80\x3f"


def _tag(number: int, wire_type: int) -> bytes:
    tag = number << 3 | wire_type
    return bytes((tag,)) if tag < 128 else bytes((tag & 127 | 128, tag >> 7))
