"""Names of types that annotations of programs use. Imports nothing but this package's."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from wire.grpcio._errors import _EOF as EOFType  # noqa: N811
from wire.grpcio.aio._metadata import Metadata, MetadataKey, MetadataType, MetadataValue, MetadatumType

RequestType = TypeVar("RequestType")
ResponseType = TypeVar("ResponseType")
SerializingFunction = Callable[[Any], bytes]
DeserializingFunction = Callable[[bytes], Any]
ChannelArgumentType = Sequence[tuple[str, Any]]
DoneCallbackType = Callable[[Any], None]
RequestIterableType = Iterable[Any] | AsyncIterable[Any]
ResponseIterableType = AsyncIterable[Any]

__all__ = [
    "ChannelArgumentType",
    "DeserializingFunction",
    "DoneCallbackType",
    "EOFType",
    "Metadata",
    "MetadataKey",
    "MetadataType",
    "MetadataValue",
    "MetadatumType",
    "RequestIterableType",
    "RequestType",
    "ResponseIterableType",
    "ResponseType",
    "SerializingFunction",
]
