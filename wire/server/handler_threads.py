"""Plain `def` handlers in threads (`ServerConfig.handler_threads`): calls go there, what handlers return comes back.

In: a handler and a request, in the event loop's thread. Out: an `InThread`, which the call takes its response from, or
which is awaited. A hand-over between threads costs more than most handlers. So calls wait in a queue that as many
threads go over as are needed, each until it is empty: for handlers that take long, because they block, one more is
woken whenever the loop has had its turn and calls still wait; for handlers that are quick, one that goes on is enough,
as only one thread of Python runs at a time. What threads send back is done by the loop in one go.

`ThreadContext` is what such a handler sees of its call. Imports `context` and what is below it.
"""

from __future__ import annotations

import logging
from _thread import allocate_lock
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context, copy_context
from inspect import isasyncgenfunction, iscoroutinefunction
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

from wire.errors import UsageError
from wire.metadata import MetadataInput
from wire.server.context import ServerContext
from wire.service import Handler
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future, Runtime

_log = logging.getLogger("wire.server")

T = TypeVar("T")

Job = Callable[[], object]

_QUICK_S: Final = 0.0002  # a handler that takes less is better run behind others than beside them
_SURE: Final = 8  # how far one way or the other it goes, in handlers that were quick or not
_LOOK_S: Final = 0.001


class Pace:
    """Whether a method's handler takes long, as its last calls did. It is thought to until they did not."""

    __slots__ = ("_slow",)

    def __init__(self) -> None:
        self._slow = _SURE // 2

    @property
    def is_slow(self) -> bool:
        return self._slow > 0

    def took(self, seconds: float) -> None:
        self._slow = max(self._slow - 1, -_SURE) if seconds < _QUICK_S else min(self._slow + 1, _SURE)


class HandlerThreads:
    """At most so many threads, made as they are needed. `open` says which event loop they work for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._jobs: deque[tuple[Job, bool]] = deque()
        self._idle: list[Any] = []  # what idle threads wait on
        self._threads = 0
        self._kick_due = False
        self._look_due = False
        self._closed = False
        self._due: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()  # for the loop
        self._scheduled = False
        self.runtime: Runtime

    def open(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def close(self) -> None:
        """Threads end when they have nothing to do; one that is in a handler is not waited for."""
        with self._lock:
            self._closed = True
            for signal in self._idle:
                signal.release()
            self._idle.clear()

    # In the loop's thread.

    def submit(self, job: Job, is_slow: bool) -> None:
        """Have a thread do `job`, which must not raise. `is_slow`: it may take long."""
        with self._lock:
            self._jobs.append((job, is_slow))
            all_idle = len(self._idle) == self._threads
        if self._kick_due:
            return
        if is_slow or all_idle:
            self._kick_due = True
            self.runtime.call_soon(self._kick)
        elif not self._look_due:
            self._look_due = True
            self.runtime.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        """Quick handlers were to be done by the threads that were at work. If some still wait, those may be blocked."""
        self._look_due = False
        if self._jobs and not self._kick_due:
            self._kick()

    def _kick(self) -> None:
        """Calls wait: have one thread more see to them."""
        self._kick_due = False
        with self._lock:
            if not self._jobs:
                return
            if self._idle:
                self._idle.pop().release()
            elif self._threads < self._most:
                self._threads += 1
                Thread(target=self._work, name="wire-handler", daemon=True).start()
            else:
                return
            slow = bool(self._jobs) and self._jobs[0][1]
        if slow:
            self._kick_due = True
            self.runtime.call_soon(self._kick)
        elif self._jobs and not self._look_due:
            self._look_due = True
            self.runtime.call_later(_LOOK_S, self._look)

    # In the threads.

    def _work(self) -> None:
        jobs = self._jobs
        signal = allocate_lock()
        signal.acquire()
        while True:
            try:
                job, _ = jobs.popleft()
            except IndexError:
                with self._lock:
                    if jobs:
                        continue
                    if self._closed:
                        self._threads -= 1
                        return
                    self._idle.append(signal)
                signal.acquire()
            else:
                job()
                del job  # it holds its call

    def in_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Have the loop call a function, soon and in order. Any thread."""
        self._due.append((function, args))
        if not self._scheduled:
            self._scheduled = True
            try:
                self.runtime.call_soon_threadsafe(self._run_due)
            except RuntimeError:  # the loop is closed, and with it every call
                pass

    def _run_due(self) -> None:
        self._scheduled = False  # before anything is taken: what comes later schedules anew
        due = self._due
        while due:
            function, args = due.popleft()
            try:
                function(*args)
            except Exception:
                _log.exception("a callback raised an exception")

    def ask_loop(self, function: Callable[..., T], *args: Any) -> T:
        """What the loop's call of `function` returns or raises. Waits for it: only a handler's thread may."""
        signal = allocate_lock()
        signal.acquire()
        answer: list[Any] = []

        def call() -> None:
            try:
                answer.append((function(*args), None))
            except BaseException as error:
                answer.append((None, error))
            signal.release()

        self.in_loop(call)
        signal.acquire()
        result, error = answer.pop()
        try:
            if error is not None:
                raise error
            value: T = result
            return value
        finally:
            del error  # its traceback holds this frame


class Ended(Protocol):
    """A call that has given its handler to a thread."""

    def returned(self, response: Any, error: BaseException | None, context: Context) -> None:
        """The handler has returned, or raised `error`. In the loop's thread."""


class InThread(Awaitable[Any]):
    """What a handler that runs in a thread will return. Either a call takes it (`give_to`), or it is awaited."""

    __slots__ = (
        "_call",
        "_cancelled",
        "_close",
        "_ended",
        "_error",
        "_future",
        "_handler",
        "_pace",
        "_request",
        "_result",
        "_threads",
    )

    def __init__(
        self,
        threads: HandlerThreads,
        handler: Handler,
        request: Any,
        context: ServerContext,
        pace: Pace,
        close: Callable[[], None] | None = None,
    ) -> None:
        """`close`: called in the loop when the handler has ended."""
        self._close = close
        self._pace = pace
        self._threads = threads
        self._handler = handler
        self._request = (request, ThreadContext(context, threads), copy_context())
        self._call: Ended | None = None
        self._future: Future[None] | None = None
        self._cancelled = False
        self._ended = False
        self._result: Any = None
        self._error: BaseException | None = None
        threads.submit(self._run, pace.is_slow)

    def give_to(self, call: Ended) -> None:
        self._call = call

    def cancel(self) -> None:
        """A handler that has not begun is not begun. One that runs cannot be ended: its context tells it."""
        self._cancelled = True

    def _run(self) -> None:
        """In a handler's thread."""
        result: Any = None
        error: BaseException | None = None
        request, context, variables = self._request
        if self._cancelled:
            error = RpcError(StatusCode.CANCELLED, "the call was cancelled")
        else:
            began = perf_counter()
            try:
                result = variables.run(self._handler, request, context)
            except BaseException as raised:
                error = raised
            self._pace.took(perf_counter() - began)
        self._threads.in_loop(self._end, result, error)
        del error  # its traceback holds this frame

    def _end(self, result: Any, error: BaseException | None) -> None:
        call, self._call = self._call, None
        if self._close is not None:
            self._close()
        if call is not None:
            call.returned(result, error, self._request[2])
            return
        self._ended = True
        future = self._future
        if future is not None and future.done():  # nobody waits any more; and the error holds this, by its traceback
            return
        self._result = result
        self._error = error
        if future is not None:
            future.set_result(None)

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self._ended:
            self._future = self._threads.runtime.future()
            try:
                yield from self._future.__await__()
            except BaseException:
                self._cancelled = True
                raise
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this frame
        result = self._result
        if isinstance(result, Awaitable):
            result = yield from result.__await__()
        return result


class ThreadContext(ServerContext):
    """A call as its handler sees it in a thread: whatever touches the connection is done by the loop."""

    __slots__ = ("_call", "_threads")

    def __init__(self, call: ServerContext, threads: HandlerThreads) -> None:
        self._call = call
        self._threads = threads
        self.connection = call.connection
        self.stream = call.stream
        self.headers = call.headers
        self.deadline = call.deadline

    @property
    def cancelled(self) -> bool:  # type: ignore[override]
        """True once the client has cancelled, its deadline has passed or its connection is gone."""
        return self._call.cancelled

    @property
    def _finished(self) -> bool:  # type: ignore[override]
        return self._call._finished

    @property
    def code(self) -> StatusCode | None:
        return self._call.code

    @property
    def message(self) -> str:
        return self._call.message

    def add_done_callback(self, callback: Callable[[ServerContext], object]) -> None:
        self._threads.ask_loop(self._call.add_done_callback, callback)

    def set_compression(self, encoding: Any) -> None:
        self._threads.ask_loop(self._call.set_compression, encoding)

    def send_initial_metadata(self, metadata: MetadataInput = ()) -> None:
        self._threads.ask_loop(self._call.send_initial_metadata, metadata)

    def set_trailing_metadata(self, metadata: MetadataInput) -> None:
        self._threads.ask_loop(self._call.set_trailing_metadata, metadata)

    async def send(self, response: Any, *, compress: bool = True) -> None:
        raise UsageError("a handler in a thread yields its responses; `send` is for `async def` handlers")

    def send_last(self, response: Any) -> None:
        self._threads.ask_loop(self._call.send_last, response)

    def end(
        self, code: StatusCode = StatusCode.OK, message: str = "", *, trailing_metadata: MetadataInput | None = None
    ) -> None:
        def end() -> None:
            self._call.end(code, message, trailing_metadata=trailing_metadata)

        self._threads.ask_loop(end)

    def reset(self, error_code: int = 0x8) -> None:
        self._threads.ask_loop(self._call.reset, error_code)


def is_plain(handler: Handler) -> bool:
    """Whether it is neither an `async def` nor an asynchronous generator."""
    function: Any = handler
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not (hasattr(function, "__code__") or hasattr(function, "__func__")):  # an object that can be called
        function = type(function).__call__
    return not (iscoroutinefunction(function) or isasyncgenfunction(function))
