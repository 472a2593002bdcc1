"""`Codec`, and the parsed that makes one per message class.

In: a class of betterproto2 or google.protobuf, or `bytes`. Out: its codec, whose source is written and compiled when
first used.
Imports the writers `encoder` and `decoder`.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from math import copysign
from typing import Any, Generic, TypeVar, cast

import betterproto2

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

    `codec_for` makes it for a class of betterproto2's or of google.protobuf's. For messages of another kind, make one
    with functions of your own, whatever they raise: `Codec(Reply, Reply.to_bytes, Reply.from_bytes)`.
    """

    __slots__ = ("_light_tags", "decode", "encode", "message_type", "source")

    encode: Callable[[M], bytes]
    decode: Callable[[bytes], M]
    message_type: type[M]
    source: str
    _light_tags: frozenset[int] | None

    def __init__(
        self,
        message_type: type[M],
        encode: Callable[[M], bytes] | None = None,
        decode: Callable[[bytes], M] | None = None,
    ) -> None:
        self.message_type = message_type
        self._light_tags = None  # until it is compiled; for functions that are not ours, for good
        if encode and decode:
            namespace = {"own_encode": encode, "own_decode": decode, "as_bytes": encoding.as_bytes, **_ERRORS}
            _run(self, _OWN_FUNCTIONS, namespace)

    def decoder(self, max_depth: int, max_decoded_bytes: int | None) -> Callable[[bytes], M]:
        """`decode` within other limits than its own (`CallConfig`). Functions that are not ours have their own."""
        decode: Callable[..., M] = self.decode
        if self._light_tags is None or (max_depth == decoding.MAX_DEPTH and max_decoded_bytes is None):
            return decode

        def bounded(data: bytes) -> M:
            return decode(data, 0, -1, None, max_depth, None if max_decoded_bytes is None else [max_decoded_bytes])

        return bounded

    def measured_decoder(self, max_depth: int, max_decoded_bytes: int | None) -> Callable[[bytes], tuple[M, int]]:
        """As `decoder`, for messages that may become large: gives how much memory they take, too, by the estimate that
        the limit is held by. What is not ours is taken to be as large as its encoding."""
        decode: Callable[..., M] = self.decode
        if self._light_tags is None:
            return lambda data: (decode(data), len(data))

        def measured(data: bytes) -> tuple[M, int]:
            limit_bytes = decoding.most_bytes(len(data), max_decoded_bytes)
            left = [limit_bytes]
            message = decode(data, 0, -1, None, max_depth, left)
            return message, len(data) + limit_bytes - left[0]

        return measured

    def is_heavy(self, data: bytes, limit_bytes: int) -> bool:
        """Whether Python has to go over more than `limit_bytes` of a message, so that decoding it would take long.

        Text and bytes do not count, nor does what other people's functions decode: they do not let other threads run.
        """
        return self._light_tags is not None and decoding.is_heavy(data, self._light_tags, limit_bytes)

    def __getattr__(self, name: str) -> Any:
        # Only reached while a slot is empty, so that a codec costs nothing until it is used.
        if name not in self.__slots__:
            raise AttributeError(f"'Codec' object has no attribute {name!r}")
        _compile(self)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"<Codec of {self.message_type.__name__}>"


_codecs: dict[type[Any], Codec[Any]] = {}


def codec_for(type_or_codec: type[M] | Codec[M]) -> Codec[M]:
    """The codec of a message class, of betterproto2's or google.protobuf's, or of `bytes`, which passes them through.
    The same one each time.

    A class with `SerializeToString` and `FromString` is one of google's. A Codec is returned as it is. ServiceError for
    anything else.
    """
    if isinstance(type_or_codec, Codec):
        return type_or_codec
    try:
        return _codecs[type_or_codec]
    except (KeyError, TypeError):
        pass
    codec = Codec(type_or_codec)
    if type_or_codec is not bytes and not is_message_class(type_or_codec):
        if not _is_google_class(type_or_codec):
            name = type_or_codec.__name__ if isinstance(type_or_codec, type) else repr(type_or_codec)
            raise ServiceError(
                f"{name} is neither a message class of betterproto2 or google.protobuf, nor bytes, nor a Codec"
            )
        codec = Codec(type_or_codec, _serializer(type_or_codec), cast(Any, type_or_codec).FromString)
    return _codecs.setdefault(type_or_codec, codec)


def _is_google_class(candidate: object) -> bool:
    """Whether this is a class with google.protobuf's two methods, of google's own or of whoever follows them."""
    return (
        isinstance(candidate, type)
        and not issubclass(candidate, betterproto2.Message)
        and callable(getattr(candidate, "SerializeToString", None))
        and callable(getattr(candidate, "FromString", None))
    )


def _serializer(message_type: type[Any]) -> Callable[[Any], bytes]:
    serialize: Callable[[Any], bytes] = message_type.SerializeToString

    def checked(message: Any) -> bytes:
        if message.__class__ is not message_type:
            encoding.check_class(message, message_type)
        return serialize(message)

    return checked


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
        data = own_encode(message)
        return data if data.__class__ is bytes else as_bytes(data)
    except (EncodeError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise EncodeError(f"{type(message).__name__}: {error}") from error


def decode(data):
    try:
        return own_decode(data)
    except (DecodeError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise DecodeError(str(error)) from error
'''


_RUNTIME: dict[str, Any] = {
    **{
        function.__name__: function
        for function in (
            encoding.as_bytes,
            encoding.as_list,
            encoding.check_class,
            decoding.enum_member,
            decoding.enum_members,
            decoding.join_spans,
            decoding.long_head,
            decoding.read_length,
            decoding.read_tag,
            decoding.read_varint,
            decoding.signed32,
            decoding.skip_unknown,
            decoding.too_deep,
            decoding.too_large,
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
        codec._light_tags = None
        _run(codec, _PASS_THROUGH, {"as_bytes": encoding.as_bytes, **_ERRORS})
        return
    fields = read_fields(message_type)
    codec._light_tags = frozenset(field.tag for field in fields if field.kind in {"string", "bytes"})
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
