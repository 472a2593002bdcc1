"""The abstract classes of `grpc`: what programs subclass, and what they test objects against.

Each has the methods of its namesake in grpcio, where their documentation is. Imports nothing of this package.
"""

from __future__ import annotations

import abc
from typing import Any, Protocol


class RpcContext(abc.ABC):
    """What both sides may ask of a call."""

    @abc.abstractmethod
    def is_active(self) -> bool: ...

    @abc.abstractmethod
    def time_remaining(self) -> float | None: ...

    @abc.abstractmethod
    def cancel(self) -> Any: ...

    @abc.abstractmethod
    def add_callback(self, callback: Any) -> bool: ...


class Call(RpcContext):
    """A call on the client."""

    @abc.abstractmethod
    def initial_metadata(self) -> Any: ...

    @abc.abstractmethod
    def trailing_metadata(self) -> Any: ...

    @abc.abstractmethod
    def code(self) -> Any: ...

    @abc.abstractmethod
    def details(self) -> Any: ...


class Future(abc.ABC):
    """A result to come."""

    @abc.abstractmethod
    def cancel(self) -> bool: ...

    @abc.abstractmethod
    def cancelled(self) -> bool: ...

    @abc.abstractmethod
    def running(self) -> bool: ...

    @abc.abstractmethod
    def done(self) -> bool: ...

    @abc.abstractmethod
    def result(self, timeout: float | None = None) -> Any: ...

    @abc.abstractmethod
    def exception(self, timeout: float | None = None) -> Any: ...

    @abc.abstractmethod
    def traceback(self, timeout: float | None = None) -> Any: ...

    @abc.abstractmethod
    def add_done_callback(self, fn: Any) -> Any: ...


class ClientCallDetails(abc.ABC):  # noqa: B024
    """method, timeout, metadata, credentials, wait_for_ready, compression: what an interceptor learns of a call."""


class UnaryUnaryClientInterceptor(abc.ABC):
    @abc.abstractmethod
    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any: ...


class UnaryStreamClientInterceptor(abc.ABC):
    @abc.abstractmethod
    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any: ...


class StreamUnaryClientInterceptor(abc.ABC):
    @abc.abstractmethod
    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any: ...


class StreamStreamClientInterceptor(abc.ABC):
    @abc.abstractmethod
    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any: ...


class AuthMetadataContext(abc.ABC):  # noqa: B024
    """service_url and method_name: what a call credential is asked for."""


class AuthMetadataPluginCallback(abc.ABC):  # noqa: B024
    def __call__(self, metadata: Any, error: Any) -> None:
        raise NotImplementedError()


class AuthMetadataPlugin(abc.ABC):  # noqa: B024
    def __call__(self, context: Any, callback: Any) -> None:
        raise NotImplementedError()


class _MultiCallable(abc.ABC):
    @abc.abstractmethod
    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class UnaryUnaryMultiCallable(_MultiCallable):
    """A method with one request and one response."""

    @abc.abstractmethod
    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...

    @abc.abstractmethod
    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class UnaryStreamMultiCallable(_MultiCallable):
    """A method with one request and a stream of responses."""


class StreamUnaryMultiCallable(_MultiCallable):
    """A method with a stream of requests and one response."""

    @abc.abstractmethod
    def with_call(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...

    @abc.abstractmethod
    def future(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any: ...


class StreamStreamMultiCallable(_MultiCallable):
    """A method with streams both ways."""


class Channel(abc.ABC):
    @abc.abstractmethod
    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None: ...

    @abc.abstractmethod
    def unsubscribe(self, callback: Any) -> None: ...

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

    @abc.abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Any:
        raise NotImplementedError()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> Any:
        raise NotImplementedError()


class ServicerContext(RpcContext):
    """What a handler of the sync API may know and say about its call."""

    @abc.abstractmethod
    def invocation_metadata(self) -> Any: ...

    @abc.abstractmethod
    def peer(self) -> str: ...

    @abc.abstractmethod
    def peer_identities(self) -> Any: ...

    @abc.abstractmethod
    def peer_identity_key(self) -> Any: ...

    @abc.abstractmethod
    def auth_context(self) -> Any: ...

    def set_compression(self, compression: Any) -> None:
        raise NotImplementedError()

    @abc.abstractmethod
    def send_initial_metadata(self, initial_metadata: Any) -> None: ...

    @abc.abstractmethod
    def set_trailing_metadata(self, trailing_metadata: Any) -> None: ...

    def trailing_metadata(self) -> Any:
        raise NotImplementedError()

    @abc.abstractmethod
    def abort(self, code: Any, details: str) -> Any: ...

    @abc.abstractmethod
    def abort_with_status(self, status: Any) -> Any: ...

    @abc.abstractmethod
    def set_code(self, code: Any) -> None: ...

    @abc.abstractmethod
    def set_details(self, details: str) -> None: ...

    def code(self) -> Any:
        raise NotImplementedError()

    def details(self) -> Any:
        raise NotImplementedError()

    def disable_next_message_compression(self) -> None:
        raise NotImplementedError()


class Status(abc.ABC):  # noqa: B024
    """code, details, trailing_metadata: what `abort_with_status` takes."""


class RpcMethodHandler(abc.ABC):  # noqa: B024
    """request_streaming, response_streaming, request_deserializer, response_serializer, and one of unary_unary,
    unary_stream, stream_unary, stream_stream: a method as it is served."""


class HandlerCallDetails(Protocol):
    """method and invocation_metadata: what finding a handler goes by."""

    method: str
    invocation_metadata: Any


class GenericRpcHandler(abc.ABC):
    @abc.abstractmethod
    def service(self, handler_call_details: Any) -> Any: ...


class ServiceRpcHandler(GenericRpcHandler):
    @abc.abstractmethod
    def service_name(self) -> str: ...


class ServerInterceptor(abc.ABC):
    @abc.abstractmethod
    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any: ...


class Server(abc.ABC):
    @abc.abstractmethod
    def add_generic_rpc_handlers(self, generic_rpc_handlers: Any) -> None: ...

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:  # noqa: B027
        """Handlers by their methods' names; these come before generic ones."""

    @abc.abstractmethod
    def add_insecure_port(self, address: str) -> int: ...

    @abc.abstractmethod
    def add_secure_port(self, address: str, server_credentials: Any) -> int: ...

    @abc.abstractmethod
    def start(self) -> None: ...

    @abc.abstractmethod
    def stop(self, grace: float | None) -> Any: ...

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        raise NotImplementedError()
