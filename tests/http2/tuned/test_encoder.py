from __future__ import annotations

from hpack import Decoder, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import frames as f
from wire.http2.engine import HeaderList
from wire.http2.tuned import encoder as encoder_module
from wire.http2.tuned.encoder import Encoder

_FIELDS = st.tuples(
    st.sampled_from([b":path", b"content-type", b"a", b"b", b"cookie", b"authorization", b"n" * 130]),
    st.sampled_from([b"", b"x", b"/", b"y" * 126, b"y" * 127, b"z" * 300]) | st.binary(max_size=4),
)
_LISTS = [
    HeaderList(tuple(fields), shared=shared)
    for fields, shared in [
        (f.REQUEST, True),
        (f.RESPONSE, True),
        (f.TRAILERS, False),
        (((b"x-long", b"v" * 2000),), True),
        (((b"x-longer", b"w" * 2000),), True),
        (((b"x-longest", b"w" * 2000),), True),
        ((), True),
    ]
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_LISTS)
            | st.builds(lambda fields: HeaderList(tuple(fields)), st.lists(_FIELDS, max_size=4)),
            st.lists(_FIELDS, max_size=3),
            st.sampled_from([None, None, None, 0, 64, 500, 4096, 100_000]),
        ),
        max_size=12,
    )
)
def test_hpack_decodes_every_block_whatever_was_sent_before(
    sends: list[tuple[HeaderList, list[tuple[bytes, bytes]], int | None]],
) -> None:
    encoder, decoder = Encoder(), Decoder()
    for headers, extra, table_bytes in sends:
        if table_bytes is not None:
            encoder.limit_table(table_bytes)
            decoder.max_allowed_table_size = table_bytes
        block = encoder.encode(headers, tuple(extra))
        assert [tuple(field) for field in decoder.decode(block, raw=True)] == [*headers.fields, *extra]
        assert decoder.header_table_size <= 4096


def test_a_shared_list_shrinks_to_a_byte_a_field() -> None:
    encoder = Encoder()
    headers = HeaderList(f.REQUEST, shared=True)
    assert len(encoder.encode(headers)) > 60
    assert not encoder.keeps(headers)
    assert len(encoder.encode(headers)) == len(f.REQUEST)
    assert encoder.keeps(headers)
    assert encoder.encode(headers) is encoder.encode(headers)


def test_an_insertion_drops_the_blocks_made_before() -> None:
    encoder = Encoder()
    first, second = HeaderList(f.RESPONSE, shared=True), HeaderList(f.TRAILERS, shared=True)
    encoder.encode(first)
    encoder.encode(first)
    encoder.changed = False
    encoder.encode(second)
    assert encoder.changed
    assert not encoder.keeps(first)


def test_a_name_that_is_not_shared_is_sent_once() -> None:
    encoder = Encoder()
    headers = HeaderList((), shared=True)
    assert b"grpc-timeout" in encoder.encode(headers, ((b"grpc-timeout", b"1S"),))
    later = encoder.encode(headers, ((b"grpc-timeout", b"2S"),))
    assert b"grpc-timeout" not in later
    assert later.endswith(b"2S")


def test_credentials_are_never_indexed() -> None:
    encoder, decoder = Encoder(), Decoder()
    for name in (b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"):
        for _ in range(2):
            (field,) = decoder.decode(encoder.encode(HeaderList(((name, b"secret"),))), raw=True)
            assert isinstance(field, NeverIndexedHeaderTuple)


def test_a_full_table_evicts_nothing() -> None:
    encoder, decoder = Encoder(), Decoder()
    first = HeaderList(f.REQUEST, shared=True)
    decoder.decode(encoder.encode(first))
    for number in range(100):
        headers = HeaderList(((b"x", b"%090d" % number),), shared=True)
        for _ in range(2):
            assert decoder.decode(encoder.encode(headers), raw=True) == list(headers.fields)
    assert len(encoder.encode(first)) == len(f.REQUEST)


def test_what_is_kept_is_bounded() -> None:
    encoder = Encoder()
    for number in range(encoder_module.MAX_BLOCKS * 2 + 100):
        encoder.encode(HeaderList(((b":status", b"200"),) * (number + 1), shared=True))
        encoder.encode(HeaderList(((b"name-%d" % number, b"v"),)))
    assert 0 < len(encoder._blocks) <= encoder_module.MAX_BLOCKS
    assert 0 < len(encoder._prefixes) <= encoder_module.MAX_NAMES
