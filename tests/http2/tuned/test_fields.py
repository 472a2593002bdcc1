"""`tuned.fields` judges a field at a time what `wire.http2.validation` judges in whole sections; they must agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http2 import frames as f
from wire.http2.tuned.decoder import Decoder
from wire.http2.tuned.fields import INFORMATIONAL, MALFORMED, REQUEST, RESPONSE, TRAILERS, Section
from wire.http2.validation import content_length, request_problem, response_problem, trailers_problem

_PSEUDO = st.sampled_from(
    [
        (b":method", b"POST"),
        (b":method", b"CONNECT"),
        (b":method", b""),
        (b":scheme", b"http"),
        (b":path", b"/s/m"),
        (b":path", b""),
        (b":authority", b"a"),
        (b":status", b"200"),
        (b":status", b"103"),
        (b":status", b"20"),
        (b":status", b" 20"),
        (b":protocol", b"x"),
        (b":", b"x"),
    ]
)
_NAMES = st.sampled_from(
    [b"a", b"x-y", b"", b"A", b"a b", b"a:b", b"a\x80", b"te", b"host", b"content-length", b"connection", b"upgrade"]
)
_VALUES = st.sampled_from([b"", b"a", b"trailers", b"Trailers", b"5", b"05", b"5,5", b" a", b"a\t", b"a\0b", b"a\nb"])
_FIELDS = st.one_of(_PSEUDO, st.tuples(_NAMES, _VALUES))
_WHOLE: st.SearchStrategy[f.Fields] = st.sampled_from([f.REQUEST, f.RESPONSE, f.TRAILERS, ()])
_SECTIONS = st.builds(lambda base, more: (*base, *more), _WHOLE, st.lists(_FIELDS, max_size=5))


def decode(fields: f.Fields, *, client: bool) -> Section:
    return Decoder(client, 10_000, 100).decode(f.block(fields))


@given(_SECTIONS)
def test_a_server_takes_for_requests_and_trailers_what_fields_does(fields: f.Fields) -> None:
    section = decode(fields, client=False)
    assert (section.kind == REQUEST) == (request_problem(fields) is None)
    assert (section.kind == TRAILERS) == (trailers_problem(fields, from_server=False) is None)


@given(_SECTIONS)
def test_a_client_takes_for_responses_and_trailers_what_fields_does(fields: f.Fields) -> None:
    section = decode(fields, client=True)
    assert (section.kind in {RESPONSE, INFORMATIONAL}) == (response_problem(fields) is None)
    assert (section.kind == TRAILERS) == (trailers_problem(fields, from_server=True) is None)
    if section.kind == RESPONSE:
        assert (-1 if section.content_length is None else section.content_length) == content_length(fields)


@pytest.mark.parametrize(("status", "kind"), [(b"100", INFORMATIONAL), (b"199", INFORMATIONAL), (b"200", RESPONSE)])
def test_a_status_below_200_is_informational(status: bytes, kind: int) -> None:
    assert decode(((b":status", status),), client=True).kind == kind


def test_a_field_keeps_its_judgement_in_the_dynamic_table() -> None:
    decoder = Decoder(False, 10_000, 100)
    decoder.decode(f.literal(b"x", b"a\rb", indexing=True))
    assert decoder.decode(f.block(f.REQUEST) + f.indexed(62)).kind == MALFORMED
