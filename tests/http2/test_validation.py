"""`wire.http2.validation` by itself; `test_engine_contract` holds both engines to it, field by field."""

from __future__ import annotations

import pytest

from tests.http2 import frames as f
from wire.http2.validation import content_length, request_problem, response_problem, trailers_problem


def test_well_formed_sections_have_no_problem() -> None:
    assert request_problem(f.REQUEST) is None
    assert response_problem(f.RESPONSE) is None
    assert trailers_problem(f.TRAILERS, from_server=True) is None
    assert trailers_problem(f.TRAILERS, from_server=False) is None
    assert trailers_problem((), from_server=True) is None


@pytest.mark.parametrize("byte", range(256))
def test_names_hold_visible_ascii_but_capitals_and_colons(byte: int) -> None:
    allowed = 0x21 <= byte < 0x7F and byte != 0x3A and not 0x41 <= byte <= 0x5A
    problem = trailers_problem(((b"a" + bytes([byte]), b"x"),), from_server=True)
    assert (problem is None) == allowed


@pytest.mark.parametrize("byte", range(256))
def test_values_are_anything_but_nul_cr_and_lf(byte: int) -> None:
    problem = trailers_problem(((b"a", b"x" + bytes([byte]) + b"x"),), from_server=False)
    assert (problem is None) == (byte not in b"\0\r\n")


def test_problems_hold_nothing_that_the_peer_sent() -> None:
    for field in ((b"Secret", b"x"), (b"a", b"secret\n"), (b"te", b"secret"), (b"content-length", b"secret")):
        problem = trailers_problem((field,), from_server=False)
        assert problem is not None
        assert "secret" not in problem.lower()


def test_white_space_is_judged_by_who_sent_it() -> None:
    fields = ((b"a", b" x"),)
    assert trailers_problem(fields, from_server=True) is None
    assert trailers_problem(fields, from_server=False) is not None
    assert response_problem(f.RESPONSE + fields) is None
    assert request_problem(f.REQUEST + fields) is not None


def test_content_length_is_read_or_absent() -> None:
    assert content_length(f.REQUEST) == -1
    assert content_length((*f.REQUEST, (b"content-length", b"0017"))) == 17


def test_a_content_length_of_absurd_length_is_refused_unread() -> None:
    assert request_problem((*f.REQUEST, (b"content-length", b"1" * 5000))) is not None
