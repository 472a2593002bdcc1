"""What came in place of a preface: HTTP/1, as far as it has come, or something else."""

from __future__ import annotations

import pytest

from wire.http2.codes import PREFACE
from wire.http2.preface import (
    HTTP1,
    HTTP1_ANSWER,
    NO_SERVER,
    NOT_HTTP2,
    TLS_CLIENT,
    TLS_SERVER,
    answer_to_http1,
    instead_of_preface,
    instead_of_settings,
)


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1\r\n", b"G", b"OPTIONS * HTTP/1.1\r\n", b"CONNECT x:1 HTTP/1.0"]
)
def test_requests_of_http_1_are_known_by_their_methods(request_line: bytes) -> None:
    assert instead_of_preface(PREFACE, request_line) == HTTP1


def test_methods_that_begin_as_the_preface_does_are_known_by_their_second_byte() -> None:
    for second in (b"O", b"U", b"A"):
        assert instead_of_preface(PREFACE[1:], second) == HTTP1


@pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n", b"GETTING", b"get / HTTP/1.1", b"PRI * HTTP/3"])
def test_all_else_is_something_else(garbage: bytes) -> None:
    assert instead_of_preface(PREFACE, garbage) == NOT_HTTP2


def test_the_answer_is_whole_and_says_what_is_spoken_here() -> None:
    head, _, body = HTTP1_ANSWER.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"gRPC" in body
    assert b"HTTP/2" in body


def test_only_http_1_is_answered_where_http_2_was_not_asked_for() -> None:
    assert answer_to_http1(b"GET / HTTP/1.1\r\n") == answer_to_http1(b"P") == HTTP1_ANSWER
    assert answer_to_http1(PREFACE) == answer_to_http1(b"\0") == b""


def test_tls_is_named() -> None:
    assert instead_of_preface(PREFACE, b"\x16\x03\x01\x02") == TLS_CLIENT
    assert instead_of_settings(b"\x15\x03\x03\0\x02") == TLS_SERVER


def test_a_server_that_begins_with_no_frame_of_a_likely_size_is_none() -> None:
    assert instead_of_settings(b"HTTP/1.1 505 HTTP Version Not Supported\r\n") == NO_SERVER
    assert instead_of_settings(b"") == instead_of_settings(b"\0") == ""
