"""What a connection needs of a call.

Imports `status`.
"""

from __future__ import annotations

from typing import Any, Protocol

from wire.status import StatusCode


class Call(Protocol):
    """What a connection needs of a call (`call.ServerCall` is one)."""

    @property
    def method(self) -> str:
        """The path called, "/package.Service/Method"."""

    def on_end(self) -> None:
        """The request is complete, without DATA in its last frame."""

    def answer(self, message: bytes) -> bytes:
        """The one request came whole, uncompressed and short, and there is room for the reply. Gives the reply's DATA;
        b"" where it comes later, or was sent."""

    deadline: Any
    """When the client gives up, on the runtime's clock; None: never."""

    def expire(self) -> None:
        """The deadline has passed."""

    @property
    def holder(self) -> object:
        """Whom long messages are given to, as `held_messages` knows it."""

    def begin(self, what: Any) -> bool:
        """There is room for the reply: go on with what `ServerConnection.hold` was given. True when a task does."""

    def start(self) -> None:
        """Call the handler, where that was not done and the call has not ended."""

    def fail(self, code: StatusCode, message: str) -> None:
        """End the call with a status; does nothing on one that has ended."""

    def cancel(self) -> None:
        """Nobody waits for this call any more: end its handler."""
