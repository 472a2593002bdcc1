"""Descriptors as .proto source. In: a FileDescriptorProto of google.protobuf and a name in it. Out: text.

Comments are there when the descriptors carry them, as protoc's --include_source_info makes them; a server's reflection
mostly leaves them out. Options are shown by the pool's own google/protobuf/descriptor.proto, so that custom ones have
names. Imports nothing of wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_INDENT = "  "
_MAX_FIELD = (1 << 29) - 1
_MAX_ENUM = (1 << 31) - 1

# Numbers of fields in descriptor.proto, of which the paths in SourceCodeInfo are made.
_MESSAGES, _ENUMS, _SERVICES, _EXTENSIONS = 4, 5, 6, 7  # of a file
_FIELDS, _NESTED, _NESTED_ENUMS, _NESTED_EXTENSIONS, _ONEOFS = 2, 3, 4, 6, 8  # of a message
_PARTS = 2  # methods of a service, values of an enum

_SCALARS = (
    *(
        "double",
        "float",
        "int64",
        "uint64",
        "int32",
        "fixed64",
        "fixed32",
        "bool",
        "string",
        "group",
        "message",
        "bytes",
    ),
    *("uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64"),
)
"""By FieldDescriptorProto.Type, which counts from 1."""
_GROUP = 10
_REQUIRED, _REPEATED = 2, 3

Path = tuple[int, ...]


def proto_text(pool: Any, file: Any, symbol: str) -> str:
    """The declaration of `symbol`, a full name in `file`, as lines that end in a line break.

    A field, oneof or value of an enum is shown by itself. Raises `KeyError` for what the file does not declare.
    """
    return "".join(f"{line}\n" for line in _Writer(pool, file).declaration(symbol))


class _Writer:
    def __init__(self, pool: Any, file: Any) -> None:
        self._pool = pool
        self._file = file
        self._comments: dict[Path, str] = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }

    def declaration(self, symbol: str) -> Iterator[str]:
        file = self._file
        for name, lines in self._top_level():
            if symbol == name:
                return lines
        for index, service in enumerate(file.service):
            for number, method in enumerate(service.method):
                if symbol == f"{_within(file.package, service.name)}.{method.name}":
                    return self._method(method, (_SERVICES, index, _PARTS, number))
        for name, enum, path in self._all_enums():
            scope = name.rpartition(".")[0]
            for index, value in enumerate(enum.value):
                if symbol == _within(scope, value.name):
                    return self._value(value, (*path, _PARTS, index))
        for name, message, path in self._all_messages():
            for index, field in enumerate(message.field):
                if symbol == f"{name}.{field.name}":
                    return self._field(message, field, (*path, _FIELDS, index))
            for index, extension in enumerate(message.extension):
                if symbol == f"{name}.{extension.name}":
                    return self._extend(message, [extension], (*path, _NESTED_EXTENSIONS), index)
            for index, oneof in enumerate(message.oneof_decl):
                if symbol == f"{name}.{oneof.name}":
                    return self._oneof(message, index, path)
        raise KeyError(symbol)

    def _top_level(self) -> Iterator[tuple[str, Iterator[str]]]:
        file = self._file
        for index, service in enumerate(file.service):
            yield _within(file.package, service.name), self._service(service, (_SERVICES, index))
        for name, message, path in self._all_messages():
            yield name, self._message(name, message, path)
        for name, enum, path in self._all_enums():
            yield name, self._enum(enum, path)
        for index, extension in enumerate(file.extension):
            yield _within(file.package, extension.name), self._extend(None, [extension], (_EXTENSIONS,), index)

    def _all_messages(self) -> Iterator[tuple[str, Any, Path]]:
        waiting: list[tuple[str, Any, Path]] = [
            (_within(self._file.package, message.name), message, (_MESSAGES, index))
            for index, message in enumerate(self._file.message_type)
        ]
        while waiting:
            name, message, path = waiting.pop()
            yield name, message, path
            waiting += [
                (f"{name}.{nested.name}", nested, (*path, _NESTED, index))
                for index, nested in enumerate(message.nested_type)
            ]

    def _all_enums(self) -> Iterator[tuple[str, Any, Path]]:
        for index, enum in enumerate(self._file.enum_type):
            yield _within(self._file.package, enum.name), enum, (_ENUMS, index)
        for name, message, path in self._all_messages():
            for index, enum in enumerate(message.enum_type):
                yield f"{name}.{enum.name}", enum, (*path, _NESTED_ENUMS, index)

    # Declarations. Each gives lines without indentation.

    def _service(self, service: Any, path: Path) -> Iterator[str]:
        yield from self._comment(path)
        yield f"service {service.name} {{"
        yield from _indented(self._option_lines(service.options, "ServiceOptions"))
        for index, method in enumerate(service.method):
            yield from _indented(self._method(method, (*path, _PARTS, index)))
        yield "}"

    def _method(self, method: Any, path: Path) -> Iterator[str]:
        yield from self._comment(path)
        request = f"{'stream ' if method.client_streaming else ''}{method.input_type.lstrip('.')}"
        response = f"{'stream ' if method.server_streaming else ''}{method.output_type.lstrip('.')}"
        options = list(self._option_lines(method.options, "MethodOptions"))
        head = f"rpc {method.name}({request}) returns ({response})"
        if not options:
            yield f"{head};"
            return
        yield f"{head} {{"
        yield from _indented(options)
        yield "}"

    def _message(self, name: str, message: Any, path: Path, opening: str = "") -> Iterator[str]:
        """`opening`: what stands before the brace, of a group."""
        yield from () if opening else self._comment(path)
        yield opening or f"message {message.name} {{"
        yield from _indented(self._option_lines(message.options, "MessageOptions", hidden=("map_entry",)))
        own = {nested.name: nested for nested in message.nested_type}
        inside = {field.type_name for field in [*message.field, *message.extension] if field.type == _GROUP}
        shown: set[int] = set()
        for index, field in enumerate(message.field):
            if field.HasField("oneof_index") and not field.proto3_optional:
                if field.oneof_index not in shown:
                    shown.add(field.oneof_index)
                    yield from _indented(self._oneof(message, field.oneof_index, path))
            else:
                yield from _indented(self._field(message, field, (*path, _FIELDS, index)))
        for index, nested in enumerate(own.values()):
            if not nested.options.map_entry and f".{name}.{nested.name}" not in inside:
                yield from _indented(self._message(f"{name}.{nested.name}", nested, (*path, _NESTED, index)))
        for index, enum in enumerate(message.enum_type):
            yield from _indented(self._enum(enum, (*path, _NESTED_ENUMS, index)))
        if message.extension:
            yield from _indented(self._extend(message, message.extension, (*path, _NESTED_EXTENSIONS)))
        yield from _indented(_ranges("extensions", [(each.start, each.end - 1) for each in message.extension_range]))
        reserved = [(each.start, each.end - 1) for each in message.reserved_range]
        yield from _indented(_ranges("reserved", reserved))
        yield from _indented(_names(message.reserved_name))
        yield "}"

    def _oneof(self, message: Any, index: int, path: Path) -> Iterator[str]:
        oneof = message.oneof_decl[index]
        yield from self._comment((*path, _ONEOFS, index))
        yield f"oneof {oneof.name} {{"
        yield from _indented(self._option_lines(oneof.options, "OneofOptions"))
        for number, field in enumerate(message.field):
            if field.HasField("oneof_index") and field.oneof_index == index:
                yield from _indented(self._field(message, field, (*path, _FIELDS, number)))
        yield "}"

    def _field(self, message: Any, field: Any, path: Path) -> Iterator[str]:
        """`message`: that which declares it, or None for an extension in a file."""
        yield from self._comment(path)
        options = list(self._options(field.options, "FieldOptions"))
        if field.HasField("default_value"):
            quoted = _SCALARS[field.type - 1] in ("string", "bytes")
            default = json.dumps(field.default_value, ensure_ascii=False) if quoted else field.default_value
            options.insert(0, f"default = {default}")
        if field.HasField("json_name") and field.json_name != _json_name(field.name) and not field.extendee:
            options.append(f"json_name = {json.dumps(field.json_name)}")
        ending = f" [{', '.join(options)}]" if options else ""
        entry = _nested(message, field)
        if entry is not None and entry.options.map_entry:
            key, value = entry.field
            yield f"map<{_type(key)}, {_type(value)}> {field.name} = {field.number}{ending};"
            return
        head = self._label(field)
        if field.type == _GROUP and entry is not None:
            opening = f"{head}group {entry.name} = {field.number}{ending} {{"
            yield from self._message(field.type_name.lstrip("."), entry, path, opening)
            return
        yield f"{head}{_type(field)} {field.name} = {field.number}{ending};"

    def _label(self, field: Any) -> str:
        if field.label == _REPEATED:
            return "repeated "
        if field.label == _REQUIRED:
            return "required "
        implicit = field.HasField("oneof_index") or self._file.syntax not in ("", "proto2")
        return "optional " if field.proto3_optional or not implicit else ""

    def _extend(self, message: Any, extensions: Iterable[Any], path: Path, first: int = 0) -> Iterator[str]:
        extendee = None
        for index, extension in enumerate(extensions, first):
            if extension.extendee != extendee:
                if extendee is not None:
                    yield "}"
                extendee = extension.extendee
                yield f"extend {extendee.lstrip('.')} {{"
            yield from _indented(self._field(message, extension, (*path, index)))
        yield "}"

    def _enum(self, enum: Any, path: Path) -> Iterator[str]:
        yield from self._comment(path)
        yield f"enum {enum.name} {{"
        yield from _indented(self._option_lines(enum.options, "EnumOptions"))
        for index, value in enumerate(enum.value):
            yield from _indented(self._value(value, (*path, _PARTS, index)))
        reserved = [(each.start, each.end) for each in enum.reserved_range]
        yield from _indented(_ranges("reserved", reserved, _MAX_ENUM))
        yield from _indented(_names(enum.reserved_name))
        yield "}"

    def _value(self, value: Any, path: Path) -> Iterator[str]:
        yield from self._comment(path)
        options = list(self._options(value.options, "EnumValueOptions"))
        ending = f" [{', '.join(options)}]" if options else ""
        yield f"{value.name} = {value.number}{ending};"

    # What stands around them.

    def _comment(self, path: Path) -> Iterator[str]:
        for line in self._comments.get(path, "").rstrip("\n").split("\n") if path in self._comments else ():
            yield f"//{line}".rstrip()

    def _option_lines(self, options: Any, kind: str, hidden: Sequence[str] = ()) -> Iterator[str]:
        for option in self._options(options, kind, hidden):
            yield f"option {option};"

    def _options(self, options: Any, kind: str, hidden: Sequence[str] = ()) -> Iterator[str]:
        """`name = value` for each option that is set."""
        from google.protobuf import message_factory, text_format

        data = options.SerializeToString()
        if not data:
            return
        try:  # the pool's own class knows its extensions
            descriptor = self._pool.FindMessageTypeByName(f"google.protobuf.{kind}")
            options = message_factory.GetMessageClass(descriptor).FromString(data)
        except (KeyError, TypeError, ValueError):
            pass
        for field, value in options.ListFields():
            if field.name in hidden:
                continue
            name = f"({field.full_name})" if field.is_extension else field.name
            values = [value] if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else list(value)
            for each in values:
                if field.message_type is not None:
                    shown = f"{{ {text_format.MessageToString(each, as_one_line=True)} }}"
                elif field.enum_type is not None:
                    found = field.enum_type.values_by_number.get(each)
                    shown = str(each) if found is None else found.name
                elif isinstance(each, bool):
                    shown = "true" if each else "false"
                elif isinstance(each, (str, bytes)):
                    text = each if isinstance(each, str) else each.decode("latin-1")
                    shown = json.dumps(text, ensure_ascii=False)
                else:
                    shown = str(each)
                yield f"{name} = {shown}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}" for line in lines)


def _within(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _nested(message: Any, field: Any) -> Any:
    """The message inside `message` that a field's type is by its last name; None where there is none."""
    if message is not None and field.type_name:
        last = field.type_name.rpartition(".")[2]
        for nested in message.nested_type:
            if nested.name == last and (nested.options.map_entry or field.type == _GROUP):
                return nested
    return None


def _type(field: Any) -> str:
    if field.type_name:
        return str(field.type_name.lstrip("."))
    return _SCALARS[field.type - 1] if 0 < field.type <= len(_SCALARS) else "unknown"


def _json_name(name: str) -> str:
    """The one that protoc gives a field: "snake_case" becomes "snakeCase"."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _ranges(word: str, ranges: Iterable[tuple[int, int]], last: int = _MAX_FIELD) -> Iterator[str]:
    """Inclusive ranges as one statement."""
    shown = [str(low) if low == high else f"{low} to {'max' if high >= last else high}" for low, high in ranges]
    if shown:
        yield f"{word} {', '.join(shown)};"


def _names(names: Iterable[str]) -> Iterator[str]:
    quoted = [json.dumps(name) for name in names]
    if quoted:
        yield f"reserved {', '.join(quoted)};"
