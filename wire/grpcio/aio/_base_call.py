"""The abstract classes of calls of `grpc.aio`; interceptors tell calls from responses by them."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import AsyncIterator, Generator
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


class RpcContext(metaclass=ABCMeta):
    """What both sides may ask of a call."""

    __slots__ = ()

    @abstractmethod
    def cancelled(self) -> bool: ...

    @abstractmethod
    def done(self) -> bool: ...

    @abstractmethod
    def time_remaining(self) -> float | None: ...

    @abstractmethod
    def cancel(self) -> bool: ...

    @abstractmethod
    def add_done_callback(self, callback: Any) -> None: ...


class Call(RpcContext):
    """A call on the client."""

    __slots__ = ()

    @abstractmethod
    async def initial_metadata(self) -> Any: ...

    @abstractmethod
    async def trailing_metadata(self) -> Any: ...

    @abstractmethod
    async def code(self) -> Any: ...

    @abstractmethod
    async def details(self) -> Any: ...

    @abstractmethod
    async def wait_for_connection(self) -> None: ...


class UnaryUnaryCall(Generic[Q, R], Call):
    """One request, one response."""

    __slots__ = ()

    @abstractmethod
    def __await__(self) -> Generator[Any, Any, Any]: ...


class UnaryStreamCall(Generic[Q, R], Call):
    """One request, a stream of responses."""

    __slots__ = ()

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]: ...

    @abstractmethod
    async def read(self) -> Any: ...


class StreamUnaryCall(Generic[Q, R], Call):
    """A stream of requests, one response."""

    __slots__ = ()

    @abstractmethod
    async def write(self, request: Any) -> None: ...

    @abstractmethod
    async def done_writing(self) -> None: ...

    @abstractmethod
    def __await__(self) -> Generator[Any, Any, Any]: ...


class StreamStreamCall(Generic[Q, R], Call):
    """Streams both ways."""

    __slots__ = ()

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]: ...

    @abstractmethod
    async def read(self) -> Any: ...

    @abstractmethod
    async def write(self, request: Any) -> None: ...

    @abstractmethod
    async def done_writing(self) -> None: ...
