"""A status's text, as grpc gives it. Imports wire."""

from __future__ import annotations

import wire


def details_of(code: wire.StatusCode | None, message: str, local: bool) -> str:
    """The text of a call's status: the server's own, or where this side made it (`local`) grpc's words for it."""
    if local and code is wire.StatusCode.UNAVAILABLE and message.startswith("cannot connect to "):
        return f"failed to connect to all addresses; last error: UNKNOWN: {message}"
    return message


def debug_of(name: str, details: str) -> str:
    """`debug_error_string` of a status by its name."""
    return f"{name}:{details}" if details else name
