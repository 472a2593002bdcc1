"""Limits of what a server takes on: calls at once, and calls a second. What is beyond is RESOURCE_EXHAUSTED at once, so
that a client can go elsewhere instead of waiting. Imports `wire`.

An interceptor counts what it was given to: one made once and given to several servers limits them together, within one
event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import wire


def concurrency_limit(max_calls: int) -> wire.ServerInterceptor:
    """At most so many calls at once, of all methods together. Raises `ConfigurationError` unless it is at least 1."""
    if max_calls < 1:
        raise wire.ConfigurationError(f"a limit is at least 1, and not {max_calls}")
    running = 0

    def done(context: wire.ServerContext) -> None:
        nonlocal running
        running -= 1

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            nonlocal running
            if running >= max_calls:
                raise wire.RpcError(wire.StatusCode.RESOURCE_EXHAUSTED, f"{max_calls} calls are running already")
            running += 1
            context.add_done_callback(done)
            return handler(request, context)

        return intercepted

    return interceptor


def rate_limit(per_s: float, burst: int = 1, *, clock: Callable[[], float] = monotonic) -> wire.ServerInterceptor:
    """At most `per_s` calls a second, of all methods together, and `burst` at once (a token bucket).

    A call beyond it is told in `grpc-retry-pushback-ms` when there is room again (gRPC proposal A6). Raises
    `ConfigurationError` unless `per_s` is positive and `burst` at least 1.
    """
    if not per_s > 0 or burst < 1:
        raise wire.ConfigurationError(f"a rate is positive and a burst at least 1, and not {per_s} and {burst}")
    left = float(burst)
    at = clock()

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            nonlocal left, at
            now = clock()
            left = min(burst, left + (now - at) * per_s)
            at = now
            if left < 1:
                wait_ms = int(1000 * (1 - left) / per_s) + 1
                raise wire.RpcError(
                    wire.StatusCode.RESOURCE_EXHAUSTED,
                    f"more than {per_s:g} calls a second",
                    trailing_metadata=wire.Metadata([("grpc-retry-pushback-ms", str(wait_ms))]),
                )
            left -= 1
            return handler(request, context)

        return intercepted

    return interceptor
