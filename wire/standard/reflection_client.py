"""The client's side of server reflection (gRPC's server-reflection.md): asks a running server what it serves.

In: a channel. Out: names of services, and serialized FileDescriptorProtos, for `dynamic.ReflectedSchema` or whoever
else reads descriptors. Asks grpc.reflection.v1, and v1alpha where a server has only that. Imports `wire` and the
generated messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

import wire
from wire.standard.generated.descriptor_index import FileDescriptor
from wire.standard.generated.grpc.reflection import v1, v1alpha
from wire.standard.generated.grpc.reflection.v1.reflection_wire import ServerReflectionStub
from wire.standard.generated.grpc.reflection.v1alpha.reflection_wire import ServerReflectionStub as AlphaStub

_decode_file = wire.codec_for(FileDescriptor).decode


class ReflectionClient:
    """Questions to one server. Files are kept: what was told once is not asked for again.

    `timeout` in seconds and `metadata` are those of each question. Every method raises `RpcError`: UNIMPLEMENTED from a
    server without reflection, NOT_FOUND for what a server does not know, or what else became of the call.
    """

    def __init__(
        self, channel: wire.Channel, *, timeout: float | None = None, metadata: wire.MetadataInput = ()
    ) -> None:
        self._stub: Any = ServerReflectionStub(channel)
        self._messages: Any = v1
        self._alpha: AlphaStub[wire.Channel] | None = AlphaStub(channel)
        """What is asked when v1 is not there; None once that is settled."""
        self._options: dict[str, Any] = {"timeout": timeout, "metadata": metadata}
        self._files: dict[str, tuple[bytes, list[str]]] = {}
        """By name: a descriptor and the names of the files that it imports."""
        self._absent: set[str] = set()

    async def services(self) -> list[str]:
        """Full names of the services, sorted."""
        answer = await self._ask(list_services="*")
        return sorted(service.name for service in answer.list_services_response.service)

    async def files_with(self, symbol: str) -> list[bytes]:
        """The file that declares a service, message, enum, method, field or extension of this full name, and all that
        it imports, dependencies first. A file that the server has not got is left out."""
        return await self._closure(await self._ask(file_containing_symbol=symbol))

    async def files_with_extensions(self, message: str) -> list[bytes]:
        """The files that declare extensions of a message, and all that they import, dependencies first."""
        try:
            numbers = (await self._ask(all_extension_numbers_of_type=message)).all_extension_numbers_response
        except wire.RpcError as error:
            if error.code in (wire.StatusCode.NOT_FOUND, wire.StatusCode.UNIMPLEMENTED):
                return []
            raise
        files: dict[bytes, None] = {}
        for number in numbers.extension_number:
            wanted = self._messages.ExtensionRequest(containing_type=message, extension_number=number)
            files |= dict.fromkeys(await self._closure(await self._ask(file_containing_extension=wanted)))
        return list(files)

    async def _ask(self, **question: Any) -> Any:
        """One question on a stream of its own: a server leaves out of a stream what it sent there before."""
        try:
            return await self._ask_once(question)
        except wire.RpcError as error:
            if error.code is not wire.StatusCode.UNIMPLEMENTED or self._alpha is None:
                raise
        self._stub, self._messages, self._alpha = self._alpha, v1alpha, None
        return await self._ask_once(question)

    async def _ask_once(self, question: dict[str, Any]) -> Any:
        request = self._messages.ServerReflectionRequest(**question)
        async with self._stub.server_reflection_info([request], **self._options) as call:
            async for answer in call:
                error = answer.error_response
                if error is not None:
                    raise wire.RpcError(_code(error.error_code), error.error_message)
                self._alpha = None
                return answer
        raise wire.RpcError(wire.StatusCode.INTERNAL, "server reflection ended without an answer")

    async def _closure(self, answer: Any) -> list[bytes]:
        wanted = self._keep(answer)
        graph: dict[str, list[str]] = {}
        while wanted:
            name = wanted.pop()
            if name in graph or name in self._absent:
                continue
            if name not in self._files:
                try:
                    self._keep(await self._ask(file_by_filename=name))
                except wire.RpcError as error:
                    if error.code is not wire.StatusCode.NOT_FOUND:
                        raise
                if name not in self._files:
                    self._absent.add(name)
                    continue
            graph[name] = self._files[name][1]
            wanted += graph[name]
        try:
            order: Iterable[str] = list(TopologicalSorter(graph).static_order())
        except CycleError:
            raise wire.RpcError(wire.StatusCode.INTERNAL, "the server's .proto files import each other") from None
        return [self._files[name][0] for name in order if name in self._files]

    def _keep(self, answer: Any) -> list[str]:
        """Names of the files in an answer, which are kept."""
        response = answer.file_descriptor_response
        names = []
        for data in [] if response is None else response.file_descriptor_proto:
            try:
                file = _decode_file(data)
            except wire.DecodeError as error:
                raise wire.RpcError(wire.StatusCode.INTERNAL, f"the server sent no descriptor: {error}") from None
            self._files.setdefault(file.name, (data, list(file.dependency)))
            names.append(file.name)
        return names


def _code(number: int) -> wire.StatusCode:
    try:
        return wire.StatusCode(number)
    except ValueError:
        return wire.StatusCode.UNKNOWN
