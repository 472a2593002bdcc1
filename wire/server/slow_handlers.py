"""Names the methods whose handlers hold the event loop: while one does, no other call is served and no peer answered.

In: the loop's thread, as it runs. Out: one warning for each such method. A thread looks at the loop thread's stack now
and then, so calls pay nothing for being watched. When it sees a handler it asks the loop for a sign of life; one that
is still missing after `slow_s`, with the same call on the stack each time, was held up by that call. A handler that
waits with `await` lets the loop answer, however long it takes; one that never lets go of the interpreter's lock is not
seen, as the thread cannot run either. Imports the calls and `transport`'s contract.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Collection, Mapping
from types import FrameType
from typing import Any, Final

from wire.server.call import ServerCall
from wire.server.message_call import MessageCall
from wire.server.request_calls import UnaryRequestCall
from wire.server.route import Route
from wire.transport.contract import Runtime

_log = logging.getLogger("wire.server")

_LOOKS: Final = 2  # within `slow_s`
_HANDLERS: Final = frozenset(
    each.__code__
    for each in (
        ServerCall._start,
        ServerCall._run,
        ServerCall._run_stream,
        UnaryRequestCall.answer,
        MessageCall._respond,
        MessageCall.on_message,
        MessageCall._answer_all,
    )
)
_current_frames: Final = sys._current_frames if sys.implementation.name == "cpython" else None
"""PyPy 7.3.19 crashes when a thread looks at the frames of another that runs code of the JIT compiler."""

THREAD_NAME: Final = "wire.slow_handlers"


class SlowHandlers:
    """Watches the handlers of one server. Made, started and stopped in the thread of its event loop."""

    def __init__(
        self, runtime: Runtime, slow_s: float, routes: Mapping[bytes, Route[Any, Any]], connections: Collection[object]
    ) -> None:
        self._runtime = runtime
        self._slow_s = slow_s
        self._routes = routes
        self._connections = connections
        self._loop_thread = threading.get_ident()
        self._named: set[str] = set()
        self._connected = threading.Event()
        self._stopped = threading.Event()
        self._asked = 0  # signs of life that the loop was asked for, and which of them came last
        self._answered = 0
        self._seen = 0  # the `id` of the frame that was seen when the last one was asked for
        self._looks = 0  # since then

    def start(self) -> None:
        if _current_frames is None:
            return
        try:
            threading.Thread(target=self._watch, name=THREAD_NAME, daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            _log.warning("handlers that hold the event loop will not be named: %s", error)

    def connected(self) -> None:
        """A connection was added to those given; without any, the thread sleeps."""
        self._connected.set()

    def stop(self) -> None:
        """The thread ends, without being waited for: it may be writing to a log."""
        self._stopped.set()
        self._connected.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._connected.wait()
            self._connected.clear()
            while self._connections and not self._stopped.wait(self._slow_s / _LOOKS):
                self._look()

    def _look(self) -> None:
        assert _current_frames is not None
        top = _current_frames().get(self._loop_thread)
        frame = top
        while frame is not None and frame.f_code not in _HANDLERS:
            frame = frame.f_back
        if frame is None:
            self._seen = 0
        elif id(frame) != self._seen or self._answered == self._asked:
            self._seen = id(frame)
            self._looks = 0
            self._asked += 1
            try:
                self._runtime.call_soon_threadsafe(self._answer, self._asked)
            except RuntimeError:  # the loop was closed
                self._stopped.set()
        else:
            # Looks are counted and not seconds: a process that was stopped meanwhile looked no more often.
            self._looks += 1
            if self._looks == _LOOKS:
                assert top is not None
                self._name(frame, top)

    def _answer(self, number: int) -> None:
        self._answered = number

    def _name(self, frame: FrameType, top: FrameType) -> None:
        call: ServerCall | None = frame.f_locals.get("self")  # None when it has ended just now
        if call is None or self._routes.get(call.head.path) is not call.route:  # the loop may run several servers
            return
        path = call.method
        if path not in self._named:
            self._named.add(path)
            code = top.f_code
            _log.warning(
                "%s: the handler has held the event loop for more than %g s, and so all calls; it is in %s (%s:%d)",
                path,
                self._slow_s,
                code.co_qualname,
                code.co_filename,
                top.f_lineno,
            )
