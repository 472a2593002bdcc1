"""What messages a method takes: by descriptors, or by the classes of a method's codecs.

Imports `codec`, `errors`, `descriptors` and `message_types`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wire.codec.schema import Field, is_message_class, read_fields
from wire.errors import ServiceError
from wire.inspect.descriptors import KINDS, Methods, methods_of_file_set, methods_of_files
from wire.inspect.message_types import FieldType, MessageType


class Schemas:
    """The message types of methods by path, such as "/echo.v1.EchoService/Echo". What is added later wins."""

    __slots__ = ("_classes", "_methods")

    def __init__(self) -> None:
        self._methods: Methods = {}
        self._classes: dict[Any, MessageType] = {}

    def of(self, path: str) -> tuple[MessageType | None, MessageType | None]:
        """Types of the request and of the response; None for what is not known."""
        return self._methods.get(path, (None, None))

    def add_method(self, path: str, request: type[Any], response: type[Any]) -> None:
        """By the classes of its messages, betterproto2's or google.protobuf's. Those of others are shown as raw
        fields. A method that descriptors told of stays as it is: they know more."""
        if path not in self._methods:
            self._methods[path] = self._of_class(request), self._of_class(response)

    def add_files(self, files: Iterable[bytes]) -> None:
        """By serialized FileDescriptorProtos. Raises `ConfigurationError` for what is none."""
        self._methods |= methods_of_files(files)

    def add_file_set(self, data: bytes) -> None:
        """By a serialized FileDescriptorSet. Raises `ConfigurationError` for what is none, or names no service."""
        self._methods |= methods_of_file_set(data)

    def _of_class(self, message_class: type[Any]) -> MessageType | None:
        if not is_message_class(message_class):
            descriptor = getattr(message_class, "DESCRIPTOR", None)
            return None if descriptor is None else self._of_descriptor(descriptor)
        found = self._classes.get(message_class)
        if found is None:
            found = self._classes[message_class] = MessageType(message_class.__name__)
            try:
                fields = read_fields(message_class)
            except ServiceError:  # its fields stay raw
                fields = ()
            for each in fields:
                found.fields[each.number] = self._of_field(each)
        return found

    def _of_field(self, each: Field) -> FieldType:
        if each.key is not None and each.value is not None:
            entry = MessageType(f"{each.name} entry", {1: self._of_field(each.key), 2: self._of_field(each.value)})
            return FieldType(each.name, "message", entry)
        if each.kind == "message" and each.python_type is not None:
            return FieldType(each.name, "message", self._of_class(each.python_type))
        if each.kind == "enum" and each.python_type is not None:
            names = {int(one): str(one.name) for one in each.python_type}
            return FieldType(each.name, "enum", enum=names)
        return FieldType(each.name, each.kind)

    def _of_descriptor(self, descriptor: Any) -> MessageType:
        """google.protobuf's own object for a message."""
        found = self._classes.get(descriptor)
        if found is None:
            found = self._classes[descriptor] = MessageType(descriptor.full_name)
            for each in descriptor.fields:
                message = None if each.message_type is None else self._of_descriptor(each.message_type)
                enum = None if each.enum_type is None else {one.number: one.name for one in each.enum_type.values}
                secret = bool(getattr(each.GetOptions(), "debug_redact", False))
                found.fields[each.number] = FieldType(each.name, KINDS.get(each.type, ""), message, enum, secret)
        return found
