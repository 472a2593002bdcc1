"""Names in descriptors: which there are, and which are like one that is not. In: google's FileDescriptorProtos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

_SHOWN = 3


def services_of(file: Any) -> list[str]:
    """Full names of the services in a file."""
    return [_within(file.package, service.name) for service in file.service]


def symbols_of(file: Any) -> Iterator[str]:
    """Full names of everything that a file declares: services, methods, messages, fields, oneofs, enums, their values,
    extensions."""
    for service in file.service:
        name = _within(file.package, service.name)
        yield name
        yield from (f"{name}.{method.name}" for method in service.method)
    waiting: list[tuple[str, Any]] = [(file.package, message) for message in file.message_type]
    yield from _enums(file.package, file.enum_type)
    yield from (_within(file.package, extension.name) for extension in file.extension)
    while waiting:
        scope, message = waiting.pop()
        name = _within(scope, message.name)
        yield name
        for each in (*message.field, *message.oneof_decl, *message.extension):
            yield f"{name}.{each.name}"
        yield from _enums(name, message.enum_type)
        waiting += [(name, nested) for nested in message.nested_type]


def _enums(scope: str, enums: Iterable[Any]) -> Iterator[str]:
    for enum in enums:
        yield _within(scope, enum.name)
        yield from (_within(scope, value.name) for value in enum.value)  # they belong to the scope around the enum


def _within(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: ": did you mean a, b or c?" with the names that are most like `name`, or nothing."""
    names = list(known)
    last = _last(name)
    same = [each for each in names if _last(each) == last or each.lower() == name.lower()]
    like = [each for each in get_close_matches(name, names, _SHOWN) if get_close_matches(last, [_last(each)])]
    found = list(dict.fromkeys([*same, *like]))[:_SHOWN]
    if not found:
        return ""
    shown = " or ".join(filter(None, [", ".join(found[:-1]), found[-1]]))
    return f": did you mean {shown}?"


def _last(name: str) -> str:
    return name.lower().replace("/", ".").rpartition(".")[2]
