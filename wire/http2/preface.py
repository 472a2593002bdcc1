"""What comes in place of the client's preface (RFC 9113 §3.4), and what an HTTP/1 client is told. Imports `codes`."""

from __future__ import annotations

from typing import Final

from wire.http2.codes import PREFACE

NOT_HTTP2: Final = "this is not HTTP/2"
HTTP1: Final = "this is HTTP/1"

_HTTP1_METHODS: Final = tuple(
    f"{method} ".encode() for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
)
_EXPLANATION: Final = b"This is a gRPC server: it speaks HTTP/2 alone, and from the first byte on.\n"
HTTP1_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_EXPLANATION), _EXPLANATION)
)
"""What goes out in place of any frame."""


def instead_of_preface(left: bytes, data: bytes) -> str:
    """What the connection error says when `data` came where `left` of the preface was to come: `HTTP1` where that
    begins with a method of HTTP/1, as far as it has come, and else `NOT_HTTP2`."""
    begun = PREFACE[: len(PREFACE) - len(left)] + data
    if any(begun.startswith(method) or method.startswith(begun) for method in _HTTP1_METHODS):
        return HTTP1
    return NOT_HTTP2
