"""Echo: returns what it is sent."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from proto.echo.v1.echo_wire import EchoServiceBase

_log = logging.getLogger("services.echo")


class EchoServicer(EchoServiceBase):
    """Returns each payload, and logs the first `logged_bytes` of it at DEBUG."""

    def __init__(self, *, logged_bytes: int = 64) -> None:
        self._logged_bytes = logged_bytes

    def echo(self, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
        payload = request.payload
        if _log.isEnabledFor(logging.DEBUG):
            self._log_payload(payload, context)
        return EchoResponse(payload=payload)

    async def echo_stream(
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
