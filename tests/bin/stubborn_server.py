"""For test_server_stop: `bin.server` with a handler that swallows its cancellation, and little time for its end.

`python -m tests.bin.stubborn_server ARGUMENTS-OF-BIN.SERVER`
"""

from __future__ import annotations

import sys
from typing import Any

import anyio

import bin.server
import wire.server.server
from services.echo import EchoServicer
from wire.errors import is_cancellation


async def endless(self: Any, request: Any, context: wire.ServerContext) -> Any:
    cancelled = anyio.get_cancelled_exc_class()
    print("entered", flush=True)
    while True:
        try:
            await anyio.sleep(0.05)
        except BaseException as error:
            if not is_cancellation(error, cancelled):
                raise


if __name__ == "__main__":
    EchoServicer.echo = endless  # type: ignore[method-assign, assignment]
    wire.server.server._UNWIND_S = 0.05
    sys.exit(bin.server.main(sys.argv[1:]))
