"""Serialized descriptors → message types and methods, without google.protobuf.

The few fields that matter of descriptor.proto are described here by hand, and read with this package's own reader.
Imports `message_types`, `protobuf`, `records` and `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wire.errors import ConfigurationError
from wire.inspect.message_types import FieldType, MessageType
from wire.inspect.protobuf import read_message
from wire.inspect.records import Value

_MAX_FIELDS: Final = 1_000_000

KINDS: Final = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    10: "group",
    11: "message",
    12: "bytes",
    13: "uint32",
    14: "enum",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}
"""FieldDescriptorProto.Type."""


def _type(type_name: str, /, **fields: tuple[int, str | MessageType]) -> MessageType:
    return MessageType(
        type_name,
        {
            number: FieldType(each, kind) if isinstance(kind, str) else FieldType(each, "message", kind)
            for each, (number, kind) in fields.items()
        },
    )


# descriptor.proto.
_OPTIONS = _type("FieldOptions", debug_redact=(16, "bool"))
_FIELD = _type(
    "FieldDescriptorProto",
    name=(1, "string"),
    number=(3, "int32"),
    type=(5, "int32"),
    type_name=(6, "string"),
    options=(8, _OPTIONS),
)
_ENUM_VALUE = _type("EnumValueDescriptorProto", name=(1, "string"), number=(2, "int32"))
_ENUM = _type("EnumDescriptorProto", name=(1, "string"), value=(2, _ENUM_VALUE))
_MESSAGE = _type("DescriptorProto", name=(1, "string"), field=(2, _FIELD), enum_type=(4, _ENUM))
_MESSAGE.fields[3] = FieldType("nested_type", "message", _MESSAGE)
_METHOD = _type("MethodDescriptorProto", name=(1, "string"), input_type=(2, "string"), output_type=(3, "string"))
_SERVICE = _type("ServiceDescriptorProto", name=(1, "string"), method=(2, _METHOD))
_FILE = _type(
    "FileDescriptorProto",
    package=(2, "string"),
    message_type=(4, _MESSAGE),
    enum_type=(5, _ENUM),
    service=(6, _SERVICE),
)
_FILE_SET = _type("FileDescriptorSet", file=(1, _FILE))

Methods = dict[str, tuple[MessageType | None, MessageType | None]]
"""By path: types of the request and of the response."""


def methods_of_files(files: Iterable[bytes]) -> Methods:
    """The methods that serialized FileDescriptorProtos describe, dependencies among them. Raises `ConfigurationError`
    for what is none."""
    described = _Described()
    for data in files:
        described.read_file(_parse(data, _FILE))
    return described.methods()


def methods_of_file_set(data: bytes) -> Methods:
    """As `methods_of_files`, for a FileDescriptorSet as `protoc --descriptor_set_out` writes it."""
    described = _Described()
    for file in _nested(_parse(data, _FILE_SET), "file"):
        described.read_file(file)
    methods = described.methods()
    if not methods:
        raise ConfigurationError("no service is described here; `protoc --include_imports -o FILE x.proto` makes such")
    return methods


@dataclass(slots=True)
class _Described:
    """What was read so far; types refer to each other by name until all is read."""

    types: dict[str, MessageType] = field(default_factory=dict)
    enums: dict[str, dict[int, str]] = field(default_factory=dict)
    fields: list[tuple[MessageType, tuple[Value, ...]]] = field(default_factory=list)
    paths: list[tuple[str, str, str]] = field(default_factory=list)

    def read_file(self, file: tuple[Value, ...]) -> None:
        package = _text(file, "package")
        scope = f".{package}" if package else ""
        self._read_types(file, "message_type", scope)
        for service in _nested(file, "service"):
            name = f"{scope}.{_text(service, 'name')}".lstrip(".")
            for method in _nested(service, "method"):
                path = f"/{name}/{_text(method, 'name')}"
                self.paths.append((path, _text(method, "input_type"), _text(method, "output_type")))

    def _read_types(self, values: tuple[Value, ...], member: str, scope: str) -> None:
        for message in _nested(values, member):
            name = f"{scope}.{_text(message, 'name')}"
            self.types[name] = MessageType(name.lstrip("."))
            self.fields += [(self.types[name], each) for each in _nested(message, "field")]
            self._read_types(message, "nested_type", name)
        for enum in _nested(values, "enum_type"):
            self.enums[f"{scope}.{_text(enum, 'name')}"] = {
                _number(each, "number"): _text(each, "name") for each in reversed(list(_nested(enum, "value")))
            }

    def methods(self) -> Methods:
        for owner, each in self.fields:
            type_name = _text(each, "type_name")
            options = next(_nested(each, "options"), ())
            owner.fields[_number(each, "number")] = FieldType(
                _text(each, "name"),
                KINDS.get(_number(each, "type"), ""),
                self.types.get(type_name),
                self.enums.get(type_name),
                bool(_number(options, "debug_redact")),
            )
        return {path: (self.types.get(request), self.types.get(response)) for path, request, response in self.paths}


def _parse(data: bytes, message_type: MessageType) -> tuple[Value, ...]:
    values, problem = read_message(data, message_type, hide=False, max_fields=_MAX_FIELDS)
    if problem:
        raise ConfigurationError(f"these are no descriptors of protobuf: {problem}")
    return values


def _nested(values: Iterable[Value], name: str) -> Iterator[tuple[Value, ...]]:
    for value in values:
        if value.name == name and isinstance(value.content, tuple):
            yield value.content


def _text(values: Iterable[Value], name: str) -> str:
    return next((each.content for each in values if each.name == name and isinstance(each.content, str)), "")


def _number(values: Iterable[Value], name: str) -> int:
    return next((each.content for each in values if each.name == name and isinstance(each.content, int)), 0)
