"""Echo: returns what it is sent. The service's description, its stub and its servicer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import wire
from proto.echo.v1 import EchoRequest, EchoResponse

_log = logging.getLogger("services.echo")

ECHO = wire.UnaryUnary("Echo", EchoRequest, EchoResponse)
ECHO_STREAM = wire.StreamStream("EchoStream", EchoRequest, EchoResponse)
ECHO_SERVICE = wire.Service("echo.v1.EchoService", (ECHO, ECHO_STREAM))


class EchoStub(wire.Stub):
    """Calls an echo service over a channel."""

    service = ECHO_SERVICE
    Echo = ECHO
    EchoStream = ECHO_STREAM


class EchoServicer(wire.Servicer):
    """Returns each payload, and logs the first `logged_bytes` of it at DEBUG."""

    service = ECHO_SERVICE

    def __init__(self, *, logged_bytes: int = 64) -> None:
        self._logged_bytes = logged_bytes

    def Echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        payload = request.payload
        if _log.isEnabledFor(logging.DEBUG):
            self._log_payload(payload, context)
        return EchoResponse(payload=payload)

    async def EchoStream(
        self, requests: AsyncIterator[EchoRequest], context: wire.ServerContext
    ) -> AsyncIterator[EchoResponse]:
        async for request in requests:
            if _log.isEnabledFor(logging.DEBUG):
                self._log_payload(request.payload, context)
            yield EchoResponse(payload=request.payload)

    def _log_payload(self, payload: bytes, context: wire.ServerContext) -> None:
        """As a Python literal, which escapes all that is no printable ASCII."""
        shown = repr(bytes(payload[: self._logged_bytes]))
        more = "..." if len(payload) > self._logged_bytes else ""
        _log.debug("%s from %s: %d bytes: %s%s", context.method, context.peer.address, len(payload), shown, more)
