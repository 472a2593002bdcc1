"""Interceptors of the sync API: a channel that stands before another. Imports this package's abstract classes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self

from wire.grpcio import _abstract
from wire.grpcio._enums import StatusCode
from wire.grpcio._errors import RpcError


class _Details(NamedTuple):
    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _ClientCallDetails(_Details, _abstract.ClientCallDetails):
    """What an interceptor may know of a call beside its messages."""


def _options(details: Any, default: _ClientCallDetails) -> tuple[str, dict[str, Any]]:
    """The method and options of a call, from whatever object an interceptor made; what it lacks is as it was."""
    names = ("timeout", "metadata", "credentials", "wait_for_ready", "compression")
    return getattr(details, "method", default.method), {
        name: getattr(details, name, getattr(default, name)) for name in names
    }


class _FailureOutcome(RpcError, _abstract.Future, _abstract.Call):  # noqa: N818
    """A call in whose place an interceptor, or what it called, raised."""

    def __init__(self, exception: BaseException, traceback: TracebackType | None) -> None:
        super().__init__()
        self._exception = exception
        self._traceback = traceback

    def initial_metadata(self) -> None:
        return None

    def trailing_metadata(self) -> None:
        return None

    def code(self) -> StatusCode:
        return StatusCode.INTERNAL

    def details(self) -> str:
        return "Exception raised while intercepting the RPC"

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        raise self._exception

    def exception(self, timeout: float | None = None) -> BaseException:
        return self._exception

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        return self._traceback

    def add_callback(self, callback: Any) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        fn(self)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> NoReturn:
        raise self._exception

    def next(self) -> NoReturn:
        raise self._exception


class _UnaryOutcome(_abstract.Call, _abstract.Future):
    """A call that has ended well, with its response."""

    def __init__(self, response: Any, call: Any) -> None:
        self._response = response
        self._call = call

    def initial_metadata(self) -> Any:
        return self._call.initial_metadata()

    def trailing_metadata(self) -> Any:
        return self._call.trailing_metadata()

    def code(self) -> Any:
        return self._call.code()

    def details(self) -> Any:
        return self._call.details()

    def is_active(self) -> bool:
        return bool(self._call.is_active())

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def cancel(self) -> bool:
        return bool(self._call.cancel())

    def add_callback(self, callback: Any) -> bool:
        return bool(self._call.add_callback(callback))

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        return self._response

    def exception(self, timeout: float | None = None) -> None:
        return None

    def traceback(self, timeout: float | None = None) -> None:
        return None

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        fn(self)


class _MultiCallable:
    """One method behind an interceptor. `thunk`: what the channel below makes of a method's path."""

    def __init__(self, thunk: Callable[[str], Any], method: str, intercept: Callable[..., Any]) -> None:
        self._thunk = thunk
        self._method = method
        self._intercept = intercept

    def _begin(self, request: Any, details: _ClientCallDetails, how: str | None) -> Any:
        """The call that the interceptor gives. `how`: which way of calling stands for `continuation`."""

        def continuation(new_details: Any, new_request: Any) -> Any:
            method, options = _options(new_details, details)
            callable_ = self._thunk(method)
            return (callable_ if how is None else getattr(callable_, how))(new_request, **options)

        try:
            return self._intercept(continuation, details, request)
        except Exception as exception:
            return _FailureOutcome(exception, sys.exc_info()[2])


class _StreamMultiCallable(_MultiCallable):
    """What gives a stream of responses."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        details = _ClientCallDetails(self._method, timeout, metadata, credentials, wait_for_ready, compression)
        return self._begin(request, details, None)


class _UnaryMultiCallable(_MultiCallable):
    """What gives one response."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return self.with_call(request, timeout, metadata, credentials, wait_for_ready, compression)[0]

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, Any]:
        details = _ClientCallDetails(self._method, timeout, metadata, credentials, wait_for_ready, compression)

        def continuation(new_details: Any, new_request: Any) -> Any:
            method, options = _options(new_details, details)
            try:
                response, call = self._thunk(method).with_call(new_request, **options)
            except RpcError as error:
                return error
            except Exception as exception:
                return _FailureOutcome(exception, sys.exc_info()[2])
            return _UnaryOutcome(response, call)

        call = self._intercept(continuation, details, request)
        return call.result(), call

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        details = _ClientCallDetails(self._method, timeout, metadata, credentials, wait_for_ready, compression)
        return self._begin(request, details, "future")


class _UnaryUnaryMultiCallable(_UnaryMultiCallable, _abstract.UnaryUnaryMultiCallable):
    """One request, one response."""


class _UnaryStreamMultiCallable(_StreamMultiCallable, _abstract.UnaryStreamMultiCallable):
    """One request, a stream of responses."""


class _StreamUnaryMultiCallable(_UnaryMultiCallable, _abstract.StreamUnaryMultiCallable):
    """A stream of requests, one response: the first argument has another name."""

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return super().__call__(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)

    def with_call(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, Any]:
        return super().with_call(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)

    def future(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return super().future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)


class _StreamStreamMultiCallable(_StreamMultiCallable, _abstract.StreamStreamMultiCallable):
    """Streams both ways."""

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return super().__call__(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)


class _Channel(_abstract.Channel):
    """A channel with an interceptor before it."""

    def __init__(self, channel: Any, interceptor: Any) -> None:
        self._channel = channel
        self._interceptor = interceptor

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        self._channel.subscribe(callback, try_to_connect=try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._channel.unsubscribe(callback)

    def _method(self, kind: str, method: str, serializers: tuple[Any, ...], wrapped: Any, interceptor: Any) -> Any:
        def thunk(path: str) -> Any:
            return getattr(self._channel, kind)(path, *serializers)

        if not isinstance(self._interceptor, interceptor):
            return thunk(method)
        return wrapped(thunk, method, getattr(self._interceptor, f"intercept_{kind}"))

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        serializers = request_serializer, response_deserializer, _registered_method
        kind = _UnaryUnaryMultiCallable, _abstract.UnaryUnaryClientInterceptor
        return self._method("unary_unary", method, serializers, *kind)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        serializers = request_serializer, response_deserializer, _registered_method
        kind = _UnaryStreamMultiCallable, _abstract.UnaryStreamClientInterceptor
        return self._method("unary_stream", method, serializers, *kind)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        serializers = request_serializer, response_deserializer, _registered_method
        kind = _StreamUnaryMultiCallable, _abstract.StreamUnaryClientInterceptor
        return self._method("stream_unary", method, serializers, *kind)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> Any:
        serializers = request_serializer, response_deserializer, _registered_method
        kind = _StreamStreamMultiCallable, _abstract.StreamStreamClientInterceptor
        return self._method("stream_stream", method, serializers, *kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()


_KINDS = (
    _abstract.UnaryUnaryClientInterceptor,
    _abstract.UnaryStreamClientInterceptor,
    _abstract.StreamUnaryClientInterceptor,
    _abstract.StreamStreamClientInterceptor,
)


def intercept_channel(channel: Any, *interceptors: Any) -> Any:
    """The channel with interceptors before it, the first one outermost. Raises `TypeError` for what is none."""
    for interceptor in reversed(interceptors):
        if not isinstance(interceptor, _KINDS):
            raise TypeError("interceptor must be " + " or ".join(f"grpc.{kind.__name__}" for kind in _KINDS))
        channel = _Channel(channel, interceptor)
    return channel
