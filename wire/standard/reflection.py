"""Server reflection (gRPC's server-reflection.md): clients ask a running server what it serves, without .proto files.

In: the descriptors that generated services carry (`Service.files`). Out: grpc.reflection.v1 and v1alpha, which have
the same messages under two names. Imports `wire` and the generated messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import wire
from wire.standard.generated.descriptor_index import FieldDescriptor, FileDescriptor, MessageDescriptor
from wire.standard.generated.grpc.reflection import v1, v1alpha
from wire.standard.generated.grpc.reflection.v1.reflection_wire import ServerReflectionBase
from wire.standard.generated.grpc.reflection.v1alpha.reflection_wire import (
    ServerReflectionBase as ServerReflectionBaseAlpha,
)

_decode_file = wire.codec_for(FileDescriptor).decode


def reflection() -> tuple[wire.Servicer, wire.Servicer]:
    """Both versions of the service, for the server whose other services they describe."""
    index = _Index()
    return _Reflection(index), _ReflectionAlpha(index)


class _Index:
    """Which file declares which symbol and extension, over all services of a server."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.files: dict[str, tuple[bytes, list[str]]] = {}
        """By name: the serialized descriptor, and the names of the files that it imports."""
        self.symbols: dict[str, str] = {}
        """Full name of a message, enum, service, method, field or value → name of its file."""
        self.extensions: dict[str, dict[int, str]] = {}
        """Full name of a message → number of an extension → name of its file."""

    def add(self, service: wire.Service) -> None:
        self.services.add(service.name)
        for data in service.files:
            file = _decode_file(data)
            if file.name not in self.files:
                self.files[file.name] = data, list(file.dependency)
                self._add_file(file)

    def _add_file(self, file: FileDescriptor) -> None:
        scope = f"{file.package}." if file.package else ""
        for message in file.message_type:
            self._add_message(file.name, scope, message)
        for enum in file.enum_type:
            self._add(file.name, scope, enum.name)
            for value in enum.value:  # an enum's values belong to the scope around it
                self._add(file.name, scope, value.name)
        for service in file.service:
            self._add(file.name, scope, service.name)
            for method in service.method:
                self._add(file.name, f"{scope}{service.name}.", method.name)
        self._add_extensions(file.name, scope, file.extension)

    def _add_message(self, file: str, scope: str, message: MessageDescriptor) -> None:
        self._add(file, scope, message.name)
        inner = f"{scope}{message.name}."
        for name in [field.name for field in message.field] + [oneof.name for oneof in message.oneof_decl]:
            self._add(file, inner, name)
        for nested in message.nested_type:
            self._add_message(file, inner, nested)
        for enum in message.enum_type:
            self._add(file, inner, enum.name)
            for value in enum.value:
                self._add(file, inner, value.name)
        self._add_extensions(file, inner, message.extension)

    def _add_extensions(self, file: str, scope: str, extensions: Iterable[FieldDescriptor]) -> None:
        for extension in extensions:
            self._add(file, scope, extension.name)
            self.extensions.setdefault(extension.extendee.lstrip("."), {})[extension.number] = file

    def _add(self, file: str, scope: str, name: str) -> None:
        self.symbols.setdefault(scope + name, file)

    def closure(self, name: str) -> list[bytes]:
        """The descriptor of a file and of all that it imports, the file first."""
        found: dict[str, bytes] = {}
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.files:
                data, imports = self.files[name]
                found[name] = data
                waiting += imports
        return list(found.values())


def _answer(index: _Index, messages: Any, request: Any) -> Any:
    """The response to one request of either version; `messages` is that version's module."""
    answer: dict[str, Any] = {}
    file: str | None = None
    if request.list_services is not None:
        services = [messages.ServiceResponse(name=name) for name in sorted(index.services)]
        answer["list_services_response"] = messages.ListServiceResponse(service=services)
    elif request.all_extension_numbers_of_type is not None:
        name = request.all_extension_numbers_of_type
        if name in index.symbols:
            numbers = sorted(index.extensions.get(name, ()))
            answer["all_extension_numbers_response"] = messages.ExtensionNumberResponse(
                base_type_name=name, extension_number=numbers
            )
    elif request.file_by_filename is not None:
        file = request.file_by_filename
    elif request.file_containing_symbol is not None:
        file = index.symbols.get(request.file_containing_symbol.lstrip("."))
    elif request.file_containing_extension is not None:
        wanted = request.file_containing_extension
        file = index.extensions.get(wanted.containing_type, {}).get(wanted.extension_number)
    else:
        code = wire.StatusCode.INVALID_ARGUMENT
        answer["error_response"] = messages.ErrorResponse(error_code=code, error_message="the request asks for nothing")
    if file is not None and (closure := index.closure(file)):
        answer["file_descriptor_response"] = messages.FileDescriptorResponse(file_descriptor_proto=closure)
    elif not answer:
        code = wire.StatusCode.NOT_FOUND
        answer["error_response"] = messages.ErrorResponse(error_code=code, error_message="the server does not know it")
    return messages.ServerReflectionResponse(valid_host=request.host, original_request=request, **answer)


class _Reflection(ServerReflectionBase):
    inline = True

    def __init__(self, index: _Index) -> None:
        self._index = index

    def on_attach(self, servicers: Iterable[wire.Servicer]) -> None:
        for servicer in servicers:
            self._index.add(servicer.service)

    async def server_reflection_info(
        self, requests: AsyncIterator[v1.ServerReflectionRequest], context: wire.ServerContext
    ) -> AsyncIterator[v1.ServerReflectionResponse]:
        async for request in requests:
            yield _answer(self._index, v1, request)


class _ReflectionAlpha(ServerReflectionBaseAlpha):
    inline = True

    def __init__(self, index: _Index) -> None:
        self._index = index

    async def server_reflection_info(
        self, requests: AsyncIterator[v1alpha.ServerReflectionRequest], context: wire.ServerContext
    ) -> AsyncIterator[v1alpha.ServerReflectionResponse]:
        async for request in requests:
            yield _answer(self._index, v1alpha, request)
