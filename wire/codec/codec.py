"""`Codec`, and the memo that makes one per message class.

In: a betterproto2 class or `bytes`. Out: its codec, whose source is written and compiled when first used.
Imports the writers `encoder` and `decoder`.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from math import copysign
from typing import Any, Generic, TypeVar, cast

from wire.codec import decoding, encoding
from wire.codec.decoder import DecoderWriter
from wire.codec.encoder import EncoderWriter
from wire.codec.schema import Field, is_message_class, read_fields
from wire.codec.source import Page
from wire.codec.wellknown import conversions
from wire.errors import DecodeError, EncodeError, ServiceError

M = TypeVar("M")


class Codec(Generic[M]):
    """The encode and decode functions of one message class.

    `encode(message)` gives bytes or raises EncodeError, `decode(bytes)` gives a message or raises DecodeError. Both are
    plain functions, made when one of them (or `source`, their Python source) is first asked for: hold on to them where
    calls must be fast.

    `codec_for` makes it for a betterproto2 class. For messages of another kind, make one with functions of your own,
    whatever they raise: `Codec(Reply, Reply.SerializeToString, Reply.FromString)` for a class of google's.
    """

    __slots__ = ("decode", "encode", "message_type", "source")

    encode: Callable[[M], bytes]
    decode: Callable[[bytes], M]
    message_type: type[M]
    source: str

    def __init__(
        self,
        message_type: type[M],
        encode: Callable[[M], bytes] | None = None,
        decode: Callable[[bytes], M] | None = None,
    ) -> None:
        self.message_type = message_type
        if encode and decode:
            namespace = {"own_encode": encode, "own_decode": decode, **_ERRORS}
            _run(self, _OWN_FUNCTIONS, namespace)

    def __getattr__(self, name: str) -> Any:
        # Only reached while a slot is empty, so that a codec costs nothing until it is used.
        if name not in {"encode", "decode", "source"}:
            raise AttributeError(f"'Codec' object has no attribute {name!r}")
        _compile(self)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"<Codec of {self.message_type.__name__}>"


_codecs: dict[type[Any], Codec[Any]] = {}


def codec_for(type_or_codec: type[M] | Codec[M]) -> Codec[M]:
    """The codec of a betterproto2 message class, or of `bytes`, which passes them through. The same one each time.

    A Codec is returned as it is. ServiceError for anything else.
    """
    if isinstance(type_or_codec, Codec):
        return type_or_codec
    try:
        return _codecs[type_or_codec]
    except (KeyError, TypeError):
        pass
    if type_or_codec is not bytes and not is_message_class(type_or_codec):
        name = type_or_codec.__name__ if isinstance(type_or_codec, type) else repr(type_or_codec)
        raise ServiceError(f"{name} is neither a betterproto2 message class nor bytes nor a Codec")
    return _codecs.setdefault(type_or_codec, Codec(type_or_codec))


_ERRORS = {"EncodeError": EncodeError, "DecodeError": DecodeError}

_PASS_THROUGH = '''\
"""Bytes pass through as they are."""


def encode(message):
    if message.__class__ is bytes:
        return message
    try:
        return as_bytes(message)
    except TypeError as error:
        raise EncodeError(str(error)) from error


def decode(data):
    return data
'''

_OWN_FUNCTIONS = '''\
"""Functions that were given to Codec; what they raise becomes EncodeError or DecodeError."""


def encode(message):
    try:
        return own_encode(message)
    except Exception as error:
        raise EncodeError(f"{type(message).__name__}: {error}") from error


def decode(data):
    try:
        return own_decode(data)
    except Exception as error:
        raise DecodeError(str(error)) from error
'''


_RUNTIME: dict[str, Any] = {
    **{
        function.__name__: function
        for function in (
            encoding.as_bytes,
            encoding.as_list,
            encoding.check_class,
            decoding.check_number,
            decoding.join_occurrences,
            decoding.keep_unknown,
            decoding.read_length,
            decoding.read_tag,
            decoding.read_varint,
            decoding.signed32,
            decoding.skip_field,
            decoding.too_deep,
            encoding.varint,
            copysign,
        )
    },
    "new": object.__new__,
    "ENCODE_FAILURES": encoding.ENCODE_FAILURES,
    "DECODE_FAILURES": decoding.DECODE_FAILURES,
}


def _compile(codec: Codec[Any]) -> None:
    """Writes the source, runs it, and fills the codec's slots."""
    message_type = codec.message_type
    if message_type is bytes:
        _run(codec, _PASS_THROUGH, {"as_bytes": encoding.as_bytes, **_ERRORS})
        return
    fields = read_fields(message_type)
    page = Page({**_RUNTIME, "encode_error": None, "decode_error": None})
    for field in fields:
        page.names[field] = page.name(field.name)
        if field.key and field.value:
            page.names["entry", field] = page.name(f"read_{field.name}_entry")
            page.names[field.key], page.names[field.value] = "key", "value"
    for group in dict.fromkeys(field.group for field in fields if field.group):
        page.names["oneof", group] = page.name(group)
        page.names["member", group] = page.name(f"{group}_value")
        page.names["finish", group] = page.name(f"finish_{group}")
    _bind_classes(page, message_type, fields)

    page.line(
        f'"""Codec of {message_type.__module__}.{message_type.__qualname__}, written by wire.codec from its fields.'
    )
    if fields:
        page.line()
    for field in fields:
        page.line(f"    {field.declaration}")
    page.lines('"""', "", "")
    type_name = page.names[message_type]
    EncoderWriter(page, type_name, fields).write()
    page.lines("", "")
    DecoderWriter(page, type_name, fields).write()

    fields_by_line = page.fields_by_line

    def encode_error(message: object, error: Exception) -> EncodeError:
        return encoding.encode_error(message, _field_at(fields_by_line, error), error)

    def decode_error(error: Exception) -> DecodeError:
        return decoding.decode_error(message_type, _field_at(fields_by_line, error), error)

    page.namespace.update(encode_error=encode_error, decode_error=decode_error)
    _run(codec, page.text, page.namespace)


def _bind_classes(page: Page, message_type: type[Any], fields: tuple[Field, ...]) -> None:
    """Gives the message class and those of its fields their names, and the functions that handle these."""
    names = page.names
    names[message_type] = page.constant(message_type.__name__, message_type)
    names["encode", message_type], names["decode", message_type] = "encode", "decode"
    for field in [*fields, *(field.value for field in fields if field.value)]:
        used = field.python_type
        if used is None:
            continue
        if used not in names:
            names[used] = page.constant(used.__name__, used)
        if field.kind == "enum" and ("members", used) not in names:
            names["members", used] = page.constant(f"{names[used]}_members", EnumMembers(used))
        elif field.kind == "message" and ("encode", used) not in names:
            for action in ("encode", "decode"):
                names[action, used] = name = page.name(f"{action}_{names[used]}")
                page.namespace[name] = _on_first_call(page.namespace, name, used, action)
            if field.converted:
                to_python, from_python = conversions(used)
                names["to_python", used] = page.constant(f"python_of_{names[used]}", to_python)
                names["from_python", used] = page.constant(f"{names[used]}_of_python", from_python)


def _on_first_call(namespace: dict[str, Any], name: str, message_type: type[Any], action: str) -> Callable[..., Any]:
    """A stand-in for another class's function, which compiles that class when called and hands over its place."""

    def compile_and_call(*arguments: Any) -> Any:
        function = namespace[name] = getattr(codec_for(message_type), action)
        return function(*arguments)

    return compile_and_call


class EnumMembers(dict[int, Any]):
    """Number → member of a betterproto2 enum; a number that the enum does not know becomes a nameless member."""

    def __init__(self, enum: type[Any]) -> None:
        super().__init__({member.value: member for member in enum.__members__.values()})
        self._enum = enum

    def __missing__(self, number: int) -> Any:
        return self._enum(number)


def _field_at(fields_by_line: list[Field | None], error: Exception) -> Field | None:
    """The field that the generated function was dealing with when the exception passed through it."""
    assert error.__traceback__ is not None
    return fields_by_line[error.__traceback__.tb_lineno - 1]


def _run(codec: Codec[Any], source: str, namespace: dict[str, Any]) -> None:
    # The name is entered in linecache so that tracebacks and debuggers show the generated lines.
    filename = f"<wire.codec {codec.message_type.__module__}.{codec.message_type.__qualname__}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), namespace)
    codec.source = source
    codec.encode = cast(Any, namespace["encode"])
    codec.decode = cast(Any, namespace["decode"])
