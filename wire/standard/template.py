"""A message with every field set, as an example of its JSON. In: a class of google.protobuf. Out: a message of it."""

from __future__ import annotations

from typing import Any

_LEFT_EMPTY = {"google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.ListValue"}


def filled(message_class: type[Any]) -> Any:
    """A message in which every field holds its default: once where it is repeated, a map with one entry, of a oneof the
    first. What holds its own type, however deep, is left out where it comes again."""
    return _fill(message_class(), ())


def _fill(message: Any, around: tuple[str, ...]) -> Any:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name in _LEFT_EMPTY:
        return message
    if descriptor.full_name == "google.protobuf.Value":
        message.string_value = ""
        return message
    around = (*around, descriptor.full_name)
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[0] is not field:
            continue
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), inner, around)
        elif inner is not None:
            if inner.full_name in around:
                continue
            target = getattr(message, field.name)
            if hasattr(target, "add"):
                _fill(target.add(), around)
            else:
                target.SetInParent()
                _fill(target, around)
        elif hasattr(getattr(message, field.name), "append"):
            getattr(message, field.name).append(_default(field))
        elif field.has_presence:
            setattr(message, field.name, field.default_value)
    return message


def _fill_map(target: Any, entry: Any, around: tuple[str, ...]) -> None:
    key = _default(entry.fields_by_name["key"])
    value = entry.fields_by_name["value"]
    if value.message_type is None:
        target[key] = _default(value)
    elif value.message_type.full_name not in around:
        _fill(target[key], around)


def _default(field: Any) -> Any:
    """What a field of this type holds when nothing was set, also where it is repeated."""
    if field.enum_type is not None:
        return field.enum_type.values[0].number
    return {
        field.CPPTYPE_STRING: b"" if field.type == field.TYPE_BYTES else "",
        field.CPPTYPE_BOOL: False,
        field.CPPTYPE_DOUBLE: 0.0,
        field.CPPTYPE_FLOAT: 0.0,
    }.get(field.cpp_type, 0)
