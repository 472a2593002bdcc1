"""Methods of channels of the sync API: calling one makes a call. Imports wire and this package's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import wire
import wire.blocking
from wire.grpcio import _abstract
from wire.grpcio._call import (
    NOTHING,
    _InactiveRpcError,
    _MultiThreadedRendezvous,
    _RPCState,
    deserialized,
    error_of,
    serialized,
)
from wire.grpcio._credentials import CallCredentials
from wire.grpcio._enums import StatusCode
from wire.grpcio._errors import ExecuteBatchError
from wire.grpcio._metadata import to_wire
from wire.grpcio._options import sendable_path

_LOGGER = logging.getLogger("grpc._channel")
_CLOSED = "Cannot invoke RPC on closed channel!"
_CLOSED_MEANWHILE = "Cannot invoke RPC: Channel closed!"  # what calls that a thread of grpcio's manages say
_ENCODINGS = {1: "deflate", 2: "gzip"}


class Channel(Protocol):
    """What a method needs of its channel."""

    wire: wire.blocking.Channel
    credentials: CallCredentials | None

    def is_closed(self) -> bool: ...

    def ask(self, path: str, credentials: CallCredentials | None) -> list[tuple[str, str | bytes]]: ...


class InvalidCallError(Exception):
    """A call that cannot be made. It stands for the call, which has ended with the status that it was given."""

    code = wire.StatusCode.INTERNAL
    initial_metadata = trailing_metadata = None

    def cancel(self) -> None:
        pass

    def time_remaining(self) -> None:
        return None


def _inactive(code: StatusCode, details: str, debug: str | None = None) -> _InactiveRpcError:
    return _InactiveRpcError(_RPCState((), (), (), code, details, debug))


class _MultiCallable:
    """One method on one channel; calling it makes a call. A subclass says the kind."""

    _kind: str
    _closed_text = _CLOSED_MEANWHILE

    def __init__(
        self,
        channel: Channel,
        method: str | bytes,
        request_serializer: Callable[[Any], bytes] | None,
        response_deserializer: Callable[[bytes], Any] | None,
    ) -> None:
        self._channel = channel
        self._is_closed = channel.is_closed
        self._asks = channel.credentials is not None
        path = method.decode() if isinstance(method, bytes) else method
        try:
            self._begin = getattr(channel.wire, self._kind)(path, bytes, bytes)
        except wire.ServiceError:  # as in grpc, who calls it learns of it
            self._begin = getattr(channel.wire, self._kind)(sendable_path(path), bytes, bytes)
        self._path = path
        self._serializer = request_serializer
        self._deserializer = response_deserializer

    def _options(self, metadata: Any, credentials: CallCredentials | None, compression: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        pairs: list[tuple[str, str | bytes]] = []
        if metadata:
            metadata = tuple(metadata)
            try:
                pairs = to_wire(metadata)
            except ExecuteBatchError:
                raise InvalidCallError("Invalid metadata") from None
        channel = self._channel
        if credentials is not None or channel.credentials is not None:
            try:
                pairs += channel.ask(self._path, credentials)
            except wire.RpcError as error:
                raise error_of(error, False) from None
        if pairs:
            found["metadata"] = pairs
        if compression:
            found["compression"] = _ENCODINGS[compression]
        return found

    def _call(self, begin: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What `begin` gives. Raises what grpc raises."""
        try:
            return begin(*arguments, **options)
        except wire.UsageError:
            raise ValueError(self._closed_text) from None
        except wire.MetadataError:
            raise InvalidCallError("Invalid metadata") from None
        except wire.RpcError as error:
            raise error_of(error, self._is_closed()) from None

    def _started(self, call: Any) -> _MultiThreadedRendezvous:
        attend = getattr(call, "attend", None)
        if attend is not None:  # what was started goes on, whoever waits for it
            attend()
        return _MultiThreadedRendezvous(call, self._deserializer, self._is_closed)

    def _invalid(self, error: InvalidCallError) -> _MultiThreadedRendezvous:
        """A call that was not made, and says so."""
        call = self._started(error)
        call.end(StatusCode.INTERNAL, str(error), "")
        return call

    def _read(self, data: bytes) -> Any:
        response = deserialized(data, self._deserializer)
        if response is NOTHING:
            raise _inactive(StatusCode.INTERNAL, "Exception deserializing response!")
        return response


class _UnaryUnaryMultiCallable(_MultiCallable, _abstract.UnaryUnaryMultiCallable):
    """A method with one request and one response."""

    _kind = "unary_unary"

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        options: dict[str, Any] = {}
        if metadata or credentials or compression or self._asks:
            try:
                options = self._options(metadata, credentials, compression)
            except InvalidCallError as error:
                raise _inactive(StatusCode.INTERNAL, str(error), "") from None
        options.update(timeout=timeout, wait_for_ready=wait_for_ready)
        try:
            data = self._begin(serialized(request, self._serializer), **options)
        except wire.UsageError:
            raise ValueError(_CLOSED) from None
        except wire.MetadataError:
            raise _inactive(StatusCode.INTERNAL, "Invalid metadata", "") from None
        except wire.RpcError as error:
            raise error_of(error, self._is_closed()) from None
        return self._read(data)

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, Any]:
        call = self.future(request, timeout, metadata, credentials, wait_for_ready, compression)
        return _ended(call), call

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> _MultiThreadedRendezvous:
        data = serialized(request, self._serializer)
        try:
            options = self._options(metadata, credentials, compression)
            options.update(timeout=timeout, wait_for_ready=wait_for_ready)
            return self._started(self._call(self._begin.start, data, **options))
        except InvalidCallError as error:
            return self._invalid(error)


def _ended(call: _MultiThreadedRendezvous) -> Any:
    """The response of a call that this thread waits for. Raises `_InactiveRpcError`."""
    try:
        return call.result()
    except _MultiThreadedRendezvous as error:
        code, details = error.code(), error.details()
        raise _InactiveRpcError(
            _RPCState(
                (), error.initial_metadata(), error.trailing_metadata(), code, details, error.debug_error_string()
            )
        ) from None


class _UnaryStreamMultiCallable(_MultiCallable, _abstract.UnaryStreamMultiCallable):
    """A method with one request and a stream of responses."""

    _kind = "unary_stream"

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> _MultiThreadedRendezvous:
        data = serialized(request, self._serializer)
        try:
            options = self._options(metadata, credentials, compression)
            options.update(timeout=timeout, wait_for_ready=wait_for_ready)
            return self._started(self._call(self._begin, data, **options))
        except InvalidCallError as error:
            return self._invalid(error)


class _StreamRequestMultiCallable(_MultiCallable):
    """What takes a stream of requests, whose iterator runs in a thread of its own."""

    def _start(
        self,
        begin: Callable[..., Any],
        request_iterator: Iterator[Any],
        timeout: float | None,
        metadata: Any,
        credentials: CallCredentials | None,
        wait_for_ready: bool | None,
        compression: Any,
    ) -> _MultiThreadedRendezvous:
        try:
            options = self._options(metadata, credentials, compression)
            call = self._call(begin, None, timeout=timeout, wait_for_ready=wait_for_ready, **options)
        except InvalidCallError as error:
            return self._invalid(error)
        started = self._started(call)
        arguments = (request_iterator, call, started, self._serializer)
        threading.Thread(target=_consume, args=arguments, name="grpc-requests", daemon=True).start()
        return started


def _consume(
    requests: Iterator[Any], call: Any, started: _MultiThreadedRendezvous, serializer: Callable[[Any], bytes] | None
) -> None:
    """Send all that an iterator gives. What it raises ends the call."""
    while True:
        try:
            request = next(requests)
        except StopIteration:
            break
        except Exception:
            _LOGGER.exception("Exception iterating requests!")
            started.end(StatusCode.UNKNOWN, "Exception iterating requests!")
            return
        try:
            data = serialized(request, serializer)
        except _InactiveRpcError:
            started.end(StatusCode.INTERNAL, "Exception serializing request!")
            return
        except TypeError as error:
            started.end(StatusCode.INTERNAL, str(error))
            return
        try:
            call.send(data)
        except wire.WireError:  # the call has ended, and whoever waits for it learns of it
            return
    try:
        call.end()
    except wire.WireError:
        pass


class _StreamUnaryMultiCallable(_StreamRequestMultiCallable, _abstract.StreamUnaryMultiCallable):
    """A method with a stream of requests and one response."""

    _kind = "stream_unary"

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        return _ended(self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression))

    def with_call(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, Any]:
        call = self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
        return _ended(call), call

    def future(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> _MultiThreadedRendezvous:
        return self._start(
            self._begin.start, request_iterator, timeout, metadata, credentials, wait_for_ready, compression
        )


class _StreamStreamMultiCallable(_StreamRequestMultiCallable, _abstract.StreamStreamMultiCallable):
    """A method with streams both ways."""

    _kind = "stream_stream"

    def __call__(
        self,
        request_iterator: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> _MultiThreadedRendezvous:
        return self._start(self._begin, request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
