"""Names of grpcio's compiled core that programs are known to import from it. Imports this package's."""

from wire.grpcio._errors import EOF, AbortError, BaseError, ExecuteBatchError, InternalError, UsageError

__all__ = ["EOF", "AbortError", "BaseError", "ExecuteBatchError", "InternalError", "UsageError"]
