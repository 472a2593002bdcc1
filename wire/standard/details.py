"""The usual details of rich errors (google.rpc, error_details.proto), for `rich_error` and `error_details`."""

from wire.standard.generated.google.rpc import (
    BadRequest,
    BadRequestFieldViolation,
    DebugInfo,
    ErrorInfo,
    Help,
    HelpLink,
    LocalizedMessage,
    PreconditionFailure,
    PreconditionFailureViolation,
    QuotaFailure,
    QuotaFailureViolation,
    RequestInfo,
    ResourceInfo,
    RetryInfo,
    Status,
)

__all__ = [
    "BadRequest",
    "BadRequestFieldViolation",
    "DebugInfo",
    "ErrorInfo",
    "Help",
    "HelpLink",
    "LocalizedMessage",
    "PreconditionFailure",
    "PreconditionFailureViolation",
    "QuotaFailure",
    "QuotaFailureViolation",
    "RequestInfo",
    "ResourceInfo",
    "RetryInfo",
    "Status",
]
