"""What a service config says of a method's calls, put in front of them: their time-out, retries, hedging, and limits.

A method without an entry has the channel itself to make its calls on; one with an entry has a `MethodCaller`, which is
decided when a stub is made. Imports `retry`, `hedging` and `pool`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from wire.client.callables import CallCompression, CallingChannel
from wire.client.credentials import CallCredentials
from wire.client.exchange import Caller, Exchange, Waiting
from wire.client.hedging import Hedge, hedge
from wire.client.pool import Pool
from wire.client.preparation import Prepared
from wire.client.retry import Retries, Tokens, retry
from wire.client.unary_exchange import UnaryExchange
from wire.config import ChannelConfig
from wire.deadline import DeadlineTimer
from wire.rpc.service_config import MethodConfig
from wire.service import Method
from wire.transport.contract import Future, Runtime

R = TypeVar("R")


class MethodGate:
    """Stands before whatever calls go to otherwise. A call that comes for the first time is given what the config says.
    A `Waiting`."""

    __slots__ = ("_config", "_inner", "_pool", "_runtime", "_tokens")

    def __init__(self, runtime: Runtime, pool: Pool, inner: Waiting, config: MethodConfig, tokens: Tokens) -> None:
        self._runtime = runtime
        self._pool = pool
        self._inner = inner
        self._config = config
        self._tokens = tokens

    @property
    def queue(self) -> Collection[Any]:
        return self._inner.queue

    def submit(self, call: Exchange[Any]) -> None:
        if not call.queued and not call.attempts:
            config = self._config
            if config.timeout_s is not None:
                call.limit_timeout(config.timeout_s)
            if config.retry is not None:
                retry(call, Retries(self._runtime, self._pool, config.retry, self._tokens))
            elif config.hedging is not None and type(call) is UnaryExchange:
                hedge(call, Hedge(call, self._runtime, self._pool, self._inner, config.hedging, self._tokens))
        self._inner.submit(call)

    def call_ended(self, call: Exchange[Any]) -> None:
        self._inner.call_ended(call)


class ConfiguredChannel(CallingChannel, Protocol):
    """What is needed of a channel."""

    @property
    def pool(self) -> Pool: ...

    def variant(
        self,
        compression: CallCompression | None,
        credentials: CallCredentials | None,
        config: ChannelConfig,
        around: Callable[[Waiting], Waiting],
    ) -> Caller:
        """As `with_options`, with another config, and something more to stand before the calls."""


class MethodCaller:
    """A channel for the calls of one method. A `CallingChannel`."""

    __slots__ = ("_channel", "_entrance", "_entrance_of", "_method", "_prepared", "_tokens", "config")

    def __init__(self, channel: ConfiguredChannel, method: MethodConfig, tokens: Tokens) -> None:
        self._channel = channel
        self._method = method
        self._tokens = tokens
        self._entrance: Waiting
        self._entrance_of: Pool | None = None
        self._prepared: Prepared[Any] | None = None
        config, calls = channel.config, channel.config.calls
        limits = calls.max_send_message_bytes, method.max_request_bytes
        self.config = replace(
            config,
            wait_for_ready=config.wait_for_ready if method.wait_for_ready is None else method.wait_for_ready,
            calls=replace(
                calls,
                max_send_message_bytes=min((each for each in limits if each is not None), default=None),
                max_receive_message_bytes=min(
                    calls.max_receive_message_bytes,
                    2**32 - 1 if method.max_response_bytes is None else method.max_response_bytes,
                ),
            ),
        )

    @property
    def runtime(self) -> Runtime:
        return self._channel.runtime

    @property
    def new_future(self) -> Callable[[], Future[Any]]:
        return self._channel.new_future

    @property
    def deadlines(self) -> DeadlineTimer:
        return self._channel.deadlines

    @property
    def compress(self) -> Callable[[bytes], bytes] | None:
        return self._channel.compress

    @property
    def thread(self) -> int:
        return self._channel.thread

    @property
    def entrance(self) -> Waiting:
        pool = self._channel.pool
        if self._entrance_of is not pool:  # the channel was opened since, or has another pool after a fork
            self._entrance_of = pool
            self._entrance = self._gate(self._channel.entrance)
        return self._entrance

    def _gate(self, inner: Waiting) -> Waiting:
        return MethodGate(self.runtime, self._channel.pool, inner, self._method, self._tokens)

    def prepared(self, method: Method[Any, R]) -> Prepared[R]:
        if self._prepared is None:
            self._prepared = self._channel.prepared(method).limited(self.config.calls)
        return self._prepared

    def with_options(self, compression: CallCompression | None, credentials: CallCredentials | None) -> Caller:
        """The channel for calls that are made in another way than the rest. Raises `ConfigurationError`."""
        return self._channel.variant(compression, credentials, self.config, self._gate)
