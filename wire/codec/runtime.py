"""What generated codecs call: varints, lengths, packed lists, skipping of unknown fields, and errors with names in them.

A generated function handles values of one byte itself and calls here for longer ones. While decoding, IndexError and
struct.error mean that the bytes ended too early; the generated function turns them into DecodeError once, where they
leave it. Rules are those of protobuf.dev, "Encoding"; limits those of google's decoder (upb).
Imports `errors` and `schema`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from wire.codec.schema import FIXED_FORMATS
from wire.errors import DecodeError, EncodeError

MAX_DEPTH = 100
"""How deep messages and groups may nest below the outermost message, as in google's implementations."""

_UINT64 = 0xFFFF_FFFF_FFFF_FFFF
_MAX_LENGTH = 0x7FFF_FFFF
_MAX_TAG = 0xFFFF_FFFF

_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "enum": (-(1 << 31), (1 << 31) - 1),
    "sint32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "sint64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
}


# ---------------------------------------------------------------------------------------------------------- encoding


@cache
def one_byte(tag: int) -> tuple[bytes, ...]:
    """The tag followed by each varint of one byte: `one_byte(tag)[n]` starts a field of n bytes or holds the value n."""
    start = varint(tag)
    return tuple(start + bytes((n,)) for n in range(128))


def varint(value: int) -> bytes:
    """A value of 0 … 2⁶⁴-1 as a varint."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _in_range(kind: str, value: int) -> int:
    low, high = _RANGES[kind]
    if not isinstance(value, int):
        raise TypeError(f"an int is expected, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{value:.20} does not fit" if isinstance(value, str) else f"{clip(value)} is out of range")
    return value


def clip(value: int) -> str:
    """An int's digits, or how long it is where they would not fit into a sentence."""
    return str(value) if -(1 << 80) < value < 1 << 80 else f"an int of {value.bit_length()} bits"


def int32(value: int) -> bytes:
    return varint(_in_range("int32", value) & _UINT64)


def int64(value: int) -> bytes:
    return varint(_in_range("int64", value) & _UINT64)


def uint32(value: int) -> bytes:
    return varint(_in_range("uint32", value))


def uint64(value: int) -> bytes:
    return varint(_in_range("uint64", value))


def sint32(value: int) -> bytes:
    return varint(_in_range("sint32", value) << 1 ^ value >> 31)


def sint64(value: int) -> bytes:
    return varint((_in_range("sint64", value) << 1 ^ value >> 63) & _UINT64)


def boolean(value: bool) -> bytes:
    if value.__class__ is not bool:
        raise TypeError(f"a bool is expected, not {type(value).__name__}")
    return b"\1" if value else b"\0"


SCALARS = {
    "int32": int32,
    "int64": int64,
    "uint32": uint32,
    "uint64": uint64,
    "sint32": sint32,
    "sint64": sint64,
    "enum": int32,
    "bool": boolean,
}


STRUCTS = {kind: struct.Struct(f"<{code}") for kind, code in FIXED_FORMATS.items()}


def pack_varints(kind: str, values: Any) -> bytes:
    """The body of a packed list of varints."""
    if kind not in {"bool", "sint32", "sint64"}:
        try:
            body = bytes(values) if values.__class__ is list else b"\x80"
        except ValueError:  # some value is not in 0 … 255
            body = b"\x80"
        if body.isascii():  # all are in 0 … 127, their own varints
            return body
    encode = SCALARS[kind]
    return b"".join([encode(value) for value in values])


def pack_fixed(code: str, values: Any) -> bytes:
    """The body of a packed list of values of fixed size."""
    return struct.pack(f"<{len(values)}{code}", *values)


def as_bytes(value: Any) -> bytes:
    """The bytes of a bytes-like value; TypeError for any other."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"bytes are expected, not {type(value).__name__}")
    return bytes(value)


def check_class(message: object, expected: type) -> None:
    """Passes instances of subclasses; EncodeError for every other object."""
    if not isinstance(message, expected):
        raise EncodeError(f"a {expected.__name__} message is expected, not {type(message).__name__}")


ENCODE_FAILURES = (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RuntimeError, struct.error)
"""What Python raises when generated code meets a value of the wrong type or size."""


def encode_error(message: object, declaration: str, error: Exception) -> EncodeError:
    """The error for a field's value that cannot be encoded."""
    owner = type(message).__name__
    if isinstance(error, UnicodeEncodeError):
        return EncodeError(f"{owner}, {declaration}: the text holds a lone surrogate, which UTF-8 cannot carry")
    return EncodeError(f"{owner}, {declaration}: {error}")


# ---------------------------------------------------------------------------------------------------------- decoding


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """The varint at `pos` cut to 64 bits, and the position behind it. DecodeError past ten bytes."""
    byte = data[pos]
    value = byte & 127
    shift = 7
    while byte > 127:
        pos += 1
        byte = data[pos]
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise DecodeError("a varint is longer than ten bytes")
    return value & _UINT64, pos + 1


def read_length(data: bytes, pos: int) -> tuple[int, int]:
    """The length of a length-delimited field: a varint of at most 2³¹-1."""
    length, end = read_varint(data, pos)
    if length > _MAX_LENGTH:
        raise DecodeError(f"a length of {length} bytes is over the limit of 2 GiB")
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
    pos = 0
    size = len(body)
    while pos < size:
        value = body[pos]
        if value < 128:
            pos += 1
        else:
            value, pos = read_varint(body, pos)
        values.append(value)
    return values


def signed32(value: int) -> int:
    return ((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000


def signed64(value: int) -> int:
    return (value ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000


def _signed32_list(body: bytes) -> list[int]:
    if body.isascii():
        return list(body)
    return [((value & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000 for value in unpack_varints(body)]


def _signed64_list(body: bytes) -> list[int]:
    if body.isascii():
        return list(body)
    return [(value ^ 0x8000_0000_0000_0000) - 0x8000_0000_0000_0000 for value in unpack_varints(body)]


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


def skip_field(data: bytes, tag: int, pos: int, depth: int) -> int:
    """The position behind an unknown field whose tag ends at `pos`. DecodeError where there is no such field."""
    wire_type = tag & 7
    if tag < 8:
        raise DecodeError("field number 0 is not allowed")
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
    """The position behind a group: everything up to the end tag of the same number. Groups inside it are skipped too."""
    open_tags = [start_tag]
    while open_tags:
        if len(open_tags) > depth:
            raise too_deep()
        tag, pos = read_tag(data, pos)
        wire_type = tag & 7
        if wire_type == 3 and tag > 7:
            open_tags.append(tag)
        elif wire_type == 4:
            if tag != open_tags.pop() + 1:
                raise DecodeError("a group's end does not match its start")
        else:
            pos = skip_field(data, tag, pos, 0)
    return pos


def join_occurrences(earlier: bytes | bytearray, later: bytes) -> bytearray:
    """Two occurrences of one singular message field: decoding their concatenation merges them (Encoding, "Last One Wins").

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


DECODE_FAILURES = (IndexError, EOFError, ValueError, ArithmeticError, struct.error)
"""What Python raises when generated code meets bytes that end too early, or that no Python value can represent."""


def decode_error(message_type: type, declaration: str, error: Exception) -> DecodeError:
    """The error for bytes that are not a valid field."""
    where = f"{message_type.__name__}, {declaration}" if declaration else message_type.__name__
    if isinstance(error, UnicodeDecodeError):
        return DecodeError(f"{where}: the text is not valid UTF-8")
    if isinstance(error, IndexError | EOFError | struct.error):
        return DecodeError(f"{where}: the bytes end in the middle of a field")
    return DecodeError(f"{where}: {error}")
