"""Errors with details, from a handler to its caller."""

from __future__ import annotations

from typing import Any

import pytest

import wire
from proto.echo.v1 import EchoRequest
from tests.support import PROBE_SERVICE, paired, run
from wire.standard import error_details, rich_error
from wire.standard.details import BadRequest, BadRequestFieldViolation, ErrorInfo, Status

VIOLATIONS = BadRequest(field_violations=[BadRequestFieldViolation(field="payload", description="too long")])
INFO = ErrorInfo(reason="TOO_LONG", domain="example.com", metadata={"limit": "5"})


def test_details_travel_with_the_status() -> None:
    class Refusing(wire.Servicer):
        service = PROBE_SERVICE

        def unary(self, request: bytes, context: wire.ServerContext) -> Any:
            raise rich_error(wire.StatusCode.INVALID_ARGUMENT, "no", VIOLATIONS, INFO)

    async def main() -> None:
        async with paired(Refusing()) as pair:
            with pytest.raises(wire.RpcError) as caught:
                await pair.stub.unary(b"")
            assert (caught.value.code, caught.value.message) == (wire.StatusCode.INVALID_ARGUMENT, "no")
            assert error_details(caught.value, BadRequest) == [VIOLATIONS]
            assert error_details(caught.value, ErrorInfo) == [INFO]
            assert error_details(caught.value, Status) == []

    run(main)


def test_messages_of_ones_own_are_named_by_hand() -> None:
    with pytest.raises(wire.ConfigurationError, match="EchoRequest"):
        rich_error(wire.StatusCode.ABORTED, "no", EchoRequest(payload=b"x"))
    error = rich_error(
        wire.StatusCode.ABORTED, "no", EchoRequest(payload=b"x"), type_names={EchoRequest: "echo.v1.EchoRequest"}
    )
    assert error_details(error, EchoRequest, "echo.v1.EchoRequest") == [EchoRequest(payload=b"x")]


def test_googles_messages_can_be_details() -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")
    error = rich_error(wire.StatusCode.ABORTED, "no", wrappers.StringValue(value="why"))
    assert error_details(error, wrappers.StringValue) == [wrappers.StringValue(value="why")]


def test_grpcios_status_package_reads_them() -> None:
    status_pb2 = pytest.importorskip("google.rpc.status_pb2", reason="googleapis-common-protos is not installed")
    error = rich_error(wire.StatusCode.ABORTED, "no", INFO)
    assert error.trailing_metadata is not None
    status = status_pb2.Status.FromString(error.trailing_metadata.get("grpc-status-details-bin"))
    assert (status.code, status.message) == (10, "no")
    assert status.details[0].type_url == "type.googleapis.com/google.rpc.ErrorInfo"


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x1a\x02\xff\xff"])
def test_details_that_cannot_be_read_are_none(data: bytes) -> None:
    error = wire.RpcError(wire.StatusCode.ABORTED, trailing_metadata=wire.Metadata([("grpc-status-details-bin", data)]))
    assert error_details(error, BadRequest) == []
    assert error_details(wire.RpcError(wire.StatusCode.ABORTED), BadRequest) == []
