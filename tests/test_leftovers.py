"""What is gone is freed at once: no connection, call, stream, task, transport or TLS object waits for the collector."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.leftovers import COUNTED, uncollected
from tests.memory import world
from tests.peers import IMPATIENT, RawPeer, raw_client, raw_server, reply, request
from tests.support import Probe, ProbeStub, collect, run, serving, status_of, turns
from tests.transport.harness import Recorder
from wire.config import EngineName
from wire.http2.codes import FrameType, Setting
from wire.rpc.framing import frame as framed
from wire.server.connection import ServerConnection
from wire.transport.address import parse_address
from wire.transport.runtime import LoopName, open_runtime

pytestmark = COUNTED


class Endless(Probe):
    """Handlers that wait for ever, of every kind, and one that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = anyio.Event()
        self.left = 0

    async def wait(self) -> None:
        self.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.left += 1

    async def unary(self, request: bytes, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        if request == b"fail":
            raise wire.RpcError(wire.StatusCode.ABORTED)
        await self.wait()
        return request

    async def server_stream(  # type: ignore[override]
        self, request: bytes, context: wire.ServerContext
    ) -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)  # until the window is closed
            self.entered.set()

    async def client_stream(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        await anext(requests)
        await self.wait()
        return b""

    async def bidi(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each
            self.entered.set()


METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


async def gone(server: wire.Server) -> None:
    while server.connections:
        await anyio.lowlevel.checkpoint()
    await turns()


Ending = Callable[[RawPeer, wire.Server], Awaitable[Any]]


async def vanish(peer: RawPeer, server: wire.Server) -> None:
    await peer.stream.aclose()


async def stop_writing(peer: RawPeer, server: wire.Server) -> None:
    await peer.stream.send_eof()
    await peer.closed()


async def break_http2(peer: RawPeer, server: wire.Server) -> None:
    await peer.send(frames.data(0, b"x"))
    await peer.closed()


async def reset_all(peer: RawPeer, server: wire.Server) -> None:
    await peer.send(*[frames.rst_stream(stream_id) for stream_id in range(1, 9, 2)])
    await peer.barrier()


async def stop_server(peer: RawPeer, server: wire.Server) -> None:
    with anyio.CancelScope():
        await server.stop(0)


@pytest.mark.parametrize("ending", [vanish, stop_writing, break_http2, reset_all, stop_server])
def test_a_server_keeps_nothing_of_a_connection_that_ended(loop: LoopName, engine: EngineName, ending: Ending) -> None:
    async def main() -> None:
        with uncollected() as found:
            config = wire.ServerConfig(
                engine=engine, calls=wire.CallConfig(send_buffer_bytes=1000), transport=wire.TransportConfig(linger_s=0)
            )
            async with serving(Endless(), config=config) as (server, address):
                async with raw_client(address, {Setting.INITIAL_WINDOW_SIZE: 10}) as peer:
                    for number, method in enumerate(METHODS):
                        await peer.call(2 * number + 1, framed(bytes(50)), request(method), end=number < 2)
                    await peer.until(FrameType.DATA, 7)
                    await peer.call(9, framed(b"fail"), request("Unary", (b"grpc-timeout", b"9S")))
                    await peer.answer(9)
                    await ending(peer, server)
                await gone(server)
        assert found == {}

    run(main, loop=loop)


@pytest.mark.parametrize("part", [b"", frames.PREFACE[:10], frames.PREFACE])
def test_a_server_keeps_nothing_of_a_connection_without_a_preface(loop: LoopName, part: bytes) -> None:
    async def main() -> None:
        with uncollected() as found:
            async with serving() as (server, address):
                host, _, port = address.removeprefix("ipv4:").rpartition(":")
                async with await anyio.connect_tcp(host, int(port)) as stream:
                    if part:
                        await stream.send(part)
                    while not server.connections:
                        await anyio.sleep(0)
                await gone(server)
        assert found == {}

    run(main, loop=loop)


def live(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


@pytest.mark.parametrize("waiting", [False, True])
def test_a_call_that_begins_when_its_connection_is_lost_does_not_wait_for_room(
    loop: LoopName, engine: EngineName, waiting: bool
) -> None:
    """`waiting`: others do, since the peer does not read."""

    async def main() -> None:
        before = live(ServerConnection)
        async with serving(Endless(), config=wire.ServerConfig(engine=engine)) as (server, address):
            with uncollected() as found:
                async with raw_client(address) as peer:
                    await peer.barrier()
                    (connection,) = server.connections
                    assert connection.transport is not None
                    connection.data_received(peer_call(1))  # so that it is known that the handler waits
                    await turns()
                    connection.transport.abort()  # which it is told in a later turn, before the task has begun
                    connection.data_received(peer_call(3))
                    connection.pause_writing()
                    if waiting:
                        connection.data_received(peer_call(5))
                        assert connection.calls_wait
                    del connection
                    await gone(server)
                assert live(ServerConnection) == before
            assert found == {}

    run(main, loop=loop)


def peer_call(stream_id: int) -> bytes:
    return frames.headers(stream_id, request("Unary")) + frames.data(stream_id, framed(b"x"), end=True)


def test_a_broken_off_tls_handshake_is_freed_before_any_timer(loop: LoopName, certificates: Certificates) -> None:
    tls = wire.ServerTls(certificates.server, certificates.server_key)

    async def main() -> None:
        before = live(ServerConnection)
        with uncollected() as found:
            async with serving(tls=tls) as (_, address):
                host, port = address.removeprefix("ipv4:").split(":")
                for opening in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
                    with socket.create_connection((host, int(port))) as sock:
                        sock.send(opening)
                        sock.shutdown(socket.SHUT_WR)
                        await anyio.wait_readable(sock)
                while live(ServerConnection) > before:
                    await anyio.lowlevel.checkpoint()
        assert found == {}

    run(main, loop=loop)


def client_calls(stub: ProbeStub, timeout: float | None = None) -> list[Any]:
    """A call of each kind, with a request that the peer does not answer."""
    return [
        stub.unary(b"x", timeout=timeout),
        stub.server_stream(b"x", timeout=timeout),
        stub.client_stream([b"x"], timeout=timeout),
        stub.bidi([b"x"], timeout=timeout),
    ]


async def await_all(calls: list[Any]) -> None:
    """Wait for all four at once, as four tasks."""
    async with anyio.create_task_group() as tasks:
        for call, single in zip(calls, [True, False, True, False], strict=True):
            tasks.start_soon(status_of, call if single else collect(call))


ClientEnding = Callable[[wire.Channel, RawPeer, ManualClock, list[Any]], Awaitable[Any]]


async def server_resets(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    await peer.send(*[frames.rst_stream(stream_id) for stream_id in (3, 5, 7, 9)])


async def server_vanishes(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    await peer.stream.aclose()


async def server_says_goaway(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    await peer.send(frames.goaway(9))
    for stream_id in (3, 5, 7, 9):
        await reply(peer, stream_id, b"x")


async def server_breaks_http2(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    await peer.send(frames.data(0, b"x"))


async def deadline_passes(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    clock.advance(6)


async def all_are_cancelled(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    for call in calls:
        call.cancel()


async def keepalive_times_out(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    clock.advance(10)
    await turns()
    clock.advance(30)


async def channel_is_closed(channel: wire.Channel, peer: RawPeer, clock: ManualClock, calls: list[Any]) -> None:
    await channel.pool.close()


@pytest.mark.parametrize(
    "ending",
    [
        server_resets,
        server_vanishes,
        server_says_goaway,
        server_breaks_http2,
        deadline_passes,
        all_are_cancelled,
        keepalive_times_out,
        channel_is_closed,
    ],
)
def test_a_client_keeps_nothing_of_calls_that_ended(
    loop: LoopName, engine: EngineName, ending: ClientEnding, clock: ManualClock
) -> None:
    config = wire.ChannelConfig(
        engine=engine, transport=IMPATIENT, keepalive=wire.KeepaliveConfig(time_s=10, timeout_s=20)
    )

    async def main() -> None:
        with uncollected() as found:
            async with raw_server() as server, wire.Channel(server.address, config=config) as channel:
                stub = ProbeStub(channel)
                first = stub.unary(b"first")
                peer = await server.accept()
                await peer.answer(1)
                await reply(peer, 1, b"first")
                await first
                calls = client_calls(stub, 5 if ending is deadline_passes else None)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(await_all, calls)
                    await peer.until(FrameType.DATA, 9)
                    await ending(channel, peer, clock, calls)
                del first, calls
                await turns()
        assert found == {}

    run(main, loop=loop)


@pytest.mark.parametrize("secure", [False, True])
def test_neither_side_keeps_anything_when_a_channel_closes(
    loop: LoopName, engine: EngineName, secure: bool, certificates: Certificates
) -> None:
    server_tls = wire.ServerTls(certificates.server, certificates.server_key) if secure else None
    client_tls = wire.ClientTls(certificates.ca) if secure else None

    async def main() -> None:
        with uncollected() as found:
            endless = Endless()
            async with serving(endless, config=wire.ServerConfig(engine=engine), tls=server_tls) as (server, address):
                async with wire.Channel(address, config=wire.ChannelConfig(engine=engine), tls=client_tls) as channel:
                    calls = client_calls(ProbeStub(channel))
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(await_all, calls)
                        await endless.entered.wait()
                        await turns(3)
                        await channel.pool.close()
                    del calls
                await gone(server)
            del server, endless, channel  # of which nothing may be left either
        assert found == {}

    run(main, loop=loop)


def test_a_client_keeps_nothing_of_attempts_that_failed(loop: LoopName, certificates: Certificates) -> None:
    """Nobody listens; the peer speaks no TLS; and it speaks no HTTP/2."""
    tls = wire.ClientTls(certificates.ca)

    async def main() -> None:
        with uncollected() as found:
            with socket.create_server(("127.0.0.1", 0)) as silent:
                port = silent.getsockname()[1]
                async with wire.Channel(f"127.0.0.1:{port}", tls=tls) as channel:
                    call = ProbeStub(channel).unary(b"x")
                    await anyio.wait_readable(silent)  # it is connected, and waits for the handshake
                    await turns()
                    call.cancel()
                    del call
            async with serving() as (_, address), wire.Channel(address, tls=tls) as channel:
                assert (await status_of(ProbeStub(channel).unary(b"x")))[0] is wire.StatusCode.UNAVAILABLE
            async with wire.Channel(f"127.0.0.1:{port}") as channel:
                assert (await status_of(ProbeStub(channel).unary(b"x")))[0] is wire.StatusCode.UNAVAILABLE
            await turns()
        assert found == {}

    run(main, loop=loop)


@pytest.mark.parametrize("secure", [False, True])
def test_a_channel_that_is_closed_at_any_turn_of_its_connecting_leaves_nothing(
    loop: LoopName, secure: bool, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    server_tls = wire.ServerTls(certificates.server, certificates.server_key) if secure else None
    client_tls = wire.ClientTls(certificates.ca) if secure else None

    async def main() -> None:
        async with serving(tls=server_tls) as (server, address):
            with uncollected() as found:
                for count in range(25):
                    async with wire.Channel(address, tls=client_tls) as channel:
                        channel.connect()
                        await turns(count)
                    del channel
                await gone(server)
            assert found == {}

    run(main, loop=loop)
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


class Failing(Probe):
    """Plain handlers that fail, of every kind."""

    def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        raise wire.RpcError(wire.StatusCode.ABORTED)

    def server_stream(self, request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        yield b"x"
        raise wire.RpcError(wire.StatusCode.ABORTED)

    def client_stream(self, requests: Any, context: wire.ServerContext) -> bytes:  # type: ignore[override]
        for _ in requests:
            raise wire.RpcError(wire.StatusCode.ABORTED)
        return b""

    def bidi(self, requests: Any, context: wire.ServerContext) -> Iterator[bytes]:  # type: ignore[override]
        for each in requests:
            yield each
            if each == b"x":
                raise wire.RpcError(wire.StatusCode.ABORTED)


def test_a_server_keeps_nothing_of_handlers_that_failed_in_threads(loop: LoopName) -> None:
    async def main() -> None:
        async with (
            serving(Failing(), config=wire.ServerConfig(handler_threads=2)) as (_, address),
            wire.Channel(address) as channel,
        ):
            with uncollected() as found:
                stub = ProbeStub(channel)
                for call, single in zip(client_calls(stub), [True, False, True, False], strict=True):
                    assert (await status_of(call if single else collect(call)))[0] is wire.StatusCode.ABORTED
                async with stub.bidi() as call:  # its handler waits for a request when the call is cancelled
                    await call.send(b"y")
                    await anext(call)
                del call
                await stub.server_stream(b"x").__anext__()
                await anyio.to_thread.run_sync(int)  # threads have let go of what they had
                await turns(5)
            assert found == {}

    run(main, loop=loop)


def test_a_client_keeps_nothing_of_a_call_whose_status_is_read_when_its_connection_is_lost(
    engine: EngineName, loop: LoopName
) -> None:
    """The status is among frames that were read before, and not handled yet; our side of the stream is open."""

    async def main() -> None:
        with world() as outside, uncollected() as found:
            config = wire.ChannelConfig(engine=engine, http2=wire.Http2Config(max_turn_s=0.0001))
            async with wire.Channel("127.0.0.1:1", config=config) as channel:
                call = ProbeStub(channel).bidi()
                await outside.settle()
                (end,) = outside.ends
                end.receive(frames.settings())
                await outside.settle()
                (stream_id,) = end.opened()
                small = [frames.data(stream_id, framed(b"x")) for _ in range(5000)]
                end.receive(
                    frames.headers(stream_id, frames.RESPONSE),
                    *small,
                    frames.headers(stream_id, frames.TRAILERS, end=True),
                )
                assert call.code is None
                end.lose()
                await outside.settle()
                assert call.code is wire.StatusCode.OK
                del call
            outside.ends.clear()
            del channel, end
        assert found == {}

    run(main, loop=loop)


def test_a_connect_that_is_cancelled_when_it_is_done_leaves_nothing(loop: LoopName) -> None:
    async def main() -> None:
        with uncollected() as found, socket.create_server(("127.0.0.1", 0)) as listener:
            async with open_runtime() as runtime:
                scope = anyio.CancelScope()
                (candidate,) = await runtime.resolve(parse_address(f"127.0.0.1:{listener.getsockname()[1]}"), 1.0)
                protocol: Any = Recorder(runtime, on_made=lambda _: scope.cancel())
                with scope:
                    await runtime.connect(candidate, protocol, tls=None, config=wire.TransportConfig())
                protocol.transport.abort()
                await turns()
                assert protocol.calls == ["made", "lost"]
                del protocol
        assert found == {}

    run(main, loop=loop)
