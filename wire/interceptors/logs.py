"""Access logs: one line for each call that has ended, with its status and how long it took. Imports `wire`."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

import wire

_FAULTS = frozenset({wire.StatusCode.UNKNOWN, wire.StatusCode.INTERNAL, wire.StatusCode.DATA_LOSS})


def access_log(logger: logging.Logger | None = None) -> wire.ServerInterceptor:
    """Log each call that a server has answered, to `logger` ("wire.access" unless given).

    Faults of the server (UNKNOWN, INTERNAL, DATA_LOSS) are logged as errors, all else as info. A record has the fields
    `path`, `peer`, `code` and `duration_s` as attributes; metadata, messages and the status's text are not logged.
    """
    log = logging.getLogger("wire.access") if logger is None else logger

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        path = method.path

        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            begun = perf_counter()

            def done(context: wire.ServerContext) -> None:
                _write(log, path, context.peer.address, context.code, perf_counter() - begun)

            context.add_done_callback(done)
            return handler(request, context)

        return intercepted

    return interceptor


def call_log(logger: logging.Logger | None = None) -> wire.ClientInterceptor:
    """Log each call that a channel has made and that has ended, as `access_log` does ("wire.calls" unless given)."""
    log = logging.getLogger("wire.calls") if logger is None else logger

    def interceptor(method: wire.Method[Any, Any], start: wire.StartCall) -> wire.StartCall:
        path = method.path

        def intercepted(request: Any = None, **options: Any) -> Any:
            begun = perf_counter()
            call = start(request, **options)
            call.add_done_callback(lambda call: _write(log, path, "", call.code, perf_counter() - begun))
            return call

        return intercepted

    return interceptor


def _write(log: logging.Logger, path: str | None, peer: str, code: wire.StatusCode | None, duration_s: float) -> None:
    level = logging.ERROR if code in _FAULTS else logging.INFO
    if log.isEnabledFor(level):
        extra = {"path": path, "peer": peer, "code": str(code), "duration_s": duration_s}
        log.log(level, "%s%s%s %s %.3f ms", peer, " " if peer else "", path, code, 1000 * duration_s, extra=extra)
