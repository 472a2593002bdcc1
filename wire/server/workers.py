"""Several worker processes behind the same addresses: forked, replaced when they die, drained together.

    def work(worker: Worker) -> None:          # in each worker: an event loop of its own
        wire.run(serve, worker)

    status = run_workers(["127.0.0.1:50051"], 4, work)

The supervisor binds every socket and keeps it open, and each worker inherits the ones it accepts from. On TCP that is a
socket of its own for each worker (SO_REUSEPORT: the kernel spreads connections over them); AF_UNIX and AF_VSOCK have no
such thing, so there all workers accept from one. Either way a socket outlives the worker it was made for: a connection
which a dead worker had not accepted yet waits for its replacement rather than being reset.

A worker says by a byte on a pipe that it accepts. The end of that pipe, which the kernel sees to however the worker
dies, says that it no longer does. Further bytes, from its event loop now and then, say that it is not stuck: a worker
that began to send them and falls silent is killed and replaced. The supervisor runs no event loop and no threads: that
makes forking safe.
Imports `errors` and `transport`'s `address`, `listening`, `sockets` and `runtime`. Needs `os.fork`, so not Windows.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from wire.errors import ConfigurationError, WireError
from wire.transport import sockets
from wire.transport.address import parse_address
from wire.transport.listening import bind_all, bound_address
from wire.transport.runtime import open_runtime

_log = logging.getLogger("wire.workers")

_BACKOFF_S: Final = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Before a replacement is started, by how many workers of its slot in a row died young. Connections wait meanwhile, so
the longest stays well under the time that clients give to connecting."""
_YOUNG_S: Final = 1.0
_ACCEPTING: Final = b"+"
_BEAT: Final = b"."
_BEATS: Final = 4  # of a worker, within the time after which it counts as hung
_LATE_S: Final = 7.0  # a server gives its handlers 5 s of it, and then ends its process itself
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@dataclass(slots=True)
class Worker:
    """What a worker process gets to work with."""

    index: int
    """From 0 to the number of workers - 1; a replacement takes over its predecessor's."""
    sockets: Sequence[socket.socket]
    """Listening sockets to accept from, in the order of the addresses: one for each, two for `localhost` where the
    machine has both families."""
    beat_s: float | None
    """How often to call `beat`; None: nobody listens for it."""
    _pipe: int | None

    def accepting(self) -> None:
        """Say that connections are being accepted."""
        self._say(_ACCEPTING)

    def beat(self) -> None:
        """Say that the event loop turns. Whoever does so once must go on until `draining`, or is killed as hung."""
        self._say(_BEAT)

    async def keep_beating(self) -> None:
        """Call `beat` every `beat_s`: to be run as a task, and cancelled before `draining`."""
        if self.beat_s is None:
            return
        async with open_runtime() as runtime:
            while True:
                self.beat()
                await runtime.sleep(self.beat_s)

    def draining(self) -> None:
        """Say that no more connections are accepted, so that a replacement may start while this worker finishes."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _say(self, what: bytes) -> None:
        if self._pipe is not None:
            # A supervisor that does not read has been stopped; one that is gone has this worker end by other means.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._pipe, what)


def run_workers(
    addresses: Sequence[str],
    count: int,
    work: Callable[[Worker], object],
    *,
    started: Callable[[list[str]], object] = lambda bound: None,
    grace_s: float = 30.0,
    backlog: int = 1024,
    hang_timeout_s: float | None = 10.0,
    reuse_port: bool = False,
    pass_on: Sequence[signal.Signals] = (),
) -> int:
    """Run `work` in `count` processes that share `addresses`, until SIGTERM or SIGINT; a second signal kills them.

    `work` ends its worker: with status 0 when it returns, 1 when it raises. It must return on SIGTERM, once what it had
    begun is finished, for which it has `grace_s` (7 s more, and it is killed); SIGINT it does not see. One that
    has called `Worker.beat` and does not do so again for `hang_timeout_s` is killed and replaced (None: it is not).
    `reuse_port`: others than these workers may listen on the TCP ports too, and get their share of the connections.
    `started` is called once, here, when all workers accept, with the addresses that were bound. Signals in `pass_on` go
    on to every worker, which ignores them until it handles them itself. Returns the exit status: 0 after a clean drain,
    1 when a worker failed at the start or had to be killed at the end.

    To be called from the main thread of a process that has no other. Raises `ConfigurationError`, `AddressError` and
    `ListenError` before anything is forked.
    """
    if count < 1:
        raise ConfigurationError(f"the number of workers is {count}, but must be at least 1")
    if hang_timeout_s is not None and not hang_timeout_s > 0:
        raise ConfigurationError(f"hang_timeout_s is {hang_timeout_s!r}, but must be more than 0, or None")
    if not hasattr(os, "fork"):
        raise ConfigurationError("several workers need a system that can fork, and this one cannot")
    with contextlib.ExitStack() as stack:
        slots = [_Slot(index) for index in range(count)]
        bound = []
        for text in addresses:
            shared = bind_for_workers(text, count, backlog=backlog, reuse_port=reuse_port)
            for slot, own in zip(slots, shared, strict=True):
                slot.sockets += [stack.enter_context(sock) for sock in own]
            bound.append(bound_address(*shared[0]))
        signals = stack.enter_context(_signals(pass_on))
        supervisor = _Supervisor(slots, work, grace_s, signals, hang_timeout_s, frozenset(pass_on))
        return supervisor.run(lambda: started(bound))


def bind_for_workers(
    text: str, count: int, *, backlog: int = 1024, reuse_port: bool = False
) -> list[list[sockets.BoundSocket]]:
    """The listening sockets of each of `count` workers: on TCP several that share the port, else the same one.

    Those of the first are bound without SO_REUSEPORT and get it afterwards, so that a port which another server of this
    user has, with that option, counts as taken: the two would share its connections unawares. `reuse_port`: that is
    what is wanted. Raises as `bind_all`.
    """
    address = parse_address(text)
    first = bind_all(address, backlog=backlog, reuse_port=reuse_port)
    if count == 1 or not sockets.can_reuse_port(address):
        return [first] * count
    for sock in first:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    exact = [parse_address(sockets.bound_address(sock)) for sock in first]
    others = ([sockets.bind(each, backlog=backlog, reuse_port=True) for each in exact] for _ in range(count - 1))
    return [first, *others]


class FirstSignal:
    """The one that asked to stop. timeout(1) sends it to the process and then to its group: that is no second one."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._until = time.monotonic() + 0.2

    def is_echoed_by(self, number: int) -> bool:
        return number == self._number and time.monotonic() < self._until


@dataclass(slots=True)
class _Slot:
    """A worker's place: its sockets, and who fills it."""

    index: int
    sockets: list[socket.socket] = field(default_factory=list)
    pipe: int | None = None
    """None while no worker fills it."""
    pid: int = 0
    accepting: bool = False
    beat_at: float | None = None
    """When its worker last said that it is not stuck; None: never yet."""
    started_at: float = 0.0
    young_deaths: int = 0
    """In a row."""
    due: float = 0.0
    """When to start its next worker."""


class _Supervisor:
    """The state of one `run_workers`."""

    def __init__(
        self,
        slots: list[_Slot],
        work: Callable[[Worker], object],
        grace_s: float,
        signals: socket.socket,
        hang_timeout_s: float | None,
        pass_on: frozenset[int] = frozenset(),
    ) -> None:
        self._pass_on = pass_on
        self._slots = slots
        self._work = work
        self._grace_s = grace_s
        self._signals = signals
        self._hang_timeout_s = hang_timeout_s
        self._looked_at = 0.0  # for workers that hang
        self._hung: set[int] = set()  # process ids; killed, and not waited for yet
        self._living: dict[int, int] = {}
        """Process id → index, of all children not waited for yet; one that drains has left its slot."""
        self._started = False
        self._killed = False
        self._stop_by: float | None = None
        self._first: FirstSignal | None = None
        self._status = 0
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def run(self, started: Callable[[], object]) -> int:
        # A collection in a worker must not touch, and so copy, what all of them share.
        gc.collect()
        if hasattr(gc, "freeze"):  # PyPy's moves objects, whatever they are
            gc.freeze()
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._signals, selectors.EVENT_READ)
            while self._stop_by is None or self._living:
                self._fill_slots()
                for key, _ in self._selector.select(self._wait_s()):
                    if key.data is None:
                        self._on_signals()
                    else:
                        self._on_pipe(key.data)
                self._end_hung(time.monotonic())
                self._reap()
                if not self._started and self._stop_by is None and all(slot.accepting for slot in self._slots):
                    self._started = True
                    started()
        return self._status

    def _wait_s(self) -> float | None:
        """Until the next thing that is due; None: nothing is but what the selector reports."""
        if self._killed:
            return None
        if self._stop_by is not None:
            due = [self._stop_by + _LATE_S]
        else:
            due = [slot.due for slot in self._slots if slot.pipe is None]
            if self._hang_timeout_s is not None and any(slot.beat_at is not None for slot in self._slots):
                due.append(self._looked_at + self._hang_timeout_s / _BEATS)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _fill_slots(self) -> None:
        """Start the workers that are due; when stopping, kill those that are late."""
        now = time.monotonic()
        if self._stop_by is None:
            for slot in self._slots:
                if slot.pipe is None and slot.due <= now:
                    self._fork(slot, now)
        elif now >= self._stop_by + _LATE_S and not self._killed:
            _log.error("%d workers did not end in time and were killed", len(self._living))
            self._kill()

    def _fork(self, slot: _Slot, now: float) -> None:
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        supervisor = os.getpid()
        # A signal between the fork and the worker's own handlers would be reported as one to the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                self._become(slot, write, supervisor)
        except OSError as error:
            _log.error("cannot start a worker: %s", error.strerror)
            os.close(read)
            pid = 0
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        os.close(write)
        slot.started_at = now
        if pid:
            self._living[pid] = slot.index
            slot.pid = pid
            slot.pipe = read
            self._selector.register(read, selectors.EVENT_READ, slot)
        else:
            self._vacate(slot)

    def _on_signals(self) -> None:
        for number in self._signals.recv(4096):
            if number == signal.SIGCHLD:
                continue
            if number in self._pass_on:
                for pid in self._living:
                    os.kill(pid, number)
            elif self._stop_by is None:
                self._first = FirstSignal(number)
                _log.info("stopping: open calls may end; a second signal cuts them off")
                self._stop()
            elif self._first is None or not self._first.is_echoed_by(number):
                _log.warning("stopping at once: killing workers: %d", len(self._living))
                self._kill()

    def _stop(self) -> None:
        self._stop_by = time.monotonic() + self._grace_s
        for slot in self._slots:
            for sock in slot.sockets:
                sock.close()  # a worker's own copy is then the last, and closing that one refuses connections
        for pid in self._living:
            os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        self._killed = True
        self._status = 1
        for pid in self._living:
            os.kill(pid, signal.SIGKILL)

    def _on_pipe(self, slot: _Slot) -> None:
        assert slot.pipe is not None
        said = os.read(slot.pipe, 4096)
        if said:
            if _ACCEPTING in said:
                slot.accepting = True
            if _BEAT in said:
                slot.beat_at = time.monotonic()
            return
        if not self._started and not slot.accepting and self._stop_by is None:
            self._status = 1  # the worker has said why, and its replacement would fare no better
            self._stop()
        self._vacate(slot)

    def _end_hung(self, now: float) -> None:
        """Kill the workers whose last beat is too long ago, and have them replaced."""
        timeout_s = self._hang_timeout_s
        if timeout_s is None or self._stop_by is not None:
            return
        if now - self._looked_at > timeout_s / 2:
            # This process was itself stopped, and the workers perhaps with it: their time begins anew.
            for slot in self._slots:
                if slot.beat_at is not None:
                    slot.beat_at = now
        self._looked_at = now
        for slot in self._slots:
            if slot.beat_at is not None and now - slot.beat_at >= timeout_s:
                _log.error(
                    "worker %d (process %d) has hung for %g s and was killed; another takes its place",
                    slot.index,
                    slot.pid,
                    timeout_s,
                )
                self._hung.add(slot.pid)
                os.kill(slot.pid, signal.SIGKILL)
                self._vacate(slot)

    def _vacate(self, slot: _Slot) -> None:
        """Plan the replacement of a worker that accepts no more."""
        if slot.pipe is not None:
            self._selector.unregister(slot.pipe)
            os.close(slot.pipe)
            slot.pipe = None
        now = time.monotonic()
        slot.accepting = False
        slot.beat_at = None
        slot.young_deaths = slot.young_deaths + 1 if now - slot.started_at < _YOUNG_S else 0
        slot.due = now + _BACKOFF_S[min(slot.young_deaths, len(_BACKOFF_S) - 1)]

    def _reap(self) -> None:
        for pid, index in list(self._living.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._living[pid]
            code = os.waitstatus_to_exitcode(status)
            if pid in self._hung:
                self._hung.discard(pid)  # it was said when it was killed
            elif self._stop_by is None:
                _log.warning("worker %d (process %d) %s; another takes its place", index, pid, _how(code))
            elif code not in (0, -signal.SIGTERM):  # the latter: before it had a handler
                _log.warning("worker %d (process %d) %s", index, pid, _how(code))
                self._status = 1

    def _become(self, slot: _Slot, pipe: int, supervisor: int) -> None:
        """In the new process: leave everything of the supervisor's behind, and work. Does not return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor passes it on
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            if self._libc is not None:
                self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # drain, should the supervisor be killed
            if os.getppid() != supervisor:
                return
            self._selector.close()
            self._signals.close()
            for other in self._slots:
                if other.pipe is not None:
                    os.close(other.pipe)
                for sock in other.sockets:
                    if sock not in slot.sockets:
                        sock.close()
            os.set_blocking(pipe, False)
            beat_s = None if self._hang_timeout_s is None else self._hang_timeout_s / _BEATS
            self._work(Worker(slot.index, slot.sockets, beat_s, pipe))
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except WireError as error:  # says what is wrong
            _log.error("worker %d failed: %s", slot.index, error)
        except BaseException:
            _log.exception("worker %d failed", slot.index)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)  # nothing of the supervisor's may be unwound here


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"


@contextlib.contextmanager
def _signals(pass_on: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """A socket that gets a byte, the signal's number, for each of `_HANDLED` and of these. Restores how they were
    handled before."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in (*_HANDLED, *pass_on)}
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
