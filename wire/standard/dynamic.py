"""Calls without generated code: messages and methods made from descriptors, JSON in and out.

    async with wire.Channel("127.0.0.1:50051") as channel:
        schema = ReflectedSchema(channel)                                  # or Schema.of_file_set(data)
        method = await schema.method("echo.v1.EchoService/Echo")
        reply = await method.start(channel, schema.from_json(method.request, {"payload": "aGVsbG8="}))
        print(await schema.to_json(reply))

Messages are google.protobuf's, which the extra `client` brings. Imports `wire`, `any_json`, `proto_text`, `symbols` and
`reflection_client`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import wire
from wire.standard.any_json import restore_type_urls, settle_anys
from wire.standard.proto_text import proto_text
from wire.standard.reflection_client import ReflectionClient
from wire.standard.rich_errors import packed_details, standard_detail
from wire.standard.symbols import nearest, services_of, symbols_of

try:
    from google.protobuf import descriptor_pool, json_format, message_factory
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
    from google.protobuf.message import DecodeError, Message
except ImportError as missing:
    raise ImportError("dynamic messages need protobuf: pip install 'wire-grpc[client]'", name=missing.name) from None

_WELL_KNOWN = (
    "any api descriptor duration empty field_mask source_context struct timestamp type wrappers".split()  # noqa: SIM905
)
_UNKNOWN_FIELD = re.compile(
    r'.*Message type "([^"]*)" has no field named "([^"]*)" at .* Available Fields[^:]*: "(.*)"'
)
_BASE64 = re.compile(r"(?:[\w+/-]{4})*(?:[\w+/-]{2,3}=*)?", re.ASCII)  # RFC 4648 §4 and §5
_QUOTED = re.compile(r"'([^']*)'")
_UNKNOWN = (KeyError, TypeError, ValueError)  # what looking up a name that is not there, or is none, can raise


class SchemaError(wire.ConfigurationError):
    """Descriptors that cannot be used."""


class UnknownSymbolError(wire.ConfigurationError):
    """No service, method, message or other symbol has this name. The text names the nearest ones."""


@dataclass(frozen=True, slots=True)
class DynamicMethod:
    """A method as its descriptor says. `request` and `response` are classes of google.protobuf."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]
    streams_requests: bool
    streams_responses: bool

    @property
    def path(self) -> str:
        """As in :path, "/package.Service/Method"."""
        return f"/{self.service}/{self.name}"

    def start(self, channel: wire.Channel, request: Any, **options: Any) -> Any:
        """Start a call and return it: await it for one response, iterate over it for several.

        `request`: a message, or an (async) iterable of them where requests are streamed. Options: `timeout`,
        `metadata`, `wait_for_ready`, as of a stub's method.
        """
        kinds: dict[tuple[bool, bool], Any] = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        by_path = kinds[self.streams_requests, self.streams_responses]
        return by_path(self.path, self.request, self.response)(request, **options)


class Schema:
    """Services and messages by their descriptors.

    `files`: serialized FileDescriptorProtos, in any order. google/protobuf/*.proto need not be among them. Raises
    `SchemaError` for what is none, or lacks an import.
    """

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        """google.protobuf's own index of the files."""
        self._files: dict[str, FileDescriptorProto] = {}
        self._symbols: dict[str, str] = {}
        """Full name → name of its file."""
        self._any_holders: dict[str, bool] = {}
        for name in ("any", "wrappers"):
            self._add(f"google/protobuf/{name}.proto", {})
        self.add_files(files)

    @classmethod
    def of_file_set(cls, data: bytes) -> Schema:
        """By a serialized FileDescriptorSet, as `protoc --include_imports --descriptor_set_out` writes it."""
        return cls(files_of_set(data))

    def add_files(self, files: Iterable[bytes]) -> None:
        """Add serialized FileDescriptorProtos. Files that are there already stay as they are."""
        waiting: dict[str, FileDescriptorProto] = {}
        for data in files:
            try:
                file = FileDescriptorProto.FromString(data)
            except DecodeError:
                raise SchemaError("what should describe a .proto file is no FileDescriptorProto") from None
            if file.name not in self._files:
                waiting[file.name] = file
        while waiting:
            self._add(next(iter(waiting)), waiting)

    def files(self) -> list[bytes]:
        """All that is known so far, as serialized FileDescriptorProtos, dependencies first."""
        return [file.SerializeToString() for file in self._files.values()]

    def file_set(self) -> bytes:
        """All that is known so far, as a serialized FileDescriptorSet, dependencies first."""
        return bytes(FileDescriptorSet(file=self._files.values()).SerializeToString())

    def _add(self, name: str, waiting: dict[str, FileDescriptorProto]) -> None:
        """Add one of the files that wait, after all that it imports. Not by recursion: peers say what imports what."""
        stack = [name]
        opened: dict[str, FileDescriptorProto] = {}
        while stack:
            name = stack[-1]
            if name in self._files:
                stack.pop()
                continue
            file = opened.get(name)
            if file is None:
                file = waiting.pop(name, None) or _well_known_file(name)
                if file is None:
                    raise SchemaError(f"the descriptors are incomplete: {name} is imported, but is not among them")
                opened[name] = file
                for each in file.dependency:
                    if each in opened and each not in self._files:
                        raise SchemaError(f"the descriptors cannot be used: {each} imports itself, by {name}")
                stack += [each for each in file.dependency if each not in self._files]
                continue
            try:
                self.pool.Add(file)
            except _UNKNOWN as error:
                raise SchemaError(f"the descriptor of {name} cannot be used: {error}") from None
            self._files[name] = file
            for symbol in symbols_of(file):
                self._symbols.setdefault(symbol, name)
            stack.pop()

    # What is there. Coroutines, because `ReflectedSchema` may have to ask.

    async def services(self) -> list[str]:
        """Full names of the services, sorted."""
        return sorted(name for file in self._files.values() for name in services_of(file))

    async def load(self, symbol: str) -> None:
        """See to it that a symbol is known. Raises `UnknownSymbolError` when there is none of this name."""
        if symbol not in self._symbols:
            raise UnknownSymbolError(f"nothing is named {symbol}{nearest(symbol, self._symbols)}")

    async def methods(self, service: str) -> list[DynamicMethod]:
        """All methods of a service, in the order of its file. Raises `UnknownSymbolError`."""
        service = service.strip("./")
        await self.load(service)
        descriptor = self._find(self.pool.FindServiceByName, service)
        if descriptor is None:
            raise UnknownSymbolError(f"{service} is not a service")
        return [
            DynamicMethod(
                service,
                method.name,
                await self._message_class(method.input_type),
                await self._message_class(method.output_type),
                method.client_streaming,
                method.server_streaming,
            )
            for method in descriptor.methods
        ]

    async def method(self, name: str) -> DynamicMethod:
        """The method "package.Service/Method" or "package.Service.Method". Raises `UnknownSymbolError`."""
        plain = name.strip("./")
        separator = "/" if "/" in plain else "."
        service, _, method = plain.rpartition(separator)
        if not service:
            raise UnknownSymbolError(f"{name!r} is not of the form package.Service/Method{await self._like(plain)}")
        try:
            methods = await self.methods(service)
        except UnknownSymbolError:
            raise UnknownSymbolError(f"there is no service {service}{await self._like(plain)}") from None
        for each in methods:
            if each.name == method:
                return each
        own = [f"{service}/{each.name}" for each in methods]
        raise UnknownSymbolError(f"{service} has no method {method}{nearest(f'{service}/{method}', own)}")

    async def describe(self, symbol: str) -> str:
        """A symbol as .proto source; a method with its messages. Raises `UnknownSymbolError`."""
        symbol = symbol.strip("./").replace("/", ".")
        await self.load(symbol)
        names = [symbol]
        method = self._find(self.pool.FindMethodByName, symbol)
        if method is not None:
            names += dict.fromkeys((method.input_type.full_name, method.output_type.full_name))
        parts = []
        for name in names:
            file = self._files[self._symbols[name]]
            parts.append(f"// {name} in {file.name}\n{proto_text(self.pool, file, name)}")
        return "\n".join(parts)

    async def message(self, name: str) -> type[Message]:
        """The class of a message by its full name. Raises `UnknownSymbolError`."""
        name = name.strip(".")
        await self.load(name)
        descriptor = self._find(self.pool.FindMessageTypeByName, name)
        if descriptor is None:
            raise UnknownSymbolError(f"{name} is not a message")
        return await self._message_class(descriptor)

    async def _message_class(self, descriptor: Any) -> type[Message]:
        message_class: type[Message] = message_factory.GetMessageClass(descriptor)
        return message_class

    async def _like(self, name: str) -> str:
        """What to say of a method that is not there: the nearest that are."""
        known = [
            f"{service}/{method.name}" for service in await self.services() for method in await self.methods(service)
        ]
        return nearest(name, known)

    @staticmethod
    def _find(find: Any, name: str) -> Any:
        try:
            return find(name)
        except _UNKNOWN:
            return None

    # Protobuf's JSON mapping (https://protobuf.dev/programming-guides/json/).

    async def load_anys(self, value: Any) -> None:
        """Look up every "@type" in what `json.loads` gave, so that `from_json` knows them."""
        if isinstance(value, dict):
            type_url = value.get("@type")
            if isinstance(type_url, str):
                await self.message(type_url.rpartition("/")[2])
            for each in value.values():
                await self.load_anys(each)
        elif isinstance(value, list):
            for each in value:
                await self.load_anys(each)

    def from_json(self, message: type[Message], value: Any, *, ignore_unknown: bool = False) -> Message:
        """A message of what `json.loads` gave. `ignore_unknown`: fields that it has not are no error. Raises
        `EncodeError` for what does not fit."""
        result = message()
        name = message.DESCRIPTOR.full_name
        if not isinstance(value, dict) and not name.startswith("google.protobuf."):
            raise wire.EncodeError(f"this is no {name} in JSON: it must be an object")
        try:
            _check_base64(message.DESCRIPTOR, value)
            json_format.ParseDict(value, result, ignore_unknown_fields=ignore_unknown, descriptor_pool=self.pool)
        except (json_format.Error, AttributeError, RecursionError, *_UNKNOWN) as error:
            text = " ".join(str(error).split())
            found = _UNKNOWN_FIELD.match(text)
            if found is not None:
                text = f"{found[1]} has no field {found[2]}{nearest(found[2], _QUOTED.findall(found[3]))}"
            raise wire.EncodeError(f"this is no {name} in JSON: {text}") from None
        return result

    async def to_json(self, message: Message, *, defaults: bool = False) -> Any:
        """What `json.dumps` takes. `defaults`: with the fields that are not set.

        An Any whose type is not known, or that holds what is none, becomes {"@type": ..., "value": base64}.
        """
        copy = type(message)()
        copy.CopyFrom(message)
        changed = await settle_anys(copy, self.message, self._any_holders)
        try:
            value = json_format.MessageToDict(
                copy, always_print_fields_with_no_presence=defaults, descriptor_pool=self.pool
            )
        except (json_format.Error, RecursionError, *_UNKNOWN) as error:
            name = message.DESCRIPTOR.full_name
            raise wire.DecodeError(f"this {name} cannot be written as JSON: {' '.join(str(error).split())}") from None
        return restore_type_urls(value) if changed else value

    async def error_details(self, error: wire.RpcError) -> list[Any]:
        """The details of a rich error (`wire.standard.rich_error`) as JSON, each with its "@type"."""
        any_class = await self.message("google.protobuf.Any")
        details = []
        for type_url, value in packed_details(error):
            name = type_url.rpartition("/")[2]
            shown = None if name in self._symbols else standard_detail(name, value)
            if shown is None:
                details.append(await self.to_json(any_class(type_url=type_url, value=value)))
            else:
                details.append({"@type": type_url, **shown})
        return details


class ReflectedSchema(Schema):
    """What a server says of itself by reflection. Asked when something is wanted, and then kept.

    `timeout` and `metadata` are those of each question. Methods raise `RpcError`, too: UNIMPLEMENTED from a server
    without reflection.
    """

    def __init__(
        self, channel: wire.Channel, *, timeout: float | None = None, metadata: wire.MetadataInput = ()
    ) -> None:
        super().__init__()
        self._client = ReflectionClient(channel, timeout=timeout, metadata=metadata)
        self._services: list[str] | None = None
        self._extended: set[str] = set()

    async def services(self) -> list[str]:
        if self._services is None:
            self._services = await self._client.services()
        return list(self._services)

    async def load(self, symbol: str) -> None:
        if symbol in self._symbols:
            return
        try:
            self.add_files(await self._client.files_with(symbol))
        except wire.RpcError as error:
            if error.code is not wire.StatusCode.NOT_FOUND:
                raise
        if symbol not in self._symbols:
            await self.load_all()
        await super().load(symbol)

    async def load_all(self) -> None:
        """Ask for everything that the server's services need; what it knows of no longer is left out."""
        for service in await self.services():
            if service not in self._symbols:
                try:
                    self.add_files(await self._client.files_with(service))
                except wire.RpcError as error:
                    if error.code is not wire.StatusCode.NOT_FOUND:
                        raise

    async def _message_class(self, descriptor: Any) -> type[Message]:
        """Extensions of the message, and of what it holds, are asked for when the class is first wanted."""
        waiting = [descriptor]
        while waiting:
            each = waiting.pop()
            if each.full_name in self._extended:
                continue
            self._extended.add(each.full_name)
            if each.is_extendable:
                self.add_files(await self._client.files_with_extensions(each.full_name))
            waiting += [field.message_type for field in each.fields if field.message_type is not None]
        return await super()._message_class(descriptor)


def files_of_set(data: bytes) -> list[bytes]:
    """The serialized FileDescriptorProtos in a FileDescriptorSet. Raises `SchemaError`."""
    try:
        files = FileDescriptorSet.FromString(data).file
    except DecodeError:
        files = []
    if not files:
        raise SchemaError("this is not a FileDescriptorSet, as `protoc --include_imports -o FILE` writes it")
    return [file.SerializeToString() for file in files]


def _well_known_file(name: str) -> FileDescriptorProto | None:
    """A file that comes with protobuf; protoc has them built in, so that nobody has to hand them over."""
    folder, _, base = name.rpartition("/")
    stem = base.removesuffix(".proto")
    if folder != "google/protobuf" or stem not in _WELL_KNOWN:
        return None
    from importlib import import_module

    file = FileDescriptorProto()
    import_module(f"google.protobuf.{stem}_pb2").DESCRIPTOR.CopyToProto(file)
    return file


def _check_base64(descriptor: Descriptor, value: Any) -> None:
    """Refuse bytes that are no base64, or its alphabet for URLs: protobuf drops what does not fit without a word."""
    fields = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    for name, given in value.items() if isinstance(value, dict) else ():
        field = fields.get(name)
        if field is None or given is None:
            continue
        for each in given if isinstance(given, list) else [given]:
            if field.type == field.TYPE_MESSAGE:
                if field.message_type.GetOptions().map_entry and isinstance(each, dict):
                    for mapped in each.values():
                        _check_base64(field.message_type, {"value": mapped})
                elif not field.message_type.full_name.startswith("google.protobuf."):
                    _check_base64(field.message_type, each)
            elif field.type == field.TYPE_BYTES and not (isinstance(each, str) and _BASE64.fullmatch(_joined(each))):
                raise wire.EncodeError(
                    f"{descriptor.full_name}.{field.name} is bytes, in JSON base64: not {each!r:.60}"
                )


def _joined(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")
