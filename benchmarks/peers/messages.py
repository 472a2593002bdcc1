"""Google's protobuf classes of echo.v1 for the other stacks, made at run time so that nothing has to be generated."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "echo.v1.EchoService"
UNARY = f"/{SERVICE}/Echo"
STREAM = f"/{SERVICE}/EchoStream"


def echo_messages() -> tuple[Any, Any]:
    """EchoRequest and EchoResponse, each `bytes payload = 1`."""
    file = descriptor_pb2.FileDescriptorProto(name="echo/v1/echo.proto", package="echo.v1", syntax="proto3")
    for name in ("EchoRequest", "EchoResponse"):
        file.message_type.add(name=name).field.add(
            name="payload",
            number=1,
            type=descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
            label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    request, response = (pool.FindMessageTypeByName(f"echo.v1.{name}") for name in ("EchoRequest", "EchoResponse"))
    return message_factory.GetMessageClass(request), message_factory.GetMessageClass(response)
