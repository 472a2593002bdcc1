from __future__ import annotations

import pytest
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import frames as f
from wire.config import Http2Config
from wire.http2.codes import ErrorCode
from wire.http2.h2.field_decoder import FieldDecoder
from wire.http2.h2.reader import PeerError
from wire.http2.tuned import decoder as decoder_module
from wire.http2.tuned.decoder import ConnectionFault, Decoder
from wire.http2.tuned.fields import MALFORMED, OVERSIZE, REQUEST

_NAMES = st.sampled_from([b"a", b"grpc-timeout", b"content-type", b"x-" + b"n" * 70, b"user-agent"])
_VALUES = st.sampled_from([b"", b"1S", b"application/grpc", b"v" * 140, b"\xff\x00 \t"]) | st.binary(max_size=9)
_TIMEOUTS = st.integers(0, 2000).map(lambda number: f"{5_000_000 + number}u")
_KINDS = st.sampled_from([HeaderTuple, NeverIndexedHeaderTuple])
_LISTS = st.lists(st.builds(lambda kind, *field: kind(*field), _KINDS, _NAMES, _VALUES), max_size=6)


def make(**changes: int) -> Decoder:
    return Decoder(False, changes.get("max_list_bytes", 100_000), changes.get("max_fields", 1000))


@given(st.lists(st.tuples(_LISTS, st.booleans(), st.sampled_from([None, None, 0, 40, 200, 4096])), max_size=8))
def test_decodes_what_hpack_encodes(blocks: list[tuple[list[HeaderTuple], bool, int | None]]) -> None:
    encoder, decoder = Encoder(), make()
    for headers, huffman, table_bytes in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        for _ in range(2):  # the second one may come from what is remembered
            block = encoder.encode(headers, huffman=huffman)
            section = decoder.sections.get(block) or decoder.decode(block)
            assert section.fields == tuple(tuple(field) for field in headers)


@given(
    st.lists(st.text("0123456789 abcXYZ~", max_size=12) | _TIMEOUTS, min_size=2, max_size=60),
    st.sampled_from([HeaderTuple, NeverIndexedHeaderTuple]),
    st.sampled_from(["grpc-timeout", "authorization", "x-" + "n" * 70]),
    st.integers(0, 3),
    st.sampled_from([None, 600, 4096]),
    st.booleans(),
)
def test_a_value_that_varies_among_fields_that_repeat(
    values: list[str], kind: type[HeaderTuple], name: str, at: int, table_bytes: int | None, huffman: bool
) -> None:
    encoder, decoder = Encoder(), make()
    if table_bytes is not None:
        encoder.header_table_size = table_bytes
    before = [HeaderTuple(*field) for field in f.REQUEST]
    rest = [HeaderTuple(b"x-%d" % number, b"value") for number in range(3)]
    for value in values:
        block = encoder.encode([*before, *rest[:at], kind(name, value), *rest[at:]], huffman=huffman)
        section = decoder.decode(block)
        assert section.fields == (*f.REQUEST, *rest[:at], (name.encode(), value.encode()), *rest[at:])
        assert section.kind == (MALFORMED if value != value.strip() else REQUEST)
        if section.model is not None:
            assert section.model.model is None
            assert section.model.varies_at == len(f.REQUEST) + at


@pytest.mark.parametrize("kind", [HeaderTuple, NeverIndexedHeaderTuple])
def test_nearly_all_of_the_blocks_with_a_value_that_varies_follow_the_pattern(kind: type[HeaderTuple]) -> None:
    encoder, decoder = Encoder(), make()
    found = 0
    for number in range(1000):
        fields = [*f.REQUEST, kind("grpc-timeout", f"{number}m"), HeaderTuple("user-agent", "grpc")]
        found += decoder.decode(encoder.encode(fields)).model is not None
    assert found > 950


def test_what_follows_the_pattern_is_remembered_when_it_comes_again() -> None:
    encoder, decoder = Encoder(), make()
    decoder.decode(encoder.encode(f.REQUEST))
    blocks = [
        encoder.encode([*f.REQUEST, NeverIndexedHeaderTuple("a", f"a longer token {number}")]) for number in range(1000)
    ]
    for block in blocks:
        assert decoder.decode(block).fields[-1][0] == b"a"
    assert len(decoder.sections) <= 2
    assert decoder.decode(blocks[-1]) is decoder.sections[blocks[-1]]
    assert decoder._pattern is not None
    assert len(decoder._pattern.seen) <= decoder_module.MAX_SEEN


def test_of_short_values_that_begin_alike_only_the_endings_are_decoded() -> None:
    encoder, decoder = Encoder(), make()

    def block(value: str) -> bytes:
        return encoder.encode([*f.REQUEST, NeverIndexedHeaderTuple("grpc-timeout", value)])

    decoder.decode(encoder.encode(f.REQUEST))
    for value in ("9998711u", "9998722u", "9998733u"):
        assert decoder.decode(block(value)).fields[-1] == (b"grpc-timeout", value.encode())
    assert decoder._pattern is not None
    assert decoder._pattern.text == b"9998"
    for value in ("9998741u", "1000000u", "9998752u", "99m", "9998763u", "9998774u", "9998785u"):
        assert decoder.decode(block(value)).fields[-1] == (b"grpc-timeout", value.encode())
    assert decoder._pattern.text == b"9998"
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(block("9998796u")[:-1] + b"\x00")
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


@given(st.integers(0, 100), st.sampled_from([0, 10_000, 1_000_000]), st.data())
def test_blocks_that_nearly_follow_the_pattern_agree_with_hpack(count: int, least: int, data: st.DataObject) -> None:
    encoder, reference, decoder = Encoder(), FieldDecoder(False, Http2Config()), make()
    for number in range(least, least + count):
        block = encoder.encode([*f.REQUEST, ("grpc-timeout", f"{number}m"), ("user-agent", "grpc")])
        reference.decode(block)
        decoder.decode(block)
    for number in range(least + count, least + count + 3):
        changed = bytearray(encoder.encode([*f.REQUEST, ("grpc-timeout", f"{number}m"), ("user-agent", "grpc")]))
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
        block = bytes(changed[: data.draw(st.integers(len(changed) - 1, len(changed)))])
        try:
            expected = tuple((bytes(name), bytes(value)) for name, value in reference.decode(block))
        except PeerError:
            with pytest.raises(ConnectionFault) as caught:
                decoder.decode(block)
            assert caught.value.code == ErrorCode.COMPRESSION_ERROR
            return
        assert decoder.decode(block).fields == expected


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_agrees_with_hpack_on_any_bytes(blocks: list[bytes]) -> None:
    reference, decoder = FieldDecoder(False, Http2Config()), make()
    for block in blocks:
        try:
            expected = tuple((bytes(name), bytes(value)) for name, value in reference.decode(block))
        except PeerError:
            with pytest.raises(ConnectionFault) as caught:
                decoder.decode(block)
            assert caught.value.code == ErrorCode.COMPRESSION_ERROR
            return
        assert decoder.decode(block).fields == expected


def test_a_block_seen_before_gives_the_same_section() -> None:
    decoder = make()
    block = f.block(f.REQUEST)
    assert decoder.sections.get(block) is None
    section = decoder.decode(block)
    assert decoder.sections[block] is section
    assert section.kind == REQUEST


def test_a_block_that_changes_the_table_is_not_remembered_and_drops_the_others() -> None:
    decoder = make()
    decoder.decode(f.literal(b"a", b"1", indexing=True))
    decoder.decode(f.indexed(62))
    assert decoder.sections[f.indexed(62)].fields == ((b"a", b"1"),)
    decoder.decode(f.literal(b"b", b"2", indexing=True))
    assert decoder.sections == {}
    assert decoder.decode(f.indexed(62)).fields == ((b"b", b"2"),)


def test_a_table_size_update_drops_the_remembered_blocks() -> None:
    decoder = make()
    decoder.decode(f.literal(b"a", b"1", indexing=True))
    decoder.decode(f.indexed(62))
    decoder.decode(f.table_size(0))
    with pytest.raises(ConnectionFault):
        decoder.decode(f.indexed(62))


def test_what_is_remembered_is_bounded() -> None:
    decoder = make()
    encoder = Encoder()
    for number in range(2000):
        headers = [NeverIndexedHeaderTuple(b"name-%d" % number, b"value-" * 3 + b"%d" % number)]
        decoder.decode(encoder.encode(headers))
    assert len(decoder.sections) <= decoder_module.MAX_SECTIONS
    assert len(decoder._strings) <= decoder_module.MAX_STRINGS
    assert len(decoder._ordinary_names) <= decoder_module.MAX_NAMES
    before = set(decoder.sections)
    decoder.decode(f.literal(b"a", bytes(decoder_module.MAX_SECTION_BYTES)))
    assert set(decoder.sections) == before
    for number in range(100):
        decoder.decode(f.literal(b"a", b"%04d" % number * 2500))
        held_bytes = sum(len(block) + len(section.fields[0][1]) for block, section in decoder.sections.items())
        assert held_bytes <= decoder_module.MAX_REMEMBERED_BYTES


def test_a_request_with_much_metadata_is_remembered() -> None:
    encoder, decoder = Encoder(), make()
    headers = [HeaderTuple(b"x-field-%d" % number, b"value %d" % number) for number in range(60)]
    decoder.decode(encoder.encode(headers))
    block = encoder.encode(headers)
    assert decoder.decode(block) is decoder.sections[block]


def test_a_smaller_table_must_be_confirmed_by_the_next_block() -> None:
    decoder = make()
    decoder.allow_table(100)
    with pytest.raises(ConnectionFault, match="smaller"):
        decoder.decode(f.indexed(2))
    decoder = make()
    decoder.allow_table(100)
    assert decoder.decode(f.table_size(100) + f.indexed(2)).fields == ((b":method", b"GET"),)
    assert decoder.decode(f.indexed(2)).fields == ((b":method", b"GET"),)


def test_a_table_larger_than_allowed_is_refused() -> None:
    with pytest.raises(ConnectionFault):
        make().decode(f.table_size(4097))


def test_a_section_past_the_limits_is_oversize_and_keeps_the_table_in_step() -> None:
    decoder = make(max_list_bytes=100)
    assert decoder.decode(f.literal(b"a", b"1", indexing=True) + f.literal(b"b", b"2" * 40)).kind == OVERSIZE
    assert decoder.decode(f.indexed(62)).fields == ((b"a", b"1"),)
    assert make(max_fields=3).decode(f.indexed(2) * 4).kind == OVERSIZE


@pytest.mark.parametrize("rest", [b"", b"\x80"])
def test_a_section_far_past_the_limits_costs_the_connection(rest: bytes) -> None:
    """Whatever comes behind the field that was one too many."""
    decoder = make(max_list_bytes=100)
    decoder.decode(f.literal(b"a", b"1" * 60, indexing=True))
    with pytest.raises(ConnectionFault) as caught:
        decoder.decode(f.indexed(62) * 5 + rest)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


def test_an_integer_may_be_longer_than_it_need_be_but_not_without_end() -> None:
    value = b"v" * 127
    assert make().decode(b"\x00\x01a\x7f\x80\x00" + value).fields == ((b"a", value),)
    with pytest.raises(ConnectionFault, match="too long"):
        make().decode(b"\x00\x01a\x7f" + b"\x80" * 9 + b"\x00" + value)
