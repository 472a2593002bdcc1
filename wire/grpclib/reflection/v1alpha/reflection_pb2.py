"""`grpclib.reflection.v1alpha.reflection_pb2`: the messages of grpc.reflection.v1alpha, as google.protobuf has them."""

from __future__ import annotations

from typing import Any

from wire.grpclib._messages import message_classes
from wire.standard.generated.grpc.reflection.v1alpha.reflection_wire import ServerReflectionStub

_NAMES = (
    "ErrorResponse",
    "ExtensionNumberResponse",
    "ExtensionRequest",
    "FileDescriptorResponse",
    "ListServiceResponse",
    "ServerReflectionRequest",
    "ServerReflectionResponse",
    "ServiceResponse",
)

ErrorResponse: Any
ExtensionNumberResponse: Any
ExtensionRequest: Any
FileDescriptorResponse: Any
ListServiceResponse: Any
ServerReflectionRequest: Any
ServerReflectionResponse: Any
ServiceResponse: Any
(
    ErrorResponse,
    ExtensionNumberResponse,
    ExtensionRequest,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
) = message_classes(ServerReflectionStub.service.files, "grpc.reflection.v1alpha", _NAMES)
DESCRIPTOR = ServerReflectionRequest.DESCRIPTOR.file
