"""Compression by name: there and back, bounded, and never anything but an RpcError for bad input."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import ConfigurationError
from wire.rpc.compression import ACCEPT_ENCODING, compressor, decompressor
from wire.status import RpcError, StatusCode

NAMES = [name for name in ACCEPT_ENCODING.decode().split(",") if name != "identity"]


def unfold(name: str, data: bytes, max_bytes: int = 1 << 20) -> bytes:
    decompress = decompressor(name.encode())
    assert decompress is not None
    return decompress(data, max_bytes)


@pytest.mark.parametrize("name", NAMES)
@given(message=st.binary(max_size=2000))
def test_there_and_back(name: str, message: bytes) -> None:
    assert unfold(name, compressor(name)(message)) == message


def test_the_formats_are_those_of_the_names() -> None:
    """compression.md: deflate is zlib's format (RFC 1950), not raw DEFLATE."""
    assert {"gzip", "deflate"} <= set(NAMES)
    assert gzip.decompress(compressor("gzip")(b"x")) == b"x"
    assert zlib.decompress(compressor("deflate")(b"x")) == b"x"


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_holds_to_the_byte(name: str) -> None:
    data = compressor(name)(bytes(1000))
    assert unfold(name, data, 1000) == bytes(1000)
    with pytest.raises(RpcError) as caught:
        unfold(name, data, 999)
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=100))
def test_what_is_not_compressed_is_internal(name: str, data: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        unfold(name, b"\xff" + data)
    assert caught.value.code is StatusCode.INTERNAL


@pytest.mark.parametrize("name", NAMES)
def test_what_was_cut_short_is_internal(name: str) -> None:
    data = compressor(name)(b"hello" * 100)
    for end in range(len(data)):
        with pytest.raises(RpcError) as caught:
            unfold(name, data[:end])
        assert caught.value.code is StatusCode.INTERNAL


def test_identity_needs_no_decompression_and_others_are_unknown() -> None:
    assert decompressor(b"identity") is None
    for name in (b"snappy", b"", b"GZIP", b"\xff"):
        with pytest.raises(KeyError):
            decompressor(name)
    with pytest.raises(ConfigurationError, match="snappy"):
        compressor("snappy")
