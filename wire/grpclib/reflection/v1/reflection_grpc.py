"""`grpclib.reflection.v1.reflection_grpc`: the service's base and stub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from wire.grpclib.client import Channel, StreamStreamMethod
from wire.grpclib.const import Cardinality, Handler
from wire.grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from wire.grpclib.server import Stream

_INFO = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


class ServerReflectionBase(ABC):
    @abstractmethod
    async def ServerReflectionInfo(self, stream: Stream[Any, Any]) -> None: ...

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _INFO: Handler(
                self.ServerReflectionInfo, Cardinality.STREAM_STREAM, ServerReflectionRequest, ServerReflectionResponse
            )
        }


class ServerReflectionStub:
    def __init__(self, channel: Channel) -> None:
        self.ServerReflectionInfo = StreamStreamMethod[Any, Any](
            channel, _INFO, ServerReflectionRequest, ServerReflectionResponse
        )
