"""Calls of the sync API on the client, and the errors that they raise: over wire's calls for threads.

A call of a stream is its own iterator, its own future and its own error, as in grpcio. Imports wire and this package's.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, NoReturn

import wire
from wire.grpcio import _abstract
from wire.grpcio._enums import STATUS_CODES, StatusCode
from wire.grpcio._errors import FutureCancelledError, FutureTimeoutError, RpcError
from wire.grpcio._metadata import from_wire
from wire.grpcio._status import debug_of, details_of

_LOGGER = logging.getLogger("grpc._channel")

LOCALLY_CANCELLED = "Locally cancelled by application!"
_OK = '<{} of RPC that terminated with:\n\tstatus = {}\n\tdetails = "{}"\n>'
_NON_OK = '<{} of RPC that terminated with:\n\tstatus = {}\n\tdetails = "{}"\n\tdebug_error_string = "{}"\n>'


class _RPCState:
    """How a call ended: status, text and metadata."""

    def __init__(
        self,
        due: Any,
        initial_metadata: Any,
        trailing_metadata: Any,
        code: StatusCode | None,
        details: str | None,
        debug_error_string: str | None = None,
    ) -> None:
        self.due = due
        self.initial_metadata = initial_metadata
        self.trailing_metadata = trailing_metadata
        self.code = code
        self.details = details
        self.debug_error_string = debug_error_string


def _repr_of(name: str, code: StatusCode | None, details: str | None, debug: str | None) -> str:
    if code is None:
        return f"<{name} object>"
    if code is StatusCode.OK:
        return _OK.format(name, code, details)
    return _NON_OK.format(name, code, details, debug)


class _InactiveRpcError(RpcError, _abstract.Call, _abstract.Future):
    """A call that has ended with a status other than OK, as an error."""

    def __init__(self, state: Any) -> None:
        super().__init__(state)
        if not isinstance(state, _RPCState):
            text = "Inactive RPC Error: Invalid RPC state type."
            state = _RPCState(
                (), (), (), StatusCode.INTERNAL, f"{text} Details: {state}" if isinstance(state, str) else text
            )
        self._state: _RPCState = copy.copy(state)

    def initial_metadata(self) -> Any:
        return self._state.initial_metadata

    def trailing_metadata(self) -> Any:
        return self._state.trailing_metadata

    def code(self) -> StatusCode | None:
        return self._state.code

    def details(self) -> str | None:
        return self._state.details

    def debug_error_string(self) -> str | None:
        return self._state.debug_error_string

    def _repr(self) -> str:
        state = self._state
        return _repr_of(self.__class__.__name__, state.code, state.details, state.debug_error_string)

    def __repr__(self) -> str:
        return self._repr()

    def __str__(self) -> str:
        return self._repr()

    def is_active(self) -> bool:
        raise NotImplementedError()

    def time_remaining(self) -> float | None:
        raise NotImplementedError()

    def add_callback(self, callback: Any) -> bool:
        raise NotImplementedError()

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        raise self

    def exception(self, timeout: float | None = None) -> _InactiveRpcError:
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        return _traceback_of(self)

    def add_done_callback(self, fn: Callable[[Any], Any], timeout: float | None = None) -> None:
        fn(self)


def _traceback_of(error: BaseException) -> TracebackType | None:
    try:
        raise error
    except RpcError:
        return sys.exc_info()[2]
    finally:
        del error  # its traceback holds this frame


def error_of(error: wire.RpcError, closed: bool) -> _InactiveRpcError:
    """What the sync API raises for a call that has ended with wire's error. `closed`: its channel was closed."""
    code = STATUS_CODES[error.code]
    if closed and code is StatusCode.CANCELLED and error.trailing_metadata is None:
        details: str = "Channel closed!"
    else:
        details = details_of(error.code, error.message, error.trailing_metadata is None)
    initial, trailing = from_wire(error.initial_metadata), from_wire(error.trailing_metadata)
    return _InactiveRpcError(_RPCState((), initial, trailing, code, details, debug_of(code.name, details)))


def serialized(request: Any, serializer: Callable[[Any], bytes] | None) -> bytes:
    """A request's bytes. Raises what the sync API raises for a request that has none."""
    if serializer is not None:
        try:
            request = serializer(request)
        except Exception:
            logging.getLogger("grpc._common").exception("Exception serializing message!")
            request = None
    if request is None:
        raise _InactiveRpcError(_RPCState((), (), (), StatusCode.INTERNAL, "Exception serializing request!"))
    if request.__class__ is not bytes:
        raise TypeError(f"Argument 'message' has incorrect type (expected bytes, got {type(request).__name__})")
    data: bytes = request
    return data


NOTHING = object()


def deserialized(
    data: bytes, deserializer: Callable[[bytes], Any] | None, failure: str = "Exception deserializing message!"
) -> Any:
    """A response; `NOTHING` for one that cannot be read, with a line in the log."""
    if deserializer is None:
        return data
    try:
        response = deserializer(data)
    except Exception:
        logging.getLogger("grpc._common").exception(failure)
        return NOTHING
    return NOTHING if response is None else response


_BAD_RESPONSE = "Exception deserializing response!"


class _Rendezvous(RpcError, _abstract.RpcContext):  # noqa: N818
    """A call that may go on."""


class _MultiThreadedRendezvous(_Rendezvous, _abstract.Call, _abstract.Future):
    """A call: an iterator over its responses, a future of its one response, and the error that these raise."""

    def __init__(self, call: Any, deserializer: Callable[[bytes], Any] | None, is_closed: Callable[[], bool]) -> None:
        super().__init__()
        self._call = call
        self._deserializer = deserializer
        self._is_closed = is_closed
        self._own: tuple[StatusCode, str, str | None] | None = None  # a status that this side gave it
        self._cancelled = False
        self._lock = threading.Lock()
        self._ended: threading.Event | None = None
        self._callbacks: list[Callable[[], Any]] | None = []
        self._response: Any = NOTHING

    # As a context.

    def is_active(self) -> bool:
        return not self.done()

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def cancel(self) -> bool:
        with self._lock:
            if self.done():
                return False
            self._cancelled = True
            self._own = StatusCode.CANCELLED, LOCALLY_CANCELLED, None
        self._call.cancel()
        self._tell()
        return True

    def end(self, code: StatusCode, details: str, debug: str | None = None) -> None:
        """End it from this side with another status than CANCELLED."""
        with self._lock:
            if self._own is not None:
                return
            self._own = code, details, debug
        self._call.cancel()
        self._tell()

    def add_callback(self, callback: Callable[[], Any]) -> bool:
        self._watch()
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def _watch(self) -> threading.Event:
        """Set once the call has ended."""
        with self._lock:
            if self._ended is not None:
                return self._ended
            self._ended = threading.Event()
            if self._own is None and not (self._call.code is not None and self._held()):
                self._call.add_done_callback(self._wire_ended)
        if self._own is not None:
            self._tell()
        return self._ended

    def _wire_ended(self, call: object) -> None:
        if not self._held():
            self._tell()

    def _held(self) -> bool:
        """Whether the status stands behind responses that nobody has taken."""
        return self._own is None and getattr(self._call, "unread", False) and self._call.trailing_metadata is not None

    def _tell(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
        if self._ended is not None:
            self._ended.set()
        for callback in callbacks or ():
            try:
                callback()
            except Exception as error:
                _LOGGER.error("Exception in callback %r: %r", callback, error)

    # As a call.

    def initial_metadata(self) -> Any:
        read = getattr(self._call, "read_initial_metadata", None)
        if read is None:
            self._wait()
        else:
            try:
                read()
            except (wire.RpcError, wire.UsageError):
                pass
        return from_wire(self._call.initial_metadata)

    def trailing_metadata(self) -> Any:
        self._wait()
        return () if self._own is not None else from_wire(self._call.trailing_metadata)

    def _status(self) -> tuple[StatusCode, str]:
        if self._own is not None:
            return self._own[:2]
        call = self._call
        local = call.trailing_metadata is None
        if local and call.code is wire.StatusCode.CANCELLED and self._is_closed():
            return StatusCode.CANCELLED, "Channel closed!"
        return STATUS_CODES[call.code], details_of(call.code, call.message, local)

    def _wait(self, timeout: float | None = None) -> None:
        """Until the call has ended. Raises `FutureTimeoutError`."""
        if not self.done() and not self._watch().wait(timeout):
            raise FutureTimeoutError

    def code(self) -> StatusCode:
        if self._call.code is None:
            self._wait()
        return self._status()[0]

    def details(self) -> str:
        if self._call.code is None:
            self._wait()
        return self._status()[1]

    def debug_error_string(self) -> str | None:
        self._wait()
        if self._own is not None:
            return self._own[2]
        code, details = self._status()
        return "" if code is StatusCode.OK else debug_of(code.name, details)

    # As a future.

    def cancelled(self) -> bool:
        return self._cancelled

    def running(self) -> bool:
        return not self.done()

    def done(self) -> bool:
        return self._own is not None or (self._call.code is not None and not self._held())

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        if self._status()[0] is StatusCode.OK:
            return self._take()
        if self._cancelled:
            raise FutureCancelledError
        raise self

    def _take(self) -> Any:
        """The one response, read once."""
        if self._response is NOTHING and hasattr(self._call, "result"):
            response = deserialized(self._call.result(), self._deserializer)
            if response is NOTHING:
                self._own = StatusCode.INTERNAL, _BAD_RESPONSE, None
                raise self
            self._response = response
        return None if self._response is NOTHING else self._response

    def exception(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        if self._status()[0] is StatusCode.OK:
            try:
                self._take()
            except RpcError:
                return self
            return None
        if self._cancelled:
            raise FutureCancelledError
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        error = self.exception(timeout)
        return None if error is None else _traceback_of(error)

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        if self.done() or not self.add_callback(partial(fn, self)):
            fn(self)

    # As an iterator.

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            if self._own is not None:
                raise self
            try:
                data = next(self._call)
            except StopIteration:
                self._tell()
                if self._status()[0] is not StatusCode.OK:
                    raise self from None
                raise
            except wire.RpcError:
                self._tell()
                raise self from None
            except wire.UsageError:
                if self._own is None:
                    raise
                raise self from None
            if self._own is not None:
                raise self
            response = deserialized(data, self._deserializer)
            if response is NOTHING:
                self.end(StatusCode.INTERNAL, _BAD_RESPONSE)
                raise self
            if self._call.code is not None and not self._held():
                self._tell()
            return response
        finally:
            del self  # it is the error that is raised, whose traceback holds this frame

    def next(self) -> Any:
        return self.__next__()

    def _repr(self) -> str:
        name = self.__class__.__name__
        if not self.done():
            return _repr_of(name, None, None, None)
        code, details = self._status()
        return _repr_of(name, code, details, self.debug_error_string())

    def __repr__(self) -> str:
        return self._repr()

    def __str__(self) -> str:
        return self._repr()


_SingleThreadedRendezvous = _MultiThreadedRendezvous
"""grpcio has a class of its own for streams that are read without a thread in between; here all are."""
