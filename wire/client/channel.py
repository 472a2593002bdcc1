"""The client's side of a target: what calls share, and the pool of connections they run on.

Imports everything below; nothing of the server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from threading import get_ident
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from wire.client.pool import Pool
from wire.config import ChannelConfig
from wire.deadline import DeadlineTimer
from wire.errors import ConfigurationError, ServiceError, UsageError
from wire.http2.engine import HeaderList
from wire.message_decoder import MessageDecoder
from wire.rpc.compression import compressor
from wire.rpc.headers import request_fields
from wire.service import Inspector, Method
from wire.transport.address import TcpAddress, TcpAddresses, parse_address
from wire.transport.contract import Runtime
from wire.transport.runtime import open_runtime
from wire.transport.tls import ClientTls

R = TypeVar("R")

_NOT_OPEN = "the channel is not open: use it inside `async with wire.Channel(...) as channel`"
StartCall = Callable[..., Any]
"""A stub's method: (request or requests, **options) → call. The options are those of `RequestCallable`."""

ClientInterceptor = Callable[[Method[Any, Any], StartCall], StartCall]
"""Stands in front of a client's calls. Called once for each method when a stub is made, with the method and what starts
its calls; returns what to call in its place. That returns the call, or for one response anything that can be awaited.

    def tell(method, start):
        def intercepted(request, **options):
            print(method.path)
            return start(request, **options)
        return intercepted
"""

USER_AGENT = "grpc-python-wire/0.1.0"


class ChannelBase:
    """What a channel of an event loop and one of threads (`blocking`) have in common: all but opening and closing."""

    def __init__(
        self,
        target: str,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        trace: Inspector | None = None,
    ) -> None:
        self._trace = trace
        self._interceptors = tuple(interceptors)
        self.config = ChannelConfig() if config is None else config
        self._address = parse_address(target)
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        authority = self.config.authority
        self._authority = _authority(self._address) if authority is None else authority
        if not (self._authority.isascii() and self._authority.isprintable()):
            raise ConfigurationError(f"{self._authority!r} cannot be an authority: it must be printable ASCII")
        self._user_agent = f"{self.config.user_agent} {USER_AGENT}".strip()
        encoding = self.config.calls.compression
        self.compress = None if encoding is None else compressor(encoding)
        self._prepared: dict[Method[Any, Any], tuple[HeaderList, MessageDecoder[Any]]] = {}
        self._runtime: Runtime | None = None
        self.thread = 0
        """The one that may make calls, once the channel is open: the event loop's."""
        self.pool: Pool
        self.deadlines: DeadlineTimer

    def __repr__(self) -> str:
        state = "not open" if self._runtime is None else repr(self.pool)
        return f"<Channel to {self._address}: {state}>"

    @property
    def runtime(self) -> Runtime:
        """The event loop. Raises `UsageError` outside of the channel's block."""
        if self._runtime is None:
            raise UsageError(_NOT_OPEN)
        return self._runtime

    def _open(self, runtime: Runtime) -> None:
        runtime = runtime if self._trace is None else self._trace.around(runtime)
        self._runtime = runtime
        self.thread = get_ident()
        self.pool = Pool(runtime, self._address, self._tls, self.config)
        self.deadlines = DeadlineTimer(runtime.now, runtime.call_later)

    def intercepted(self, method: Method[Any, Any], start: StartCall) -> StartCall:
        """What starts a method's calls, with the channel's interceptors in front of it. Once for each method of a
        stub."""
        for interceptor in reversed(self._interceptors):
            start = interceptor(method, start)
            if not callable(start):
                raise ServiceError(f"the interceptor {interceptor!r} returned nothing to call for {method.path}")
        return start

    def prepared(self, method: Method[Any, R]) -> tuple[HeaderList, MessageDecoder[R]]:
        """What every call of `method` begins and ends with, as one object for all of them: the header fields of its
        request, and what decodes its responses."""
        prepared = self._prepared.get(method)
        if prepared is None:
            if self._runtime is None:  # here, so that it costs the calls that follow nothing
                raise UsageError(_NOT_OPEN)
            assert method.path is not None
            fields = request_fields(
                method.path, self._scheme, self._authority, self._user_agent, self.config.calls.compression
            )
            if self._trace is not None:
                self._trace.add_method(method)
            decoder = MessageDecoder(method.response, self.config.calls)
            prepared = self._prepared[method] = HeaderList(fields, shared=True), decoder
        return prepared


class Channel(ChannelBase):
    """Calls to one target, an address in gRPC's name syntax.

        async with wire.Channel("127.0.0.1:50051") as channel:
            reply = await EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

    Connects when the first call is made, and again when a connection is lost. Raises `AddressError` for a target that
    cannot be read. Use within one event loop (asyncio, uvloop or trio); leaving the block cancels calls and closes
    connections.
    """

    def __init__(
        self,
        target: str,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        trace: Inspector | None = None,
    ) -> None:
        """`interceptors`: stand in front of every call, the first one outermost. `trace`: sees every connection, as
        `wire.inspect.Trace` does."""
        super().__init__(target, config=config, tls=tls, interceptors=interceptors, trace=trace)
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._runtime is not None:
            raise UsageError("a channel can be entered only once")
        self._open(await self._exits.enter_async_context(open_runtime()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with anyio.CancelScope(shield=True):  # bounded by the pool
                await self.pool.close()
        finally:
            self.deadlines.close()
            await self._exits.aclose()


def _authority(address: object) -> str:
    """The default :authority of a target (gRPC's naming.md; "localhost" where there is no host)."""
    if isinstance(address, TcpAddresses):
        address = address.addresses[0]
    if isinstance(address, TcpAddress):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    return "localhost"
