"""A channel for threads: `with` and calls that return when they have ended. Imports `client` and its siblings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakSet

from wire.blocking.attendant import Attendant
from wire.blocking.callables import (
    Credentials,
    StreamStreamCallable,
    StreamUnaryCallable,
    UnaryStreamCallable,
    UnaryUnaryCallable,
)
from wire.blocking.runtime import ThreadRuntime
from wire.client.channel_base import ChannelBase, ClientInterceptor
from wire.client.connectivity import ConnectivityState
from wire.client.credentials import context_of, status_of
from wire.codec import Codec
from wire.config import ChannelConfig
from wire.errors import UsageError
from wire.live import leave
from wire.metadata import Metadata, MetadataInput
from wire.rpc.service_config import ServiceConfig
from wire.service import Inspector, Method
from wire.status import CallError
from wire.transport.address import Dial, Find
from wire.transport.tls import ClientTls

Q = TypeVar("Q")
R = TypeVar("R")
C = TypeVar("C")


class Channel(ChannelBase):
    """Calls to one target from any number of threads; an address in gRPC's name syntax.

        with wire.blocking.Channel("127.0.0.1:50051") as channel:
            reply = EchoStub(channel).echo(EchoRequest(payload=b"hello"), timeout=1.0)

    Connects when the first call is made, and again when a connection is lost. Raises `AddressError` for a target that
    cannot be read. Close it by `close` or by leaving the block: that cancels its calls.

    A process that forks may use its channels in both: the child's connect anew.
    """

    def __init__(
        self,
        target: str | Dial,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        credentials: Credentials | None = None,
        service_config: ServiceConfig | Mapping[str, Any] | str | None = None,
        trace: Inspector | None = None,
        resolver: Find | None = None,
    ) -> None:
        """`target`: an address in gRPC's name syntax, or a plain function that makes a connected stream socket each
        time that a connection is wanted. `interceptors`: stand in front of every call, the first one outermost; what
        starts a call returns it, as `start` does. `credentials`: give the metadata that proves who calls, for each
        call, in its thread. `service_config`: JSON as gRPC documents it, as for `wire.Channel`. `trace`: sees every
        connection, as `wire.inspect.Trace` does. `resolver`: as for `wire.Channel`, a plain function; the channel's
        calls wait while it runs."""
        super().__init__(
            target,
            config=config,
            tls=tls,
            interceptors=interceptors,
            service_config=service_config,
            trace=trace,
            resolver=resolver,
        )
        if credentials is not None:
            self._check_private()
        self._given = credentials
        self._closing = False
        self.threads = ThreadRuntime()
        self.attendant = Attendant(self.threads)
        self._open(self.threads)
        _channels.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            attendant = self.attendant
        except AttributeError:  # it was never made
            return
        attendant.end()

    def close(self, grace_s: float = 0.0) -> None:
        """Make no more calls, let those that are open end within `grace_s` seconds, cancel the rest, and close the
        connections. Threads that wait get `RpcError` CANCELLED. No effect on a closed channel. In a signal's handler it
        may return before that is done."""
        threads = self.threads
        if threads.closed:
            return
        if threads.is_inside():
            self.attendant.run_soon(partial(self.close, grace_s))
            return
        with threads.inside():
            if self._closing:
                return
            self._closing = True
            try:
                threads.run(self.pool.close(grace_s))
            finally:
                self.deadlines.close()
                threads.close()
                leave(self)
        self.attendant.end()

    # Connecting.

    def connect(self) -> None:
        """Begin to connect, as a call would, where there is no connection. The channel's thread goes on with it."""
        with self.calling():
            self.pool.connect()
            self.attendant.begin()

    def ready(self, timeout: float | None = None) -> None:
        """Connect, and wait until calls can start: it is tried again and again for `timeout` seconds (None: for ever).

        Raises `ConnectError`, which says why it could not be, and `UsageError` on a channel that is closed meanwhile.
        """
        with self.calling():
            self.threads.run(self.pool.ready(timeout))

    def state_changed(self, last: ConnectivityState, timeout: float | None = None) -> ConnectivityState:
        """The state, once it is another one than `last`, or after `timeout` seconds. Does not connect by itself."""
        connectivity = self.pool.connectivity
        with self.threads.inside():
            if connectivity.state is last:
                self.threads.run(self._changed(timeout))
            return connectivity.state

    async def _changed(self, timeout: float | None) -> None:
        connectivity = self.pool.connectivity
        last = connectivity.state
        end = None if timeout is None else self.threads.now() + timeout
        timer = None if timeout is None else self.threads.call_later(timeout, connectivity.wake)
        try:
            while connectivity.state is last and (end is None or self.threads.now() < end):
                await connectivity.changed()
        finally:
            if timer is not None:
                timer.cancel()

    # Calls.

    def unary_unary(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> UnaryUnaryCallable[Q, R]:
        """What calls the method at "/package.Service/Method", without a stub: it is what a stub's attribute would be.

        Types are those that a `Method` takes: message classes of betterproto2 or google.protobuf, `bytes`, or a
        `Codec` of one's own. Make it once and call it often. Raises `ServiceError`.
        """
        return UnaryUnaryCallable.at(self, path, request, response)

    def unary_stream(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> UnaryStreamCallable[Q, R]:
        """As `unary_unary`, for a method that streams responses."""
        return UnaryStreamCallable.at(self, path, request, response)

    def stream_unary(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> StreamUnaryCallable[Q, R]:
        """As `unary_unary`, for a method that takes a stream of requests."""
        return StreamUnaryCallable.at(self, path, request, response)

    def stream_stream(
        self, path: str, request: type[Q] | Codec[Q], response: type[R] | Codec[R]
    ) -> StreamStreamCallable[Q, R]:
        """As `unary_unary`, for a method that streams both ways."""
        return StreamStreamCallable.at(self, path, request, response)

    def callable(self, kind: Callable[[Channel, Method[Q, R]], C], method: Method[Q, R]) -> C:
        """A method's callable, with the channel's interceptors in front of whatever begins its calls."""
        made: Any = kind(self, method)
        if self._interceptors or self.has_credentials:
            made = made.intercepted(self.intercepted(method, made.begin))
        whole: C = made
        return whole

    @property
    def has_credentials(self) -> bool:
        return self._given is not None

    def with_credentials(self, path: str, metadata: MetadataInput, credentials: Credentials | None) -> MetadataInput:
        """A call's metadata with what its credentials, the channel's and its own, add to it. Raises `RpcError`."""
        context = context_of(self._preparation.authority, path)
        if credentials is not None:
            self._check_private()
        pairs = list(metadata.items() if isinstance(metadata, Mapping) else metadata)
        for each in (self._given, credentials):
            if each is not None:
                try:
                    pairs += Metadata(each(context))
                except Exception as error:
                    raise CallError(*status_of(error)) from error
        return pairs

    @contextmanager
    def calling(self) -> Iterator[None]:
        """In the block a call may be made. Raises `UsageError` when the channel is closed."""
        threads = self.threads
        threads.enter()
        try:
            self.begin_call()
            yield
        except BaseException as error:
            threads.interrupted(None, error)
            raise
        finally:
            threads.leave()

    def begin_call(self) -> None:
        """This thread, which has the lock, is to make a call. Raises `UsageError` when the channel is closed."""
        if self._closing:
            raise UsageError("the channel is closed")
        self.threads.freshen()
        self.thread = get_ident()

    def _forked(self) -> None:
        """In the child of a fork: nothing of the parent's is used any more, and nothing of it written to."""
        closed = self.threads.closed
        self.threads.abandon()
        self.threads = ThreadRuntime()
        self.threads.closed = closed
        self.attendant = Attendant(self.threads)
        self._open(self.threads)


_channels: WeakSet[Channel] = WeakSet()


def _after_fork() -> None:
    for channel in list(_channels):
        channel._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
