"""gRPC status codes, the errors that carry them, and what HTTP and HTTP/2 failures map to. Imports `errors` and
`metadata`.

Sources: the gRPC documents statuscodes.md, http-grpc-status-mapping.md and PROTOCOL-HTTP2.md ("Errors").
"""

from __future__ import annotations

from enum import IntEnum

from wire.errors import WireError
from wire.metadata import Metadata


class StatusCode(IntEnum):
    """The seventeen gRPC status codes (statuscodes.md). Each is its number, and prints as its name."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        """As the name, unless the format is one for numbers, such as `{code:d}`."""
        return int.__format__(self, spec) if spec[-1:].isalpha() and spec[-1:] != "s" else format(self.name, spec)


class RpcError(WireError):
    """A call ended with a status other than OK.

    A handler raises it to choose the status its caller sees; a client receives a `CallError`.

    `code` is the gRPC status, `message` the human-readable text (may be empty), `initial_metadata` and
    `trailing_metadata` what the server sent beside it (None where nothing can have arrived).

    What cannot be sent is refused here, where it was made: `ValueError` for what is no status, `TypeError` for a
    message that is no text, `MetadataError` for metadata.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str = "",
        *,
        trailing_metadata: Metadata | None = None,
        initial_metadata: Metadata | None = None,
    ) -> None:
        if not isinstance(message, str):
            raise TypeError(f"the message of a status is text, not {type(message).__name__}: {message!r}")
        if trailing_metadata is not None and not isinstance(trailing_metadata, Metadata):
            trailing_metadata = Metadata(trailing_metadata)
        super().__init__(code, message)
        self.code = StatusCode(code)
        self.message = message
        self.trailing_metadata = trailing_metadata
        self.initial_metadata = initial_metadata

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name


class CallError(RpcError):
    """How a call that was made by a stub has ended.

    It belongs to that call alone: a handler that lets one through answers UNKNOWN, as for any other exception that it
    did not raise on purpose. What an upstream said may name things that the handler's own caller must not see. To pass
    the status on, raise one of your own: `raise RpcError(error.code, error.message) from error`.
    """


_FROM_HTTP_STATUS = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}

# PROTOCOL-HTTP2.md, "Errors": HTTP/2 error code of a RST_STREAM → gRPC status. Codes not named map to UNKNOWN.
_FROM_HTTP2_ERROR = {
    0x0: StatusCode.INTERNAL,  # NO_ERROR before the trailers
    0x1: StatusCode.INTERNAL,  # PROTOCOL_ERROR
    0x2: StatusCode.INTERNAL,  # INTERNAL_ERROR
    0x3: StatusCode.INTERNAL,  # FLOW_CONTROL_ERROR
    0x4: StatusCode.INTERNAL,  # SETTINGS_TIMEOUT
    0x6: StatusCode.INTERNAL,  # FRAME_SIZE_ERROR
    0x7: StatusCode.UNAVAILABLE,  # REFUSED_STREAM
    0x8: StatusCode.CANCELLED,  # CANCEL
    0x9: StatusCode.INTERNAL,  # COMPRESSION_ERROR
    0xA: StatusCode.INTERNAL,  # CONNECT_ERROR
    0xB: StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


def status_from_http(http_status: int) -> StatusCode:
    """The gRPC status for a response that is not gRPC (http-grpc-status-mapping.md)."""
    return _FROM_HTTP_STATUS.get(http_status, StatusCode.UNKNOWN)


def status_from_http2_error(error_code: int) -> StatusCode:
    """The gRPC status for a RST_STREAM (PROTOCOL-HTTP2.md, "Errors")."""
    return _FROM_HTTP2_ERROR.get(error_code, StatusCode.UNKNOWN)
