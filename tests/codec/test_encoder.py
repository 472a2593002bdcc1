"""What encoding writes, and how it refuses values that a field cannot carry."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

import betterproto2
import pytest

from tests.codec.generated import kinds
from wire.codec import codec_for
from wire.errors import EncodeError

Color = kinds.Color


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (kinds.Scalars(), b""),
        (
            kinds.Scalars(
                int32_value=0, string_value="", bool_value=False, enum_value=Color.UNSPECIFIED, double_value=0.0
            ),
            b"",
        ),
        (kinds.Scalars(int32_value=-1), b"\x18" + b"\xff" * 9 + b"\x01"),
        (kinds.Scalars(enum_value=Color.NEGATIVE), b"\x80\x01" + b"\xff" * 9 + b"\x01"),
        (kinds.Scalars(enum_value=5), b"\x80\x01\x05"),  # type: ignore[arg-type]
        (kinds.Scalars(sint32_value=-1, sint64_value=-(1 << 63)), b"\x38\x01\x40" + b"\xff" * 9 + b"\x01"),
        (kinds.Scalars(double_value=-0.0), b"\x09\0\0\0\0\0\0\0\x80"),
        (kinds.Scalars(float_value=-0.0), b"\x15\0\0\0\x80"),
        (kinds.Scalars(uint64_value=(1 << 64) - 1), b"\x30" + b"\xff" * 9 + b"\x01"),
        (kinds.Scalars(bytes_value=bytearray(b"a")), b"\x7a\x01a"),  # type: ignore[arg-type]
        (kinds.Scalars(bytes_value=memoryview(b"ab").cast("H")), b"\x7a\x02ab"),  # type: ignore[arg-type]
        (kinds.Scalars(far_away=1, double_value=1), b"\x09\0\0\0\0\0\0\xf0\x3f\xf8\xff\xff\xff\x0f\x01"),
        (kinds.Optionals(int32_value=0, string_value="", bool_value=False), b"\x18\0\x68\0\x72\0"),
        (kinds.Optionals(message_value=kinds.Scalars()), b"\x8a\x01\0"),
        (kinds.Choice(number=0), b"\x08\0"),
        (kinds.Lists(int32_values=[0, 1, -1]), b"\x1a\x0c\0\1" + b"\xff" * 9 + b"\x01"),
        (kinds.Lists(int32_values=(1, 300)), b"\x1a\x03\x01\xac\x02"),  # type: ignore[arg-type]
        (kinds.Lists(sint32_values=[-1, 1]), b"\x3a\x02\x01\x02"),
        (kinds.Lists(bool_values=[True, False]), b"\x6a\x02\x01\x00"),
        (kinds.Lists(string_values=["", "a"]), b"\x72\0\x72\x01a"),
        (kinds.Lists(message_values=[kinds.OneInt()]), b"\x8a\x01\0"),
        (
            kinds.Lists(unpacked_values=[1]),
            b"\x92\x01\x01\x01",
        ),  # packed: betterproto2 does not know of [packed = false]
        (kinds.Maps(int32_map={0: 0}), b"\x0a\x04\x08\0\x10\0"),
        (kinds.Maps(bool_map={True: b"a"}), b"\x5a\x05\x08\1\x12\1a"),
        (
            kinds.Maps(string_map={"b": "", "a": ""}),
            b"\x62\x05\x0a\1b\x12\0\x62\x05\x0a\1a\x12\0",
        ),  # in the dict's order
        (kinds.OneBytes(payload=b"x" * 127), b"\x0a\x7f" + b"x" * 127),
        (kinds.OneBytes(payload=b"x" * 128), b"\x0a\x80\x01" + b"x" * 128),
        (kinds.OneBytes(payload=b"x" * 70_000), b"\x0a\xf0\xa2\x04" + b"x" * 70_000),
    ],
)
def test_bytes_written(message: betterproto2.Message, expected: bytes) -> None:
    assert codec_for(type(message)).encode(message) == expected


S, L, M, W = kinds.Scalars, kinds.Lists, kinds.Maps, kinds.WellKnown


@pytest.mark.parametrize(
    ("message_type", "field", "value", "complaint"),
    [
        (S, "int32_value (int32)", 1 << 31, "2147483648 is out of range"),
        (S, "int32_value (int32)", -(1 << 31) - 1, "-2147483649 is out of range"),
        (S, "int64_value (int64)", 1 << 63, "9223372036854775808 is out of range"),
        (S, "uint32_value (uint32)", -1, "-1 is out of range"),
        (S, "uint32_value (uint32)", 1 << 32, "4294967296 is out of range"),
        (S, "uint64_value (uint64)", 1 << 999, "an int of 1000 bits is out of range"),
        (S, "sint32_value (sint32)", 1 << 31, "2147483648 is out of range"),
        (S, "sint64_value (sint64)", 1 << 63, "9223372036854775808 is out of range"),
        (S, "fixed32_value (fixed32)", -1, "-1 is out of range"),
        (S, "sfixed64_value (sfixed64)", 1 << 63, "9223372036854775808 is out of range"),
        (S, "enum_value (Color)", 1 << 31, "2147483648 is out of range"),
        (S, "float_value (float)", 1e39, "the number is out of range"),
        (S, "double_value (double)", 10**400, "the number is out of range"),
        (S, "int32_value (int32)", 1.5, "a value of the type float does not fit"),
        (S, "int32_value (int32)", 300.0, "a value of the type float does not fit"),
        (S, "uint64_value (uint64)", "1", "a value of the type str does not fit"),
        (S, "sint64_value (sint64)", 2.0, "a value of the type float does not fit"),
        (S, "fixed64_value (fixed64)", 2.0, "a value of the type float does not fit"),
        (S, "int32_value (int32)", None, "a value of the type NoneType does not fit"),
        (S, "int32_value (int32)", "", "a value of the type str does not fit"),
        (S, "double_value (double)", "1", "a value of the type str does not fit"),
        (S, "float_value (float)", None, "a value of the type NoneType does not fit"),
        (S, "bool_value (bool)", 1, "a value of the type int does not fit"),
        (S, "bool_value (bool)", None, "a value of the type NoneType does not fit"),
        (S, "string_value (string)", b"x", "a value of the type bytes does not fit"),
        (S, "string_value (string)", None, "a value of the type NoneType does not fit"),
        (S, "string_value (string)", "secret\ud800", "the text holds a lone surrogate, which UTF-8 cannot carry"),
        (S, "bytes_value (bytes)", "x", "a value of the type str does not fit"),
        (S, "bytes_value (bytes)", [1], "a value of the type list does not fit"),
        (S, "bytes_value (bytes)", None, "a value of the type NoneType does not fit"),
        (S, "enum_value (Color)", "RED", "a value of the type str does not fit"),
        (kinds.OneBytes, "payload (bytes)", "x", "a value of the type str does not fit"),
        (kinds.Optionals, "int32_value (optional int32)", "x", "a value of the type str does not fit"),
        (L, "int32_values (repeated int32)", None, "a value of the type NoneType does not fit"),
        (L, "int32_values (repeated int32)", [1, "2"], "a value of the type str does not fit"),
        (L, "int32_values (repeated int32)", [1, 1.0], "a value of the type float does not fit"),
        (L, "int32_values (repeated int32)", [300, 1.0], "a value of the type float does not fit"),
        (L, "int32_values (repeated int32)", [1, 1 << 40], "1099511627776 is out of range"),
        (L, "int32_values (repeated int32)", b"ab", "a value of the type bytes does not fit"),
        (L, "fixed64_values (repeated fixed64)", [-1], "-1 is out of range"),
        (L, "bool_values (repeated bool)", [2], "a value of the type int does not fit"),
        (L, "string_values (repeated string)", "abc", "a value of the type str does not fit"),
        (L, "string_values (repeated string)", ["a", None], "a value of the type NoneType does not fit"),
        (L, "message_values (repeated OneInt)", [None], "a value of the type NoneType does not fit"),
        (M, "int32_map (map<int32, int32>)", {1: "a"}, "a value of the type str does not fit"),
        (M, "int32_map (map<int32, int32>)", {1 << 31: 1}, "2147483648 is out of range"),
        (M, "int32_map (map<int32, int32>)", [1], "a value of the type list does not fit"),
        (M, "message_map (map<string, Choice>)", {"a": None}, "a value of the type NoneType does not fit"),
        (kinds.Tree, "left (Tree)", kinds.OneInt(), "a value of the type OneInt does not fit"),
        (kinds.Tree, "left (Tree)", 5, "a value of the type int does not fit"),
        (W, "at (Timestamp)", datetime(2020, 1, 1), "the datetime has no time zone"),
        (W, "at (Timestamp)", 5, "a value of the type int does not fit"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_a_sentence_that_names_the_field(
    message_type: type[betterproto2.Message], field: str, value: Any, complaint: str
) -> None:
    message = message_type(**{field.split(maxsplit=1)[0]: value})
    with pytest.raises(EncodeError) as caught:
        codec_for(message_type).encode(message)
    assert str(caught.value) == f"{message_type.__name__}.{field}: {complaint}"


def test_the_innermost_message_is_named() -> None:
    inner: Any = kinds.Tree(left=kinds.Tree(label=5))  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match=r"^Tree\.label \(string\): a value of the type int does not fit$"):
        codec_for(kinds.Tree).encode(kinds.Tree(children=[inner]))


def test_two_members_of_a_oneof_are_refused() -> None:
    with pytest.raises(EncodeError, match=r"^Choice\.text \(string\): number of the same oneof is set as well$"):
        codec_for(kinds.Choice).encode(kinds.Choice(number=1, text="a"))


@pytest.mark.parametrize("wrong", [None, b"\x0a\x01x", kinds.OneBytes(payload=b"x"), "x", kinds.OneString])
def test_another_object_than_a_message_of_the_class_is_refused(wrong: Any) -> None:
    with pytest.raises(EncodeError, match="a message of the class OneString is expected, not "):
        codec_for(kinds.OneString).encode(wrong)


def test_a_message_of_a_subclass_is_encoded_as_the_class_says() -> None:
    class Mine(kinds.OneInt):
        pass

    assert codec_for(kinds.OneInt).encode(Mine(number=3)) == b"\x08\x03"


def test_ints_may_be_of_a_subclass() -> None:
    class Size(enum.IntEnum):
        SMALL = 7
        LARGE = 300

    assert codec_for(kinds.OneInt).encode(kinds.OneInt(number=Size.SMALL)) == b"\x08\x07"
    assert codec_for(kinds.OneInt).encode(kinds.OneInt(number=Size.LARGE)) == b"\x08\xac\x02"


def test_a_message_in_a_circle_is_refused() -> None:
    tree = kinds.Tree()
    tree.left = tree
    with pytest.raises(EncodeError, match="nested too deeply, or in a circle"):
        codec_for(kinds.Tree).encode(tree)


def test_a_message_that_lost_an_attribute_is_refused() -> None:
    message = kinds.OneInt()
    del message.number
    with pytest.raises(EncodeError, match=r"OneInt\.number"):
        codec_for(kinds.OneInt).encode(message)


def test_encoding_changes_nothing_in_the_message() -> None:
    message = kinds.WellKnown(at=datetime(2020, 1, 1, tzinfo=UTC), strings=["a"], bytes_value=bytearray(b"x"))  # type: ignore[arg-type]
    before = repr(message)
    assert codec_for(kinds.WellKnown).encode(message) == codec_for(kinds.WellKnown).encode(message)
    assert repr(message) == before
