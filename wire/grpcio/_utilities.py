"""Handlers as generated code makes them, and its check of versions. Imports the abstract classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from wire.grpcio import _abstract


class _RpcMethodHandler(NamedTuple):
    request_streaming: bool
    response_streaming: bool
    request_deserializer: Callable[[bytes], Any] | None
    response_serializer: Callable[[Any], bytes] | None
    unary_unary: Any
    unary_stream: Any
    stream_unary: Any
    stream_stream: Any


class RpcMethodHandler(_RpcMethodHandler, _abstract.RpcMethodHandler):
    """A method as it is served: its kind, what turns bytes into its messages and back, and its behaviour."""


def unary_unary_rpc_method_handler(
    behavior: Any, request_deserializer: Any = None, response_serializer: Any = None
) -> RpcMethodHandler:
    """A handler for a method with one request and one response."""
    return RpcMethodHandler(False, False, request_deserializer, response_serializer, behavior, None, None, None)


def unary_stream_rpc_method_handler(
    behavior: Any, request_deserializer: Any = None, response_serializer: Any = None
) -> RpcMethodHandler:
    """A handler for a method with one request and a stream of responses."""
    return RpcMethodHandler(False, True, request_deserializer, response_serializer, None, behavior, None, None)


def stream_unary_rpc_method_handler(
    behavior: Any, request_deserializer: Any = None, response_serializer: Any = None
) -> RpcMethodHandler:
    """A handler for a method with a stream of requests and one response."""
    return RpcMethodHandler(True, False, request_deserializer, response_serializer, None, None, behavior, None)


def stream_stream_rpc_method_handler(
    behavior: Any, request_deserializer: Any = None, response_serializer: Any = None
) -> RpcMethodHandler:
    """A handler for a method with streams both ways."""
    return RpcMethodHandler(True, True, request_deserializer, response_serializer, None, None, None, behavior)


class DictionaryGenericHandler(_abstract.ServiceRpcHandler):
    """One service's handlers by the names of their methods."""

    def __init__(self, service: str, method_handlers: Mapping[str, Any]) -> None:
        self._name = service
        self._method_handlers = {f"/{service}/{method}": handler for method, handler in method_handlers.items()}

    def service_name(self) -> str:
        return self._name

    def service(self, handler_call_details: Any) -> Any:
        return self._method_handlers.get(handler_call_details.method)


def method_handlers_generic_handler(service: str, method_handlers: Mapping[str, Any]) -> DictionaryGenericHandler:
    """A generic handler for one service, from its handlers by the names of their methods."""
    return DictionaryGenericHandler(service, method_handlers)


def first_version_is_lower(version1: str, version2: str) -> bool:
    """Whether generated code that was made for `version2` asks for more than a runtime of `version1` has.

    What generated code touches has not changed within major version 1, so that only major versions are compared.
    """
    try:
        return int(version1.partition(".")[0]) < int(version2.partition(".")[0])
    except ValueError:
        return False
