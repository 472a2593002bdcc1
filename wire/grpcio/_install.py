"""`import grpc` is this package (see `wire._install`), and its classes say that they are where grpcio's are."""

from __future__ import annotations

from wire._install import install_as

_SHOWN = {
    "_abstract": "grpc",
    "_credentials": "grpc",
    "_renewed_tls": "grpc",
    "_enums": "grpc",
    "_errors": "grpc",
    "_call": "grpc._channel",
    "_callables": "grpc._channel",
    "_context": "grpc._server",
    "aio._any_call": "grpc.aio._call",
}
_IN_CYGRPC = ("AbortError", "BaseError", "ExecuteBatchError", "InternalError", "UsageError")  # of `_errors`


def _shown(module: str, cls: str) -> str | None:
    if module == "_errors" and cls in _IN_CYGRPC:
        return "grpc._cython.cygrpc"
    return _SHOWN.get(module)


def install() -> None:
    """From now on `import grpc` means this package, everywhere in the process. Does nothing when it does already.

    Raises `UsageError` when grpcio's own `grpc` was imported before: what has its names would keep them.
    """
    install_as(
        "grpc", "wire.grpcio", shown=_shown, missing="wire has no {}, which is no part of grpcio's public interface"
    )
