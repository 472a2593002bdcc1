"""`grpclib._typing`: what services, messages and targets of events look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from wire.grpclib.const import Handler


class IServable(Protocol):
    def __mapping__(self) -> Mapping[str, Handler]: ...


class ICheckable(Protocol):
    def __mapping__(self) -> Mapping[str, Any]: ...


class IClosable(Protocol):
    def close(self) -> None: ...


class IProtoMessage(Protocol):
    @classmethod
    def FromString(cls, s: bytes) -> Self: ...

    def SerializeToString(self) -> bytes: ...


class IEventsTarget(Protocol):
    __dispatch__: Any


class IServerMethodFunc(Protocol):
    async def __call__(self, stream: Any) -> None: ...


class IReleaseStream(Protocol):
    def __call__(self) -> None: ...
