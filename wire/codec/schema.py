"""What a betterproto2 class says about its fields, read once into plain data that the generators work from.

In: a betterproto2 message class. Out: a tuple of `Field`, in field-number order. Imports betterproto2 and `errors`.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeGuard, cast

import betterproto2

from wire.errors import ServiceError


class Label(Enum):
    """How often a field occurs, and what its absence looks like in Python."""

    IMPLICIT = ""  # absent means the default value; proto3 does not tell the two apart
    OPTIONAL = "optional "  # absent means None: `optional` scalars, messages, members of a oneof
    REPEATED = "repeated "  # a list
    MAP = "map"  # a dict


class WireType(int, Enum):
    """The low three bits of a tag (protobuf.dev, "Encoding")."""

    VARINT = 0
    FIXED64 = 1
    LEN = 2
    START_GROUP = 3
    END_GROUP = 4
    FIXED32 = 5


FIXED_FORMATS = {"fixed32": "I", "sfixed32": "i", "float": "f", "fixed64": "Q", "sfixed64": "q", "double": "d"}
STRUCTS = {kind: struct.Struct(f"<{code}") for kind, code in FIXED_FORMATS.items()}
_LEN_KINDS = frozenset({"string", "bytes", "message", "map"})


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of a message.

    `kind` is protobuf's type name: a scalar's, "enum", "message" or "map". `python_type` is the enum or message class
    on the wire. `converted` says that Python sees another type in its place: a datetime for Timestamp, an int for
    Int32Value. `group` is the oneof it belongs to. `key` and `value` describe a map's entry.
    """

    name: str
    number: int
    kind: str
    label: Label = Label.IMPLICIT
    python_type: type[Any] | None = None
    converted: bool = False
    group: str | None = None
    default: Any = None
    key: Field | None = None
    value: Field | None = None

    @property
    def wire_type(self) -> WireType:
        if self.kind in _LEN_KINDS:
            return WireType.LEN
        if self.struct_format:
            return WireType.FIXED32 if self.struct_format in "Iif" else WireType.FIXED64
        return WireType.VARINT

    @property
    def struct_format(self) -> str:
        """The `struct` code of a kind of fixed size, "" for every other kind."""
        return FIXED_FORMATS.get(self.kind, "")

    @property
    def tag(self) -> int:
        return self.number << 3 | self.wire_type

    @property
    def packed_tag(self) -> int:
        return self.number << 3 | WireType.LEN

    @property
    def declaration(self) -> str:
        """The field as a .proto file would declare it, such as `repeated int32 sizes = 4`."""
        return f"{self.type_name} {self.name} = {self.number}"

    @property
    def type_name(self) -> str:
        if self.key and self.value:
            return f"map<{self.key.type_name}, {self.value.type_name}>"
        name = self.python_type.__name__ if self.python_type else self.kind
        label = "" if self.label is Label.OPTIONAL and (self.group or self.kind == "message") else self.label.value
        return label + name


def is_message_class(candidate: object) -> TypeGuard[type[betterproto2.Message]]:
    """Whether this is a class that betterproto2's compiler could have generated."""
    return (
        isinstance(candidate, type)
        and issubclass(candidate, betterproto2.Message)
        and dataclasses.is_dataclass(candidate)
        and all("betterproto" in field.metadata for field in dataclasses.fields(candidate))
    )


def read_fields(message_type: type[betterproto2.Message]) -> tuple[Field, ...]:
    """The fields of a message class in number order; ServiceError where the class does not make sense."""
    try:
        types: dict[str, type] = cast(Any, message_type)._betterproto.cls_by_field
    except NameError as error:
        raise ServiceError(f"{message_type.__name__} refers to a type that is not defined: {error}") from error
    fields = [_read_field(field, types) for field in dataclasses.fields(cast(Any, message_type))]
    return tuple(sorted(fields, key=lambda field: field.number))


def _read_field(field: dataclasses.Field[Any], types: dict[str, type]) -> Field:
    meta = betterproto2.FieldMetadata.get(field)
    if meta.map_meta:
        key_meta, value_meta = meta.map_meta
        return Field(
            field.name,
            meta.number,
            "map",
            Label.MAP,
            key=Field("key", 1, key_meta.proto_type),
            value=_typed(Field("value", 2, value_meta.proto_type), value_meta, types[f"{field.name}.value"]),
        )
    if meta.repeated:
        label = Label.REPEATED
    elif meta.optional or meta.group or meta.proto_type == "message":
        label = Label.OPTIONAL
    else:
        label = Label.IMPLICIT
    bare = Field(field.name, meta.number, meta.proto_type, label, group=meta.group)
    return _typed(bare, meta, types[field.name])


def _typed(field: Field, meta: betterproto2.FieldMetadata, hint: type) -> Field:
    """The field with its enum or message class, which its type hint names unless a Python type stands in for it."""
    if field.kind == "message":
        return dataclasses.replace(
            field, python_type=meta.unwrap() if meta.unwrap else hint, converted=bool(meta.unwrap)
        )
    if field.kind == "enum":
        return dataclasses.replace(field, python_type=hint, default=hint(0))
    return field
