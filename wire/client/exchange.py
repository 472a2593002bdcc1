"""One call on a client from below: what it sends and receives on its stream, from its request to its status.

An `Exchange` is what the pool starts and the connection reports to; the user holds a `call.ClientCall`, which
refers to it and is not referred to by it. So a call that the user has let go of can be told, and is cancelled.

An exchange starts when it is made: at once on a connection that has room, else as soon as the channel's pool gives it
one. It ends by the server's status, its deadline, `cancel`, the loss of its connection, or the cancellation of the task
that waits for it. Imports `connection`'s layer and below; `channel` gives it its surroundings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from functools import lru_cache
from math import inf
from threading import get_ident
from typing import Any, Generic, Protocol, TypeVar
from warnings import warn

from wire.client.preparation import Prepared
from wire.config import ChannelConfig
from wire.connection import Connection
from wire.deadline import DeadlineTimer, format_timeout
from wire.errors import ConfigurationError, UsageError
from wire.http2.codes import ErrorCode, error_name
from wire.http2.engine import HeaderList, Stream
from wire.metadata import Fields, Metadata, MetadataInput
from wire.rpc.framing import frame
from wire.rpc.headers import Outcome, ResponseHead, parse_response, parse_trailers
from wire.service import Method
from wire.status import CallError, RpcError, StatusCode, status_from_http2_error
from wire.transport.contract import Future, Runtime

R = TypeVar("R")

Answer = tuple[Fields, Fields, str]
"""What a whole response says beside its message, when its status is OK: the fields that it began and ended with, and
the status's text."""

Options = tuple[float | None, MetadataInput, bool | None]
"""What a caller may say of one call: the timeout in seconds, metadata, and whether it waits for a connection."""

_format_given = lru_cache(64)(format_timeout)  # programs have a few timeouts, which they give again and again
_CLOCK_SLACK_S = (
    0.02  # a loop's clock stands still while it handles what one wait brought, uvloop's in whole milliseconds
)
_MAX_REFUSED_ATTEMPTS = 2  # a request that the server refused unseen is sent once more (A6, transparent retries)
_MAX_UNSEEN_ATTEMPTS = 5  # one whose connection ended before it, as those of a server that stops: a few times more


class Waiting(Protocol):
    """What a call needs of the connections that its channel has."""

    @property
    def queue(self) -> Collection[Any]:
        """Calls that wait for a connection."""

    def submit(self, call: Exchange[Any]) -> None:
        """Start the call, queue it, or fail it."""

    def call_ended(self, call: Exchange[Any]) -> None:
        """A call ended while some wait: it leaves the queue, or leaves room."""


class Caller(Protocol):
    """What a call needs of its channel."""

    @property
    def config(self) -> ChannelConfig: ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def new_future(self) -> Callable[[], Future[Any]]:
        """The runtime's."""

    @property
    def entrance(self) -> Waiting:
        """Where calls go."""

    @property
    def deadlines(self) -> DeadlineTimer: ...

    @property
    def compress(self) -> Callable[[bytes], bytes] | None: ...

    @property
    def thread(self) -> int:
        """The one that may make calls."""

    def prepared(self, method: Method[Any, R]) -> Prepared[R]:
        """What a method's calls begin and end with."""


class Exchange(Generic[R]):
    """What exchanges of all kinds have in common.

    `code` and `message`: the status, None and "" while the call goes on. `initial` and `trailing`: the fields of the
    response, None before they came.
    """

    __slots__ = (
        "_channel",
        "_extra",
        "_observers",
        "_policy",
        "_timeout_s",
        "_wait_for_ready",
        "attempts",
        "code",
        "connection",
        "deadline",
        "initial",
        "message",
        "prepared",
        "queued",
        "stream",
        "trailing",
    )

    def __init__(self, channel: Caller, method: Method[Any, R], options: Options) -> None:
        timeout_s, metadata, self._wait_for_ready = options
        self._channel = channel
        self.prepared = channel.prepared(method)
        if get_ident() != channel.thread:
            raise wrong_thread()
        self._extra: Fields = Metadata(metadata).to_fields() if metadata else ()
        self.initial: Fields | None = None
        self.trailing: Fields | None = None
        self.attempts = 0
        self.code: StatusCode | None = None
        self.message: str
        """There once `code` is."""
        self.connection: Connection | None = None
        self.stream: Stream | None = None
        self.queued = False
        """True once the call has waited for a connection, so that its timeout is no longer the whole one."""
        self._observers: list[Callable[[Exchange[R]], Any]]
        """There only on calls that are observed (`observing`)."""
        self._policy: Any
        """Only on those that are retried or hedged: what decides about further attempts."""
        self._timeout_s: float
        """There once `deadline` is: as it was given."""
        self.deadline: float | None = None
        if timeout_s is not None:
            self._set_timeout(timeout_s)

    def _set_timeout(self, timeout_s: float) -> None:
        if not -inf < timeout_s < inf:
            raise ConfigurationError(f"a timeout is a number of seconds, or None for none, and not {timeout_s!r}")
        self._timeout_s = timeout_s
        self.deadline = self._channel.runtime.now() + timeout_s
        self._channel.deadlines.add(self)

    # What the user's call asks for.

    @property
    def path(self) -> str:
        """ "/package.Service/Method"."""
        return (self.prepared.headers.get(b":path") or b"").decode()

    @property
    def wait_for_ready(self) -> bool:
        """Whether the call waits for a connection, whatever becomes of the attempts to make one."""
        return self._channel.config.wait_for_ready if self._wait_for_ready is None else self._wait_for_ready

    def cancel(self) -> None:
        self._abort(StatusCode.CANCELLED, "the call was cancelled")

    def abandon(self) -> None:
        """Nobody refers to the call any more, and it has not ended.

        Called by a finalizer: in any thread, in the middle of anything, and perhaps after the loop was closed.
        """
        try:
            self._channel.runtime.call_soon_threadsafe(self._abort, StatusCode.CANCELLED, "the call was abandoned")
        except RuntimeError:  # the loop is closed, and with it the connection
            pass
        warn(f"a call of {self.path} was abandoned before it ended, and is cancelled", ResourceWarning, 3)

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self._channel.runtime.now())

    def future(self) -> Future[None]:
        return self._channel.new_future()

    def call_soon(self, callback: Callable[[Exchange[R]], Any]) -> None:
        """`callback(exchange)`, in the event loop's next turn."""
        self._channel.runtime.call_soon(callback, self)

    # What the pool calls, and what stands before it.

    def repeat(self, call: Exchange[R], extra: Fields) -> None:
        """In place of `__init__`: another attempt of a call, which keeps its deadline itself. `extra`: its metadata."""
        self._channel = call._channel
        self.prepared = call.prepared
        self._extra = extra
        self.initial = self.trailing = None
        self.attempts = 0
        self.code = None
        self.connection = self.stream = None
        self.queued = True
        self._wait_for_ready = call._wait_for_ready
        self.deadline = call.deadline
        if self.deadline is not None:
            self._timeout_s = call._timeout_s

    def add_fields(self, fields: Fields) -> None:
        """More metadata to send, before the call is started."""
        self._extra = (*self._extra, *fields)

    def limit_timeout(self, timeout_s: float) -> None:
        """End after so many seconds at the latest; before the call is started."""
        if self.deadline is None or self._timeout_s > timeout_s:
            self._set_timeout(timeout_s)

    def submit(self) -> None:
        """To the pool, perhaps not for the first time."""
        self._channel.entrance.submit(self)

    @abstractmethod
    def start(self, connection: Connection) -> None:
        """Send what there is to send on a connection that has room."""

    def fail(self, code: StatusCode, message: str) -> None:
        """The call cannot be started, or has lost its connection."""
        self._finish(code, message)

    def start_again(self) -> bool:
        """Go back to the pool, after a connection that ended before the server saw the call. False when that is not
        possible: parts of it cannot be sent again, or it was tried often enough."""
        return self._try_again(_MAX_UNSEEN_ATTEMPTS)

    def _attach(self, connection: Connection, stream: Stream) -> None:
        self.attempts += 1
        self.connection = connection
        self.stream = stream
        stream.call = self
        connection.call_started(self)

    def _request_extra(self) -> Fields:
        """The fields of this call beside the method's: timeout and metadata."""
        if self.deadline is None:
            return self._extra
        # A call that starts at once sends the timeout as it was given: the same bytes each time decode faster.
        timeout = format_timeout(self.time_remaining() or 0.0) if self.queued else _format_given(self._timeout_s)
        return ((b"grpc-timeout", timeout), *self._extra)

    def _too_large_for(self, connection: Connection) -> bool:
        """Whether the request's fields are over what the server takes (RFC 9113 §6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE);
        then the call has failed. Asked for calls with metadata."""
        limit_bytes = connection.engine.peer_max_header_list_bytes
        fields = (*self.prepared.headers.fields, *self._request_extra())
        size_bytes = sum(len(name) + len(value) + 32 for name, value in fields)
        if size_bytes <= limit_bytes:
            return False
        text = f"the call's metadata makes a request header of {size_bytes} bytes; the server takes {limit_bytes}"
        self._finish(StatusCode.RESOURCE_EXHAUSTED, text)
        return True

    # What the connection reports.

    def on_headers(self, headers: HeaderList, end_stream: bool) -> None:
        head: ResponseHead = headers.parsed
        if head is None:
            head = headers.parsed = parse_response(headers.fields)
        if end_stream:
            outcome = parse_trailers(headers.fields)
            if outcome is not None:
                self.initial = ()
                self._end(outcome)
                return
        if head.error is not None:
            self._reset_stream()
            self.fail(head.error.code, head.error.message)
        elif end_stream:
            self._end_without_status()
        else:
            self.initial = head.fields
            self._on_head(head)

    @abstractmethod
    def _on_head(self, head: ResponseHead) -> None:
        """The response begins."""

    @abstractmethod
    def on_data(self, data: bytes, end_stream: bool) -> None:
        """DATA has come."""

    def on_response(self, answer: Answer, data: bytes, start: int, stop: int) -> bool:
        """The whole response has come, with `data[start:stop]` as its DATA. False to get it in parts."""
        return False

    def on_data_within(self, data: bytes, start: int, stop: int) -> None:
        """As `on_data` with `data[start:stop]`, which does not end the stream."""
        self.on_data(data[start:stop], False)

    def on_message(self, message: bytes) -> None:
        """As `on_data` with a whole plain message, here without its prefix; it does not end the stream."""
        self.on_data(frame(message), False)

    def on_trailers(self, trailers: HeaderList) -> None:
        outcome: Outcome | None = trailers.parsed
        if outcome is None:
            outcome = trailers.parsed = parse_trailers(trailers.fields)
            if outcome is None:
                self._end_without_status()
                return
        self._end(outcome)

    def on_reset(self, code: int, by_peer: bool) -> None:
        if code == ErrorCode.REFUSED_STREAM and by_peer and self.connection is not None:
            going_away = self.connection.engine.drained
            if self._try_again(_MAX_UNSEEN_ATTEMPTS if going_away else _MAX_REFUSED_ATTEMPTS):
                return
        if not by_peer and code == ErrorCode.ENHANCE_YOUR_CALM:
            self._finish(StatusCode.RESOURCE_EXHAUSTED, "the server's metadata is over the limit")
        elif not by_peer:
            self._finish(StatusCode.INTERNAL, f"the server's answer breaks HTTP/2 ({error_name(code)})")
        elif code == ErrorCode.CANCEL and self.deadline is not None and (self.time_remaining() or 0) <= _CLOCK_SLACK_S:
            # The server keeps the same deadline by a clock of its own, and resets the call when it passes there.
            self._finish(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        else:
            self.fail(status_from_http2_error(code), f"the server reset the call ({error_name(code)})")

    def on_writable(self) -> None:
        """Nothing waits to be written but in calls that stream."""

    def expire(self) -> None:
        """The deadline has passed (`DeadlineTimer`)."""
        self._abort(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    # Ending.

    def _try_again(self, max_attempts: int) -> bool:
        """Go back to the pool, unless a response has begun (A6)."""
        if self.code is not None or self.initial is not None or self.attempts >= max_attempts or not self._rewind():
            return False
        self.detach()
        self.submit()
        return True

    def detach(self) -> None:
        """Let go of the stream; the call goes on without it."""
        self._reset_stream()
        if self.stream is not None:
            self.stream.call = None
        self.stream = self.connection = None
        self.initial = self.trailing = None
        self.queued = True

    def _rewind(self) -> bool:
        """Make ready to send all that was sent once more; False where that is not possible."""
        return True

    def _end(self, outcome: Outcome) -> None:
        """The server's status has come."""
        self.trailing = outcome.fields
        self._finish(outcome.code, outcome.message)
        if self.stream is not None and not self.stream.closed:  # our side is still open
            self._channel.runtime.call_soon(self._let_go)

    def _let_go(self) -> None:
        """Close a stream that the server has ended and not reset: most do, in the same breath (RFC 9113 §8.1)."""
        if self.stream is not None and self.connection is not None:
            if not self.stream.closed:  # else the connection was lost meanwhile
                self.connection.engine.reset(self.stream, ErrorCode.NO_ERROR)
                self.connection.wake()
            self.stream.call = None

    def _end_without_status(self) -> None:
        # http-grpc-status-mapping.md: HTTP 200 without grpc-status is UNKNOWN.
        self._abort(StatusCode.UNKNOWN, "the server ended the call without a status")

    def _abort(self, code: StatusCode, message: str) -> None:
        """End the call from this side."""
        if self.code is None:
            self._reset_stream()
            self._finish(code, message)

    def _reset_stream(self) -> None:
        if self.stream is not None and self.connection is not None and not self.stream.closed:
            self.connection.engine.reset(self.stream, ErrorCode.CANCEL)
            self.connection.wake()

    def _finish(self, code: StatusCode, message: str) -> None:
        if self.code is not None:
            return
        self.code = code
        self.message = message
        if code is not StatusCode.OK and self.connection is not None:
            self.connection.calls_failed += 1
        if self.deadline is not None:
            self._channel.deadlines.discard(self)
        if self.stream is not None and self.stream.closed:
            self.stream.call = None  # call and stream hold each other: without this they would wait for the collector
        self._wake()
        entrance = self._channel.entrance
        if entrance.queue:
            entrance.call_ended(self)

    def error(self) -> RpcError:
        """The status as an error; for a call that has ended badly."""
        assert self.code is not None
        return CallError(
            self.code,
            self.message,
            initial_metadata=None if self.initial is None else Metadata.from_fields(self.initial),
            trailing_metadata=None if self.trailing is None else Metadata.from_fields(self.trailing),
        )

    @abstractmethod
    async def ended(self, keeper: object) -> None:
        """Until the call has ended. `keeper` lives as long as this waits."""

    @abstractmethod
    def _wake(self) -> None:
        """The call has ended: let go on whoever waits for it."""

    def _encode(self, request: Any) -> bytes:
        """The request as framed. Raises `EncodeError`; `RpcError` RESOURCE_EXHAUSTED for one that is too long."""
        return self._frame(self.prepared.encode(request))

    def _frame(self, message: bytes) -> bytes:
        limit = self._channel.config.calls.max_send_message_bytes
        if limit is not None and len(message) > limit:
            text = f"request of {len(message)} bytes is over the channel's limit of {limit}"
            raise CallError(StatusCode.RESOURCE_EXHAUSTED, text)
        return frame(message, self._channel.compress)


def wrong_thread() -> UsageError:
    return UsageError("a channel's calls are made in the thread whose event loop it was opened on")
