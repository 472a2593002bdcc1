"""What comes in place of a preface (RFC 9113 §3.4), and what an HTTP/1 client is told. Imports `codes`."""

from __future__ import annotations

from typing import Final

from wire.http2.codes import PREFACE

NOT_HTTP2: Final = "this is not HTTP/2"
HTTP1: Final = "this is HTTP/1"
TLS_CLIENT: Final = "the peer speaks TLS, and this port does not speak TLS"
TLS_SERVER: Final = "this port speaks TLS, and the channel has no ClientTls"
NO_SERVER: Final = "what listens there does not speak HTTP/2, so it is no gRPC server"

_TLS_HANDSHAKE: Final = b"\x16\x03"  # how a record begins (RFC 8446 §5.1)
_TLS_ALERT: Final = b"\x15\x03"

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
    begins with a method of HTTP/1, as far as it has come, `TLS_CLIENT` for a TLS record, and else `NOT_HTTP2`."""
    begun = PREFACE[: len(PREFACE) - len(left)] + data
    if any(begun.startswith(method) or method.startswith(begun) for method in _HTTP1_METHODS):
        return HTTP1
    if begun.startswith(_TLS_HANDSHAKE) or begun == _TLS_HANDSHAKE[:1]:
        return TLS_CLIENT
    return NOT_HTTP2


def answer_to_http1(data: bytes) -> bytes:
    """What a server answers to the first bytes of a client that does not speak HTTP/2; nothing where it speaks no
    HTTP/1 either."""
    return HTTP1_ANSWER if instead_of_preface(PREFACE, data) == HTTP1 else b""


def instead_of_settings(data: bytes) -> str:
    """What the connection error says of a server's first bytes that are no SETTINGS, but would be a frame of 64 KiB or
    more: text of HTTP/1, SSH and other protocols, or a TLS alert. Else ""."""
    if data[:1] in (b"", b"\0"):
        return ""
    return TLS_SERVER if data.startswith(_TLS_ALERT) else NO_SERVER
