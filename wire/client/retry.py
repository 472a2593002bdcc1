"""Calls that are made once more when they failed (gRPC proposal A6), as a method's service config says.

A call becomes a class of its own when it is first submitted: those of methods without a policy have no test for one on
their way. It is retried, after a pause, until a response has begun; what it has sent is kept until then, as for
transparent retries (`exchange`, `stream_exchange`). Imports these and `pool`.
"""

from __future__ import annotations

import random
from typing import Any

from wire.client.connectivity import ConnectivityState
from wire.client.exchange import Answer, Exchange
from wire.client.pool import Pool
from wire.client.stream_exchange import BidiExchange, ClientStreamExchange, ServerStreamExchange
from wire.client.unary_exchange import UnaryExchange
from wire.metadata import Fields
from wire.rpc.headers import Outcome
from wire.rpc.service_config import RetryPolicy, RetryThrottling
from wire.status import StatusCode
from wire.transport.contract import Runtime, Timer

PREVIOUS_ATTEMPTS = b"grpc-previous-rpc-attempts"
_PUSHBACK = b"grpc-retry-pushback-ms"
_JITTER = 0.2  # A6: each pause is multiplied by 0.8 to 1.2


class Tokens:
    """Retry throttling: one bucket for all calls of a channel."""

    __slots__ = ("_left", "_throttling")

    def __init__(self, throttling: RetryThrottling | None) -> None:
        self._throttling = throttling
        self._left = throttling.max_tokens if throttling is not None else 0.0

    @property
    def allow(self) -> bool:
        """There may be another attempt."""
        return self._throttling is None or self._left > self._throttling.max_tokens / 2

    def failed(self) -> None:
        self._left = max(self._left - 1, 0.0)

    def succeeded(self) -> None:
        if self._throttling is not None:
            self._left = min(self._left + self._throttling.token_ratio, self._throttling.max_tokens)


def pushback_s(fields: Fields) -> float | None:
    """What the server says in its trailers about another attempt: after so many seconds, never (negative), or nothing.

    A value that is no number means never (A6)."""
    for name, value in fields:
        if name == _PUSHBACK:
            return int(value) / 1000 if value.isdigit() and len(value) < 10 else -1.0
    return None


def backoff_s(policy: RetryPolicy, retries: int) -> float:
    """The pause before another attempt, `retries` having been made since the policy's first pause."""
    pause_s = min(policy.initial_backoff_s * policy.backoff_multiplier**retries, policy.max_backoff_s)
    return pause_s * random.uniform(1 - _JITTER, 1 + _JITTER)


class Retries:
    """Those of one call."""

    __slots__ = ("_paused_as", "_policy", "_pool", "_runtime", "_timer", "_tokens", "count")

    def __init__(self, runtime: Runtime, pool: Pool, policy: RetryPolicy, tokens: Tokens) -> None:
        self._runtime = runtime
        self._pool = pool
        self._policy = policy
        self._tokens = tokens
        self._timer: Timer | None = None
        self._paused_as = 0  # how many pauses there were since the server last named one
        self.count = 0

    def next_pause_s(self, code: StatusCode, fields: Fields, can_repeat: bool) -> float | None:
        """An attempt has ended: how long until the next one; None when there is none."""
        if code is StatusCode.OK:
            self._tokens.succeeded()
            return None
        policy = self._policy
        pushback = pushback_s(fields)
        retryable = code in policy.codes
        forbidden = pushback is not None and pushback < 0
        if retryable or forbidden:
            self._tokens.failed()
        if not retryable or forbidden or not can_repeat or self.count + 1 >= policy.max_attempts:
            return None
        if not self._tokens.allow or self._pool.connectivity.state is ConnectivityState.SHUTDOWN:
            return None
        self.count += 1
        if pushback is not None:
            self._paused_as = 0
            return pushback
        self._paused_as += 1
        return backoff_s(policy, self._paused_as - 1)

    def wait(self, call: Exchange[Any], pause_s: float) -> None:
        """Submit the call again after a pause."""
        self._pool.held[call] = None
        self._timer = self._runtime.call_later(pause_s, self._go_on, call)

    def _go_on(self, call: Exchange[Any]) -> None:
        self._timer = None
        del self._pool.held[call]
        call.submit()

    def end(self, call: Exchange[Any]) -> None:
        """The call has ended, perhaps during a pause."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            del self._pool.held[call]
            self._pool.call_ended(call)


class _Retried(Exchange[Any]):
    """What a call with a retry policy is."""

    __slots__ = ()

    _policy: Retries

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        return False  # `_end` hears of it

    def _end(self, outcome: Outcome) -> None:
        if not self._retry(outcome.code, outcome.fields):
            super()._end(outcome)

    def fail(self, code: StatusCode, message: str) -> None:
        if not self._retry(code, ()):
            super().fail(code, message)

    def _retry(self, code: StatusCode, fields: Fields) -> bool:
        """An attempt has ended. False when the call has, too."""
        if self.code is not None:
            return False
        pause_s = self._policy.next_pause_s(code, fields, not self.initial)  # empty: the status came instead of headers
        if pause_s is None or not self._rewind():
            return False
        self.detach()
        fields = tuple(field for field in self._extra if field[0] != PREVIOUS_ATTEMPTS)
        self._extra = (*fields, (PREVIOUS_ATTEMPTS, b"%d" % self._policy.count))
        self._policy.wait(self, pause_s)
        return True

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is None:
            self._policy.end(self)
        super()._finish(code, message)


class _RetriedUnary(_Retried, UnaryExchange[Any]):
    __slots__ = ()


class _RetriedServerStream(_Retried, ServerStreamExchange[Any]):
    __slots__ = ()


class _RetriedClientStream(_Retried, ClientStreamExchange[Any, Any]):
    __slots__ = ()


class _RetriedBidi(_Retried, BidiExchange[Any, Any]):
    __slots__ = ()


_RETRIED: dict[type[Exchange[Any]], type[_Retried]] = {
    UnaryExchange: _RetriedUnary,
    ServerStreamExchange: _RetriedServerStream,
    ClientStreamExchange: _RetriedClientStream,
    BidiExchange: _RetriedBidi,
}


def retry(call: Exchange[Any], retries: Retries) -> None:
    """Give a call that was not submitted yet a retry policy."""
    call.__class__ = _RETRIED[type(call)]
    call._policy = retries
