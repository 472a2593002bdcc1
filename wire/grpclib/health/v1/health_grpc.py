"""`grpclib.health.v1.health_grpc`: the service's base and stub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from wire.grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from wire.grpclib.const import Cardinality, Handler
from wire.grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from wire.grpclib.server import Stream

_CHECK = "/grpc.health.v1.Health/Check"
_WATCH = "/grpc.health.v1.Health/Watch"


class HealthBase(ABC):
    @abstractmethod
    async def Check(self, stream: Stream[Any, Any]) -> None: ...

    @abstractmethod
    async def Watch(self, stream: Stream[Any, Any]) -> None: ...

    def __mapping__(self) -> dict[str, Handler]:
        return {
            _CHECK: Handler(self.Check, Cardinality.UNARY_UNARY, HealthCheckRequest, HealthCheckResponse),
            _WATCH: Handler(self.Watch, Cardinality.UNARY_STREAM, HealthCheckRequest, HealthCheckResponse),
        }


class HealthStub:
    def __init__(self, channel: Channel) -> None:
        self.Check = UnaryUnaryMethod[Any, Any](channel, _CHECK, HealthCheckRequest, HealthCheckResponse)
        self.Watch = UnaryStreamMethod[Any, Any](channel, _WATCH, HealthCheckRequest, HealthCheckResponse)
