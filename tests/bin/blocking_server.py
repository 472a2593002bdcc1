"""For test_server_hang: `bin.server` with a handler that can hold its event loop for ever, and little time to do so.

`python -m tests.bin.blocking_server ARGUMENTS-OF-BIN.SERVER`
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import bin.server
import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from services.echo import EchoServicer


def echo(self: EchoServicer, request: EchoRequest, context: wire.ServerContext) -> EchoResponse:
    while request.payload == b"block":
        signal.pause()
    return EchoResponse(payload=request.payload)


if __name__ == "__main__":
    EchoServicer.echo = echo  # type: ignore[method-assign]
    wire.ServerConfig = partial(wire.ServerConfig, hang_timeout_s=1.0, slow_handler_s=None)  # type: ignore[misc, assignment]
    sys.exit(bin.server.main(sys.argv[1:]))
