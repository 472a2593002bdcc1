"""Servers for tests, within the process and without sockets, and channels to them.

    async with channel_for(Store()) as channel:
        reply = await KeyValueStub(channel).get(GetRequest(key="a"))

Everything between stub and handler is the real thing but the kernel's sockets: HTTP/2, deadlines, compression, limits.
On any event loop; `blocking_channel_for` is the same for tests that are plain functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

import wire


@asynccontextmanager
async def channel_for(
    *servicers: wire.Servicer,
    config: wire.ServerConfig | None = None,
    interceptors: Sequence[wire.ServerInterceptor] = (),
    channel_config: wire.ChannelConfig | None = None,
    channel_interceptors: Sequence[wire.ClientInterceptor] = (),
) -> AsyncIterator[wire.Channel]:
    """A channel to a server of these services; both last as long as the block.

    Raises `wire.ServiceError` for servicers that do not fit their services. For more of either side (TLS, several
    channels), write both out: `wire.Server.listen("memory:")` and `wire.Channel` with the address that it returns.
    """
    async with (
        _serving(servicers, config, interceptors) as address,
        wire.Channel(address, config=channel_config, interceptors=channel_interceptors) as channel,
    ):
        yield channel


@contextmanager
def blocking_channel_for(
    *servicers: wire.Servicer,
    config: wire.ServerConfig | None = None,
    interceptors: Sequence[wire.ServerInterceptor] = (),
    channel_config: wire.ChannelConfig | None = None,
    channel_interceptors: Sequence[wire.ClientInterceptor] = (),
) -> Iterator[wire.blocking.Channel]:
    """As `channel_for`, for code without an event loop: the server runs in a thread of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_serving(servicers, config, interceptors)) as address,
        wire.blocking.Channel(address, config=channel_config, interceptors=channel_interceptors) as channel,
    ):
        yield channel


@asynccontextmanager
async def _serving(
    servicers: Sequence[wire.Servicer],
    config: wire.ServerConfig | None,
    interceptors: Sequence[wire.ServerInterceptor],
) -> AsyncIterator[str]:
    async with wire.Server(servicers, config=config, interceptors=interceptors) as server:
        yield await server.listen("memory:")
