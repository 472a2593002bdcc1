"""What all calls of one method begin and end with. Imports `rpc`, `service` and `message_decoder`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from wire.config import CallConfig
from wire.http2.engine import HeaderList
from wire.message_decoder import MessageDecoder
from wire.rpc.headers import request_fields
from wire.service import Inspector, Method

R = TypeVar("R")


class Prepared(Generic[R]):
    """`headers`: the header fields of a method's requests; `encode`: makes bytes of one, or raises `EncodeError`;
    `decoder`: for its responses. A codec's own attributes take long to look up."""

    __slots__ = ("decoder", "encode", "headers")

    def __init__(self, headers: HeaderList, method: Method[Any, R], calls: CallConfig) -> None:
        self.headers = headers
        self.encode: Callable[[Any], bytes] = method.request.encode
        self.decoder: MessageDecoder[R] = MessageDecoder(method.response, calls)


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
        return Prepared(HeaderList(fields, shared=shared), method, self._calls)
