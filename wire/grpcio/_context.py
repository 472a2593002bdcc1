"""What handlers of the sync API get beside their requests. Imports wire and this package's."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any, NoReturn

import wire
from wire.grpcio import _abstract
from wire.grpcio._enums import StatusCode
from wire.grpcio._errors import ExecuteBatchError, RpcError
from wire.grpcio._metadata import from_wire, to_wire
from wire.grpcio._options import COMPRESSIONS
from wire.grpcio._peer import PeerInfo
from wire.grpcio._pumping import Returns

_LOGGER = logging.getLogger("grpc._server")

_NO_DEADLINE_S = 9.2233720368e18
"""`time_remaining` of a call that has no deadline, as grpcio has it."""


class _Context(PeerInfo, _abstract.ServicerContext):
    """One call, as its handler sees it. Its methods may be called by any thread."""

    # What most calls never set costs them nothing.
    aborted = False
    cancelled = False
    statused = False
    headers_sent = False
    plain_next = False
    _code: Any = None
    _details: str | None = None
    trailing: Any = None
    callbacks: list[Callable[[], Any]] | None = None
    errors: list[RpcError] | None = None

    def __init__(self, call: Any, returns: Returns) -> None:
        self.call = call
        self.returns = returns

    def is_active(self) -> bool:
        return not self.cancelled and not self.statused

    def time_remaining(self) -> float:
        remaining: float | None = self.call.time_remaining()
        return _NO_DEADLINE_S if remaining is None else remaining

    def cancel(self) -> None:
        self.returns.call(self.call.reset)

    def add_callback(self, callback: Callable[[], Any]) -> bool:
        if not self.is_active():
            return False
        if self.callbacks is None:
            self.callbacks = []
        self.callbacks.append(callback)
        return True

    def disable_next_message_compression(self) -> None:
        self.plain_next = True

    def invocation_metadata(self) -> Any:
        return from_wire(self.call.metadata)

    def _peer_of_call(self) -> Any:
        return self.call.peer

    def set_compression(self, compression: Any) -> None:
        self.returns.call(_set_compression, self.call, COMPRESSIONS[compression])

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        if self.cancelled:
            self.raise_rpc_error()
        if self.headers_sent:
            raise ValueError("Initial metadata no longer allowed!")
        self.headers_sent = True
        try:
            pairs = to_wire(initial_metadata or ())
        except ExecuteBatchError:
            self.abort(StatusCode.INTERNAL, "Invalid metadata")
        self.returns.call(_send_headers, self.call, pairs)

    def raise_rpc_error(self) -> NoReturn:
        """The client is gone: an error that says so, and that is no mistake of the handler."""
        error = RpcError()
        if self.errors is None:
            self.errors = []
        self.errors.append(error)
        raise error

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        return self.trailing

    def abort(self, code: Any, details: str) -> NoReturn:
        if code == StatusCode.OK:
            _LOGGER.error("abort() called with StatusCode.OK; returning UNKNOWN")
            code, details = StatusCode.UNKNOWN, ""
        self._code = code
        self._details = _text(details)
        self.aborted = True
        raise Exception()

    def abort_with_status(self, status: Any) -> NoReturn:
        self.trailing = status.trailing_metadata
        self.abort(status.code, status.details)

    def set_code(self, code: Any) -> None:
        self._code = code

    def code(self) -> Any:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = _text(details)

    def details(self) -> bytes | None:
        return None if self._details is None else self._details.encode()

    def status(self, code: StatusCode, details: str) -> tuple[int, str]:
        """What the call ends with: what the handler has set, else these."""
        text = details if self._details is None else self._details
        if self._code is None:
            return code.value[0], text
        return (self._code.value[0] if isinstance(self._code, StatusCode) else StatusCode.UNKNOWN.value[0]), text

    def call_back(self) -> None:
        """The call is over."""
        callbacks, self.callbacks = self.callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:
                _LOGGER.exception("Exception calling callback!")


def _text(details: Any) -> str:
    """Details of a status. Raises what grpcio raises for what are none."""
    if isinstance(details, bytes):
        return details.decode("utf-8", "replace")
    text: str = details.encode().decode()
    return text


def _set_compression(call: Any, encoding: Any) -> None:
    try:
        call.set_compression(encoding)
    except wire.UsageError:  # too late: as in grpcio, without a word
        pass


def _send_headers(call: Any, metadata: Any) -> None:
    if not call.done:
        call.send_initial_metadata(metadata)


_END = object()
_GONE = object()


class Requests:
    """A stream of requests on its way from the loop's thread to a handler's."""

    LIMIT = 16
    """Requests that wait for a handler; the rest waits with the client."""

    def __init__(self, context: _Context, deserializer: Callable[[bytes], Any] | None) -> None:
        self._context = context
        self._deserializer = deserializer
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        self._space: Any = None
        self._ended: Any = None

    async def feed(self, requests: Any, new_future: Callable[[], Any]) -> None:
        """Take requests as they come, in the loop's thread."""
        try:
            async for data in requests:
                self._waiting.put(data)
                if self._waiting.qsize() >= self.LIMIT:
                    self._space = new_future()
                    await self._space
        finally:
            self._waiting.put(_END)

    def gone(self) -> None:
        """The client is."""
        self._waiting.put(_GONE)

    def _grant(self) -> None:
        if self._space is not None and not self._space.done():
            self._space.set_result(None)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        context = self._context
        if context.cancelled:
            context.raise_rpc_error()
        data = self._ended if self._ended is not None else self._waiting.get()
        if self._space is not None and self._waiting.qsize() < self.LIMIT // 2:
            context.returns.call(self._grant)
        if data is _END or data is _GONE:
            self._ended = data
            if context.cancelled or data is _GONE:
                context.raise_rpc_error()
            raise StopIteration
        if self._deserializer is None:
            return data
        try:
            return self._deserializer(data)
        except Exception:
            _LOGGER.exception("Exception deserializing message!")
            raise BadRequest from None

    def next(self) -> Any:
        return self.__next__()


class BadRequest(RpcError):  # noqa: N818
    """A request that cannot be read: the call has failed."""


class Responses:
    """A stream of responses on its way from a handler's thread to the loop's."""

    LIMIT = 16
    """Responses that a handler may be ahead of the client."""

    def __init__(self, returns: Returns) -> None:
        self._returns = returns
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._room = threading.Condition(threading.Lock())
        self._blocked = False
        self._ended = False
        self._wakeup: Any = None

    def send(self, data: bytes, compress: bool) -> bool:
        """One response. Waits while there is no room; False when nobody takes it any more. In the handler's thread."""
        if len(self._waiting) >= self.LIMIT:
            with self._room:
                self._blocked = True
                while len(self._waiting) >= self.LIMIT and not self._ended:
                    self._room.wait()
                self._blocked = False
        if self._ended:
            return False
        self._waiting.append((data, compress))
        self._returns.call(self._wake)
        return True

    def end(self) -> None:
        """There are no more; in the handler's thread."""
        self._returns.call(self._end)

    def _end(self) -> None:
        self.abandon()
        self._wake()

    def abandon(self) -> None:
        """Nobody takes them any more."""
        with self._room:
            self._ended = True
            self._room.notify_all()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def forward(self, call: Any, new_future: Callable[[], Any]) -> None:
        """Send all to the client, in the loop's thread."""
        waiting = self._waiting
        while True:
            while waiting:
                data, compress = waiting.popleft()
                await call.send(data, compress=compress)
                if self._blocked and len(waiting) < self.LIMIT // 2:
                    with self._room:
                        self._room.notify_all()
            if self._ended and not waiting:
                return
            self._wakeup = new_future()
            await self._wakeup
