"""What generated functions call: varints, lengths, packed lists, skipping of unknown fields, errors that name fields.

A generated function handles values of one byte itself and calls here for longer ones. While decoding, IndexError and
struct.error mean that the bytes ended too early; the generated function turns them into DecodeError once, where they
leave it. Rules are those of protobuf.dev, "Encoding"; limits those of google's decoder (upb).
Imports `errors` and `schema`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from wire.codec.schema import FIXED_FORMATS, Field, Label
from wire.errors import DecodeError, EncodeError

MAX_DEPTH = 100
"""How deep messages and groups may nest below the outermost message, as in google's implementations."""

_UINT64 = 0xFFFF_FFFF_FFFF_FFFF
_MAX_LENGTH = 0x7FFF_FFFF
_MAX_TAG = 0xFFFF_FFFF
_OUT_OF_RANGE = "the int is out of range"

# ---------------------------------------------------------------------------------------------------------- encoding


@cache
def one_byte(tag: int) -> tuple[bytes, ...]:
    """The tag followed by each varint of one byte: item n starts a field of n bytes, or is a field of the value n."""
    start = varint(tag)
    return tuple(start + bytes((n,)) for n in range(128))


def varint(value: int) -> bytes:
    """A value of 0 … 2⁶⁴-1 as a varint."""
    if 127 < value < 0x4000:  # most lengths that are not one byte
        return bytes((value & 127 | 128, value >> 7))
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def int32(value: int) -> bytes:
    """Enums too. A negative value is extended to 64 bits, ten bytes."""
    if not -0x8000_0000 <= value <= 0x7FFF_FFFF:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value & _UINT64)


def int64(value: int) -> bytes:
    if not -0x8000_0000_0000_0000 <= value <= 0x7FFF_FFFF_FFFF_FFFF:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value & _UINT64)


def uint32(value: int) -> bytes:
    if not 0 <= value <= 0xFFFF_FFFF:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value)


def uint64(value: int) -> bytes:
    if not 0 <= value <= _UINT64:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value)


def sint32(value: int) -> bytes:
    if not -0x8000_0000 <= value <= 0x7FFF_FFFF:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value << 1 ^ value >> 31)


def sint64(value: int) -> bytes:
    if not -0x8000_0000_0000_0000 <= value <= 0x7FFF_FFFF_FFFF_FFFF:
        raise ValueError(_OUT_OF_RANGE)
    return varint(value << 1 ^ value >> 63)


def boolean(value: bool) -> bytes:
    if value.__class__ is not bool:
        raise TypeError
    return b"\1" if value else b"\0"


SCALARS: dict[str, Callable[[Any], bytes]] = {
    "int32": int32,
    "int64": int64,
    "uint32": uint32,
    "uint64": uint64,
    "sint32": sint32,
    "sint64": sint64,
    "enum": int32,
    "bool": boolean,
}
"""For each kind of varint: its value → the varint."""

STRUCTS = {kind: struct.Struct(f"<{code}") for kind, code in FIXED_FORMATS.items()}


def _packer(kind: str) -> Callable[[list[Any]], bytes]:
    encode = SCALARS[kind]
    if kind in {"bool", "sint32", "sint64"}:
        return lambda values: b"".join([encode(value) for value in values])

    def pack(values: list[int]) -> bytes:
        if min(values) >= 0 and max(values) < 128:  # each is its own varint
            return bytes(values)
        return b"".join([encode(value) for value in values])

    return pack


def _fixed_packer(code: str) -> Callable[[list[Any]], bytes]:
    return lambda values: struct.pack(f"<{len(values)}{code}", *values)


PACK: dict[str, Callable[[list[Any]], bytes]] = {
    **{kind: _packer(kind) for kind in SCALARS},
    **{kind: _fixed_packer(code) for kind, code in FIXED_FORMATS.items()},
}
"""For each kind of number: a list of values → the body of a packed list."""


def as_bytes(value: Any) -> bytes:
    """The bytes of a bytes-like value; TypeError for any other."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"bytes are expected, not {type(value).__name__}")
    return bytes(value)


def as_list(value: Any) -> list[Any]:
    """The items of a sequence that is not a text or bytes; TypeError for any other value."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray | memoryview):
        raise TypeError
    return list(value)


class WrongMessageError(EncodeError):
    """Another object stands where a message of a certain class is expected."""


def check_class(message: object, expected: type) -> None:
    """Lets instances of subclasses pass; WrongMessageError for every other object."""
    if not isinstance(message, expected):
        raise WrongMessageError(f"a message of the class {expected.__name__} is expected, not {type(message).__name__}")


ENCODE_FAILURES = (
    *(TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RuntimeError, struct.error),
    WrongMessageError,
)
"""What is raised inside an `encode` that meets a value of the wrong type or size."""


def encode_error(message: object, field: Field | None, error: Exception) -> EncodeError:
    """The error for a message of which a field cannot be encoded."""
    owner = type(message).__name__
    if isinstance(error, RecursionError):
        return EncodeError(f"{owner}: its messages are nested too deeply, or in a circle")
    if field is None:
        return EncodeError(f"{owner}: {error}")
    complaint = _complaint(field, getattr(message, field.name, None), error)
    return EncodeError(f"{owner}.{field.name} ({field.type_name}): {complaint}")


_INT_RANGES = {
    **dict.fromkeys(("int32", "sint32", "sfixed32", "enum"), (-(1 << 31), 1 << 31)),
    **dict.fromkeys(("int64", "sint64", "sfixed64"), (-(1 << 63), 1 << 63)),
    **dict.fromkeys(("uint32", "fixed32"), (0, 1 << 32)),
    **dict.fromkeys(("uint64", "fixed64"), (0, 1 << 64)),
}
_PYTHON_TYPES = {"string": str, "bytes": bytes, "bool": bool, "float": (int, float), "double": (int, float)}


def _complaint(field: Field, value: Any, error: Exception) -> str:
    """What is wrong with a field's value, without showing any text or bytes that it holds."""
    if isinstance(error, UnicodeEncodeError):
        return "the text holds a lone surrogate, which UTF-8 cannot carry"
    suspects: list[tuple[Field, Any]] = [(field, value)]
    if field.key and field.value and isinstance(value, dict):
        suspects = [
            (part, item) for pair in value.items() for part, item in zip((field.key, field.value), pair, strict=True)
        ]
    elif field.label is Label.REPEATED and isinstance(value, list | tuple):
        suspects = [(field, item) for item in value]
    for part, item in suspects:
        if part.kind in _INT_RANGES and isinstance(item, int):
            low, high = _INT_RANGES[part.kind]
            if not low <= item < high:
                shown = item if -(1 << 80) < item < 1 << 80 else f"an int of {item.bit_length()} bits"
                return f"{shown} is out of range"
        elif not part.converted and not isinstance(item, _python_type(part)):
            return f"a value of the type {type(item).__name__} does not fit"
    return str(error) or "the value does not fit"


def _python_type(field: Field) -> Any:
    if field.kind in _INT_RANGES:
        return int
    return field.python_type or _PYTHON_TYPES.get(field.kind, ())


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
    """The length of a length-delimited field: a varint of at most five bytes and 31 bits."""
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
    return DecodeError(f"{where}: {error}")
