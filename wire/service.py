"""A gRPC service as plain data, and the typed stubs and servicers that follow from it.

    ECHO = UnaryUnary("Echo", EchoRequest, EchoResponse)
    ECHO_STREAM = StreamStream("EchoStream", EchoRequest, EchoResponse)
    ECHO_SERVICE = Service("echo.v1.EchoService", (ECHO, ECHO_STREAM))

    class EchoStub(Stub):                       # the client's side: each method is a typed call
        service = ECHO_SERVICE
        Echo = ECHO
        EchoStream = ECHO_STREAM

    class EchoServicer(Servicer):               # the server's side: handlers by the methods' names
        service = ECHO_SERVICE

        def Echo(self, request: EchoRequest, context: ServerContext) -> EchoResponse: ...

A message type is a betterproto2 class (its codec is compiled on first use), `bytes` (passed through as it is), or a `Codec`.
A generator from .proto files has to emit no more than the above. Imports `codec`, `errors`; calls are typed in `rpc.call`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from wire.codec import Codec, codec_for
from wire.errors import ServiceError

if TYPE_CHECKING:
    from wire.channel import Channel
    from wire.metadata import MetadataInput
    from wire.rpc.client_call import StreamCall, UnaryCall

Q = TypeVar("Q")
R = TypeVar("R")

_SERVICE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METHOD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
