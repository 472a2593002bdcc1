"""The abstract classes of servers of `grpc.aio`, and of the context that handlers get."""

from __future__ import annotations

import abc
from typing import Any, Generic, NoReturn, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")


class Server(abc.ABC):
    """Serves any number of services on any number of addresses."""

    @abc.abstractmethod
    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None: ...

    @abc.abstractmethod
    def add_insecure_port(self, address: str) -> int: ...

    @abc.abstractmethod
    def add_secure_port(self, address: str, server_credentials: Any) -> int: ...

    @abc.abstractmethod
    async def start(self) -> None: ...

    @abc.abstractmethod
    async def stop(self, grace: float | None) -> None: ...

    @abc.abstractmethod
    async def wait_for_termination(self, timeout: float | None = None) -> bool: ...

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:  # noqa: B027
        """Handlers by their methods' names; these come before generic ones."""


class ServicerContext(Generic[Q, R], abc.ABC):
    """What a handler may know and say about its call."""

    @abc.abstractmethod
    async def read(self) -> Any: ...

    @abc.abstractmethod
    async def write(self, message: Any) -> None: ...

    @abc.abstractmethod
    async def send_initial_metadata(self, initial_metadata: Any) -> None: ...

    @abc.abstractmethod
    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn: ...

    @abc.abstractmethod
    async def abort_with_status(self, status: Any) -> NoReturn: ...

    @abc.abstractmethod
    def set_trailing_metadata(self, trailing_metadata: Any) -> None: ...

    @abc.abstractmethod
    def invocation_metadata(self) -> Any: ...

    @abc.abstractmethod
    def set_code(self, code: Any) -> None: ...

    @abc.abstractmethod
    def set_details(self, details: str) -> None: ...

    @abc.abstractmethod
    def set_compression(self, compression: Any) -> None: ...

    @abc.abstractmethod
    def disable_next_message_compression(self) -> None: ...

    @abc.abstractmethod
    def peer(self) -> str: ...

    @abc.abstractmethod
    def peer_identities(self) -> Any: ...

    @abc.abstractmethod
    def peer_identity_key(self) -> str | None: ...

    @abc.abstractmethod
    def auth_context(self) -> Any: ...

    def time_remaining(self) -> float | None:
        raise NotImplementedError()

    def trailing_metadata(self) -> Any:
        raise NotImplementedError()

    def code(self) -> Any:
        raise NotImplementedError()

    def details(self) -> Any:
        raise NotImplementedError()

    def add_done_callback(self, callback: Any) -> None:
        raise NotImplementedError()

    def cancelled(self) -> bool:
        raise NotImplementedError()

    def done(self) -> bool:
        raise NotImplementedError()
