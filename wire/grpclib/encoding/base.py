"""`grpclib.encoding.base`: what a codec of messages, and one of status details, has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

from wire.grpclib.const import Status

GRPC_CONTENT_TYPE: Final = "application/grpc"


class CodecBase(ABC):
    """Messages ⇄ bytes. `__content_subtype__` follows "application/grpc+" in the content-type."""

    @property
    @abstractmethod
    def __content_subtype__(self) -> str: ...

    @abstractmethod
    def encode(self, message: Any, message_type: Any) -> bytes: ...

    @abstractmethod
    def decode(self, data: bytes, message_type: Any) -> Any: ...


class StatusDetailsCodecBase(ABC):
    """Details of a status ⇄ the value of grpc-status-details-bin."""

    @abstractmethod
    def encode(self, status: Status, message: str | None, details: Any) -> bytes: ...

    @abstractmethod
    def decode(self, status: Status, message: str | None, data: bytes) -> Any: ...
