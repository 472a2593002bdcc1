"""The abstract classes of channels of `grpc.aio`, and of their methods."""

from __future__ import annotations

import abc
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


class UnaryUnaryMultiCallable(Generic[Q, R], abc.ABC):
    """A method with one request and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class UnaryStreamMultiCallable(Generic[Q, R], abc.ABC):
    """A method with one request and a stream of responses."""

    @abc.abstractmethod
    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class StreamUnaryMultiCallable(Generic[Q, R], abc.ABC):
    """A method with a stream of requests and one response."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class StreamStreamMultiCallable(Generic[Q, R], abc.ABC):
    """A method with streams both ways."""

    @abc.abstractmethod
    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class Channel(abc.ABC):
    """Calls to one target."""

    @abc.abstractmethod
    async def __aenter__(self) -> Any: ...

    @abc.abstractmethod
    async def __aexit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any: ...

    @abc.abstractmethod
    async def close(self, grace: float | None = None) -> None: ...

    @abc.abstractmethod
    def get_state(self, try_to_connect: bool = False) -> Any: ...

    @abc.abstractmethod
    async def wait_for_state_change(self, last_observed_state: Any) -> None: ...

    @abc.abstractmethod
    async def channel_ready(self) -> None: ...

    @abc.abstractmethod
    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any: ...

    @abc.abstractmethod
    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any: ...

    @abc.abstractmethod
    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any: ...

    @abc.abstractmethod
    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any: ...
