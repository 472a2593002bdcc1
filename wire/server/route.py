"""A method as a server runs it: what is known of it before there is a call.

Imports `connection`'s layer and below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from wire.config import CallConfig
from wire.message_decoder import MessageDecoder
from wire.service import Handler, Method

Q = TypeVar("Q")
R = TypeVar("R")


class Route(Generic[Q, R]):
    """A method as a server runs it."""

    __slots__ = (
        "begun",
        "call_type",
        "decode",
        "decoder",
        "encode",
        "handler",
        "inline_bytes",
        "path",
        "response_type",
        "short_bytes",
        "streams_responses",
        "waits",
    )

    def __init__(
        self, path: str, method: Method[Q, R], handler: Handler, calls: CallConfig, call_type: Callable[..., Any]
    ) -> None:
        self.path = path
        self.handler = handler
        self.decoder = MessageDecoder(method.request, calls)
        self.decode = self.decoder.decode
        self.inline_bytes = self.decoder.inline_bytes
        self.encode = method.response.encode
        # What a plain handler returns when there is nothing more to do than to send it; of streams, nothing is.
        self.response_type = None if method.streams_responses else method.response.message_type
        self.streams_responses = method.streams_responses
        self.call_type = call_type
        self.begun = -1
        """Counts the handler's coroutines that were begun where their request was read."""
        self.waits = 0
        """How many more of them are expected to wait, or to take long, and get tasks of their own."""
        # Up to this size a message that is a whole request goes straight to `answer`; -1: none does.
        self.short_bytes = -1 if method.streams_requests else min(self.inline_bytes, calls.max_receive_message_bytes)
