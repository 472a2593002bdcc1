"""What generated `decode` functions call: varints, packed lists, skipping of unknown fields, errors that name fields.

In: bytes and positions in them. Out: values and the positions behind them; DecodeError for what no encoder writes, and
IndexError, EOFError or struct.error for bytes that end too early, of which the generated function makes a DecodeError.
Rules: protobuf.dev, "Encoding"; limits: those of google's decoder (upb). Imports `schema` and `errors`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from wire.codec.schema import FIXED_FORMATS, STRUCTS, Field
from wire.errors import DecodeError

MAX_DEPTH = 100
"""How deep messages and groups may nest below the outermost message, as in google's implementations."""

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
    if low > 127 and (high := data[pos + 1]) < 128:  # two bytes, the commonest: half the time of the call below
        return low & 127 | high << 7, pos + 2
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


def unpack_varints(body: bytes) -> list[int]:
    """Every varint of a packed list, as unsigned 64-bit values."""
    if body.isascii():  # each is one byte
        return list(body)
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
    if not values or max(values) < 0x8000_0000:
        return values
    return [((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000 for value in values]


def _signed64_list(body: bytes) -> list[int]:
    values = unpack_varints(body)
    if not values or max(values) < 0x8000_0000_0000_0000:
        return values
    return [(value ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000 for value in values]


def _unpack_fixed(kind: str) -> Callable[[bytes], tuple[Any, ...]]:
    code, size = FIXED_FORMATS[kind], STRUCTS[kind].size

    def unpack(body: bytes) -> tuple[Any, ...]:
        return struct.unpack(f"<{len(body) // size}{code}", body)

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


def keep_unknown(unknown: bytes | bytearray, tag: int, raw: bytes) -> bytearray:
    """The unknown fields so far and one more; a bytearray, so that many of them take linear time."""
    check_number(tag)
    if not unknown:
        unknown = bytearray()
    unknown += raw
    return unknown  # type: ignore[return-value]


def skip_field(data: bytes, tag: int, pos: int, depth: int) -> int:
    """The position behind an unknown field whose tag ends at `pos`. DecodeError where there is no such field."""
    wire_type = tag & 7
    if wire_type == 0:
        return read_varint(data, pos)[1]
    if wire_type == 2:
        length, pos = read_length(data, pos)
        pos += length
    elif wire_type == 5:
        pos += 4
    elif wire_type == 1:
        pos += 8
    elif wire_type == 3:
        return _skip_group(data, tag, pos, depth)
    elif wire_type == 4:
        raise DecodeError("a group ends that did not start")
    else:
        raise DecodeError(f"wire type {wire_type} does not exist")
    if pos > len(data):
        raise EOFError
    return pos


def _skip_group(data: bytes, start_tag: int, pos: int, depth: int) -> int:
    """The position behind a group, which ends with the end tag of its number. Groups inside it are skipped with it."""
    open_tags = [start_tag]
    while open_tags:
        if len(open_tags) > depth:
            raise too_deep()
        tag, pos = read_tag(data, pos)
        wire_type = tag & 7
        check_number(tag)
        if wire_type == 3:
            open_tags.append(tag)
        elif wire_type == 4:
            if tag != open_tags.pop() + 1:
                raise DecodeError("a group's end does not match its start")
        else:
            pos = skip_field(data, tag, pos, 0)
    return pos


def join_occurrences(earlier: bytes | bytearray, later: bytes) -> bytearray:
    """Two occurrences of a singular message field: decoding them as one merges them (Encoding, "Last One Wins").

    Each must be whole by itself, or the seam could hide a truncated field.
    """
    if not isinstance(earlier, bytearray):
        _check_fields(earlier)
        earlier = bytearray(earlier)
    _check_fields(later)
    earlier += later
    return earlier


def _check_fields(data: bytes) -> None:
    pos = 0
    while pos < len(data):
        tag, pos = read_tag(data, pos)
        pos = skip_field(data, tag, pos, MAX_DEPTH)


def too_deep() -> DecodeError:
    return DecodeError(f"messages are nested deeper than {MAX_DEPTH}")


DECODE_FAILURES = (IndexError, EOFError, TypeError, ValueError, ArithmeticError, struct.error)
"""What Python raises when generated code meets bytes that end too early, or that no Python value can represent."""


def decode_error(message_type: type, field: Field | None, error: Exception) -> DecodeError:
    """The error for bytes that are not a valid message."""
    where = f"{message_type.__name__}.{field.name} ({field.type_name})" if field else message_type.__name__
    if isinstance(error, UnicodeDecodeError):
        return DecodeError(f"{where}: the text is not valid UTF-8")
    if isinstance(error, IndexError | EOFError | struct.error):
        return DecodeError(f"{where}: the bytes end in the middle of a field")
    if isinstance(error, OverflowError):
        return DecodeError(f"{where}: the type that Python shows it as cannot hold the value")
    return DecodeError(f"{where}: {error}")
