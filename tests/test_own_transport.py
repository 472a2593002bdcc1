"""Sockets that somebody else connected: a channel that dials by a function, a server that is handed connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOOPS, Probe, ProbeStub, collect, run, status_of
from wire.inspect import ConnectionLost, ConnectionMade, Trace
from wire.transport.runtime import LoopName

QUICK = wire.ChannelConfig(transport=wire.TransportConfig(connect_timeout_s=5.0))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True])
def test_calls_pass_over_a_pair_of_sockets(loop: LoopName, tls: bool, certificates: Certificates) -> None:
    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key) if tls else None
        client_tls = wire.ClientTls(certificates.ca) if tls else None
        ended = 0

        async def serve(server: wire.Server, sock: socket.socket) -> None:
            nonlocal ended
            await server.serve_connection(sock)
            ended += 1

        async with wire.Server([Probe()], tls=server_tls) as server, anyio.create_task_group() as tasks:

            async def dial() -> socket.socket:
                ours, theirs = socket.socketpair()
                tasks.start_soon(serve, server, theirs)
                return ours

            async with wire.Channel(dial, config=QUICK, tls=client_tls) as channel:
                stub = ProbeStub(channel)
                big = bytes(3_000_000)
                assert await stub.unary(big, timeout=30.0) == big
                assert await collect(stub.bidi([b"a", big])) == [b"a", big]
                assert ended == 0
        assert ended == 1

    run(main, loop=loop)


def test_each_connection_is_dialled_anew() -> None:
    async def main() -> None:
        dialled: list[socket.socket] = []
        async with wire.Server([Probe()]) as server, asyncio.TaskGroup() as tasks:

            def dial() -> socket.socket:
                ours, theirs = socket.socketpair()
                dialled.append(ours)
                tasks.create_task(server.serve_connection(theirs))
                return ours

            async with wire.Channel(dial, config=QUICK) as channel:
                stub = ProbeStub(channel)
                await stub.unary(b"", timeout=30.0)
                dialled[0].shutdown(socket.SHUT_RDWR)
                while channel.state is wire.ConnectivityState.READY:
                    await channel.state_changed(wire.ConnectivityState.READY)
                await stub.unary(b"", timeout=30.0, wait_for_ready=True)
                assert len(dialled) == 2

    run(main, loop="asyncio")


def _raises() -> socket.socket:
    raise ConnectionRefusedError(111, "Connection refused")


def _gives_text() -> socket.socket:
    async def give() -> str:
        return "127.0.0.1:1"

    return give()  # type: ignore[return-value]


def _gives_a_closed_one() -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    return ours


def _gives_datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _is_broken() -> socket.socket:
    raise KeyError("host")


@pytest.mark.parametrize(
    ("dial", "why"),
    [
        (_raises, "connection refused"),
        (_gives_text, "it gave str and not a socket"),
        (_gives_a_closed_one, "the socket that was made for it is closed"),
        (_gives_datagrams, "it gave a socket that is no stream"),
        (_is_broken, "'host'"),
    ],
)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_dial_that_fails_says_why(
    dial: Callable[[], socket.socket | Awaitable[socket.socket]], why: str, loop: LoopName
) -> None:
    async def main() -> None:
        async with wire.Channel(dial, config=QUICK) as channel:
            code, message = await status_of(ProbeStub(channel).unary(b"", timeout=30.0))
            assert code is wire.StatusCode.UNAVAILABLE
            assert message == f"cannot connect to dial:{dial.__qualname__}: {why}"

    run(main, loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_dial_that_takes_too_long_is_given_up(loop: LoopName) -> None:
    async def main() -> None:
        async def dial() -> socket.socket:
            await anyio.sleep_forever()
            raise AssertionError

        config = wire.ChannelConfig(transport=wire.TransportConfig(connect_timeout_s=0.05))
        async with wire.Channel(dial, config=config) as channel:
            code, message = await status_of(ProbeStub(channel).unary(b"", timeout=30.0))
            assert code is wire.StatusCode.UNAVAILABLE
            assert message.endswith("connection timed out")

    run(main, loop=loop)


def test_threads_dial_by_a_plain_function() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server, asyncio.TaskGroup() as tasks:
            loop = asyncio.get_running_loop()

            def dial() -> socket.socket:
                ours, theirs = socket.socketpair()
                loop.call_soon_threadsafe(lambda: tasks.create_task(server.serve_connection(theirs)))
                return ours

            def call() -> bytes:
                with wire.blocking.Channel(dial) as channel:
                    return ProbeStub(channel).unary(b"x", timeout=30.0)

            assert await asyncio.to_thread(call) == b"x"

    run(main, loop="asyncio")


def test_credentials_do_not_travel_in_the_clear_over_what_nobody_knows() -> None:
    async def bearer(call: wire.CallContext) -> wire.MetadataInput:
        return {}

    with pytest.raises(wire.ConfigurationError, match="in the clear"):
        wire.Channel(_raises, credentials=bearer)


def test_a_connection_that_is_handed_over_is_refused_traced_and_stopped_like_another() -> None:
    async def main() -> None:
        records: list[object] = []
        config = wire.ServerConfig(transport=wire.TransportConfig(max_connections=1))
        async with wire.Server([Probe()], config=config, trace=Trace(outputs=[records.append])) as server:
            ours, theirs = socket.socketpair()
            with ours:
                async with asyncio.TaskGroup() as tasks:
                    first = tasks.create_task(server.serve_connection(theirs))
                    while not server.connections:
                        await asyncio.sleep(0)
                    others, refused = socket.socketpair()
                    with others:
                        await server.serve_connection(refused)
                        assert others.recv(1) == b""
                    assert not first.done()
                    await server.stop(0)
        kinds = [type(record) for record in records if isinstance(record, ConnectionMade | ConnectionLost)]
        assert kinds == [ConnectionMade, ConnectionLost]
        late, theirs = socket.socketpair()
        with late, pytest.raises(wire.UsageError, match="stopping"):
            await server.serve_connection(theirs)
        assert theirs.fileno() == -1

    run(main, loop="asyncio")
