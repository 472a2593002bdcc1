"""The exceptions of `grpc` and `grpc.aio`, in the hierarchy that programs rely on.

    Exception
    ├── RpcError                  a call ended with a status other than OK
    │   └── aio.AioRpcError           one of grpc.aio's; of the sync API: _channel._InactiveRpcError and its like
    ├── FutureTimeoutError        a future was not done in time
    ├── FutureCancelledError      a future was cancelled
    └── BaseError
        ├── AbortError            what `context.abort` raises in a handler
        ├── InternalError
        │   └── ExecuteBatchError     metadata that gRPC forbids, mostly
        └── UsageError            a method was called at a time when it cannot work

Imports nothing.
"""

from __future__ import annotations


class RpcError(Exception):
    """A call ended with a status other than OK."""


class FutureTimeoutError(Exception):
    """A method of a `Future` timed out."""


class FutureCancelledError(Exception):
    """The computation behind a `Future` was cancelled."""


class BaseError(Exception):
    """Base of what grpc.aio raises that is no status."""


class AbortError(BaseError):
    """Raised by `context.abort` in a handler, to end it."""


class InternalError(BaseError):
    """What should not happen, inside gRPC."""


class ExecuteBatchError(InternalError):
    """A step of a call was refused before it was sent, such as one with metadata that gRPC forbids."""


class UsageError(BaseError):
    """A method was called at a time when it cannot work, such as on a closed channel."""


class _EOF:
    """What `read` returns after the last message."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def _repr(self) -> str:
        return "<grpc.aio.EOF>"

    __repr__ = _repr
    __str__ = _repr


EOF = _EOF()
