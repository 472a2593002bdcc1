from __future__ import annotations

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from wire.http2.tuned import huffman

_encode = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode


@given(st.binary(max_size=60))
@example(bytes(range(256)))
def test_decodes_what_hpack_encodes(text: bytes) -> None:
    assert huffman.decode(_encode(text)) == text


@given(st.binary(max_size=12))
def test_agrees_with_hpack_on_any_bytes(data: bytes) -> None:
    try:
        expected: bytes | None = decode_huffman(data)
    except Exception:
        expected = None
    assert huffman.decode(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff", id="a byte of padding"),
        pytest.param(b"\xff\xff\xff\xff", id="end of string"),
        pytest.param(b"\x1e", id="padding of zeros"),
    ],
)
def test_refuses_what_rfc_7541_5_2_forbids(data: bytes) -> None:
    assert huffman.decode(data) is None
