"""What the two programs that connectconformance runs share: its framing on standard streams, headers and errors.

Messages are generated from `protos/`. Imports `wire` alone.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable
from typing import TypeVar

import wire
from tests.interop.generated.connectrpc.conformance.v1 import AnyMessage, Error, Header, RpcStatus

T = TypeVar("T")

STATUS_DETAILS = "grpc-status-details-bin"
TYPES = "type.googleapis.com/connectrpc.conformance.v1."


def read_message(message_type: type[T]) -> T | None:
    """The next message of standard input, four bytes of length before it; None at its end."""
    prefix = sys.stdin.buffer.read(4)
    if len(prefix) < 4:
        return None
    return wire.codec_for(message_type).decode(sys.stdin.buffer.read(int.from_bytes(prefix, "big")))


def write_message(message: object) -> None:
    data = wire.codec_for(type(message)).encode(message)
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


def packed(name: str, message: object) -> AnyMessage:
    return AnyMessage(type_url=TYPES + name, value=wire.codec_for(type(message)).encode(message))


def to_metadata(headers: Iterable[Header]) -> list[tuple[str, str | bytes]]:
    """Metadata of headers, whose binary values are base64."""
    return [
        (header.name.lower(), _unbase64(value) if header.name.lower().endswith("-bin") else value)
        for header in headers
        for value in header.value
    ]


def to_headers(metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    found: dict[str, list[str]] = {}
    for key, value in metadata:
        text = base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value
        found.setdefault(key, []).append(text)
    return [Header(name=key, value=values) for key, values in found.items()]


def to_details(error: Error) -> bytes:
    """The value of grpc-status-details-bin for an error."""
    status = RpcStatus(code=error.code, message=error.message or "", details=error.details)
    return wire.codec_for(RpcStatus).encode(status)


def from_details(metadata: wire.Metadata) -> list[AnyMessage]:
    value = metadata.get(STATUS_DETAILS)
    return wire.codec_for(RpcStatus).decode(value).details if isinstance(value, bytes) else []


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
