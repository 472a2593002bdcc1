"""`codec_for` and `Codec`: one codec per class, made when first used, readable, and for nothing else."""

from __future__ import annotations

import dataclasses
import linecache
import threading
import typing
import warnings
from typing import Any

import betterproto2
import pytest
from google.protobuf import wrappers_pb2

from tests.codec.generated import kinds
from wire.codec import Codec, codec_for
from wire.errors import ConfigurationError, DecodeError, EncodeError, ServiceError


def test_a_class_has_one_codec_and_a_codec_is_its_own() -> None:
    codec = codec_for(kinds.OneBytes)
    assert codec is codec_for(kinds.OneBytes)
    assert codec is codec_for(codec)
    assert codec.message_type is kinds.OneBytes


def test_nothing_is_compiled_before_it_is_used() -> None:
    made = dataclasses.make_dataclass(
        "Fresh",
        [("other", "Missing | None", betterproto2.field(1, betterproto2.TYPE_MESSAGE, optional=True))],
        bases=(betterproto2.Message,),
    )
    codec: Codec[Any] = codec_for(made)
    with pytest.raises(ServiceError, match="Fresh refers to a type that is not defined: name 'Missing'"):
        _ = codec.encode


def test_nested_classes_are_compiled_when_they_are_met() -> None:
    compiled = {name for name in linecache.cache if name.startswith("<wire.codec")}
    codec = Codec(kinds.Tree)
    assert codec.decode(b"\x0a\x01x") == kinds.Tree(label="x")
    assert codec.encode(kinds.Tree(branch=kinds.Branch(weight=1))) == b"\x22\x02\x10\x01"
    added = {name for name in linecache.cache if name.startswith("<wire.codec")} - compiled
    assert added <= {"<wire.codec tests.codec.generated.kinds.Tree>", "<wire.codec tests.codec.generated.kinds.Branch>"}


def test_threads_that_meet_on_a_new_class_all_get_a_working_codec() -> None:
    codec: Codec[kinds.Scalars] = Codec(kinds.Scalars)
    barrier = threading.Barrier(4)
    results: list[object] = []

    def use() -> None:
        barrier.wait()
        results.append(codec.decode(b"\x18\x05"))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [kinds.Scalars(int32_value=5)] * 4


def test_the_source_names_every_field_and_is_what_runs() -> None:
    codec = codec_for(kinds.Choice)
    assert "    int32 number = 1\n" in codec.source
    assert "# Scalars scalars = 3" in codec.source
    function: Any = codec.decode
    assert "".join(linecache.getlines(function.__code__.co_filename)) == codec.source


@pytest.mark.parametrize(
    "wrong", [int, str, object(), None, 5, "EchoRequest", [], betterproto2.Message, kinds.Color, dict]
)
def test_what_is_not_a_message_class_is_refused_in_one_sentence(wrong: Any) -> None:
    with pytest.raises(ServiceError, match="is neither a message class of betterproto2") as caught:
        codec_for(wrong)
    assert isinstance(caught.value, ConfigurationError)


def test_bytes_pass_through() -> None:
    codec = codec_for(bytes)
    message = b"anything"
    assert codec.encode(message) is message
    assert codec.decode(message) is message
    assert codec.encode(bytearray(b"abc")) == b"abc"  # type: ignore[arg-type]
    assert "def encode" in codec.source
    with pytest.raises(EncodeError, match="bytes are expected, not str"):
        codec.encode("text")  # type: ignore[arg-type]


def test_googles_classes_are_taken_as_they_are_and_raise_nothing_but_our_errors() -> None:
    google: Any = wrappers_pb2.Int32Value
    codec = codec_for(google)
    assert codec is codec_for(google)
    assert codec.encode(google(value=3)) == b"\x08\x03"
    assert codec.decode(b"\x08\x03").value == 3
    with pytest.raises(DecodeError):
        codec.decode(b"\x08")
    for wrong in (3, None, wrappers_pb2.StringValue(value="x"), kinds.OneInt()):
        with pytest.raises(EncodeError, match="a message of the class Int32Value is expected"):
            codec.encode(wrong)


def test_a_codec_can_have_functions_of_its_own() -> None:
    google: Any = wrappers_pb2.Int32Value
    codec = Codec(google, google.SerializeToString, google.FromString)
    assert codec_for(codec) is codec
    assert codec.encode(google(value=3)) == b"\x08\x03"
    assert codec.decode(b"\x08\x03").value == 3
    with pytest.raises(DecodeError, match=r"Int32Value|Truncated message"):  # in C; in Python, where protobuf has no C
        codec.decode(b"\x08")
    with pytest.raises(EncodeError, match="int"):
        codec.encode(3)


def test_names_of_fields_never_meet_those_of_the_generated_functions() -> None:
    inner = kinds.Names(len=7, bytes=0, self=[1, 300], entry={1: 2})
    message = kinds.Names(
        data=1, pos=2, size=b"3", message="4", tag=5, decode=inner, class_=8, unknown="9", object=inner
    )
    message.varint = message.new = message.read_tag = message.tag_8 = message.encode_error = message.copysign = 300
    codec = codec_for(kinds.Names)
    assert codec.encode(message) == bytes(message)
    assert codec.decode(bytes(message)) == message


def test_a_decoder_keeps_within_the_limits_that_it_is_given() -> None:
    tree = codec_for(kinds.Tree)
    assert tree.decoder(100, None) is tree.decode
    assert tree.decoder(2, None)(b"\x12\x02\x12\x00") == kinds.Tree(left=kinds.Tree(left=kinds.Tree()))
    with pytest.raises(DecodeError, match="nested deeper than the limit"):
        tree.decoder(1, None)(b"\x12\x02\x12\x00")
    assert len(tree.decoder(100, 10_000)(b"\x1a\x00" * 20).children) == 20
    with pytest.raises(DecodeError, match="more memory than the limit"):
        tree.decoder(100, 10_000)(b"\x1a\x00" * 600)
    assert codec_for(bytes).decoder(1, 1)(b"anything") == b"anything"


@pytest.mark.parametrize(
    ("message_type", "data", "heavy"),
    [
        (kinds.OneBytes, b"\x0a\x80\x40" + bytes(8192), False),  # a field is copied in one go
        (kinds.Tree, b"\x0a\x80\x40" + bytes(8192), False),
        (kinds.Tree, b"\x12\x80\x40" + bytes(8192), True),
        (kinds.Tree, b"\x1a\x00" * 1000, True),
        (kinds.Tree, b"\x0a\x00" * 1000, True),  # many fields are heavy, whatever they hold
        (kinds.Tree, b"\x10\x01" * 1000, True),
        (kinds.Tree, b"\x13" + b"\x08\x01" * 4000 + b"\x14", True),
        (kinds.Tree, b"\x0a\x01a" * 10, False),
        (kinds.Tree, b"\x00" * 8192, False),  # decode stops where the bytes are broken
        (bytes, b"\x1a\x00" * 1000, False),
        (wrappers_pb2.Int32Value, b"\x08\x00" * 1000, False),
    ],
)
def test_a_message_is_heavy_by_what_python_must_go_over(message_type: Any, data: bytes, heavy: bool) -> None:
    assert codec_for(message_type).is_heavy(data, 4096) is heavy


def test_decoding_a_deprecated_message_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = codec_for(kinds.Old).decode(b"\x08\x07")
        assert message.number == 7
        assert codec_for(kinds.Old).encode(message) == b"\x08\x07"


def test_classes_of_the_same_name_are_told_apart() -> None:
    inner = betterproto2.field(1, betterproto2.TYPE_MESSAGE, optional=True)
    own = betterproto2.field(2, betterproto2.TYPE_MESSAGE, optional=True)
    outer: Any = dataclasses.make_dataclass("OneInt", [], bases=(betterproto2.Message,))
    outer = dataclasses.make_dataclass(
        "OneInt",
        [("inner", kinds.OneInt | None, inner), ("own", outer | None, own)],
        bases=(betterproto2.Message,),
    )
    empty = typing.get_type_hints(outer)["own"].__args__[0]
    message = outer(inner=kinds.OneInt(number=4), own=empty())
    encoded = b"\x0a\x02\x08\x04\x12\x00"
    assert codec_for(outer).encode(message) == encoded
    decoded = codec_for(outer).decode(encoded)
    assert (type(decoded.inner), type(decoded.own)) == (kinds.OneInt, empty)
