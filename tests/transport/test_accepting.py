"""The accept loop: its guards, what it does when the machine has no means left, and its end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests.transport.harness import Recorder, logged, quick, receive, run_loop
from wire.config import TransportConfig
from wire.transport import accepting, sockets
from wire.transport.accepting import Guard
from wire.transport.address import parse_address
from wire.transport.contract import Listener, Peer, Runtime
from wire.transport.sockets import BoundSocket


class Server:
    """Listens, and keeps the protocols of what it accepted."""

    def __init__(self, runtime: Runtime, address: str, config: TransportConfig, kind: type[BoundSocket] | None = None):
        self.runtime = runtime
        self.recorders: list[Recorder] = []
        self.sock = sockets.bind(parse_address(address))
        if kind is not None:
            self.sock.__class__ = kind
        self.config = config
        self.listener: Listener = runtime.listen(self.sock, self._make, tls=None, config=config)

    def _make(self) -> Recorder:
        recorder = Recorder(self.runtime, on_made=lambda transport: transport.write(b"hello"))
        self.recorders.append(recorder)
        return recorder

    def dial(self) -> socket.socket:
        sock = socket.socket(self.sock.family)
        sock.connect(self.sock.getsockname())
        return sock


def test_a_user_that_is_not_allowed_is_closed_before_anything_is_read(
    loop: str, short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        allowed = frozenset({os.getuid() + 1})
        server = Server(runtime, f"unix:{short_path}/s", quick(unix_allow_uids=allowed))
        with server.dial() as client:
            client.send(b"never read")
            assert await receive(client) == b""
        assert server.recorders == []
        server.listener.close()

    run_loop(loop, test)
    assert logged(caplog) == [f"refused unix:: user {os.getuid()} is not one of those allowed"]


def test_a_user_that_the_system_does_not_tell_is_not_allowed() -> None:
    guard = Guard(TransportConfig(unix_allow_uids=frozenset({os.getuid()})))
    assert guard.refusal(Peer("unix:", uid=os.getuid())) is None
    assert guard.refusal(Peer("unix:")) == "user None is not one of those allowed"
    assert guard.refusal(Peer("ipv4:127.0.0.1:1")) is None


def test_a_user_that_is_allowed_is_let_in(loop: str, short_path: Path) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, f"unix:{short_path}/s", quick(unix_allow_uids=frozenset({os.getuid()})))
        with server.dial() as client:
            assert await receive(client) == b"hello"
        server.listener.close()

    run_loop(loop, test)


@pytest.mark.parametrize(
    ("config", "peer", "refused"),
    [
        (TransportConfig(), Peer("vsock:7:1", cid=7), False),
        (TransportConfig(vsock_allow_cids=frozenset({3, 42})), Peer("vsock:42:1", cid=42), False),
        (TransportConfig(vsock_allow_cids=frozenset({3, 42})), Peer("vsock:7:1", cid=7), True),
        (TransportConfig(vsock_allow_cids=frozenset()), Peer("vsock:7:1", cid=7), True),
        (TransportConfig(vsock_allow_cids=frozenset()), Peer("ipv4:10.0.0.1:1"), False),
        (TransportConfig(unix_allow_uids=frozenset()), Peer("vsock:7:1", cid=7), False),
        (TransportConfig(unix_allow_uids=frozenset({0})), Peer("unix:", uid=0), False),
        (TransportConfig(unix_allow_uids=frozenset({0})), Peer("unix:", uid=1), True),
    ],
)
def test_the_guard_judges_peers_by_what_their_transport_knows(
    config: TransportConfig, peer: Peer, refused: bool
) -> None:
    assert (Guard(config).refusal(peer) is not None) == refused


def test_more_connections_than_allowed_are_closed_until_one_ends(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(runtime: Runtime) -> None:
        config = quick(max_connections=2)
        one, other = Server(runtime, "127.0.0.1:0", config), Server(runtime, "127.0.0.1:0", config)
        clients = [one.dial(), other.dial()]
        for client in clients:
            assert await receive(client) == b"hello"
        with one.dial() as refused:
            assert await receive(refused) == b""
        clients[0].close()
        await one.recorders[0].until(lambda recorder: "eof" in recorder.calls)
        one.recorders[0].transport.close()
        await one.recorders[0].lost()
        with other.dial() as admitted:
            assert await receive(admitted) == b"hello"
        clients[1].close()
        one.listener.close()
        other.listener.close()

    run_loop(loop, test)
    assert [message.partition(": ")[2] for message in logged(caplog)] == [
        "2 connections are open, the most that are allowed"
    ]


def failing(errors: list[int]) -> type[BoundSocket]:
    """A listening socket whose `accept` fails with these errors first."""

    class Failing(BoundSocket):
        def accept(self) -> tuple[socket.socket, object]:
            if errors:
                number = errors.pop(0)
                raise OSError(number, os.strerror(number))
            return super().accept()

    return Failing


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_machine_without_means_is_given_time_and_then_accepts_again(
    loop: str, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(accepting, "_LONGEST_PAUSE_S", 0.002)
    pauses: list[float] = []
    sleep = anyio.sleep

    async def pause(delay_s: float) -> None:
        pauses.append(delay_s)
        await sleep(delay_s)

    monkeypatch.setattr(anyio, "sleep", pause)

    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick(), failing([number] * 3))
        with server.dial() as client:
            assert await receive(client) == b"hello"
        server.listener.close()

    run_loop(loop, test)
    assert pauses == [0.001, 0.002, 0.002]
    assert logged(caplog) == [
        f"cannot accept: {os.strerror(number)}; trying again in {pause_s} s" for pause_s in pauses
    ]


def test_a_listener_is_closed_in_the_middle_of_a_pause(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick(), failing([errno.EMFILE]))
        with server.dial() as client:
            while not logged(caplog):
                await runtime.sleep(0.001)
            server.listener.close()
            assert await receive(client) == b""

    run_loop(loop, test)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH])
def test_a_connection_that_ended_while_it_waited_does_not_hold_up_the_next(
    loop: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick(), failing([number]))
        with server.dial() as client:
            assert await receive(client) == b"hello"
        server.listener.close()

    run_loop(loop, test)
    assert logged(caplog) == []


def test_a_listening_socket_that_breaks_is_closed_and_told_once(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick(), failing([errno.EINVAL]))
        with server.dial() as client:
            assert await receive(client) == b""
        server.listener.close()

    run_loop(loop, test)
    assert logged(caplog) == ["stopped listening on a socket that cannot accept: Invalid argument"]


def test_a_storm_of_connections_is_accepted_whole(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick())
        clients = [server.dial() for _ in range(150)]  # more than one turn accepts
        for client in clients:
            assert await receive(client) == b"hello"
            client.close()
        server.listener.close()

    run_loop(loop, test)


def test_close_frees_the_port_at_once_and_leaves_accepted_connections(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick())
        address = sockets.bound_address(server.sock)
        with server.dial() as client:
            assert await receive(client) == b"hello"
            server.listener.close()
            server.listener.close()
            again = Server(runtime, address, quick())
            server.recorders[0].transport.write(b"still here")
            assert await receive(client) == b"still here"
            with again.dial() as other:
                assert await receive(other) == b"hello"
            again.listener.close()

    run_loop(loop, test)


def test_a_listener_that_is_closed_at_once_accepts_nothing(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        server = Server(runtime, "127.0.0.1:0", quick())
        with server.dial() as client:
            server.listener.close()
            assert await receive(client) == b""
        assert server.recorders == []

    run_loop(loop, test)


def test_leaving_the_runtime_stops_listening(loop: str, short_path: Path) -> None:
    async def test(runtime: Runtime) -> None:
        Server(runtime, f"unix:{short_path}/s", quick())
        assert (short_path / "s").exists()
        await runtime.sleep(0)

    run_loop(loop, test)
    assert not (short_path / "s").exists()


def test_two_loops_may_accept_from_one_socket(loop: str, short_path: Path) -> None:
    """As workers do over UNIX and VSOCK; here twice in one loop, on duplicates of the socket."""

    async def test(runtime: Runtime) -> None:
        server = Server(runtime, f"unix:{short_path}/s", quick())
        duplicate = server.sock.dup()
        make: Callable[[], Recorder] = server._make
        listener = runtime.listen(duplicate, make, tls=None, config=server.config)
        clients = [server.dial() for _ in range(10)]
        with anyio.fail_after(30):
            for client in clients:
                assert await receive(client) == b"hello"
                client.close()
        listener.close()
        server.listener.close()

    run_loop(loop, test)
