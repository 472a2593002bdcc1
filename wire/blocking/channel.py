"""A channel for threads: `with` and calls that return when they have ended. Imports `client` and its siblings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from types import TracebackType
from typing import Any, Protocol, Self
from weakref import WeakSet

from wire.blocking.attendant import Attendant
from wire.blocking.runtime import ThreadRuntime
from wire.client.channel_base import ChannelBase, ClientInterceptor, StartCall
from wire.config import ChannelConfig
from wire.errors import UsageError
from wire.service import Inspector, Method
from wire.transport.tls import ClientTls


class Beginning(Protocol):
    """What a stub makes of a method (`callables`)."""

    begin: StartCall

    def intercepted(self, begin: StartCall) -> Any:
        """The same, whose calls `begin` begins."""


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
        target: str,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        trace: Inspector | None = None,
    ) -> None:
        """`interceptors`: stand in front of every call, the first one outermost. Each call is started
        as `start` does, and so returned. `trace`: sees every connection, as `wire.inspect.Trace` does."""
        super().__init__(target, config=config, tls=tls, interceptors=interceptors, trace=trace)
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

    def close(self) -> None:
        """Cancel every call and close every connection. Threads that wait get `RpcError` CANCELLED. No effect on a
        closed channel. In a signal's handler it may return before that is done."""
        threads = self.threads
        if threads.closed:
            return
        if threads.is_inside():
            self.attendant.run_soon(self.close)
            return
        with threads.inside():
            try:
                threads.run(self.pool.close())  # bounded by the pool
            finally:
                self.deadlines.close()
                threads.close()
        self.attendant.end()

    def intercepted(self, method: Method[Any, Any], start: Beginning) -> Any:  # type: ignore[override]
        """The callable of a method, with the channel's interceptors in front of whatever starts its calls."""
        if not self._interceptors:
            return start
        return start.intercepted(super().intercepted(method, start.begin))

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
        if self.threads.closed:
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
