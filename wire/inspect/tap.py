"""A tap: accepts connections, connects each to a target, and passes bytes on unchanged, between any families.

What passes is told to a trace, if there is one. On request it delays, throttles or cuts connections, for tests. A side
that does not read makes the other one wait: what is held is bounded. Where one side closes, so does the other once all
is written: HTTP/2 has no half-closed connections. Imports `transport`, `config`, `errors` and its siblings.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from wire.config import TransportConfig
from wire.errors import TransportError, UsageError
from wire.inspect.passage import Disturbance, Passage
from wire.inspect.trace import Trace
from wire.transport.address import Address, parse_address
from wire.transport.contract import Runtime
from wire.transport.listening import bound_address, listen_on
from wire.transport.runtime import open_runtime
from wire.transport.tls import ClientTls, ServerTls

_log = logging.getLogger("wire.inspect")


class Tap:
    """Passes connections on to `target`, an address in gRPC's name syntax.

        async with Tap("127.0.0.1:50051", trace=Trace(file=sys.stdout)) as tap:
            print(await tap.listen("vsock:any:5000"))

    `tls` ends the clients' TLS here, `target_tls` begins another to the target; without them bytes pass as they come.
    Raises `AddressError` for a target that cannot be read. Leaving the block breaks off what is open.
    """

    def __init__(
        self,
        target: str,
        *,
        trace: Trace | None = None,
        tls: ServerTls | None = None,
        target_tls: ClientTls | None = None,
        disturbance: Disturbance | None = None,
        config: TransportConfig | None = None,
    ) -> None:
        self.target: Address = parse_address(target)
        self.trace = trace
        self.disturbance = Disturbance() if disturbance is None else disturbance
        self.target_tls = target_tls
        self.config = TransportConfig() if config is None else config
        self.runtime: Runtime
        self.passages: set[Passage] = set()
        """Connections that are open."""
        self.on_unreachable: Callable[[TransportError], None] = _say
        """Called when the target cannot be connected to; the client is then cut off."""
        self._tls = tls
        self._exits = AsyncExitStack()
        self._entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise UsageError("a tap can be entered only once")
        self._entered = True
        self.runtime = await self._exits.enter_async_context(open_runtime())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for passage in list(self.passages):
            passage.abort()
        await self._exits.aclose()

    async def listen(self, address: str) -> str:
        """Accept there; returns the address as bound. Raises `AddressError` or `ListenError`."""
        if not self._entered:
            raise UsageError("enter the tap first: async with Tap(...) as tap")
        socks = listen_on(parse_address(address), backlog=self.config.backlog)
        for sock in socks:
            self.runtime.listen(sock, lambda: Passage(self).client, tls=self._tls, config=self.config)
        return bound_address(*socks)


def _say(error: TransportError) -> None:
    _log.error("%s", error.message)
