"""`grpclib.const`: status codes, the four kinds of methods, and a service's entry for one method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, unique
from typing import Any, NamedTuple


@unique
class Status(Enum):
    """The seventeen gRPC status codes (gRPC's statuscodes.md)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class _Cardinality(NamedTuple):
    client_streaming: bool
    server_streaming: bool


@unique
class Cardinality(_Cardinality, Enum):
    """Which sides of a method stream."""

    UNARY_UNARY = _Cardinality(False, False)
    UNARY_STREAM = _Cardinality(False, True)
    STREAM_UNARY = _Cardinality(True, False)
    STREAM_STREAM = _Cardinality(True, True)


class Handler(NamedTuple):
    """What a service's `__mapping__` says of one method. `func` takes a `grpclib.server.Stream`."""

    func: Callable[..., Awaitable[None]]
    cardinality: Cardinality
    request_type: Any
    reply_type: Any
