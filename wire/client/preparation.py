"""What all calls of one method begin and end with. Imports `rpc`, `service` and `message_decoder`."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Generic, TypeVar

from wire.config import CallConfig
from wire.http2.engine import HeaderList
from wire.message_decoder import MessageDecoder
from wire.rpc.framing import KNOWN_PREFIXES
from wire.rpc.headers import request_fields
from wire.service import Inspector, Method

R = TypeVar("R")


class Prepared(Generic[R]):
    """What is worked out once for all calls of a method; a codec's own attributes take long to look up.

    `headers`: the header fields of its requests. `encode`: makes bytes of one, or raises `EncodeError`. `decoder`: for
    its responses; `decode` is the decoder's. `short_bytes`: requests of less are sent as they are, with a prefix of
    `PREFIXES`. `plain_bytes`: responses of no more are decoded at once.
    """

    __slots__ = ("decode", "decoder", "encode", "headers", "plain_bytes", "short_bytes")

    def __init__(self, headers: HeaderList, method: Method[Any, R], calls: CallConfig, compression: str | None) -> None:
        self.headers = headers
        self.encode: Callable[[Any], bytes] = method.request.encode
        self.decoder: MessageDecoder[R] = MessageDecoder(method.response, calls)
        self.decode = self.decoder.decode
        self.short_bytes = KNOWN_PREFIXES if compression is None else 0
        self.plain_bytes = self.decoder.inline_bytes
        self._limit(calls)

    def _limit(self, calls: CallConfig) -> None:
        if calls.max_send_message_bytes is not None:
            self.short_bytes = min(self.short_bytes, calls.max_send_message_bytes + 1)
        self.plain_bytes = min(self.plain_bytes, calls.max_receive_message_bytes)

    def limited(self, calls: CallConfig) -> Prepared[R]:
        """The same for calls whose messages have lower limits."""
        made = copy(self)
        made._limit(calls)
        return made


class Preparation:
    """Makes what a method's calls share. `authority`, `scheme`, `user_agent`: what a channel says in every request."""

    __slots__ = ("_calls", "_trace", "_user_agent", "authority", "scheme")

    def __init__(
        self, scheme: str, authority: str, user_agent: str, calls: CallConfig, trace: Inspector | None
    ) -> None:
        self.scheme = scheme
        self.authority = authority
        self._user_agent = user_agent
        self._calls = calls
        self._trace = trace

    def prepare(self, method: Method[Any, R], compression: str | None, *, shared: bool = True) -> Prepared[R]:
        """To be kept: an engine keeps the encoding of the header fields for as long as its connection lives, unless
        they are not `shared`."""
        assert method.path is not None
        if self._trace is not None:
            self._trace.add_method(method)
        fields = request_fields(method.path, self.scheme, self.authority, self._user_agent, compression)
        return Prepared(HeaderList(fields, shared=shared), method, self._calls, compression)
