"""A server in a process of its own, a neighbour in another, and what a row of hostile traffic did to both.

A row is a function that takes a `Rig`; `hostile` makes a test of it for each engine, and keeps it in `ROWS` for the
full run (`python -m tests.hostile`). What is judged after each:

- memory: how far the server process's high-water mark rose above where it stood before, against a bound that is
  computed from the numbers in `wire.config`; with the cyclic collector off;
- what stays of that once the hostile connections are gone;
- the longest turn of the server's event loop, in CPU time;
- a neighbour that does an echo each 10 ms on a connection of its own, and has to be answered, every time;
- no error in the server's log.
"""

from __future__ import annotations

import atexit
import json
import socket
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Self

import pytest

from tests.certificates import Certificates, make_certificates
from tests.hostile.peer import PATIENCE_S, Peer
from tests.hostile.program import config_of
from tests.support import LOOPS
from wire.config import EngineName, ServerConfig
from wire.transport.runtime import LoopName

MIB = 1 << 20
ROOT = Path(__file__).parent.parent.parent

SLACK_MIB = 8.0
"""What an allocator, code seen for the first time and a read of each loop may take beyond the bound."""

STAYS_MIB = 48.0
"""What may stay after the peers are gone: holes in the allocator's arenas."""

TURN_MS = 1000.0
"""The longest turn of the loop. In CPU time, on machines slower than those that the goal (below) is for."""

STARVED_MS = 2000.0
STARVED_AMONG_TESTS_MS = 15_000.0
"""A neighbour that waits so long for one echo is starved, on however busy a machine. Among tests, where the machine
may be busy with other things, from when it was sent; in the full run from when it was due."""

P99_MS = 50.0
"""The goal, which the full run judges."""

_pause = Event()


@cache
def _program() -> socket.socket:
    """Where orders for new processes go. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, "-m", "tests.hostile.program"], cwd=ROOT, stdin=theirs.fileno())
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


@cache
def certificates() -> Certificates:
    directory = TemporaryDirectory(prefix="wire")
    atexit.register(directory.cleanup)
    return make_certificates(Path(directory.name))


def _order(role: str, **order: Any) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(_program(), [json.dumps({"role": role, **order}).encode()], [theirs.fileno()])
    ours.settimeout(PATIENCE_S * 3)
    return ours


@dataclass(slots=True)
class Figures:
    """What a row came to."""

    held_mib: float = 0.0
    """Most memory above what it was before."""
    bound_mib: float = 0.0
    stays_mib: float = 0.0
    turn_ms: float = 0.0
    p99_ms: float = 0.0
    worst_ms: float = 0.0
    echoes: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)


class Rig:
    """A server and its neighbour. `seconds`: how long `rounds` goes on; 0 for one round of each row. `realtime`: what
    else runs on the machine waits for these two (SCHED_FIFO, which needs rights), so that latencies are theirs. By
    default Linux then keeps 5 % of each second from a server that is never idle, which its neighbour sees as 50 ms."""

    def __init__(
        self,
        engine: EngineName,
        loop: LoopName,
        *,
        config: dict[str, Any],
        tls: bool = False,
        seconds: float = 0.0,
        realtime: bool = False,
    ) -> None:
        self.engine = engine
        self.loop = loop
        self.full = seconds > 0
        self.config: ServerConfig = config_of({**config, "engine": engine})
        self._raw_config = {**config, "engine": engine}
        self.figures = Figures()
        self._seconds = seconds
        self._tls = tls
        self._realtime = realtime
        self._peers: list[Peer] = []
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        found = certificates() if self._tls else None
        files = [str(found.server), str(found.server_key)] if found else []
        self._ca = str(found.ca) if found else ""
        order = {"loop": self.loop, "config": self._raw_config, "tls": files}
        self._server = self._exits.enter_context(_order("serve", realtime=self._realtime, **order))
        started = json.loads(self._server.recv(1 << 16))
        self.pid: int = started["pid"]
        self.port = int(started["address"].rpartition(":")[2])
        self._neighbour = self._exits.enter_context(
            _order("neighbour", realtime=self._realtime, port=self.port, tls=self._tls, ca=self._ca)
        )
        assert self._neighbour.recv(100) == b"ready"
        self.report()
        self.figures.turn_ms = 0.0  # of starting, which is nobody's attack
        self._before_mib = self.rss_mib()
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the high-water mark starts again (proc(5))
        self._ends_at = time.monotonic() + self._seconds
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers:
            peer.sock.close()
        self._exits.close()

    # What rows use.

    def connect(self, **options: Any) -> Peer:
        peer = Peer(self.port, ca=self._ca or None, **options)
        self._peers.append(peer)
        return peer

    def plain_socket(self) -> socket.socket:
        """A connection on which nothing has been said, not even TLS."""
        return self._exits.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S))

    def tls_socket(self, protocols: list[str]) -> ssl.SSLSocket:
        """A connection whose TLS handshake is done, with these offered by ALPN."""
        context = ssl.create_default_context(cafile=self._ca)
        if protocols:
            context.set_alpn_protocols(protocols)
        return self._exits.enter_context(context.wrap_socket(self.plain_socket(), server_hostname="localhost"))

    def rounds(self) -> Iterator[int]:
        """Once; in a full run as often as its time allows. Between two, the connections of the first are closed."""
        while True:
            yield self.figures.rounds
            self.figures.rounds += 1
            if time.monotonic() >= self._ends_at:
                return
            self.hang_up()

    def hang_up(self) -> None:
        """Close what is still open."""
        for peer in self._peers:
            peer.sock.close()
        self._peers.clear()

    def settle(self, *peers: Peer) -> None:
        """Returns once the server has read all that these peers sent, or has stopped reading."""
        before: dict[int, int] = {}
        give_up = time.monotonic() + PATIENCE_S
        unchanged = 0
        while unchanged < 10 and time.monotonic() < give_up:
            unread = self._unread({peer.port for peer in peers})
            if not any(unread.values()):
                break
            unchanged = unchanged + 1 if unread == before else 0
            before = unread
            _pause.wait(0.02)
        with Peer(self.port, ca=self._ca or None) as witness:  # what was read has been handled when it is answered
            witness.barrier()
            witness.barrier()

    def _unread(self, ports: set[int]) -> dict[int, int]:
        """Bytes in the server's receive buffers, by the peers' ports."""
        found = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues = line.split()[:5]
            port = int(remote[-4:], 16)
            if int(local[-4:], 16) == self.port and port in ports:
                found[port] = int(queues[9:], 16)
        return found

    def eventually(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Whether it comes to hold."""
        give_up = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > give_up:
                return False
            _pause.wait(0.01)
        return True

    def fresh(self) -> bool:
        """Whether the row may still wait for what must happen."""
        return time.monotonic() < self._ends_at + PATIENCE_S

    def report(self) -> dict[str, Any]:
        """What the server says about itself: see `program.serve`."""
        self._server.sendall(b"?")
        found: dict[str, Any] = json.loads(self._server.recv(1 << 16))
        self.figures.turn_ms = max(self.figures.turn_ms, found["turn_ms"])
        return found

    def rss_mib(self) -> float:
        return self._memory("VmRSS")

    def grown_mib(self) -> float:
        """How far memory has been above what it was before."""
        return max(0.0, self._memory("VmHWM") - self._before_mib)

    def _memory(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise AssertionError("the server process is gone")

    # Judging.

    def judge(self, bound_mib: float, stays_mib: float = STAYS_MIB) -> None:
        """Take the figures; what is out of bounds becomes a fault of the row."""
        figures = self.figures
        figures.bound_mib = bound_mib
        self._neighbour.sendall(b"?")
        neighbour = json.loads(self._neighbour.recv(1 << 16))
        figures.echoes, figures.p99_ms, figures.worst_ms = (
            neighbour[each] for each in ("answered", "p99_ms", "worst_ms")
        )
        said = self.report()
        figures.held_mib = self.grown_mib()
        self.hang_up()
        freed = self.eventually(
            lambda: self.report()["connections"] <= 1 and self.rss_mib() - self._before_mib <= stays_mib,
            12.0 if self.full else 5.0,  # memory is not handed back again within ten seconds
        )
        figures.stays_mib = self.rss_mib() - self._before_mib
        faults = figures.faults
        if figures.held_mib > bound_mib:
            faults.append(f"held {figures.held_mib:.0f} MiB, and {bound_mib:.0f} are allowed")
        if not freed:
            faults.append(f"{figures.stays_mib:.0f} MiB stay, {self.report()['connections'] - 1} connections")
        if figures.turn_ms > TURN_MS:
            faults.append(f"a turn of {figures.turn_ms:.0f} ms")
        if neighbour["failure"]:
            faults.append(f"the neighbour: {neighbour['failure']}")
        waited_ms = figures.worst_ms if self.full else neighbour["longest_ms"]
        if waited_ms > (STARVED_MS if self.full else STARVED_AMONG_TESTS_MS):
            faults.append(f"the neighbour waited {waited_ms:.0f} ms")
        if self.full and figures.p99_ms > P99_MS:
            faults.append(f"the neighbour's p99 is {figures.p99_ms:.0f} ms")
        faults += [f"logged: {each}" for each in said["errors"]]


Attack = Callable[[Rig], None]
Bound = Callable[[ServerConfig], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of hostile traffic. `bound`: MiB, from the configuration."""

    name: str
    attack: Attack
    bound: Bound
    config: dict[str, Any]
    tls: bool
    stays_mib: float

    def run(self, engine: EngineName, loop: LoopName, seconds: float = 0.0, *, realtime: bool = False) -> Figures:
        """Its figures, with what failed."""
        options: dict[str, Any] = {"config": self.config, "tls": self.tls}
        with Rig(engine, loop, **options, seconds=seconds, realtime=realtime) as rig:
            try:
                self.attack(rig)
            except AssertionError as error:
                *_, where = traceback.extract_tb(error.__traceback__)
                rig.figures.faults.append(f"{where.line}: {str(error).partition(chr(10))[0]}")
            try:
                rig.judge(SLACK_MIB + self.bound(rig.config), self.stays_mib)
            except OSError as error:
                rig.figures.faults.append(f"the server process is gone: {error}")
        return rig.figures


ROWS: list[Row] = []
"""All that were defined, in the order of definition."""


def hostile(
    bound: Bound = lambda config: 0.0,
    *,
    config: dict[str, Any] | None = None,
    loops: tuple[LoopName, ...] = ("asyncio",),
    tls: bool = False,
    stays_mib: float = STAYS_MIB,
) -> Callable[[Attack], Any]:
    """Make a test of a row.

    `loops`: those of the quick run, the h2 engine on the first of them; the full one takes all with either engine.
    `bound`: MiB beside the slack.
    """

    def decorate(attack: Attack) -> Any:
        name = attack.__name__.removeprefix("test_").replace("_", " ")
        row = Row(name, attack, bound, config or {}, tls, stays_mib)
        ROWS.append(row)

        @pytest.mark.parametrize(("engine", "loop"), [*(("tuned", loop) for loop in loops), ("h2", loops[0])])
        def test(engine: EngineName, loop: LoopName) -> None:
            faults = row.run(engine, loop).faults
            if faults:
                pytest.fail("; ".join(faults), pytrace=False)

        test.__name__ = attack.__name__
        test.__doc__ = attack.__doc__
        test.__module__ = attack.__module__
        return test

    return decorate


ALL_LOOPS = LOOPS


def unread_mib(config: ServerConfig, streams: int = 0) -> float:
    """What one connection's requests hold that nobody has taken, with so many streams open."""
    http2 = config.http2
    windows = streams * http2.stream_window_bytes + http2.receive_budget_bytes
    return (windows + config.calls.max_receive_message_bytes) / MIB


def replies_mib(config: ServerConfig, copies: int = 2) -> float:
    """What one connection's replies hold that its peer has not taken: in two copies while they are written, with TLS in
    up to four (encrypted, and both kinds once more in the transport), and a message."""
    return (copies * config.reply_buffer_bytes + config.calls.max_receive_message_bytes) / MIB


def senders_mib(config: ServerConfig, senders: int, message_bytes: int) -> float:
    """What handlers hold that run, and wait to send: what they were given, what they made of it, and their queue."""
    return senders * (2 * message_bytes + config.calls.send_buffer_bytes) / MIB


def handlers_mib(config: ServerConfig) -> float:
    """What handlers hold that were given long messages."""
    return config.handler_messages_bytes / MIB


def message_mib(config: ServerConfig) -> float:
    """The largest message, as it travels and as it is handed to a handler."""
    return 2 * config.calls.max_receive_message_bytes / MIB
