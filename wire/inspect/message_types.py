"""What is known of a protobuf message: its fields by number. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, eq=False)
class FieldType:
    """`kind` is protobuf's type name; "message" comes with its type, "enum" with the names of its numbers."""

    name: str
    kind: str
    message: MessageType | None = None
    enum: dict[int, str] | None = None
    secret: bool = False
    """Its .proto file says `debug_redact`."""


@dataclass(frozen=True, slots=True, eq=False)
class MessageType:
    """A message's full name and its fields by number."""

    name: str
    fields: dict[int, FieldType] = field(default_factory=dict)
