"""`grpclib.exceptions`: what ends a call, as grpclib's programs catch it."""

from __future__ import annotations

from typing import Any

from wire.grpclib.const import Status


class GRPCError(Exception):
    """A status other than OK. A handler raises it to choose what its caller sees; a client receives it.

    `status`, `message` (None when there is none) and `details`: what the status details codec made of
    grpc-status-details-bin, None without it.
    """

    def __init__(self, status: Status, message: str | None = None, details: Any = None) -> None:
        super().__init__(status, message, details)
        self.status = status
        self.message = message
        self.details = details


class ProtocolError(Exception):
    """The program used a stream in a way that gRPC does not allow, such as a second message of a unary call."""


class StreamTerminatedError(Exception):
    """The call was ended without a status: the other side reset it, or the connection is gone."""
