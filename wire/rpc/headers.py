"""gRPC's request and response header fields (PROTOCOL-HTTP2.md, "Requests" and "Responses"): fields ⇄ meaning.

In and out go plain fields, tuples of (name, value) bytes; what they mean comes out as small objects that the
connection keeps as long as a peer repeats itself. Imports `errors`, `status`, `metadata`, `deadline` and its siblings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wire.deadline import parse_timeout
from wire.errors import MetadataError
from wire.metadata import Fields, Metadata
from wire.rpc.compression import ACCEPT_ENCODING, Decompressor, decompressor
from wire.status import RpcError, StatusCode, status_from_http

_CONTENT_TYPE = (b"content-type", b"application/grpc")
_CONTENT_TYPES = {b"application/grpc", b"application/grpc+proto"}
_ACCEPT_ENCODING = (b"grpc-accept-encoding", ACCEPT_ENCODING)
RESPONSE_FIELDS: Fields = ((b":status", b"200"), _CONTENT_TYPE, _ACCEPT_ENCODING)
OK_TRAILER_FIELDS: Fields = ((b"grpc-status", b"0"),)

_UNSAFE_IN_MESSAGE = re.compile(rb"[^\x20-\x24\x26-\x7e]|^ | \Z")  # no space at an end: RFC 9113 §8.2.1
_MAX_MESSAGE_BYTES = 4096  # of a grpc-message: half of the least that peers take as a whole header list
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")


class RequestHead:
    """What a request's header fields say, worked out once for all that differ in metadata or their timeouts alone.

    `timeout_s`: of those that it was read from. `refusal` is set when the call cannot be made: the complete response
    (headers that end the stream). `route` and `short_bytes` belong to the server: what it found for `path`, and up to
    which size of a message that is a whole request its short way goes; -1: there is none.
    """

    __slots__ = (
        "accepted_encodings",
        "decompress",
        "path",
        "refusal",
        "route",
        "short_bytes",
        "timeout_at",
        "timeout_s",
    )

    def __init__(self) -> None:
        self.path = b""
        self.timeout_s: float | None = None
        self.timeout_at = -1  # where grpc-timeout stands among the fields
        self.accepted_encodings = b""
        self.decompress: Decompressor | None = None
        self.refusal: Fields | None = None
        self.route: Any = None
        self.short_bytes = -1

    def find_route(self, routes: Mapping[bytes, Any], fallback: Any) -> None:
        """Where the path leads among the `routes` of a server, or else to its `fallback`; refused where to neither."""
        self.route = routes.get(self.path, fallback)
        if self.route is None:
            path = self.path.decode("latin-1")
            self.refusal = status_response(StatusCode.UNIMPLEMENTED, f"there is no method {path} here")
        else:
            self.short_bytes = self.route.short_bytes


_UNREAD = frozenset((b":scheme", b":authority", b"te", b"user-agent"))
"""Fields that say nothing to a call; told apart first, because most are of these."""

_READ = frozenset((b":path", b"content-type", b"grpc-timeout", b":method", b"grpc-encoding", b"grpc-accept-encoding"))
"""Fields that do."""


def parse_request(fields: Fields) -> RequestHead:
    """Reads the fields of a request; never raises."""
    head = RequestHead()
    content_type = b""
    for name, value in fields:
        if name in _UNREAD:
            continue
        if name == b":path":
            head.path = value
        elif name == b"content-type":
            content_type = value
        elif name == b"grpc-timeout":
            _read_timeout(head, len(fields) - 1 - fields[::-1].index((name, value)), value)
        elif name == b":method":
            if value != b"POST":
                head.refusal = ((b":status", b"405"), (b"allow", b"POST"))
                return head
        elif name == b"grpc-encoding":
            try:
                head.decompress = decompressor(value)
            except KeyError:
                head.refusal = status_response(
                    StatusCode.UNIMPLEMENTED, f"grpc-encoding {value.decode('latin-1')!r} is not supported"
                )
        elif name == b"grpc-accept-encoding":
            head.accepted_encodings = value
        elif name.endswith(b"-bin"):
            try:
                Metadata.from_fields(((name, value),))
            except MetadataError as error:
                head.refusal = status_response(StatusCode.INTERNAL, str(error))
    if not _is_grpc(content_type):
        head.refusal = ((b":status", b"415"),)
    return head


def timeout_like(head: RequestHead, fields: Fields, at: int, value: bytes) -> float | None:
    """The timeout of a request that has the fields that `head` is of, but for the value of the one at `at`: a timeout
    or metadata, as varies in requests. All else is as in `head`.

    Raises `ValueError` where they have to be read all, as where it is refused.
    """
    if at == head.timeout_at:
        timeout_s = parse_timeout(value)
        if timeout_s and head.refusal is None:
            return timeout_s
    elif head.refusal is None and (name := fields[at][0]) not in _READ and not name.endswith(b"-bin"):
        return head.timeout_s
    raise ValueError("it means something else")


def _read_timeout(head: RequestHead, at: int, value: bytes) -> None:
    head.timeout_at = at
    try:
        head.timeout_s = parse_timeout(value)
    except ValueError as error:
        head.refusal = status_response(StatusCode.INTERNAL, str(error))
    else:
        if head.timeout_s == 0:
            head.refusal = status_response(StatusCode.DEADLINE_EXCEEDED, "the timeout was 0")


def status_response(code: StatusCode, message: str, metadata: Fields = ()) -> Fields:
    """A Trailers-Only response: header fields that are the whole response."""
    return RESPONSE_FIELDS + status_trailers(code, message, metadata)


def status_trailers(code: StatusCode, message: str, metadata: Fields = ()) -> Fields:
    """The trailing fields that end a response."""
    if message:
        return ((b"grpc-status", b"%d" % code), (b"grpc-message", encode_message(message)), *metadata)
    return ((b"grpc-status", b"%d" % code), *metadata)


class ResponseHead:
    """What a response's first header fields say. `error` is set when the response is not gRPC's. `plain`: it is gRPC's,
    and not compressed."""

    __slots__ = ("decompress", "error", "fields", "plain")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.decompress: Decompressor | None = None
        self.error: RpcError | None = None
        self.plain = False


def parse_response(fields: Fields) -> ResponseHead:
    """Reads the first fields of a response; never raises (http-grpc-status-mapping.md)."""
    head = ResponseHead(fields)
    http_status = 0
    content_type = b""
    for name, value in fields:
        if name == b":status":
            http_status = int(value)
        elif name == b"content-type":
            content_type = value
        elif name == b"grpc-encoding":
            try:
                head.decompress = decompressor(value)
            except KeyError:
                shown = value.decode("latin-1")
                head.error = RpcError(StatusCode.INTERNAL, f"the server uses the unknown grpc-encoding {shown!r}")
        elif name.endswith(b"-bin"):
            try:
                Metadata.from_fields(((name, value),))
            except MetadataError as error:
                head.error = RpcError(StatusCode.INTERNAL, f"the server's metadata is malformed: {error}")
    if http_status != 200:
        head.error = RpcError(status_from_http(http_status), f"the server answered with HTTP status {http_status}")
    elif not _is_grpc(content_type):
        shown = content_type.decode("latin-1") or "none"
        head.error = RpcError(StatusCode.UNKNOWN, f"the server's answer is not gRPC: its content-type is {shown}")
    head.plain = head.error is None and head.decompress is None
    return head


class Outcome:
    """The status at the end of a response, with the fields that carried it."""

    __slots__ = ("code", "fields", "message")

    def __init__(self, fields: Fields, code: StatusCode, message: str) -> None:
        self.fields = fields
        self.code = code
        self.message = message


def parse_trailers(fields: Fields) -> Outcome | None:
    """The status in trailing fields, or in a Trailers-Only response; None when there is no grpc-status."""
    code = None
    message = ""
    malformed: str | None = None  # not the error itself, whose traceback holds this frame
    for name, value in fields:
        if name == b"grpc-status":
            try:
                code = StatusCode(int(value))
            except ValueError:
                code = StatusCode.UNKNOWN  # statuscodes.md: a code that is not known is UNKNOWN
        elif name == b"grpc-message":
            message = decode_message(value)
        elif name.endswith(b"-bin"):
            try:
                Metadata.from_fields(((name, value),))
            except MetadataError as error:
                malformed = str(error)
    if malformed is not None:
        return Outcome((), StatusCode.INTERNAL, f"the server's metadata is malformed: {malformed}")
    return None if code is None else Outcome(fields, code, message)


def request_fields(path: str, scheme: str, authority: str, user_agent: str, encoding: str | None) -> Fields:
    """The header fields that every call of one method begins with."""
    fields: Fields = (
        (b":method", b"POST"),
        (b":scheme", scheme.encode()),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        _CONTENT_TYPE,
        (b"user-agent", user_agent.encode()),
        _ACCEPT_ENCODING,
    )
    return fields if encoding is None else (*fields, (b"grpc-encoding", encoding.encode()))


def encode_message(message: str) -> bytes:
    """Percent-encoded UTF-8 for grpc-message, cut where it is too long; lone surrogates become "?"."""
    encoded = _UNSAFE_IN_MESSAGE.sub(lambda match: b"%%%02X" % match[0][0], message.encode("utf-8", "replace"))
    if len(encoded) > _MAX_MESSAGE_BYTES:
        return encode_message(message[: len(message) * _MAX_MESSAGE_BYTES // len(encoded)])
    return encoded


def decode_message(value: bytes) -> str:
    """The text of a grpc-message. Never fails: what is not an escape stays, what is not UTF-8 becomes U+FFFD."""
    if b"%" in value:
        value = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), value)
    return value.decode("utf-8", "replace")


def _is_grpc(content_type: bytes) -> bool:
    """Whether this is gRPC with protobuf in it: other suffixes, such as "+json", promise bytes that we do not read
    (PROTOCOL-HTTP2.md, Content-Type)."""
    if content_type == b"application/grpc":
        return True
    return content_type.partition(b";")[0].rstrip().lower() in _CONTENT_TYPES
