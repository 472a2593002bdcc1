"""Metadata: what may be given, how it travels, and what comes out at the other end."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import MetadataError
from wire.metadata import Metadata, limited_fields

KEYS = st.from_regex(r"[a-z0-9_.][a-z0-9_.-]{0,20}", fullmatch=True).filter(
    lambda key: (
        not key.startswith("grpc-") and not key.endswith("-bin") and key not in {"te", "host", "upgrade", "connection"}
    )
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(lambda text: text.strip(" "))
PAIRS = st.lists(st.tuples(KEYS, VALUES) | st.tuples(KEYS.map("{}-bin".format), st.binary(max_size=40)), max_size=8)


@given(PAIRS)
def test_what_is_given_arrives(pairs: list[tuple[str, str | bytes]]) -> None:
    metadata = Metadata(pairs)
    assert list(metadata) == pairs
    assert Metadata.from_fields(metadata.to_fields()) == metadata


def test_keys_are_lowered_and_may_repeat() -> None:
    metadata = Metadata([("Key", "1"), ("other", "2"), ("KEY", "3")])
    assert metadata["key"] == "1"
    assert metadata.get_all("key") == ["1", "3"]
    assert metadata.get_all("none") == []
    assert metadata.get("none") is None
    assert metadata.get("none", "x") == "x"
    assert "other" in metadata
    assert len(metadata) == 3
    with pytest.raises(KeyError):
        metadata["none"]


def test_a_mapping_will_do_and_equal_metadata_hash_alike() -> None:
    assert Metadata({"a": "1"}) == Metadata([("a", "1")])
    assert len({Metadata({"a": "1"}), Metadata({"a": "1"}), Metadata({"a": "2"})}) == 2
    assert Metadata({"a": "1"}) != {"a": "1"}
    assert repr(Metadata({"a": "1"})) == "Metadata([('a', '1')])"


@pytest.mark.parametrize("value", [b"", b"\0", b"ab", b"abc"])
def test_binary_values_travel_unpadded(value: bytes) -> None:
    ((name, sent),) = Metadata({"k-bin": value}).to_fields()
    assert name == b"k-bin"
    assert b"=" not in sent
    assert base64.b64decode(sent + b"==") == value


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab")])
def test_other_bytes_like_values_will_do(value: Any) -> None:
    assert Metadata({"k-bin": value})["k-bin"] == b"ab"


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"YQ", [b"a"]),
        (b"YQ==", [b"a"]),
        (b"YQ,YWI", [b"a", b"ab"]),
        (b"YQ==, YWI=", [b"a", b"ab"]),
        (b"", [b""]),
        (b",", [b"", b""]),
    ],
)
def test_received_binary_values_may_be_padded_and_joined(value: bytes, parts: list[bytes]) -> None:
    assert Metadata.from_fields(((b"k-bin", value),)).get_all("k-bin") == parts


@pytest.mark.parametrize("value", [b"a", b"a*b", b"Y=Q=", b"\xff"])
def test_received_binary_values_must_be_base64(value: bytes) -> None:
    with pytest.raises(MetadataError):
        Metadata.from_fields(((b"k-bin", value),))


def test_the_fields_of_the_call_itself_are_no_metadata() -> None:
    fields = (
        (b":path", b"/s/m"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-status", b"0"),
        (b"user-agent", b"x"),
        (b"mine", b"1"),
    )
    assert list(Metadata.from_fields(fields)) == [("user-agent", "x"), ("mine", "1")]


@pytest.mark.parametrize(
    "pair",
    [
        ("", "v"),
        ("a b", "v"),
        ("ü", "v"),
        ("a:b", "v"),
        ("te", "v"),
        ("Content-Type", "v"),
        ("connection", "v"),
        ("grpc-timeout", "1S"),
        ("a", b"v"),
        ("a", 1),
        ("a", "ü"),
        ("a", "x\n"),
        ("a", " x"),
        ("a", "x "),
        ("a-bin", "v"),
        (b"a", "v"),
    ],
)
def test_what_cannot_travel_is_refused(pair: Any) -> None:
    with pytest.raises(MetadataError):
        Metadata([pair])


@pytest.mark.parametrize("pairs", ["ab", [("a",)], [("a", "b", "c")], [["a", "b"]]])
def test_what_is_no_list_of_pairs_is_refused(pairs: Any) -> None:
    with pytest.raises(MetadataError):
        Metadata(pairs)


def test_rich_errors_may_be_attached() -> None:
    assert Metadata({"grpc-status-details-bin": b"\x08\x05"}).to_fields() == ((b"grpc-status-details-bin", b"CAU"),)


def test_metadata_over_its_size_is_refused() -> None:
    """Counted as name + value + 32."""
    assert limited_fields({"abc": "12"}, 37) == ((b"abc", b"12"),)
    assert limited_fields(Metadata({"abc": "12"}), 37) == ((b"abc", b"12"),)
    with pytest.raises(MetadataError, match="37"):
        limited_fields({"abc": "12"}, 36)


def test_keys_are_found_in_capitals_too_and_values_have_a_type() -> None:
    metadata = Metadata([("A", "1"), ("b-bin", b"2"), ("a", "3")])
    assert metadata["A"] == metadata["a"] == metadata.get("A") == metadata.text("A") == "1"
    assert metadata.get_all("A") == ["1", "3"]
    assert metadata.binary("B-Bin") == b"2"
    assert "A" in metadata
    assert 1 not in metadata
    assert (metadata.text("b-bin"), metadata.binary("a"), metadata.text("c")) == (None, None, None)
