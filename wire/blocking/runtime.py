"""A `Runtime` without an event loop of its own: whichever thread waits for a call reads from the sockets meanwhile.

One lock guards all that belongs to a channel: engines, calls, the pool. It is held while Python works and never while
the system does: a thread lets go of it to send, to receive and to wait. Of the threads that wait, one *leads*: it
polls, receives, and runs timers and callbacks, and so ends other threads' calls too, each of which is woken by a lock
of its own. When the leader's own call has ended, the thread that came last leads on. Bytes to send go out by the thread
that made them, or, while another one is sending already, with that one's next send.

What nobody waits for (a ping on an idle connection, a call that was only started) is looked after by a thread that
otherwise sleeps (`attendant`). Imports `transport`, `config` and its siblings.
"""

from __future__ import annotations

import logging
import socket
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from threading import RLock, get_ident
from time import monotonic
from typing import Any, TypeVar

from wire.blocking.futures import CancelledError, ThreadFuture, ThreadTask, ThreadTimer
from wire.blocking.poller import new_poller
from wire.blocking.socket_transport import ThreadTransport
from wire.blocking.waits import ThreadWaits, finish
from wire.config import TransportConfig
from wire.errors import UsageError, WireError
from wire.transport.accepting import Guard
from wire.transport.contract import Peer, Task, Timer, Transport, TransportProtocol
from wire.transport.runtime_base import End, RuntimeBase
from wire.transport.waits import Waits

logger = logging.getLogger("wire.blocking")

T = TypeVar("T")

_NESTED = "a signal's handler that struck a call cannot wait for another one of the same channel; a thread can"
_LEAST_TIMERS = 64
_IDLE_S = 1.0
_SIGNALS_S = 0.5
"""No wait is longer: a signal that comes just before the system is asked to wait does not end that wait."""
_FRESH_S = 0.001  # what the sockets brought is looked at before a call begins, unless that was done so lately


class ThreadRuntime(RuntimeBase):
    """See the module's text. Everything but `call_soon_threadsafe`, `enter` and `closed` is for whoever holds the lock.

    `turns` counts the times that somebody polled; `leader`: the future that the leading thread waits for; `senders`:
    the threads that send.
    """

    cancelled: type[BaseException] = CancelledError

    def __init__(self) -> None:
        super().__init__("threads")
        self.now = monotonic
        self.closed = False
        self.turns = 0
        self.on_attach: Callable[[], object] = _nothing
        """Called whenever there is one more connection."""
        self.leader: ThreadFuture | None = None
        self.senders: set[int] = set()
        lock = RLock()  # of those that know their owner, which a thread that was interrupted has to
        self._acquire = lock.acquire
        self._release = lock.release
        self._is_mine: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]
        self._poller = new_poller()
        self._poll = self._poller.poll
        self._polling = False
        self._idling = False
        self._poll_ends = 0.0
        self._polled_at = 0.0
        self._leading_thread = 0
        self._followers: dict[ThreadFuture, None] = {}
        self._handlers: dict[int, Callable[[int], None]] = {}  # by file descriptor
        self._ready: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, ThreadTimer]] = []
        self._timers_looked_at = _LEAST_TIMERS
        self._order = count()
        self._unsent: list[ThreadTransport] = []

    # The lock.

    def enter(self) -> None:
        """Take the lock; `leave` it soon. Raises `UsageError` in a thread that has it, as a signal's handler may."""
        if self._is_mine():
            raise UsageError(_NESTED)
        self._acquire()

    def leave(self) -> None:
        """Run what is due, send what is to be sent, and let go of the lock."""
        try:
            if self._ready or self._unsent:
                self.settle()
        finally:
            self._release()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """`enter`, then `leave`."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def outside(self, function: Callable[..., T], *args: Any) -> T:
        """Call the system, without the lock. Other threads may do anything meanwhile."""
        self._release()
        try:
            return function(*args)
        finally:
            self._regain()

    def _regain(self) -> None:
        """Take the lock, whatever signals' handlers raise meanwhile; that is raised then."""
        interruption: BaseException | None = None
        while not self._is_mine():
            try:
                self._acquire()
            except BaseException as error:
                interruption = error
        try:
            if interruption is not None:
                raise interruption
        finally:
            del interruption  # its traceback holds this frame

    def freshen(self) -> None:
        """Handle what has come while no thread waited, such as the end of a connection that a call is to use."""
        if self.leader is None and self._handlers and monotonic() - self._polled_at > _FRESH_S:
            self.attend(0.0)

    def is_inside(self) -> bool:
        """Whether this thread is at work here already: then this is a signal's handler, which must not wait."""
        thread = get_ident()
        leads = self.leader is not None and self._leading_thread == thread
        return leads or thread in self.senders or self._is_mine()

    def interrupted(self, future: ThreadFuture | None, error: BaseException) -> None:
        """A thread that was in here gets `error` raised; it may or may not have the lock, and has it afterwards.

        What a signal's handler raises while the lock is held may leave anything half done: then the connections are
        given up, with every call on them.
        """
        held = self._is_mine()
        self._regain()
        if future is not None:
            self._followers.pop(future, None)
            if self.leader is future:
                self._stop_leading()
            elif self.leader is None:
                self._promote()  # it may have been this one that was to lead
        if held and not isinstance(error, WireError):
            logger.warning(
                "a call was interrupted by %s at a bad time: the connections are closed", type(error).__name__
            )
            for transport in list(self._transports):
                transport.abort()

    # Waiting.

    def wait(self, future: ThreadFuture) -> None:
        """Until `future` is done: lead, or have it done by the thread that does."""
        while True:
            if self._ready or self._unsent:
                self.settle()
            if future.finished:
                return
            if self.leader is not None and self._leading_thread != get_ident():
                self._follow(future)
            elif self.leader is not None or get_ident() in self.senders:
                raise UsageError(_NESTED)
            else:
                self._lead(future)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end in this thread, which waits where it awaits."""
        try:
            while True:
                future: ThreadFuture = coroutine.send(None)
                try:
                    self.wait(future)
                except BaseException as error:
                    self.interrupted(future, error)
                    future.finished = True
                    coroutine.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            coroutine.close()

    def _lead(self, future: ThreadFuture) -> None:
        self.leader = future
        self._leading_thread = get_ident()
        while not future.finished:
            self._turn()
        self.leader = None
        if self._followers:
            self._promote()

    def _stop_leading(self) -> None:
        self.leader = None
        self._polling = False
        self._promote()

    def _promote(self) -> None:
        """Wake a thread that is to lead, if one waits. The last that came: its call is likely to end last, so that it
        leads for longer."""
        if self._followers:
            future, _ = self._followers.popitem()
            future.signal.release()

    def _follow(self, future: ThreadFuture) -> None:
        signal = allocate_lock()
        signal.acquire()
        future.signal = signal
        self._followers[future] = None
        self._release()
        while not signal.acquire(timeout=_SIGNALS_S):
            pass
        self._acquire()
        future.signal = None

    def wake_thread(self, future: ThreadFuture) -> None:
        signal = future.signal
        if signal is not None:
            if future in self._followers:
                del self._followers[future]
                signal.release()
        elif self._polling and self.leader is future:
            self._poller.wake()

    def attend(self, timeout_s: float) -> None:
        """Lead for one turn, for nobody's sake."""
        self.leader = nobody = ThreadFuture(self)
        self._leading_thread = get_ident()
        try:
            self._turn(timeout_s)
        except BaseException as error:
            self.interrupted(nobody, error)
            raise
        self._stop_leading()

    def idle(self) -> bool:
        """Wait for sockets or timers without leading, and do what they ask for; False when another thread leads."""
        timers = self._timers
        # A timer that is set meanwhile may be due earlier than those there are.
        timeout_s = min(max(timers[0][0] - monotonic(), 0.0), _IDLE_S) if timers else None
        self._idling = timeout_s is None
        self.outside(self._poll, timeout_s)
        self._idling = False
        if self.leader is not None or self.closed:
            return False
        self.attend(0.0)
        return True

    def _turn(self, timeout_s: float = _SIGNALS_S) -> None:
        """Wait for sockets and timers, and do what they ask for."""
        self.turns += 1
        timers = self._timers
        if timers:
            self._poll_ends = ends = timers[0][0]
            timeout_s = min(max(ends - monotonic(), 0.0), timeout_s)
        else:
            self._poll_ends = inf
        self._polling = True
        self._release()
        events = self._poll(timeout_s)
        self._acquire()
        self._polling = False
        self._polled_at = now = monotonic()
        handlers = self._handlers
        for fd, ready in events:
            handler = handlers.get(fd)
            if handler is not None:
                handler(ready)
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            if timer.callback is not None:
                _call(timer.callback, timer.args)
        if self._ready or self._unsent:
            self.settle()

    def settle(self) -> None:
        """Run the callbacks, and send what is to be sent."""
        ready = self._ready
        unsent = self._unsent
        while True:
            while ready:
                callback, args = ready.popleft()
                _call(callback, args)
            if not unsent:
                return
            unsent.pop().send_queued()

    # What transports use.

    def has_unsent(self, transport: ThreadTransport) -> None:
        self._unsent.append(transport)

    def watch(self, sock: socket.socket, interest: int, handler: Callable[[int], None]) -> None:
        """Call `handler` with what is ready of `interest`, as long as that is not 0."""
        fd = sock.fileno()
        self._handlers[fd] = handler
        self._poller.watch(fd, interest)

    def forget_socket(self, sock: socket.socket) -> None:
        """The socket is about to be closed."""
        fd = sock.fileno()
        if self._handlers.pop(fd, None) is not None:
            self._poller.forget(fd)

    # The contract.

    def future(self) -> ThreadFuture:
        return ThreadFuture(self)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._ready.append((callback, args))

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        if self.closed:
            raise RuntimeError("the channel is closed")
        self._ready.append((callback, args))
        if not self._is_mine() and self._acquire(blocking=False):
            self.leave()
        else:  # whoever holds the lock, be it this thread, may have looked already and be about to poll
            self._poller.wake()

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timers = self._timers
        if len(timers) >= self._timers_looked_at:  # most are cancelled long before they are due
            timers[:] = [entry for entry in timers if entry[2].callback is not None]
            heapify(timers)
            self._timers_looked_at = max(_LEAST_TIMERS, 2 * len(timers))
        timer = ThreadTimer(callback, args)
        due = monotonic() + delay_s
        heappush(timers, (due, next(self._order), timer))
        if (self._polling and due < self._poll_ends) or self._idling:
            self._idling = False
            self._poller.wake()
        return timer

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Task:
        return ThreadTask(self, coroutine)

    async def sleep(self, delay_s: float) -> None:
        future = ThreadFuture(self)
        timer = self.call_later(delay_s, finish, future)
        try:
            await future
        finally:
            timer.cancel()

    def _waits(self) -> Waits:
        return ThreadWaits(self)

    async def _attach(
        self, end: End, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        transport = await super()._attach(end, protocol, peer, config, guard)
        self.on_attach()
        return transport

    async def _attach_socket(
        self, sock: socket.socket, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        transport = ThreadTransport(sock, protocol, peer, config, self, self)
        self._transports[transport] = guard
        transport.start()
        return transport

    def close(self) -> None:
        """Abort what is open, and be of no use any more."""
        super().close()
        self.settle()
        self.closed = True
        self.on_attach = _nothing
        self._timers.clear()
        self._poller.wake()

    def wake(self) -> None:
        """End the present wait for sockets. Any thread, in the middle of anything."""
        self._poller.wake()

    def abandon(self) -> None:
        """In the child of a fork: let go of the sockets, which are the parent's, without a word to peer or kernel."""
        self.closed = True
        self._acquire = _not_ours
        self._is_mine = _no
        for transport in list(self._transports):
            if isinstance(transport, ThreadTransport):
                transport.abandon()
        self._poller.close()


def _nothing() -> None:
    pass


def _no() -> bool:
    return False


def _not_ours(blocking: bool = True, timeout: float = -1) -> bool:
    raise UsageError("the call was made in the process that forked this one, and goes on there")


def _call(callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        callback(*args)
    except Exception:
        logger.exception("a callback raised")
