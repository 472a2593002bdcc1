"""gRPC's header fields and their meaning, both ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.leftovers import uncollected
from tests.peers import request
from wire.metadata import Fields
from wire.rpc.headers import (
    RequestHead,
    decode_message,
    encode_message,
    parse_request,
    parse_response,
    parse_trailers,
    request_fields,
    status_response,
    status_trailers,
    timeout_like,
)
from wire.status import StatusCode

OK: Fields = ((b":status", b"200"), (b"content-type", b"application/grpc"))


# grpc-message.


@given(st.text(max_size=200))
def test_any_text_comes_back(text: str) -> None:
    encoded = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert encoded == encoded.strip(b" ")
    assert decode_message(encoded) == text.encode("utf-8", "replace").decode()


@given(st.binary(max_size=200))
def test_decoding_never_fails(value: bytes) -> None:
    decode_message(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"plain", "plain"), (b"100%", "100%"), (b"%4", "%4"), (b"%zz", "%zz"), (b"%C3%BC", "ü"), (b"%c3", "\ufffd")],
)
def test_what_is_no_escape_stays(value: bytes, text: str) -> None:
    assert decode_message(value) == text


@pytest.mark.parametrize("character", ["a", "ü", "漢", "%"])
def test_a_long_text_is_cut_between_characters(character: str) -> None:
    encoded = encode_message(character * 100_000)
    assert 2000 < len(encoded) <= 4096
    assert set(decode_message(encoded)) == {character}


# Requests.


def test_the_request_we_send_is_one_that_we_take() -> None:
    head = parse_request(request_fields("/p.S/M", "https", "host:1", "agent", "gzip"))
    assert head.refusal is None
    assert head.path == b"/p.S/M"
    assert head.timeout_s is None
    assert head.decompress is not None
    assert b"gzip" in head.accepted_encodings


def test_a_request_without_te_is_taken() -> None:
    """The field tells old proxies apart, which do not speak HTTP/2 anyway."""
    assert parse_request(request(without=b"te")).refusal is None


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (request("Unary", (b":method", b"PUT")), (b":status", b"405")),
        (request("Unary", (b"content-type", b"text/html")), (b":status", b"415")),
        (request("Unary", (b"content-type", b"application/grpcx")), (b":status", b"415")),
        (request("Unary", (b"content-type", b"application/grpc+json")), (b":status", b"415")),
        (request("Unary", (b"content-type", b"application/grpc-web+proto")), (b":status", b"415")),
        (request("Unary", (b"grpc-timeout", b"x")), (b"grpc-status", b"13")),
        (request("Unary", (b"grpc-timeout", b"0m")), (b"grpc-status", b"4")),
        (request("Unary", (b"grpc-encoding", b"br")), (b"grpc-status", b"12")),
        (request("Unary", (b"x-bin", b"!")), (b"grpc-status", b"13")),
    ],
)
def test_what_cannot_be_served_has_its_answer_ready(fields: Fields, refusal: tuple[bytes, bytes]) -> None:
    head = parse_request(fields)
    assert head.refusal is not None
    assert refusal in head.refusal


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/grpc",
        b"application/grpc+proto",
        b"application/grpc;charset=utf-8",
        b"Application/grpc+proto ; a=b",
    ],
)
def test_protobuf_is_taken_however_it_is_written(content_type: bytes) -> None:
    assert parse_request(request("Unary", (b"content-type", content_type))).refusal is None


def _position(name: bytes) -> int:
    return [field for field, _ in request("Unary", (name, b""), (b"a", b"1"))].index(name)


def test_a_request_that_differs_in_its_timeout_alone_is_known_at_once() -> None:
    at, fields = _position(b"grpc-timeout"), request("Unary", (b"grpc-timeout", b"5S"), (b"a", b"1"))
    head = parse_request(fields)
    assert timeout_like(head, fields, at, b"250m") == pytest.approx(0.25)
    for value in (b"x", b"0S", b"123456789S"):
        with pytest.raises(ValueError, match=r"."):
            timeout_like(head, fields, at, value)
        refused = request("Unary", (b"grpc-timeout", value), (b"a", b"1"))
        with pytest.raises(ValueError, match=r"."):
            timeout_like(parse_request(refused), refused, at, b"250m")


@pytest.mark.parametrize("name", [b"traceparent", b"authorization", b"grpc-encoding", b"x-bin", b"content-type"])
def test_a_request_that_differs_in_metadata_is_as_one_that_is_read_alone(name: bytes) -> None:
    at, fields = _position(name), request("Unary", (name, b"gzip"), (b"grpc-timeout", b"5S"))
    head, read = parse_request(fields), parse_request(request("Unary", (name, b"YQ=="), (b"grpc-timeout", b"5S")))
    if name in (b"traceparent", b"authorization"):
        assert timeout_like(head, fields, at, b"YQ==") == read.timeout_s
        for slot in RequestHead.__slots__:
            assert getattr(head, slot) == getattr(read, slot)
    else:
        with pytest.raises(ValueError, match=r"."):
            timeout_like(head, fields, at, b"YQ==")


@pytest.mark.parametrize("value", [b"5S", b"1S"])
def test_of_two_timeouts_the_last_one_counts(value: bytes) -> None:
    fields = request("Unary", (b"grpc-timeout", value), (b"grpc-timeout", b"1S"))
    head = parse_request(fields)
    assert head.timeout_s == 1
    with pytest.raises(ValueError, match=r"."):
        timeout_like(head, fields, _position(b"grpc-timeout"), b"2S")


# Responses.


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (400, StatusCode.INTERNAL),
        (401, StatusCode.UNAUTHENTICATED),
        (403, StatusCode.PERMISSION_DENIED),
        (404, StatusCode.UNIMPLEMENTED),
        (429, StatusCode.UNAVAILABLE),
        (502, StatusCode.UNAVAILABLE),
        (503, StatusCode.UNAVAILABLE),
        (504, StatusCode.UNAVAILABLE),
        (418, StatusCode.UNKNOWN),
        (500, StatusCode.UNKNOWN),
        (302, StatusCode.UNKNOWN),
    ],
)
def test_http_statuses_map_to_codes(http_status: int, code: StatusCode) -> None:
    """http-grpc-status-mapping.md."""
    head = parse_response(((b":status", b"%d" % http_status), (b"content-type", b"text/html")))
    assert head.error is not None
    assert head.error.code is code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (((b":status", b"200"), (b"content-type", b"text/html")), StatusCode.UNKNOWN),
        (((b":status", b"200"),), StatusCode.UNKNOWN),
        ((*OK, (b"grpc-encoding", b"br")), StatusCode.INTERNAL),
        ((*OK, (b"x-bin", b"!")), StatusCode.INTERNAL),
    ],
)
def test_what_is_no_grpc_response_is_an_error(fields: Fields, code: StatusCode) -> None:
    head = parse_response(fields)
    assert head.error is not None
    assert head.error.code is code


@pytest.mark.parametrize("encoding", [None, b"identity", b"gzip", b"deflate"])
def test_encodings_that_were_offered_are_taken(encoding: bytes | None) -> None:
    head = parse_response(OK if encoding is None else (*OK, (b"grpc-encoding", encoding)))
    assert head.error is None
    assert (head.decompress is not None) == (encoding in {b"gzip", b"deflate"})


@given(st.sampled_from(StatusCode), st.text(max_size=50))
def test_statuses_come_back(code: StatusCode, message: str) -> None:
    for fields in (status_trailers(code, message), status_response(code, message)):
        outcome = parse_trailers(fields)
        assert outcome is not None
        assert outcome.code is code
        assert outcome.message == message.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("value", [b"17", b"-1", b"x", b"", b"99999999999999999999"])
def test_a_code_that_is_not_known_is_unknown(value: bytes) -> None:
    outcome = parse_trailers(((b"grpc-status", value), (b"grpc-message", b"text")))
    assert outcome is not None
    assert outcome.code is StatusCode.UNKNOWN
    assert outcome.message == "text"


def test_trailers_without_a_status_have_no_outcome() -> None:
    assert parse_trailers(((b"grpc-message", b"text"), (b"a", b"1"))) is None


def test_malformed_metadata_beside_a_status_is_internal() -> None:
    with uncollected() as found:
        outcome = parse_trailers(((b"grpc-status", b"0"), (b"x-bin", b"!")))
    assert found == {}
    assert outcome is not None
    assert outcome.code is StatusCode.INTERNAL
    assert outcome.fields == ()
