"""Metadata as grpc takes and gives it ⇄ wire's. Imports the package's errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import wire
from wire.grpcio._errors import ExecuteBatchError

COMPRESSION_KEY = "grpc-internal-encoding-request"
"""By which a call's compression travels from `metadata` to the call; it is never sent."""

_KEY = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


class _Metadatum(NamedTuple):
    key: str
    value: str | bytes


def to_wire(metadata: Iterable[tuple[Any, Any]]) -> list[tuple[str, str | bytes]]:
    """What may be sent of metadata that a program gave.

    Raises what grpc raises: `TypeError` and `ValueError` for what are no pairs of text, `ExecuteBatchError` for a key
    or value that cannot travel.
    """
    pairs: list[tuple[str, str | bytes]] = []
    for key, value in metadata:
        if not isinstance(key, str):
            key = _text(key)
        if not _KEY.fullmatch(key):
            raise ExecuteBatchError(f"metadata key {key!r} is invalid: it may hold a-z, 0-9, '-', '_' and '.'")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f'Binary metadata key="{key}" expected bytes, got {type(value)}')
        else:
            value = _text(value)
            if not _VALUE.fullmatch(value):
                raise ExecuteBatchError(f"metadata value for key {key} is invalid: it must be printable ASCII")
            value = value.strip(" ")  # HTTP/2 forbids it at the ends of a field (RFC 9113 §8.2.1)
        pairs.append((key, value))
    return pairs


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    raise TypeError(f"Expected str, not {type(value)}")


def from_wire(metadata: wire.Metadata | None) -> tuple[_Metadatum, ...]:
    """Received metadata as grpc gives it: named pairs."""
    return () if metadata is None else tuple(_Metadatum(key, value) for key, value in metadata)


def check_trailing(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata as a tuple. Raises `TypeError` for what is none."""
    if not hasattr(metadata, "__iter__") or isinstance(metadata, dict):
        raise TypeError(f"Invalid trailing metadata type, expected Iterable[MetadatumType]: {metadata}")
    pairs = tuple(metadata)
    for item in pairs:
        if not isinstance(item, tuple):
            raise TypeError(f"Invalid trailing metadatum type, expected tuple: {item}")
        if len(item) != 2:
            raise TypeError(f"Invalid trailing metadatum type, expected tuple of 2 items: {item}")
        if not isinstance(item[0], str):
            raise TypeError(f"Invalid trailing metadatum key type, expected str: {item}")
        if not isinstance(item[1], (str, bytes)):
            raise TypeError(f"Invalid trailing metadatum value type, expected str or bytes: {item}")
    return pairs
