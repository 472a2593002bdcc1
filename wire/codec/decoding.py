"""What generated `decode` functions call: varints, packed lists, skipping of unknown fields, errors that name fields.

In: bytes and positions in them. Out: values and the positions behind them; DecodeError for what no encoder writes, and
IndexError, EOFError or struct.error for bytes that end too early, of which the generated function makes a DecodeError.
Rules: protobuf.dev, "Encoding"; limits: those of google's decoder (upb). Imports `schema` and `errors`.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wire.codec.schema import FIXED_FORMATS, STRUCTS, Field, Label, WireType
from wire.errors import DecodeError

MAX_DEPTH = 100
"""How deep messages and groups may nest below the outermost message, as in google's implementations."""

MAX_DECODED_BYTES = 1 << 26
"""What the objects of one message may take in memory beside its text, bytes and numbers: 64 MiB, or this ratio to its
length where that is more. A message of 8 bytes becomes an object of some 128."""

DECODED_RATIO = 16


def most_bytes(size_bytes: int, limit_bytes: int | None) -> int:
    """What the objects of a message of such a length may take: the limit, or what it is where there is none."""
    return max(MAX_DECODED_BYTES, size_bytes * DECODED_RATIO) if limit_bytes is None else limit_bytes


UNCHARGED_BYTES = 1024
"""A message that is no longer than this is not charged for what it holds: what it can become is bounded by its size."""

ENTRY_BYTES = 100
"""What an entry takes in a dict, with its key and value."""

_SPAN_BYTES = 128
_ENUM_MEMBER_BYTES = 200

_UINT64 = 0xFFFF_FFFF_FFFF_FFFF
_MAX_LENGTH = 0x7FFF_FFFF
_MAX_TAG = 0xFFFF_FFFF


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """The varint at `pos` cut to 64 bits, and the position behind it. DecodeError past ten bytes."""
    value = data[pos]
    if value < 128:
        return value, pos + 1
    pos += 1
    byte = data[pos]
    value = value & 127 | (byte & 127) << 7
    shift = 14
    while byte > 127:
        pos += 1
        byte = data[pos]
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise DecodeError("a varint is longer than ten bytes")
    return value & _UINT64, pos + 1


def read_length(data: bytes, pos: int) -> tuple[int, int]:
    """The length of a length-delimited field: a varint of at most five bytes and 31 bits."""
    low = data[pos]
    if low > 127:  # two bytes or three, the commonest: half the time of the call below
        middle = data[pos + 1]
        if middle < 128:
            return low & 127 | middle << 7, pos + 2
        high = data[pos + 2]
        if high < 128:
            return low & 127 | (middle & 127) << 7 | high << 14, pos + 3
    length, end = read_varint(data, pos)
    if length > _MAX_LENGTH or end - pos > 5:
        raise DecodeError("a length is over 2 GiB or longer than five bytes")
    return length, end


def read_tag(data: bytes, pos: int) -> tuple[int, int]:
    """A field's tag: a varint of at most five bytes and 32 bits."""
    tag, end = read_varint(data, pos)
    if tag > _MAX_TAG or end - pos > 5:
        raise DecodeError("a tag is longer than 32 bits")
    return tag, end


def long_head(tag: int, size: int) -> bytes:
    """What stands before a field of 128 bytes or more that is a message of `size` bytes: its tag, of one byte, and its
    length. b"" from 2 MiB on: copying those takes far longer than reading their lengths."""
    length = size - 3
    if length < 0x4000:
        return bytes((tag, length & 127 | 128, length >> 7))
    length -= 1
    if length < 0x20_0000:
        return bytes((tag, length & 127 | 128, length >> 7 & 127 | 128, length >> 14))
    return b""


_PIECE = 1 << 16
"""Numbers that one C function goes over: it does not let other threads run, such as an event loop's, for as long as it
takes, which for four million is 70 ms."""


def _in_pieces(body: bytes, number_bytes: int, unpack: Callable[[bytes], Iterable[Any]]) -> list[Any]:
    """What `unpack` makes of a body of numbers of that size, of which it gets `_PIECE` at a time."""
    values: list[Any] = []
    step = _PIECE * number_bytes
    for at in range(0, len(body), step):
        values += unpack(body[at : at + step])
    return values


def _largest(values: list[int]) -> int:
    if len(values) <= _PIECE:
        return max(values)
    return max(max(values[at : at + _PIECE]) for at in range(0, len(values), _PIECE))


def unpack_varints(body: bytes) -> list[int]:
    """Every varint of a packed list, as unsigned 64-bit values."""
    if body.isascii():  # each is one byte
        return list(body) if len(body) <= _PIECE else _in_pieces(body, 1, bytes)
    values = []
    value = shift = 0
    for byte in body:
        if byte < 128:
            values.append((value | byte << shift) & _UINT64)
            value = shift = 0
        else:
            value |= (byte & 127) << shift
            shift += 7
            if shift == 70:
                raise DecodeError("a varint is longer than ten bytes")
    if shift:
        raise EOFError
    return values


def signed32(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000


def signed64(value: int) -> int:
    return (value ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000


def _signed32_list(body: bytes) -> list[int]:
    values = unpack_varints(body)
    if not values or _largest(values) < 0x8000_0000:
        return values
    return [((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000 for value in values]


def _signed64_list(body: bytes) -> list[int]:
    values = unpack_varints(body)
    if not values or _largest(values) < 0x8000_0000_0000_0000:
        return values
    return [(value ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000 for value in values]


def _unpack_fixed(kind: str) -> Callable[[bytes], tuple[Any, ...] | list[Any]]:
    code, size = FIXED_FORMATS[kind], STRUCTS[kind].size

    def unpack(body: bytes) -> tuple[Any, ...] | list[Any]:
        if len(body) <= size * _PIECE:
            return struct.unpack(f"<{len(body) // size}{code}", body)
        return _in_pieces(body, size, unpack)

    return unpack


UNPACK: dict[str, Callable[[bytes], Iterable[Any]]] = {
    "int32": _signed32_list,
    "enum": _signed32_list,
    "int64": _signed64_list,
    "uint32": lambda body: [value & 0xFFFF_FFFF for value in unpack_varints(body)],
    "uint64": unpack_varints,
    "sint32": lambda body: [(value & 0xFFFF_FFFF) >> 1 ^ -(value & 1) for value in unpack_varints(body)],
    "sint64": lambda body: [value >> 1 ^ -(value & 1) for value in unpack_varints(body)],
    "bool": lambda body: [value != 0 for value in unpack_varints(body)],
    **{kind: _unpack_fixed(kind) for kind in FIXED_FORMATS},
}
"""For each kind of number: the body of a packed list → its values."""


def check_number(tag: int) -> None:
    if tag < 8:
        raise DecodeError("field number 0 is not allowed")


def skip_unknown(data: bytes, pos: int, size: int, known: frozenset[int], depth: int) -> int:
    """The position behind the unknown field at `pos` and those that follow it up to `size`.

    The first is skipped whatever its tag; after it, a known tag ends the run. DecodeError for what is no field. A
    position past `size` means that the last field is not whole.
    """
    start = -1
    while pos < size:
        tag = data[pos]
        end = pos + 1
        if tag > 127:
            tag, end = read_tag(data, pos)
        if tag in known and start >= 0:
            return pos
        start = pos
        wire_type = tag & 7
        if tag < 8:
            check_number(tag)
        if wire_type == 0:
            pos = end + 1 if data[end] < 128 else read_varint(data, end)[1]
        elif wire_type == 2:
            length = data[end]
            if length < 128:
                pos = end + 1 + length
            else:
                length, pos = read_length(data, end)
                pos += length
        elif wire_type == 5:
            pos = end + 4
        elif wire_type == 1:
            pos = end + 8
        elif wire_type == 3:
            pos = _skip_group(data, tag, end, size, depth)
        elif wire_type == 4:
            raise DecodeError("a group ends that did not start")
        else:
            raise DecodeError(f"wire type {wire_type} does not exist")
    return pos


def _skip_group(data: bytes, start_tag: int, pos: int, size: int, depth: int) -> int:
    """The position behind a group, which ends with the end tag of its number. Groups inside it are skipped with it."""
    open_tags = [start_tag]
    while open_tags:
        if len(open_tags) > depth:
            raise too_deep()
        if pos >= size:
            raise EOFError
        tag, end = read_tag(data, pos)
        wire_type = tag & 7
        check_number(tag)
        if wire_type == 3:
            open_tags.append(tag)
            pos = end
        elif wire_type == 4:
            if tag != open_tags.pop() + 1:
                raise DecodeError("a group's end does not match its start")
            pos = end
        else:
            pos = skip_unknown(data, pos, pos + 1, frozenset(), 0)
    return pos


Place = tuple[int, int, deque[tuple[int, int]] | None]
"""Start and end of a message in the bytes that it is part of, and of its further occurrences."""


def join_spans(place: Place, start: int, end: int, budget: list[int] | None) -> Place:
    """One more occurrence of a singular message field; an empty one adds nothing."""
    if start == end:
        return place
    _charge(budget, _SPAN_BYTES)
    more = place[2]
    if more is None:
        return place[0], place[1], deque(((start, end),))
    more.append((start, end))
    return place


def _charge(budget: list[int] | None, size_bytes: int) -> None:
    if budget:
        budget[0] -= size_bytes
        if budget[0] < 0:
            raise too_large()


def enum_member(members: dict[int, Any], number: int, budget: list[int] | None) -> Any:
    """The enum's member of that number; one that it does not know is made, and costs what an object costs."""
    if number not in members:
        _charge(budget, _ENUM_MEMBER_BYTES)
    return members[number]


def enum_members(members: dict[int, Any], numbers: list[int], budget: list[int] | None) -> list[Any]:
    return [members[number] if number in members else enum_member(members, number, budget) for number in numbers]


def message_bytes(fields: Sequence[Field]) -> int:
    """About what an object of a class with these fields takes when none of them is set."""
    containers = sum(field.label in {Label.REPEATED, Label.MAP} for field in fields)
    # An object with up to 30 attributes holds an array of them, one with more a dict.
    attributes = 8 * len(fields) if len(fields) < 30 else 56 * len(fields)
    return 120 + attributes + 72 * containers


def too_deep() -> DecodeError:
    return DecodeError("messages are nested deeper than the limit")


def too_large() -> DecodeError:
    return DecodeError("its messages would take more memory than the limit")


def is_heavy(data: bytes, light_tags: frozenset[int], limit_bytes: int) -> bool:
    """Whether more than `limit_bytes` of a message need Python to go over them: all but the contents of outermost
    fields with `light_tags`, which are text or bytes and copied in one go.

    Looks at no more than a thousand fields for each 16 KiB of the limit, and at no groups: they are heavy. Broken bytes
    are light, as `decode` stops there.
    """
    pos = weight = 0
    size = len(data)
    try:
        while pos < size:
            start = pos
            tag = data[pos]
            pos += 1
            if tag > 127:
                tag, pos = read_tag(data, start)
            if tag in light_tags:
                length, pos = read_length(data, pos)
                pos += length
                weight += 16
            elif tag & 7 == WireType.LEN:
                length, pos = read_length(data, pos)
                pos += length
                weight += 16 + length
            elif tag & 7 == WireType.START_GROUP:
                return True
            else:
                pos = skip_unknown(data, start, start + 1, frozenset(), 0)
                weight += 16 + pos - start
            if weight > limit_bytes:
                return True
    except (IndexError, EOFError, DecodeError):
        return False
    return False


DECODE_FAILURES = (IndexError, EOFError, TypeError, ValueError, ArithmeticError, RecursionError, struct.error)
"""What Python raises when generated code meets bytes that end too early, or that no Python value can represent."""


def decode_error(message_type: type, field: Field | None, error: Exception) -> DecodeError:
    """The error for bytes that are not a valid message."""
    where = f"{message_type.__name__}.{field.name} ({field.type_name})" if field else message_type.__name__
    if isinstance(error, UnicodeDecodeError):
        return DecodeError(f"{where}: the text is not valid UTF-8")
    if isinstance(error, IndexError | EOFError | struct.error):
        return DecodeError(f"{where}: the bytes end in the middle of a field")
    if isinstance(error, RecursionError):
        return too_deep()
    if isinstance(error, OverflowError):
        return DecodeError(f"{where}: the type that Python shows it as cannot hold the value")
    return DecodeError(f"{where}: {error}")
