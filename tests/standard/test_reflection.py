"""Server reflection, asked as grpcurl asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import wire
from tests.support import paired, run
from wire.standard import Health, reflection
from wire.standard.generated.descriptor_index import FileDescriptor
from wire.standard.generated.grpc.reflection import v1, v1alpha
from wire.standard.generated.grpc.reflection.v1.reflection_wire import ServerReflectionStub
from wire.standard.generated.grpc.reflection.v1alpha.reflection_wire import ServerReflectionStub as AlphaStub

decode_file = wire.codec_for(FileDescriptor).decode
VERSIONS = [(v1, ServerReflectionStub), (v1alpha, AlphaStub)]


def ask(messages: Any, stub: Any, **request: Any) -> Any:
    async def main() -> Any:
        async with paired(Health(), *reflection()) as pair:
            requests = [messages.ServerReflectionRequest(host="h", **request)]
            (response,) = [response async for response in stub(pair.channel).server_reflection_info(requests)]
            assert response.valid_host == "h"
            assert response.original_request == requests[0]
            return response

    return run(main)


@pytest.mark.parametrize(("messages", "stub"), VERSIONS)
def test_services_are_listed(messages: Any, stub: Any) -> None:
    answer = ask(messages, stub, list_services="*").list_services_response
    assert [service.name for service in answer.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize(
    "request_fields",
    [
        {"file_by_filename": "grpc/health/v1/health.proto"},
        {"file_containing_symbol": "grpc.health.v1.Health"},
        {"file_containing_symbol": "grpc.health.v1.Health.Check"},
        {"file_containing_symbol": "grpc.health.v1.HealthCheckResponse.ServingStatus"},
        {"file_containing_symbol": "grpc.health.v1.HealthCheckRequest.service"},
        {"file_containing_symbol": "grpc.health.v1.HealthCheckResponse.SERVING"},
    ],
)
@pytest.mark.parametrize(("messages", "stub"), VERSIONS)
def test_files_are_found_by_name_and_by_symbol(messages: Any, stub: Any, request_fields: Any) -> None:
    (data,) = ask(messages, stub, **request_fields).file_descriptor_response.file_descriptor_proto
    assert decode_file(data).name == "grpc/health/v1/health.proto"


@pytest.mark.parametrize(
    "request_fields",
    [
        {"file_by_filename": "absent.proto"},
        {"file_containing_symbol": "absent.Message"},
        {"all_extension_numbers_of_type": "absent.Message"},
        {"file_containing_extension": v1.ExtensionRequest(containing_type="absent", extension_number=1)},
    ],
)
def test_what_is_not_there_is_not_found(request_fields: Any) -> None:
    error = ask(v1, ServerReflectionStub, **request_fields).error_response
    assert error.error_code == wire.StatusCode.NOT_FOUND


def test_a_request_for_nothing_is_an_error_of_its_own() -> None:
    assert ask(v1, ServerReflectionStub).error_response.error_code == wire.StatusCode.INVALID_ARGUMENT


def test_a_message_without_extensions_has_no_extension_numbers() -> None:
    asked = "grpc.health.v1.HealthCheckRequest"
    answer = ask(v1, ServerReflectionStub, all_extension_numbers_of_type=asked).all_extension_numbers_response
    assert (answer.base_type_name, answer.extension_number) == (asked, [])


def test_requests_are_answered_in_order_on_one_stream() -> None:
    async def main() -> None:
        async with paired(*reflection()) as pair:

            async def requests() -> AsyncIterator[v1.ServerReflectionRequest]:
                for number in range(5):
                    yield v1.ServerReflectionRequest(file_by_filename=str(number))

            stub = ServerReflectionStub(pair.channel)
            answers = [answer async for answer in stub.server_reflection_info(requests())]
            assert [answer.original_request.file_by_filename for answer in answers if answer.original_request] == list(
                "01234"
            )

    run(main)
