"""`grpclib.reflection.service`: server reflection over a pool of google.protobuf's descriptors (gRPC's
server-reflection.md)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf.descriptor_pool import Default

from wire.grpclib._typing import IServable
from wire.grpclib.const import Status
from wire.grpclib.reflection.v1 import reflection_pb2
from wire.grpclib.reflection.v1.reflection_grpc import ServerReflectionBase
from wire.grpclib.reflection.v1alpha import reflection_pb2 as reflection_pb2_alpha
from wire.grpclib.reflection.v1alpha.reflection_grpc import ServerReflectionBase as ServerReflectionBaseAlpha
from wire.grpclib.server import Stream
from wire.grpclib.utils import _service_name


class _Index:
    """Answers questions about the files of a pool, in the messages of one version of the protocol."""

    def __init__(self, service_names: Collection[str], pool: Any, messages: Any) -> None:
        self._service_names = service_names
        self._pool = pool or Default()
        self._messages = messages

    def answer(self, request: Any) -> Any:
        kind = request.WhichOneof("message_request")
        if kind is None:
            return self._error(Status.INVALID_ARGUMENT, "invalid argument")
        try:
            return getattr(self, f"_{kind}")(getattr(request, kind))
        except KeyError:
            return self._error(Status.NOT_FOUND, "not found")

    def _error(self, status: Status, message: str) -> Any:
        error = self._messages.ErrorResponse(error_code=status.value, error_message=message)
        return self._messages.ServerReflectionResponse(error_response=error)

    def _file(self, file: Any) -> Any:
        response = self._messages.FileDescriptorResponse(file_descriptor_proto=[file.serialized_pb])
        return self._messages.ServerReflectionResponse(file_descriptor_response=response)

    def _file_by_filename(self, name: str) -> Any:
        return self._file(self._pool.FindFileByName(name))

    def _file_containing_symbol(self, symbol: str) -> Any:
        return self._file(self._pool.FindFileContainingSymbol(symbol))

    def _file_containing_extension(self, request: Any) -> Any:
        message = self._pool.FindMessageTypeByName(request.containing_type)
        extension = self._pool.FindExtensionByNumber(message, request.extension_number)
        return self._file(self._pool.FindFileContainingSymbol(extension.full_name))

    def _all_extension_numbers_of_type(self, name: str) -> Any:
        message = self._pool.FindMessageTypeByName(name)
        response = self._messages.ExtensionNumberResponse(
            base_type_name=message.full_name,
            extension_number=[extension.number for extension in self._pool.FindAllExtensions(message)],
        )
        return self._messages.ServerReflectionResponse(all_extension_numbers_response=response)

    def _list_services(self, _: str) -> Any:
        services = [self._messages.ServiceResponse(name=name) for name in self._service_names]
        response = self._messages.ListServiceResponse(service=services)
        return self._messages.ServerReflectionResponse(list_services_response=response)


async def _answer_all(index: _Index, stream: Stream[Any, Any]) -> None:
    async for request in stream:
        await stream.send_message(index.answer(request))


class ServerReflection(ServerReflectionBase):
    """grpc.reflection.v1; `extend` adds it, and v1alpha, to a list of services."""

    def __init__(self, *, _service_names: Collection[str], _pool: Any = None) -> None:
        self._index = _Index(_service_names, _pool, reflection_pb2)

    async def ServerReflectionInfo(self, stream: Stream[Any, Any]) -> None:
        await _answer_all(self._index, stream)

    @classmethod
    def extend(cls, services: Collection[IServable], *, pool: Any = None) -> list[IServable]:
        """The services, and reflection of them. `pool`: of descriptors, where it is not the default one."""
        names = [_service_name(service) for service in services]
        alpha = _ServerReflectionAlpha(_service_names=names, _pool=pool)
        own = cls(_service_names=names, _pool=pool)
        return [*services, own, alpha]


class _ServerReflectionAlpha(ServerReflectionBaseAlpha):
    """grpc.reflection.v1alpha, which older clients ask."""

    def __init__(self, *, _service_names: Collection[str], _pool: Any = None) -> None:
        self._index = _Index(_service_names, _pool, reflection_pb2_alpha)

    async def ServerReflectionInfo(self, stream: Stream[Any, Any]) -> None:
        await _answer_all(self._index, stream)
