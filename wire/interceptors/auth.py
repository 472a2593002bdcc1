"""Bearer tokens (RFC 6750) in the `authorization` field: checked on a server, sent by a client. Imports `wire`.

A token that travels in the clear can be read: use TLS, a UNIX socket or VSOCK.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from inspect import isawaitable
from typing import Any

import wire

CALLER: ContextVar[Any] = ContextVar("wire.interceptors.auth.CALLER")
"""Within a handler: what the check returned for its caller."""

Check = Callable[[str, wire.ServerContext], Any]

_SCHEME = "bearer "


def bearer_auth(check: Check, *, open_methods: Collection[str] = ()) -> wire.ServerInterceptor:
    """Let only calls through whose bearer token `check(token, context)` accepts.

    `check` returns who the caller is, anything but None, or None for a token that is not accepted; it may be an `async
    def`. The handler finds what it returned in `CALLER`. Calls without a token, or with one that is not accepted, are
    UNAUTHENTICATED; a check may raise an `RpcError` of its own. `open_methods`: full paths, or services such as
    "/grpc.health.v1.Health/", that need no token.
    """

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        path = method.path or ""
        if path in open_methods or path[: path.rindex("/") + 1] in open_methods:
            return handler

        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            caller = check(_token(context), context)
            if isawaitable(caller):
                return _checked(caller, handler, request, context)
            CALLER.set(_accepted(caller))
            return handler(request, context)

        return intercepted

    return interceptor


async def _checked(caller: Awaitable[Any], handler: wire.Handler, request: Any, context: wire.ServerContext) -> Any:
    CALLER.set(_accepted(await caller))
    response = handler(request, context)  # or an iterable of them
    return await response if isawaitable(response) else response


def _token(context: wire.ServerContext) -> str:
    value = context.metadata.text("authorization") or ""
    if value[: len(_SCHEME)].lower() != _SCHEME:
        raise wire.RpcError(wire.StatusCode.UNAUTHENTICATED, "the call has no bearer token")
    return value[len(_SCHEME) :].strip()


def _accepted(caller: Any) -> Any:
    if caller is None:
        raise wire.RpcError(wire.StatusCode.UNAUTHENTICATED, "the bearer token is not accepted")
    return caller


def bearer_token(token: str | Callable[[], str]) -> wire.ClientInterceptor:
    """Send a bearer token with each call: always the same, or what `token()` returns at that time."""

    def interceptor(method: wire.Method[Any, Any], start: wire.StartCall) -> wire.StartCall:
        def intercepted(request: Any = None, *, metadata: wire.MetadataInput = (), **options: Any) -> Any:
            value = token if isinstance(token, str) else token()
            pairs = [*wire.Metadata(metadata), ("authorization", f"Bearer {value}")]
            return start(request, metadata=pairs, **options)

        return intercepted

    return interceptor
