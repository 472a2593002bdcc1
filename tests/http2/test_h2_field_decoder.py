"""Field sections as `h2_sections` decodes, judges and remembers them."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import frames as f
from wire.config import Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.engine import HeaderList
from wire.http2.h2.field_decoder import FieldDecoder
from wire.http2.h2.reader import PeerError


def test_a_section_is_remembered_by_its_fields_and_kind() -> None:
    sections = FieldDecoder(False, Http2Config())
    first = sections.judge(f.REQUEST, trailers=False)
    assert isinstance(first, HeaderList)
    assert sections.judge((*f.REQUEST[:2], *f.REQUEST[2:]), trailers=False) is first
    assert sections.judge(f.REQUEST, trailers=True) == ErrorCode.PROTOCOL_ERROR


def test_only_small_sections_are_remembered() -> None:
    sections = FieldDecoder(False, Http2Config())
    large = (*f.REQUEST, (b"key", bytes(1000).replace(b"\0", b"x")))
    first = sections.judge(large, trailers=False)
    assert isinstance(first, HeaderList)
    assert sections.judge(large, trailers=False) is not first


def test_sections_that_vary_do_not_fill_the_memory() -> None:
    sections = FieldDecoder(True, Http2Config())
    for at in range(1000):
        sections.judge(((b"grpc-message", b"%d" % at),), trailers=True)
    assert len(sections._cache) <= 32


@pytest.mark.parametrize("level", [logging.DEBUG, logging.NOTSET])
def test_no_field_reaches_a_log(caplog: pytest.LogCaptureFixture, level: int) -> None:
    with caplog.at_level(level):
        FieldDecoder(False, Http2Config()).decode(f.block(((b"authorization", b"secret"),)))
    assert caplog.records == []


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_block_is_decoded_or_refused(blocks: list[bytes]) -> None:
    sections = FieldDecoder(False, Http2Config(max_header_list_bytes=1024))
    for block in blocks:
        with suppress(PeerError):
            assert all(type(name) is type(value) is bytes for name, value in sections.decode(block))
