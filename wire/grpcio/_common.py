"""Small functions that programs import from `grpc._common`."""

from __future__ import annotations

from typing import Any


def encode(s: str | bytes) -> bytes:
    return s if isinstance(s, bytes) else s.encode()


def decode(b: str | bytes) -> str:
    return b.decode("utf-8", "replace") if isinstance(b, bytes) else b


def fully_qualified_method(group: str, method: str) -> str:
    return f"/{group}/{method}"


def serialize(message: Any, serializer: Any) -> Any:
    return message if serializer is None else serializer(message)


def deserialize(serialized_message: bytes, deserializer: Any) -> Any:
    return serialized_message if deserializer is None else deserializer(serialized_message)
