"""One method on one channel, callable: what a stub's attributes are, and what a channel makes of a path.

Imports `service` and the client's calls.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Generic, Literal, Protocol, TypeVar

from wire.client.credentials import CallCredentials
from wire.client.exchange import Caller
from wire.client.preparation import Prepared
from wire.config import CompressionName
from wire.errors import ServiceError
from wire.metadata import MetadataInput
from wire.service import Method

Q = TypeVar("Q")
C = TypeVar("C")

Requests = AsyncIterable[Q] | Iterable[Q]
"""What a caller may hand over as a stream of requests."""

CallCompression = CompressionName | Literal["identity"]
"""How one call's requests are compressed; "identity": not at all, on a channel that compresses."""


class CallingChannel(Caller, Protocol):
    """What the calls of one method need of their channel."""

    def with_options(self, compression: CallCompression | None, credentials: CallCredentials | None) -> Caller:
        """The channel for calls that are made in another way than the rest."""


class _Callable(Generic[C]):
    """One method on one channel; calling it makes a call of the kind `C`."""

    __slots__ = ("_call", "_channel", "_method")

    def __init__(self, call: Callable[..., C], channel: CallingChannel, method: Method[Any, Any]) -> None:
        if method.path is None:
            raise ServiceError(f"{method!r} belongs to no service, so it has no path to call")
        self._call = call
        self._channel = channel
        self._method = method


class RequestCallable(_Callable[C], Generic[Q, C]):
    """A method that takes one request."""

    __slots__ = ()

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: CallCredentials | None = None,
    ) -> C:
        """Start a call: await what is returned for the response, or iterate over it for the responses.

        `timeout` in seconds; None: no deadline. `wait_for_ready` and `compression`; None: as the channel is configured.
        `credentials`: metadata made for this call, see `CallCredentials`.
        """
        channel: Caller = self._channel
        if compression is not None or credentials is not None:
            channel = self._channel.with_options(compression, credentials)
        return self._call(channel, self._method, request, (timeout, metadata, wait_for_ready))


class UnaryCallable(RequestCallable[Q, C]):
    """A method that takes one request and gives one response. `call`: (channel, `Prepared`, request, options) → it."""

    __slots__ = ("_prepared",)

    def __init__(self, call: Callable[..., C], channel: CallingChannel, method: Method[Any, Any]) -> None:
        super().__init__(call, channel, method)
        self._prepared: Prepared[Any] | None = None  # a channel is opened by its first call

    def __call__(
        self,
        request: Q,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: CallCredentials | None = None,
    ) -> C:
        channel: Caller = self._channel
        prepared = self._prepared
        if compression is not None or credentials is not None:
            channel = self._channel.with_options(compression, credentials)
            prepared = channel.prepared(self._method)
        elif prepared is None:
            prepared = self._prepared = channel.prepared(self._method)
        return self._call(channel, prepared, request, (timeout, metadata, wait_for_ready))

    __call__.__doc__ = RequestCallable.__call__.__doc__


class RequestsCallable(_Callable[C], Generic[Q, C]):
    """A method that takes a stream of requests."""

    __slots__ = ()

    def __call__(
        self,
        requests: Requests[Q] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataInput = (),
        wait_for_ready: bool | None = None,
        compression: CallCompression | None = None,
        credentials: CallCredentials | None = None,
    ) -> C:
        """As for `RequestCallable`; requests come from `requests`, or by the call's `send` and `end`."""
        channel: Caller = self._channel
        if compression is not None or credentials is not None:
            channel = self._channel.with_options(compression, credentials)
        return self._call(channel, self._method, requests, (timeout, metadata, wait_for_ready))
