"""`grpclib.encoding.proto`: protobuf messages, and google.rpc.Status for details.

Messages of betterproto2 go through wire's compiled codecs, those of any other library through its own
`SerializeToString` and `FromString`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import betterproto2

import wire
from wire.grpclib.const import Status
from wire.grpclib.encoding.base import CodecBase, StatusDetailsCodecBase


class ProtoCodec(CodecBase):
    """Protobuf messages of any library that follows google's `SerializeToString` and `FromString`."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Raises TypeError for a message of another type."""
        if not isinstance(message, message_type):
            raise TypeError(f"Message must be of type {message_type!r}, not {type(message)!r}")
        return _functions(message_type)[0](message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return _functions(message_type)[1](data)


@cache
def _functions(message_type: Any) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    if isinstance(message_type, type) and issubclass(message_type, betterproto2.Message):
        codec = wire.codec_for(message_type)
        return codec.encode, codec.decode
    return message_type.SerializeToString, message_type.FromString


def encoder(codec: CodecBase, message_type: Any) -> Callable[[Any], bytes]:
    """`codec.encode` for messages of one type."""
    if type(codec) is not ProtoCodec:
        return lambda message: codec.encode(message, message_type)
    encode, _ = _functions(message_type)

    def encode_checked(message: Any) -> bytes:
        if message.__class__ is message_type:
            return encode(message)
        return codec.encode(message, message_type)

    return encode_checked


def decoder(codec: CodecBase, message_type: Any) -> Callable[[bytes], Any]:
    """`codec.decode` for messages of one type."""
    if type(codec) is not ProtoCodec:
        return lambda data: codec.decode(data, message_type)
    return _functions(message_type)[1]


@cache
def googleapis_available() -> bool:
    """Whether google.rpc's messages are installed (googleapis-common-protos)."""
    try:
        import google.rpc.status_pb2  # noqa: F401
    except ImportError:
        return False
    return True


class _Unknown:
    """A detail of a type that this process does not know."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Unknown({self._name!r})"


class ProtoStatusDetailsCodec(StatusDetailsCodecBase):
    """google.rpc.Status (gRPC's richer error model): details are a sequence of google.protobuf messages."""

    def encode(self, status: Status, message: str | None, details: Sequence[Any] | None) -> bytes:
        from google.rpc.status_pb2 import Status as StatusMessage

        result = StatusMessage(code=status.value, message=message)
        for detail in details or ():
            result.details.add().Pack(detail)
        return bytes(result.SerializeToString())

    def decode(self, status: Status, message: str | None, data: bytes) -> list[Any]:
        from google.rpc.status_pb2 import Status as StatusMessage

        return [_unpacked(detail) for detail in StatusMessage.FromString(data).details]


def _unpacked(detail: Any) -> Any:
    from google.protobuf.symbol_database import Default

    try:
        message = Default().GetSymbol(detail.TypeName())()
    except KeyError:
        return _Unknown(detail.TypeName())
    detail.Unpack(message)
    return message
