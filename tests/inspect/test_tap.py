"""Connections through a tap: bytes unchanged, between families, disturbed on request, ended as one."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

import wire
from tests.certificates import Certificates
from tests.support import LOCAL, ProbeStub, collect, run, serving, short_directory, status_of, turns
from wire.inspect import CallEnded, ConnectionLost, ConnectionMade, Disturbance, Frame, RawBytes, Record, Tap, Trace
from wire.transport.runtime import LoopName


@asynccontextmanager
async def tapped(target: str, **options: Any) -> AsyncIterator[tuple[str, Tap]]:
    async with Tap(target, **options) as tap:
        yield await tap.listen(LOCAL), tap


async def connect(address: str) -> anyio.abc.SocketStream:
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    return await anyio.connect_tcp(host, int(port))


@asynccontextmanager
async def raw_target() -> AsyncIterator[tuple[str, AsyncIterator[anyio.abc.SocketStream]]]:
    """A server of bare sockets: its address, and the connections that it gets."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    put, get = anyio.create_memory_object_stream[anyio.abc.SocketStream](10)

    async def arrive(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await put.send(stream)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks, put, get:
        tasks.start_soon(listener.serve, arrive)
        yield f"127.0.0.1:{port}", get
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def receive_all(stream: anyio.abc.SocketStream) -> bytes:
    data = b""
    try:
        async for each in stream:
            data += each
    except anyio.BrokenResourceError:
        pass
    return data


async def receive_exactly(stream: anyio.abc.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive(size - len(data))
    return data


def test_calls_pass_and_are_told(loop: LoopName) -> None:
    records: list[Record] = []

    async def main() -> None:
        async with (
            serving() as (_, address),
            tapped(address, trace=Trace(outputs=[records.append])) as (tap_address, tap),
            wire.Channel(tap_address) as channel,
        ):
            assert await ProbeStub(channel).unary(b"hello") == b"hello"
            assert await collect(ProbeStub(channel).server_stream(b"abc")) == [b"a", b"b", b"c"]
            assert (await status_of(ProbeStub(channel).unary(b"x" * 300_000)))[0] == wire.StatusCode.OK
            await channel.pool.close()
            while tap.passages:
                await anyio.lowlevel.checkpoint()

    run(main, loop=loop)
    assert [(call.method, call.status) for call in records if isinstance(call, CallEnded)] == [
        ("/probe.v1.Probe/Unary", "OK"),
        ("/probe.v1.Probe/ServerStream", "OK"),
        ("/probe.v1.Probe/Unary", "OK"),
    ]
    assert not [each for each in records if isinstance(each, RawBytes) or (isinstance(each, Frame) and each.problems)]
    assert isinstance(records[0], ConnectionMade)
    assert isinstance(records[-1], ConnectionLost)


@pytest.mark.parametrize("disturbance", [None, Disturbance(bytes_per_s=2**24), Disturbance(delay_s=0.001)])
def test_every_byte_passes_both_ways_while_both_sides_send_at_once(
    loop: LoopName, disturbance: Disturbance | None
) -> None:
    there, back = bytes(range(256)) * 8000, bytes(reversed(range(256))) * 8000

    async def main() -> None:
        async with raw_target() as (target, arrivals), tapped(target, disturbance=disturbance) as (address, _):
            client = await connect(address)
            async with client:
                await client.send(b"!")  # before there is a connection to the target
                server = await anext(arrivals)
                got: dict[str, bytes] = {}

                async def read(name: str, stream: anyio.abc.SocketStream, size: int) -> None:
                    got[name] = await receive_exactly(stream, size)

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.send, there)
                    tasks.start_soon(server.send, back)
                    tasks.start_soon(read, "server", server, len(there) + 1)
                    tasks.start_soon(read, "client", client, len(back))
                assert got == {"server": b"!" + there, "client": back}

    run(main, loop=loop)


@pytest.mark.parametrize("disturbance", [None, Disturbance(delay_s=0.001)])
def test_side_that_does_not_read_holds_the_other_one_up(loop: LoopName, disturbance: Disturbance | None) -> None:
    """What the tap holds is bounded, and all of it comes once the other end reads."""
    size = 1 << 24
    sent = 0

    async def main() -> None:
        async with short_directory() as directory:
            path = str(directory / "target")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen()
            with listener:
                async with tapped(f"unix:{path}", disturbance=disturbance) as (address, tap):
                    client = await connect(address)
                    async with client, anyio.create_task_group() as tasks:
                        await anyio.to_thread.run_sync(meet, listener, client, tap, tasks)

    def meet(listener: socket.socket, client: anyio.abc.SocketStream, tap: Tap, tasks: anyio.abc.TaskGroup) -> None:
        server, _ = listener.accept()
        with server:
            anyio.from_thread.run_sync(tasks.start_soon, send, client)
            anyio.from_thread.run(full, tap)
            assert sent < size
            left = size
            while left:
                left -= len(server.recv(1 << 20))

    async def send(client: anyio.abc.SocketStream) -> None:
        nonlocal sent
        piece = bytes(1 << 16)
        while sent < size:
            await client.send(piece)
            sent += len(piece)

    async def full(tap: Tap) -> None:
        (passage,) = tap.passages
        while not passage.server.is_full():
            await anyio.sleep(0.001)
        await turns(100)
        assert passage.server.transport is not None
        assert passage.server.transport.unsent_bytes() < 1 << 20

    run(main, loop=loop)
    assert sent == size


@pytest.mark.parametrize("first", ["client", "server"])
def test_end_of_one_side_ends_the_other_behind_what_was_sent(loop: LoopName, first: str) -> None:
    async def main() -> None:
        async with raw_target() as (target, arrivals), tapped(target) as (address, tap):
            client = await connect(address)
            server = await anext(arrivals)
            one, other = (client, server) if first == "client" else (server, client)
            await one.send(b"last words")
            await one.aclose()
            assert await receive_all(other) == b"last words"
            await other.aclose()
            while tap.passages:
                await anyio.sleep(0.001)

    run(main, loop=loop)


def test_target_that_is_not_there_ends_the_client_with_one_sentence(
    loop: LoopName, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with short_directory() as directory, tapped(f"unix:{directory}/none") as (address, tap):
            client = await connect(address)
            async with client:
                assert await receive_all(client) == b""
            while tap.passages:
                await anyio.sleep(0.001)

    run(main, loop=loop)
    (line,) = [each.getMessage() for each in caplog.records if each.name == "wire.inspect"]
    assert line.endswith("no such socket; is the server running?")


def test_tap_joins_tcp_and_unix_in_both_directions(loop: LoopName) -> None:
    async def main() -> None:
        async with short_directory() as directory, serving() as (server, _):
            unix = await server.listen(f"unix:{directory}/server")
            async with tapped(unix) as (tcp, _), Tap(tcp) as second:
                back = await second.listen(f"unix:{directory}/tap")
                async with wire.Channel(back) as channel:
                    assert await ProbeStub(channel).unary(b"hello") == b"hello"

    run(main, loop=loop)


def test_tls_is_ended_and_begun_anew(loop: LoopName, certificates: Certificates) -> None:
    server_tls = wire.ServerTls(certificates.server, certificates.server_key)
    client_tls = wire.ClientTls(certificates.ca)
    records: list[Record] = []

    async def main() -> None:
        async with (
            serving(tls=server_tls) as (_, address),
            tapped(
                address,
                tls=server_tls,
                target_tls=client_tls,
                trace=Trace("frame=CALL,CONNECTION", outputs=[records.append]),
            ) as (tap_address, _),
            wire.Channel(tap_address, tls=client_tls) as channel,
        ):
            assert await ProbeStub(channel).unary(b"hello") == b"hello"

    run(main, loop=loop)
    made, call = records[:2]
    assert isinstance(made, ConnectionMade)
    assert made.tls == "TLSv1.3"
    assert isinstance(call, CallEnded)


def test_tls_that_passes_is_named_as_such(certificates: Certificates) -> None:
    records: list[Record] = []

    async def main() -> None:
        async with (
            serving(tls=wire.ServerTls(certificates.server, certificates.server_key)) as (_, address),
            tapped(address, trace=Trace(outputs=[records.append])) as (tap_address, _),
            wire.Channel(tap_address, tls=wire.ClientTls(certificates.ca)) as channel,
        ):
            assert await ProbeStub(channel).unary(b"hello") == b"hello"

    run(main)
    raw = [each for each in records if isinstance(each, RawBytes)]
    assert "a TLS handshake" in raw[0].problem
    assert len(raw) > 2


def test_cut_comes_after_so_many_bytes_on_both_sides(loop: LoopName) -> None:
    async def main() -> None:
        disturbance = Disturbance(cut_after_bytes=15)
        async with raw_target() as (target, arrivals), tapped(target, disturbance=disturbance) as (address, tap):
            client = await connect(address)
            async with client:
                server = await anext(arrivals)
                await client.send(b"0123456789")
                assert await receive_exactly(server, 10) == b"0123456789"
                await server.send(b"abcdefghij")
                assert await receive_all(client) == b"abcde"
                assert await receive_all(server) == b""
            while tap.passages:
                await anyio.sleep(0.001)

    run(main, loop=loop)


def test_delay_holds_bytes_in_each_direction(loop: LoopName) -> None:
    async def main() -> None:
        async with (
            raw_target() as (target, arrivals),
            tapped(target, disturbance=Disturbance(delay_s=0.1)) as (address, _),
        ):
            client = await connect(address)
            async with client:
                server = await anext(arrivals)
                began = anyio.current_time()
                await client.send(b"x")
                await server.receive()
                assert anyio.current_time() - began >= 0.09
                await server.send(b"y")
                await client.receive()
                assert anyio.current_time() - began >= 0.19

    run(main, loop=loop)


def test_throttle_spreads_bytes_over_time(loop: LoopName) -> None:
    async def main() -> None:
        disturbance = Disturbance(bytes_per_s=100_000)
        async with raw_target() as (target, arrivals), tapped(target, disturbance=disturbance) as (address, _):
            client = await connect(address)
            async with client:
                server = await anext(arrivals)
                began = anyio.current_time()
                await client.send(bytes(20_000))
                await receive_exactly(server, 20_000)
                assert anyio.current_time() - began >= 0.15

    run(main, loop=loop)


def test_leaving_breaks_off_what_is_open(loop: LoopName) -> None:
    async def main() -> None:
        async with raw_target() as (target, arrivals):
            async with tapped(target) as (address, tap):
                client = await connect(address)
                await (await anext(arrivals)).send(b"hi")
                assert await client.receive() == b"hi"
                assert tap.passages
            assert await receive_all(client) == b""
            assert not tap.passages
            await client.aclose()

    run(main, loop=loop)


def test_many_connections_pass_at_once(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, address), tapped(address, trace=Trace(outputs=[lambda record: None])) as (tap, _):

            async def call(index: int) -> None:
                async with wire.Channel(tap) as channel:
                    assert await ProbeStub(channel).unary(b"%d" % index) == b"%d" % index

            async with anyio.create_task_group() as tasks:
                for index in range(100):
                    tasks.start_soon(call, index)

    run(main, loop=loop)


def test_use_outside_of_its_block_is_refused() -> None:
    async def main() -> None:
        tap = Tap("127.0.0.1:1")
        with pytest.raises(wire.UsageError, match="enter the tap first"):
            await tap.listen(LOCAL)
        async with tap:
            pass
        with pytest.raises(wire.UsageError, match="entered only once"):
            async with tap:
                pass

    run(main)
