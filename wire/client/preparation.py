"""What all calls of one method begin and end with. Imports `rpc`, `service` and `message_decoder`."""

from __future__ import annotations

from typing import Any, TypeVar

from wire.config import CallConfig
from wire.http2.engine import HeaderList
from wire.message_decoder import MessageDecoder
from wire.rpc.headers import request_fields
from wire.service import Inspector, Method

R = TypeVar("R")


class Preparation:
    """Makes the header fields of a method's requests, and what decodes its responses. `authority`, `scheme` and
    `user_agent`: what a channel says in every request."""

    __slots__ = ("_calls", "_trace", "_user_agent", "authority", "scheme")

    def __init__(
        self, scheme: str, authority: str, user_agent: str, calls: CallConfig, trace: Inspector | None
    ) -> None:
        self.scheme = scheme
        self.authority = authority
        self._user_agent = user_agent
        self._calls = calls
        self._trace = trace

    def prepare(self, method: Method[Any, R], compression: str | None) -> tuple[HeaderList, MessageDecoder[R]]:
        """To be kept: an engine keeps the encoding of the header fields for as long as its connection lives."""
        assert method.path is not None
        if self._trace is not None:
            self._trace.add_method(method)
        fields = request_fields(method.path, self.scheme, self.authority, self._user_agent, compression)
        return HeaderList(fields, shared=True), MessageDecoder(method.response, self._calls)
