"""What generated `encode` functions call: varints, packed lists, checks of classes, errors that name the field.

In: values of fields. Out: bytes; what Python raises for a value of the wrong type, ValueError for an int out of range,
and the EncodeError that the generated function makes of these. Rules: protobuf.dev, "Encoding".
Imports `schema` and `errors`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from wire.codec.schema import FIXED_FORMATS, Field, Label
from wire.errors import EncodeError

_UINT64 = 0xFFFF_FFFF_FFFF_FFFF
_OUT_OF_RANGE = "the int is out of range"


@cache
def one_byte(tag: int) -> tuple[bytes, ...]:
    """The tag followed by each varint of one byte: item n starts a field of n bytes, or is a field of the value n."""
    start = varint(tag)
    return tuple(start + bytes((n,)) for n in range(128))


def varint(value: int) -> bytes:
    """A value of 0 … 2⁶⁴-1 as a varint."""
    if 0x7F < value < 0x4000:  # the loop written out for the commonest lengths: a third of its time
        return bytes((value & 127 | 128, value >> 7))
    if 0x7F < value < 0x20_0000:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
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


INT_RANGES = {
    **dict.fromkeys(("int32", "sint32", "sfixed32", "enum"), (-(1 << 31), 1 << 31)),
    **dict.fromkeys(("int64", "sint64", "sfixed64"), (-(1 << 63), 1 << 63)),
    **dict.fromkeys(("uint32", "fixed32"), (0, 1 << 32)),
    **dict.fromkeys(("uint64", "fixed64"), (0, 1 << 64)),
}
"""For each kind of integer: its least value, and the first that is too great."""


def _packer(kind: str) -> Callable[[list[Any]], bytes]:
    encode = SCALARS[kind]
    if kind in {"bool", "sint32", "sint64"}:
        return lambda values: b"".join([encode(value) for value in values])
    low, high = INT_RANGES[kind]

    def pack(values: list[int]) -> bytes:
        try:
            small = bytes(values)
            if small.isascii():  # each is from 0 to 127, its own varint
                return small
        except ValueError:
            pass
        if min(values) < low or max(values) >= high:
            raise ValueError(_OUT_OF_RANGE)
        body = bytearray()
        append = body.append
        for value in values:
            value &= _UINT64
            while value > 127:
                append(value & 127 | 128)
                value >>= 7
            append(value)
        return bytes(body)

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


_PYTHON_TYPES = {"string": str, "bytes": bytes, "bool": bool, "float": (int, float), "double": (int, float)}


def _complaint(field: Field, value: Any, error: Exception) -> str:
    """What is wrong with a field's value, without showing any text or bytes that it holds."""
    if isinstance(error, UnicodeEncodeError):
        return "the text holds a lone surrogate, which UTF-8 cannot carry"
    suspects: list[tuple[Field, Any]] = [(field, value)]
    if field.key and field.value and isinstance(value, dict):
        parts = (field.key, field.value)
        suspects = [suspect for item in value.items() for suspect in zip(parts, item, strict=True)]
    elif field.label is Label.REPEATED and isinstance(value, list | tuple):
        suspects = [(field, item) for item in value]
    elif field.label in {Label.REPEATED, Label.MAP}:
        return _misfit(value)
    for part, item in suspects:
        if not part.converted and not isinstance(item, _python_type(part)):
            return _misfit(item)
        if part.kind in INT_RANGES and isinstance(item, int):
            low, high = INT_RANGES[part.kind]
            if not low <= item < high:
                shown = item if -(1 << 80) < item < 1 << 80 else f"an int of {item.bit_length()} bits"
                return f"{shown} is out of range"
    if isinstance(error, OverflowError | struct.error):
        return "the number is out of range"
    return str(error) if isinstance(error, ValueError) else _misfit(value)


def _misfit(value: object) -> str:
    return f"a value of the type {type(value).__name__} does not fit"


def _python_type(field: Field) -> Any:
    if field.kind in INT_RANGES:
        return int
    return field.python_type or _PYTHON_TYPES.get(field.kind, ())
