"""What a server was given to serve: its methods, and the ports to serve them on. The same for both APIs.

Imports wire and this package's.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from typing import Any, NamedTuple

import wire
from wire.grpcio import _options
from wire.grpcio._credentials import ServerCredentials
from wire.grpcio._utilities import DictionaryGenericHandler


class _HandlerCallDetails(NamedTuple):
    """What generic handlers and interceptors are asked by."""

    method: str
    invocation_metadata: tuple[Any, ...]


class Methods:
    """The handlers. `registered`: by path, those that are known; `generic`: who is asked for all others, in order."""

    def __init__(self, generic: Iterable[Any]) -> None:
        self.registered: dict[str, Any] = {}
        self.generic = list(generic)

    def register(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        self.registered.update({f"/{service_name}/{name}": handler for name, handler in method_handlers.items()})

    def known(self) -> dict[str, Any]:
        """By path, the handlers that can be named before calls come; of two for a path, the one that `find` gives."""
        known: dict[str, Any] = {}
        for generic in reversed(self.generic):
            if isinstance(generic, DictionaryGenericHandler):
                known.update(generic._method_handlers)
        known.update(self.registered)
        return known

    def find(self, details: Any) -> Any:
        """The handler of a call; None when nobody has one."""
        handler = self.registered.get(details.method)
        if handler is None:
            handler = self._ask(details)
            if handler is None and details.method.count("/") == 1:  # a name that got its slash on the way
                handler = self._ask(details._replace(method=details.method.removeprefix("/")))
        return handler

    def _ask(self, details: Any) -> Any:
        for generic in self.generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None


class MethodsAndPorts:
    """The half of a server that is told what to serve, before it starts."""

    _methods: Methods
    _reuse_port: bool
    _started: bool
    _logger: logging.Logger

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        if self._started:
            self._logger.warning("Cannot register method handlers once server has started")
            return
        self._methods.register(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        return self._add_port(address, None)

    def add_secure_port(self, address: str, server_credentials: ServerCredentials) -> int:
        if not isinstance(server_credentials, ServerCredentials):
            name = type(server_credentials).__name__
            raise AttributeError(f"'{name}' object has no attribute '_credentials'")
        return self._add_port(address, server_credentials.tls())

    def _add_port(self, address: str, tls: wire.ServerTls | None) -> int:
        socks = self._bind(address)
        for sock in socks:
            self._take_port(sock, tls)
        return _options.port_of(socks[0])

    def _bind(self, address: str) -> list[socket.socket]:
        try:
            return _options.bind(address, reuse_port=self._reuse_port)
        except wire.WireError as error:
            raise RuntimeError(f"Failed to bind to address {address}: {error}") from None

    def _take_port(self, sock: socket.socket, tls: wire.ServerTls | None) -> None:
        """Serve on a socket that listens, now or once the server starts."""
        raise NotImplementedError
