"""Calls of which several attempts are made at once (gRPC proposal A6), as a method's service config says. For methods
of one request and one response.

The call itself is the first attempt; others are exchanges of their own, with the same request. The first to get a
response, or a status that is fatal, decides: the others are cancelled, and the call ends as that one did. Imports
`exchange` and `retry`.
"""

from __future__ import annotations

from typing import Any

from wire.client.connectivity import ConnectivityState
from wire.client.exchange import Answer, Waiting
from wire.client.pool import Pool
from wire.client.retry import PREVIOUS_ATTEMPTS, Tokens, pushback_s
from wire.client.unary_exchange import UnaryExchange
from wire.metadata import Fields
from wire.rpc.headers import Outcome, ResponseHead
from wire.rpc.service_config import HedgingPolicy
from wire.status import StatusCode
from wire.transport.contract import Runtime, Timer


class Hedge:
    """The attempts of one call."""

    __slots__ = (
        "_call",
        "_extra",
        "_inner",
        "_made",
        "_no_more",
        "_open",
        "_parked",
        "_policy",
        "_pool",
        "_runtime",
        "_timer",
        "_tokens",
        "winner",
    )

    def __init__(
        self,
        call: UnaryExchange[Any],
        runtime: Runtime,
        pool: Pool,
        inner: Waiting,
        policy: HedgingPolicy,
        tokens: Tokens,
    ) -> None:
        self._call = call
        self._runtime = runtime
        self._pool = pool
        self._inner = inner
        self._policy = policy
        self._tokens = tokens
        self._made = 1
        self._no_more = False
        self._timer: Timer | None = None
        self._open: dict[UnaryExchange[Any], None] = {call: None}  # in the order they were made
        self._extra = call._extra  # as it is before credentials are added to the first attempt
        self._parked = False  # no attempt is open: the pool knows of the call by this alone
        self.winner: UnaryExchange[Any] | None = None
        """Which attempt decides how the call ends, once that is known."""

    def begin(self) -> None:
        """The first attempt is about to be submitted."""
        self._plan(self._policy.delay_s)

    def _plan(self, pause_s: float) -> None:
        """Another attempt after a pause, if there may be one."""
        self._cancel_timer()
        if not self._no_more and self._made < self._policy.max_attempts:
            self._timer = self._runtime.call_later(pause_s, self._make)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._parked:
            self._parked = False
            del self._pool.held[self._call]

    def _make(self) -> None:
        self._cancel_timer()
        if not self._tokens.allow and self._open:
            self._plan(self._policy.delay_s)
            return
        attempt = _Attempt(self._call, self, self._made, self._extra)
        self._made += 1
        self._open[attempt] = None
        self._plan(self._policy.delay_s)
        self._inner.submit(attempt)

    def goes_on(self, attempt: UnaryExchange[Any], code: StatusCode, fields: Fields) -> bool:
        """An attempt has ended. False when it decides how the call ends."""
        self._open.pop(attempt, None)
        if self.winner is not None:
            return False
        pushback = pushback_s(fields)
        forbidden = pushback is not None and pushback < 0
        if code is StatusCode.OK:
            self._tokens.succeeded()
        elif code in self._policy.codes or forbidden:
            self._tokens.failed()
        if code in self._policy.codes and self._pool.connectivity.state is not ConnectivityState.SHUTDOWN:
            if forbidden:
                self._no_more = True
                self._cancel_timer()
            elif pushback is not None:
                self._plan(pushback)
            elif self._tokens.allow:
                self._plan(0.0)
            if self._open:
                return True
            if self._timer is not None and self._tokens.allow:
                self._parked = True
                self._pool.held[self._call] = None
                return True
        self.decide(attempt)
        return False

    def decide(self, attempt: UnaryExchange[Any]) -> None:
        """The call ends as this attempt does: give the others up."""
        if self.winner is not None:
            return
        self.winner = attempt
        self._cancel_timer()
        others, self._open = self._open, {}
        for other in others:
            if other is self._call and other is not attempt:
                other.detach()
                self._inner.call_ended(other)  # it may wait in there
            elif other is not attempt:
                other.cancel()

    def end(self) -> None:
        """The call has ended."""
        self.decide(self._call)
        winner, self.winner = self.winner, self._call
        if winner is not None and winner is not self._call:
            winner.cancel()  # if it has not ended: its response had only begun


class _Hedged(UnaryExchange[Any]):
    """What a call with a hedging policy is, its own first attempt."""

    __slots__ = ()

    _policy: Hedge

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        return False  # the other attempts hear of its parts

    def _on_head(self, head: ResponseHead) -> None:
        if self.code is None:
            self._policy.decide(self)
        super()._on_head(head)

    def _end(self, outcome: Outcome) -> None:
        if self.code is None and self._policy.goes_on(self, outcome.code, outcome.fields):
            self.detach()
        else:
            super()._end(outcome)

    def fail(self, code: StatusCode, message: str) -> None:
        if self.code is None and self._policy.goes_on(self, code, ()):
            self.detach()
        else:
            super().fail(code, message)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is None:
            self._policy.end()
            del self._policy  # they know each other
        super()._finish(code, message)

    def end_as(self, attempt: UnaryExchange[Any]) -> None:
        """Another attempt has decided, and ended."""
        assert attempt.code is not None
        self.initial = attempt.initial
        self.trailing = attempt.trailing
        if attempt.code is StatusCode.OK:
            self.response = attempt.response
        self._finish(attempt.code, attempt.message)


class _Attempt(UnaryExchange[Any]):
    """A further attempt of a call."""

    __slots__ = ("_call", "_hedge")

    def __init__(self, call: UnaryExchange[Any], hedge: Hedge, number: int, extra: Fields) -> None:
        self.repeat(call, (*extra, (PREVIOUS_ATTEMPTS, b"%d" % number)))
        self._call = call
        self._hedge = hedge

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        return False  # the other attempts hear of its parts

    def _on_head(self, head: ResponseHead) -> None:
        self._hedge.decide(self)
        super()._on_head(head)

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is not None:
            return
        super()._finish(code, message)
        hedge = self._hedge
        del self._hedge  # they know each other
        if hedge.winner is None and hedge.goes_on(self, code, self.trailing or ()):
            return
        if hedge.winner is self and isinstance(self._call, _Hedged):  # else it was given up
            self._call.end_as(self)


def hedge(call: UnaryExchange[Any], made: Hedge) -> None:
    """Give a call that was not submitted yet a hedging policy."""
    call.__class__ = _Hedged
    call._policy = made
    made.begin()
