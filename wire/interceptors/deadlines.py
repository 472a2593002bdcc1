"""A caller's deadline and the calls that its handler makes: they get no more time than the caller has left.

    wire.Server([Shop()], interceptors=[keep_deadline()])
    wire.Channel("stock:50051", interceptors=[pass_deadline()])

Without these a handler says it at each call (`timeout=context.time_remaining()`), or what it calls works on after the
caller has given up. Calls within no handler, and in a handler whose caller set no deadline, are as they were. Both work
in asyncio's tasks, trio's and threads, as context variables do. Imports `wire`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import wire

_CALL: ContextVar[wire.ServerContext | None] = ContextVar("wire.interceptors.deadlines.CALL", default=None)


def keep_deadline() -> wire.ServerInterceptor:
    """Of a server: remember each call for what its handler calls."""

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            _CALL.set(context)
            return handler(request, context)

        return intercepted

    return interceptor


def pass_deadline(margin_s: float = 0.0) -> wire.ClientInterceptor:
    """Of a channel, asynchronous or blocking: the time-out of a call within a handler is what the handler's caller has
    left, less `margin_s` for the way back, or the call's own where that is shorter.

    A call that has nothing left is DEADLINE_EXCEEDED without having been sent.
    """
    if not margin_s >= 0:
        raise wire.ConfigurationError(f"a margin is 0 or more seconds, and not {margin_s!r}")

    def interceptor(method: wire.Method[Any, Any], start: wire.StartCall) -> wire.StartCall:
        def intercepted(request: Any = None, *, timeout: float | None = None, **options: Any) -> Any:
            call = _CALL.get()
            left = None if call is None else call.time_remaining()
            if left is not None:
                left = max(left - margin_s, 0.0)
                timeout = left if timeout is None else min(timeout, left)
            return start(request, timeout=timeout, **options)

        return intercepted

    return interceptor
