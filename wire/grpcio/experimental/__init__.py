"""`grpc.experimental`. Imports this package's."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from wire.grpcio import _simple_stubs
from wire.grpcio import aio as aio
from wire.grpcio._credentials import insecure_channel_credentials

__all__ = [
    "ChannelOptions",
    "ExperimentalApiWarning",
    "UsageError",
    "insecure_channel_credentials",
    "ssl_channel_credentials_with_custom_signer",
    "stream_stream",
    "stream_unary",
    "unary_stream",
    "unary_unary",
    "wrap_server_method_handler",
]


class ChannelOptions:
    """Names of options that only gRPC for Python has."""

    SingleThreadedUnaryStream = "SingleThreadedUnaryStream"
    """Has no effect here: no stream needs a thread of its own."""


class UsageError(Exception):
    """What the API does not allow."""


class ExperimentalApiWarning(Warning):
    """An API is experimental."""


_used: set[str] = set()


def _warn_experimental(api_name: str, stack_offset: int) -> None:
    if api_name not in _used:
        _used.add(api_name)
        text = f"'{api_name}' is an experimental API. It is subject to change or removal between minor releases. "
        warnings.warn(text + "Proceed with caution.", ExperimentalApiWarning, stacklevel=2 + stack_offset)


def experimental_api(f: Callable[..., Any]) -> Callable[..., Any]:
    """Has a function warn, once, that it is experimental."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _warn_experimental(f.__name__, 1)
        return f(*args, **kwargs)

    return wrapper


unary_unary = experimental_api(_simple_stubs.unary_unary)
unary_stream = experimental_api(_simple_stubs.unary_stream)
stream_unary = experimental_api(_simple_stubs.stream_unary)
stream_stream = experimental_api(_simple_stubs.stream_stream)


def wrap_server_method_handler(wrapper: Callable[[Any], Any], handler: Any) -> Any:
    """The handler with its behaviour wrapped; None for None."""
    if not handler:
        return None
    kind = ("stream_" if handler.request_streaming else "unary_") + (
        "stream" if handler.response_streaming else "unary"
    )
    return handler._replace(**{kind: wrapper(getattr(handler, kind))})


@experimental_api
def ssl_channel_credentials_with_custom_signer(
    *, private_key_sign_fn: Any, root_certificates: bytes | None = None, certificate_chain: bytes
) -> NoReturn:
    """Python's ssl has no such signers: raises `NotImplementedError`."""
    raise NotImplementedError("Python's ssl takes no custom signer of private keys: use grpc.ssl_channel_credentials")
