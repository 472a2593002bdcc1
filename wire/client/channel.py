"""The client's side of a target in an event loop: opening, closing, connecting, and calls by path.

Imports everything below; nothing of the server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar
from warnings import warn

import anyio

from wire.client.call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.client.callables import RequestCallable, RequestsCallable, UnaryCallable
from wire.client.channel_base import ChannelBase, ClientInterceptor
from wire.client.connectivity import ConnectivityState
from wire.client.credentials import CallCredentials
from wire.codec import Codec
from wire.config import ChannelConfig
from wire.errors import UsageError
from wire.live import leave
from wire.rpc.service_config import ServiceConfig
from wire.service import Inspector, method_at
from wire.transport.address import Dial, Find
from wire.transport.contract import Runtime
from wire.transport.runtime import open_runtime, start_runtime
from wire.transport.tls import ClientTls

Q = TypeVar("Q")
R = TypeVar("R")


class Channel(ChannelBase):
    """Calls to one target, an address in gRPC's name syntax.

        async with wire.Channel("127.0.0.1:50051") as channel:
            reply = await EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

    Opens and connects when the first call is made, inside a running event loop (asyncio, uvloop or trio), and connects
    again when a connection is lost. `await channel.close()`, or leaving the block, cancels calls and closes
    connections. Raises `AddressError` for a target that cannot be read. Use within one event loop.
    """

    def __init__(
        self,
        target: str | Dial,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        credentials: CallCredentials | None = None,
        service_config: ServiceConfig | Mapping[str, Any] | str | None = None,
        trace: Inspector | None = None,
        resolver: Find | None = None,
    ) -> None:
        """`target`: an address in gRPC's name syntax; or a function that makes a connected stream socket each time that
        a connection is wanted (a coroutine function, where that takes time).

        `interceptors`: stand in front of every call, the first one outermost. `credentials`: for every call; those of a
        single call come on top. Raises `ConfigurationError` when they would travel in the clear. `service_config`: JSON
        as gRPC documents it (time-outs, retries and limits by method, load balancing, health checking), as text or as
        `json.loads` gives it. `trace`: sees every connection, as `wire.inspect.Trace` does.

        `resolver`: a function, or a coroutine function, that is given the target, any name, and gives the addresses
        behind it: when the channel opens, when a connection fails or is lost, and as `ChannelConfig` says."""
        super().__init__(
            target,
            config=config,
            tls=tls,
            interceptors=interceptors,
            credentials=credentials,
            service_config=service_config,
            trace=trace,
            resolver=resolver,
        )
        self._block = AsyncExitStack()  # of `async with`: only whoever entered it can leave it
        self._close_runtime: Callable[[], Awaitable[None]] | None = None
        self._entered = False
        self._closing = False
        self._all_closed: anyio.Event | None = None

    # Opening and closing.

    def _start_runtime(self) -> Runtime:
        self._check_usable()
        runtime, self._close_runtime = start_runtime()
        return runtime

    def _check_usable(self) -> None:
        if self._closing:
            raise UsageError("the channel was closed: make another one")

    async def __aenter__(self) -> Self:
        self._check_usable()
        if self._entered:
            raise UsageError("a channel can be entered only once")
        self._entered = True
        if self._runtime is None:
            self._open(await self._block.enter_async_context(open_runtime()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            await self._block.aclose()

    async def close(self, grace_s: float = 0.0) -> None:
        """Make no more calls, let those that are open end within `grace_s` seconds, cancel the rest, and close the
        connections. Returns when that is done, also where somebody else has begun it; may be called again."""
        if self._closing:
            if self._all_closed is not None:
                await self._all_closed.wait()
            return
        self._closing = True
        leave(self)
        if self._runtime is None:
            return
        self._all_closed = anyio.Event()
        try:
            with anyio.CancelScope(shield=True):  # bounded by the pool
                await self.pool.close(grace_s)
                self.deadlines.close()
                if self._close_runtime is not None:
                    await self._close_runtime()
        finally:
            self._all_closed.set()

    def __del__(self) -> None:
        runtime = getattr(self, "_runtime", None)  # None also where __init__ has failed
        if runtime is None or self._closing:
            return
        try:
            runtime.call_soon_threadsafe(self.pool.abandon)
        except RuntimeError:  # the loop is closed, and with it the connections
            pass
        warn(f"a channel to {self._address} was never closed: use `async with`, or close()", ResourceWarning, 2)

    # Connecting.

    @property
    def state(self) -> ConnectivityState:
        """What the channel is doing about its connections."""
        return ConnectivityState.SHUTDOWN if self._closing and self._runtime is None else super().state

    def connect(self) -> None:
        """Begin to connect, as a call would, where there is no connection."""
        self._check_usable()
        _ = self.runtime
        self.pool.connect()

    async def ready(self, timeout: float | None = None) -> None:
        """Connect, and wait until calls can start: it is tried again and again for `timeout` seconds (None: for ever).

        Raises `ConnectError`, which says why it could not be, and `UsageError` on a channel that is closed meanwhile.
        """
        self._check_usable()
        _ = self.runtime
        await self.pool.ready(timeout)

    async def state_changed(self, last: ConnectivityState) -> ConnectivityState:
        """The state, once it is another one than `last`. Does not connect by itself."""
        if self._runtime is None and self._closing:
            return ConnectivityState.SHUTDOWN
        _ = self.runtime
        connectivity = self.pool.connectivity
        while connectivity.state is last:
            await connectivity.changed()
        return connectivity.state

    async def states(self) -> AsyncIterator[ConnectivityState]:
        """The state now, and each that comes; it may leave out states that pass while nobody waits. Ends after
        SHUTDOWN."""
        state = self.state
        yield state
        while state is not ConnectivityState.SHUTDOWN:
            state = await self.state_changed(state)
            yield state

    # Calls by path.

    def unary_unary(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> RequestCallable[Q, UnaryUnaryCall[R]]:
        """What calls the method at "/package.Service/Method", without a stub: it is what a stub's attribute would be.

        Types are those that a `Method` takes: message classes of betterproto2 or google.protobuf, `bytes`, or a
        `Codec` of one's own. Make it once and call it often. Raises `ServiceError`.
        """
        method = method_at(path, request, response)
        return self.intercepted(method, UnaryCallable(UnaryUnaryCall.begin, self.caller_for(method), method))

    def unary_stream(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> RequestCallable[Q, UnaryStreamCall[R]]:
        """As `unary_unary`, for a method that streams responses."""
        method = method_at(path, request, response, streams_responses=True)
        return self.intercepted(method, RequestCallable(UnaryStreamCall, self.caller_for(method), method))

    def stream_unary(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> RequestsCallable[Q, StreamUnaryCall[Q, R]]:
        """As `unary_unary`, for a method that takes a stream of requests."""
        method = method_at(path, request, response, streams_requests=True)
        return self.intercepted(method, RequestsCallable(StreamUnaryCall, self.caller_for(method), method))

    def stream_stream(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> RequestsCallable[Q, StreamStreamCall[Q, R]]:
        """As `unary_unary`, for a method that streams both ways."""
        method = method_at(path, request, response, streams_requests=True, streams_responses=True)
        return self.intercepted(method, RequestsCallable(StreamStreamCall, self.caller_for(method), method))
