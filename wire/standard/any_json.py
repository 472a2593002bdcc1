"""Any in protobuf's JSON, where a type may not be known. In: messages of google.protobuf. Imports only `wire`.

google.protobuf's json_format raises for an Any whose type it does not know, and with it for the whole message. Such an
Any is made one of BytesValue here, which JSON writes as base64, with its type's name kept in the type_url.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import wire

_ANY = "google.protobuf.Any"
_MARK = "\x00/google.protobuf.BytesValue"
"""Follows the type_url of an Any that stands in for one of a type that is not known."""


Find = Callable[[str], Awaitable[type[Any]]]
"""The class of a message by its full name. Raises `WireError` for what is not known."""


async def settle_anys(message: Any, find: Find, holders: dict[str, bool]) -> bool:
    """Look up the types of all Anys in a message. Those that cannot be shown are replaced; returns whether any was, for
    `restore_type_urls`. `holders`: kept by the caller between calls, as which types can hold an Any."""
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == _ANY:
        return await _settle_any(message, find, holders)
    if descriptor.full_name not in holders:
        holders[descriptor.full_name] = _may_hold_any(descriptor)
    if not holders[descriptor.full_name]:
        return False
    changed = False
    for each in _messages_in(message):
        changed |= await settle_anys(each, find, holders)
    return changed


async def _settle_any(message: Any, find: Find, holders: dict[str, bool]) -> bool:
    if not message.type_url and not message.value:
        return False
    from google.protobuf.message import DecodeError
    from google.protobuf.wrappers_pb2 import BytesValue

    try:
        inner = (await find(message.type_url.rpartition("/")[2])).FromString(message.value)
    except (wire.WireError, DecodeError):
        message.value = BytesValue(value=message.value).SerializeToString()
        message.type_url += _MARK
        return True
    changed = await settle_anys(inner, find, holders)
    if changed:
        message.value = inner.SerializeToString()
    return changed


def restore_type_urls(value: Any) -> Any:
    """JSON of a message that `settle_anys` has changed, with the type_urls that it came with."""
    if isinstance(value, dict):
        restored = {key: restore_type_urls(each) for key, each in value.items()}
        type_url = restored.get("@type")
        if isinstance(type_url, str) and type_url.endswith(_MARK):
            restored["@type"] = type_url.removesuffix(_MARK)
        return restored
    if isinstance(value, list):
        return [restore_type_urls(each) for each in value]
    return value


def _may_hold_any(descriptor: Any) -> bool:
    """Whether an Any, or an extension, which may hold one, can be somewhere in a message of this type."""
    seen = {descriptor.full_name}
    waiting = [descriptor]
    while waiting:
        each = waiting.pop()
        if each.full_name == _ANY or each.is_extendable:
            return True
        for field in each.fields:
            if field.message_type is not None and field.message_type.full_name not in seen:
                seen.add(field.message_type.full_name)
                waiting.append(field.message_type)
    return False


def _messages_in(message: Any) -> Iterator[Any]:
    """The messages that its fields hold."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from value.values()
        elif hasattr(value, "DESCRIPTOR"):
            yield value
        else:
            yield from value
