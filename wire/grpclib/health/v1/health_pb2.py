"""`grpclib.health.v1.health_pb2`: the messages of grpc.health.v1, as google.protobuf has them."""

from __future__ import annotations

from typing import Any

from wire.grpclib._messages import message_classes
from wire.standard.generated.grpc.health.v1.health_wire import HealthStub

HealthCheckRequest: Any
HealthCheckResponse: Any
HealthCheckRequest, HealthCheckResponse = message_classes(
    HealthStub.service.files, "grpc.health.v1", ("HealthCheckRequest", "HealthCheckResponse")
)
DESCRIPTOR = HealthCheckRequest.DESCRIPTOR.file
