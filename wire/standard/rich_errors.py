"""The richer error model (google.rpc): errors with typed details, in the trailing metadata grpc-status-details-bin.

    raise rich_error(wire.StatusCode.INVALID_ARGUMENT, "no such colour", BadRequest(field_violations=[...]))

    except wire.RpcError as error:
        for violation in error_details(error, BadRequest): ...

The usual kinds of details are in `wire.standard.details`; a service may use messages of its own. Imports `wire` and the
generated messages.
"""

from __future__ import annotations

from typing import Any, TypeVar

import wire
from wire.standard.generated.google.protobuf import Any as AnyMessage
from wire.standard.generated.google.rpc import Status
from wire.standard.generated.message_pool import default_message_pool

D = TypeVar("D")

_KEY = "grpc-status-details-bin"
_PREFIX = "type.googleapis.com/"
_status_codec = wire.codec_for(Status)


def rich_error(
    code: wire.StatusCode, message: str, *details: Any, type_names: dict[type, str] | None = None
) -> wire.RpcError:
    """An error for a handler to raise, with messages beside its text.

    `details`: messages of `wire.standard.details`, of google.protobuf, or of betterproto2; `type_names` gives the full
    protobuf names of the latter's classes, which do not know them. Raises `wire.ConfigurationError` for a class whose
    name is not known.
    """
    packed = [
        AnyMessage(
            type_url=_PREFIX + _type_name(type(detail), type_names), value=wire.codec_for(type(detail)).encode(detail)
        )
        for detail in details
    ]
    status = Status(code=int(code), message=message, details=packed)
    return wire.RpcError(code, message, trailing_metadata=wire.Metadata([(_KEY, _status_codec.encode(status))]))


def error_details(error: wire.RpcError, message_type: type[D], type_name: str | None = None) -> list[D]:
    """The details of one type that came with an error, in order; none where it has none, or they cannot be read.

    `type_name`: the full protobuf name, for classes of betterproto2 that are not in `wire.standard.details`.
    """
    details = packed_details(error)
    if not details:
        return []
    name = type_name or _type_name(message_type, None)
    decode = wire.codec_for(message_type).decode
    try:
        return [decode(value) for url, value in details if url.rpartition("/")[2] == name]
    except wire.CodecError:
        return []


def packed_details(error: wire.RpcError) -> list[tuple[str, bytes]]:
    """All details that came with an error, in order: type URL and encoded message of each. None where they cannot be
    read."""
    data = None if error.trailing_metadata is None else error.trailing_metadata.get(_KEY)
    if not isinstance(data, bytes):
        return []
    try:
        return [(detail.type_url, detail.value) for detail in _status_codec.decode(data).details]
    except wire.CodecError:
        return []


def standard_detail(type_name: str, value: bytes) -> dict[str, Any] | None:
    """A message of `wire.standard.details` in protobuf's JSON mapping; None for other types, or bytes that are none."""
    message_type = default_message_pool.url_to_type.get(_PREFIX + type_name)
    if message_type is None or not type_name.startswith("google.rpc."):
        return None
    try:
        fields: dict[str, Any] = wire.codec_for(message_type).decode(value).to_dict()
    except wire.CodecError:
        return None
    return fields


def _type_name(message_type: type, type_names: dict[type, str] | None) -> str:
    if type_names is not None and message_type in type_names:
        return type_names[message_type]
    descriptor = getattr(message_type, "DESCRIPTOR", None)
    if descriptor is not None:  # a class of google.protobuf
        return str(descriptor.full_name)
    url = default_message_pool.type_to_url.get(message_type)
    if url is None:
        raise wire.ConfigurationError(f"the protobuf name of {message_type.__name__} is not known: give its full name")
    return url.removeprefix(_PREFIX)
