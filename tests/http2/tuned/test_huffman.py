from __future__ import annotations

from collections import deque

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


@given(st.binary(max_size=12), st.integers(0, 12))
def test_a_string_may_be_decoded_in_two_parts(data: bytes, cut: int) -> None:
    state, text = huffman.begin(data[:cut])
    ending = huffman.finish(state, data[cut:])
    assert (None if ending is None else text + ending) == huffman.decode(data)
    assert huffman.endings(state).get(data[cut:]) == ending


def test_the_endings_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huffman, "_kept", deque())
    monkeypatch.setattr(huffman, "MAX_ENDINGS", 10)
    states = [huffman.begin(_encode(text))[0] for text in (b"1", b"11", b"111")]
    kept = [len(huffman.endings(state)) for state in states]
    for number in range(100):
        huffman.finish(states[number % 3], _encode(b"1%d" % number)[1:])
    assert sum(len(huffman.endings(state)) for state in states) - sum(kept) <= 10
