"""protobuf bytes → `Value`s, by a message's type where that is known, else as what the bytes look like.

Never raises: what cannot be read ends the message with a sentence. Source: protobuf.dev, "Encoding". Imports `records`
and `message_types`.
"""

from __future__ import annotations

import struct
from typing import Final

from wire.inspect.message_types import FieldType, MessageType
from wire.inspect.records import Value

MAX_FIELDS: Final = 2000
"""In one message with all that it nests, so that one of many tiny fields holds nobody up."""
_MAX_DEPTH: Final = 40
_VARINT, _FIXED64, _LEN, _START_GROUP, _END_GROUP, _FIXED32 = range(6)

_UNSIGNED64: Final = (1 << 64) - 1
_FIXED: Final = {
    "fixed32": "<I",
    "sfixed32": "<i",
    "float": "<f",
    "fixed64": "<Q",
    "sfixed64": "<q",
    "double": "<d",
}
_VARINTS: Final = frozenset({"int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool", "enum"})


class _MalformedError(Exception):
    """Used within this module alone."""


class _Budget:
    """How many more fields may be read."""

    __slots__ = ("fields",)

    def __init__(self, fields: int) -> None:
        self.fields = fields


def read_message(
    data: bytes, message_type: MessageType | None, *, hide: bool, max_fields: int = MAX_FIELDS
) -> tuple[tuple[Value, ...], str]:
    """The fields of a message, and what is wrong with it ("" where nothing is).

    `hide`: texts and bytes are masked, and where the type is not known everything with a length.
    """
    values: list[Value] = []
    budget = _Budget(max_fields)
    try:
        _read(data, 0, len(data), message_type, hide, 0, budget, values)
    except _MalformedError as error:
        return tuple(values), str(error)
    return tuple(values), "" if budget.fields >= 0 else f"only the first {max_fields} fields are shown"


def _read(
    data: bytes,
    at: int,
    end: int,
    message_type: MessageType | None,
    hide: bool,
    depth: int,
    budget: _Budget,
    values: list[Value],
    group: int = 0,
) -> int:
    """Read fields up to `end`, or up to the end of `group`. Returns where it stopped."""
    while at < end:
        budget.fields -= 1
        if budget.fields < 0:
            return end
        start = at
        tag, at = _varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or number >= 1 << 29:
            raise _MalformedError(f"at byte {start}: there is no field number {number}")
        if wire_type == _END_GROUP:
            if number != group:
                raise _MalformedError(f"at byte {start}: the end of a group that was not begun")
            return at
        field = message_type.fields.get(number) if message_type is not None else None
        if wire_type == _VARINT:
            varint, at = _varint(data, at, end)
            values.append(_from_varint(number, field, varint))
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
            if at + size > end:
                raise _MalformedError(f"at byte {start}: field {number} is cut short")
            values.append(_from_fixed(number, field, data[at : at + size]))
            at += size
        elif wire_type == _LEN:
            size, at = _varint(data, at, end)
            if at + size > end:
                raise _MalformedError(f"at byte {start}: field {number} has {size} bytes, and {end - at} are left")
            _from_len(number, field, data[at : at + size], hide, depth, budget, values)
            at += size
        elif wire_type == _START_GROUP:
            if depth >= _MAX_DEPTH:
                raise _MalformedError(f"at byte {start}: groups nest deeper than {_MAX_DEPTH}")
            inner: list[Value] = []
            try:
                at = _read(data, at, end, None, hide, depth + 1, budget, inner, number)
            finally:
                values.append(Value(number, field.name if field else None, "group", tuple(inner)))
        else:
            raise _MalformedError(f"at byte {start}: there is no wire type {wire_type}")
    if group and budget.fields >= 0:
        raise _MalformedError(f"group {group} has no end")
    return at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    start = at
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UNSIGNED64, at
        shift += 7
    raise _MalformedError(f"at byte {start}: a varint {'is too long' if shift >= 70 else 'is cut short'}")


def _from_varint(number: int, field: FieldType | None, varint: int) -> Value:
    if field is None or field.kind not in _VARINTS:
        return Value(number, field.name if field else None, "varint", varint)
    return Value(number, field.name, field.kind, _scalar(field, varint))


def _scalar(field: FieldType, varint: int) -> bool | int | str:
    kind = field.kind
    if kind == "bool":
        return varint != 0
    if kind in ("sint32", "sint64"):
        return (varint >> 1) ^ -(varint & 1)
    if kind == "uint64":
        return varint
    if kind == "uint32":
        return varint & 0xFFFFFFFF
    bits = 64 if kind == "int64" else 32
    varint &= (1 << bits) - 1
    signed = varint - (1 << bits) if varint >> (bits - 1) else varint
    if kind == "enum" and field.enum is not None:
        return field.enum.get(signed, signed)
    return signed


def _from_fixed(number: int, field: FieldType | None, data: bytes) -> Value:
    name = field.name if field else None
    if field is not None and field.kind in _FIXED and struct.calcsize(_FIXED[field.kind]) == len(data):
        return Value(number, name, field.kind, struct.unpack(_FIXED[field.kind], data)[0])
    kind = "fixed64" if len(data) == 8 else "fixed32"
    return Value(number, name, kind, int.from_bytes(data, "little"))


def _from_len(
    number: int, field: FieldType | None, data: bytes, hide: bool, depth: int, budget: _Budget, values: list[Value]
) -> None:
    name = field.name if field else None
    if field is not None and field.secret:
        values.append(Value(number, name, "masked", len(data)))
        return
    kind = field.kind if field else ""
    if field is not None and (kind in _FIXED or kind in _VARINTS):
        _unpack(number, field, data, budget, values)
    elif kind == "message" and depth < _MAX_DEPTH:
        inner: list[Value] = []
        try:
            _read(data, 0, len(data), field.message if field else None, hide, depth + 1, budget, inner)
        finally:
            values.append(Value(number, name, "message", tuple(inner)))
    elif hide:
        values.append(Value(number, name, "masked", len(data)))
    elif kind == "string":
        values.append(Value(number, name, "string", data.decode("utf-8", "backslashreplace")))
    elif kind == "bytes":
        values.append(Value(number, name, "bytes", data))
    else:
        values.append(_guess(number, name, data, depth, budget))


def _unpack(number: int, field: FieldType, data: bytes, budget: _Budget, values: list[Value]) -> None:
    """A packed repeated field: each element becomes a value of its own."""
    at = 0
    while at < len(data):
        budget.fields -= 1
        if budget.fields < 0:
            return
        if field.kind in _FIXED:
            size = struct.calcsize(_FIXED[field.kind])
            if at + size > len(data):
                raise _MalformedError(f"field {number} is packed, and its last element is cut short")
            values.append(_from_fixed(number, field, data[at : at + size]))
            at += size
        else:
            varint, at = _varint(data, at, len(data))
            values.append(_from_varint(number, field, varint))


def _guess(number: int, name: str | None, data: bytes, depth: int, budget: _Budget) -> Value:
    """A text when it is printable, else a message when it can be one, else bytes."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is not None and text.isprintable():
        return Value(number, name, "string", text)
    if depth < _MAX_DEPTH:
        inner: list[Value] = []
        before = budget.fields
        try:
            _read(data, 0, len(data), None, False, depth + 1, budget, inner)
            return Value(number, name, "message", tuple(inner))
        except _MalformedError:
            budget.fields = before
    if text is not None and all(each.isprintable() or each in "\t\n\r" for each in text):
        return Value(number, name, "string", text)
    return Value(number, name, "bytes", data)
