"""A server: where it listens, whom it turns away, and how it stops."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import wire
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.peers import RawPeer, ask, raw_client, request
from tests.support import LOCAL, Probe, ProbeStub, collect, paired, run, serving, short_directory, status_of, turns
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, FrameType
from wire.rpc.framing import frame as framed
from wire.transport.address import parse_address
from wire.transport.runtime import LoopName
from wire.transport.sockets import bind

# Listening.


def test_one_server_listens_on_several_addresses(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        async with short_directory() as directory, serving(config=wire.ServerConfig(engine=engine)) as (server, first):
            addresses = [first, await server.listen(LOCAL), await server.listen(f"unix:{directory}/s")]
            assert len(set(addresses)) == 3
            for address in addresses:
                async with wire.Channel(address) as channel:
                    assert await ProbeStub(channel).unary(b"x", timeout=5) == b"x"

    run(main, loop=loop)


def test_a_socket_that_listens_already_is_served(loop: LoopName) -> None:
    async def main() -> None:
        sock = bind(parse_address(LOCAL), backlog=5)
        address = f"ipv4:127.0.0.1:{sock.getsockname()[1]}"
        async with wire.Server([Probe()]) as server, wire.Channel(address) as channel:
            server.serve(sock)
            assert await ProbeStub(channel).unary(b"x") == b"x"
        assert sock.fileno() == -1

    run(main, loop=loop)


def test_an_address_that_cannot_be_had_is_named(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (server, address):
            with pytest.raises(wire.ListenError, match=address.rpartition(":")[2]):
                await server.listen(address)
            with pytest.raises(wire.AddressError):
                await server.listen("vsock:nowhere")
            async with wire.Channel(address) as channel:
                assert await ProbeStub(channel).unary(b"x") == b"x"

    run(main, loop=loop)


def test_a_server_is_entered_once_and_used_inside() -> None:
    async def main() -> None:
        server = wire.Server([Probe()])
        for use in (server.listen(LOCAL), server.stop(), server.wait_stopped()):
            with pytest.raises(wire.UsageError):
                await use
        async with server:
            with pytest.raises(wire.UsageError):
                await server.__aenter__()
            await server.stop()
            sock = bind(parse_address(LOCAL), backlog=5)
            with pytest.raises(wire.UsageError):
                server.serve(sock)
            assert sock.fileno() == -1

    run(main)


# Stopping.


async def slow(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
    """Echoes, and stays open after its requests have ended, until it is cancelled."""
    async for each in requests:
        yield each
    await anyio.sleep_forever()


def test_stopping_announces_drains_and_closes(loop: LoopName, engine: EngineName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        async with (
            serving(config=config) as (server, address),
            raw_client(address) as peer,
            anyio.create_task_group() as tasks,
        ):
            await peer.call(1, framed(b"1"), request("Bidi"), end=False)
            await peer.until(FrameType.DATA, 1)
            tasks.start_soon(server.stop, 30)

            announced = await peer.until(FrameType.GOAWAY)
            assert (announced.number, announced.code) == (2**31 - 1, ErrorCode.NO_ERROR)
            ping = await peer.until(FrameType.PING)
            await peer.call(3)  # sent before the announcement was read
            assert (await peer.answer(3)).data == framed(b"hello")
            await peer.send(frames.ping(ping.payload, ack=True))
            final = await peer.until(FrameType.GOAWAY)
            assert final.number == 3
            await peer.call(5)
            assert (await peer.answer(5)).reset is ErrorCode.REFUSED_STREAM

            await peer.send(frames.data(1, framed(b"2"), end=True))
            answer = await peer.answer(1)
            assert (answer.data, answer.status) == (framed(b"1") + framed(b"2"), StatusCode.OK)
            await peer.closed()
            await peer.stream.aclose()
            await server.wait_stopped()
            with pytest.raises(OSError, match="connect"):
                await anyio.connect_tcp("127.0.0.1", int(address.rpartition(":")[2]))

    run(main, loop=loop)


def test_a_client_that_ignores_the_announcement_gets_the_final_one_in_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with serving() as (server, address), raw_client(address) as peer, anyio.create_task_group() as tasks:
            await peer.call(1, b"", request("Bidi"), end=False)
            await peer.barrier()
            tasks.start_soon(server.stop, 30)
            await peer.until(FrameType.GOAWAY)
            clock.advance(5.1)
            assert (await peer.until(FrameType.GOAWAY)).number == 1
            await peer.send(frames.data(1, end=True))
            assert (await peer.answer(1)).status == StatusCode.OK
            await peer.closed()
            await peer.stream.aclose()

    run(main)


def test_an_idle_server_stops_at_once(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            await server.listen(LOCAL)
            await server.stop(1000)
            await server.stop(1000)
            await server.wait_stopped()

    run(main, loop=loop)


def test_calls_that_outlive_the_grace_are_unavailable(loop: LoopName, engine: EngineName, clock: ManualClock) -> None:
    cancelled = anyio.Event()

    async def bidi(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        try:
            async for each in requests:
                yield each
        finally:
            cancelled.set()

    async def main() -> None:
        async with paired(Probe(bidi=bidi), engine=engine) as pair, anyio.create_task_group() as tasks:
            call = pair.stub.bidi()
            await call.send(b"1")
            assert await anext(aiter(call)) == b"1"
            tasks.start_soon(pair.server.stop, 10)
            await turns()
            clock.advance(9)
            await call.send(b"2")
            assert await anext(aiter(call)) == b"2"
            clock.advance(2)
            code, message = await status_of(collect(call))
            assert code is StatusCode.UNAVAILABLE
            assert "shutting down" in message
            await cancelled.wait()
            await pair.server.wait_stopped()

    run(main, loop=loop)


def test_a_handler_that_swallows_its_cancellation_cannot_hold_the_stop_up(clock: ManualClock) -> None:
    release = anyio.Event()
    entered = anyio.Event()

    async def unary(request: bytes, context: ServerContext) -> bytes:
        entered.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass
        return request

    async def main() -> None:
        async with serving(Probe(unary=unary)) as (server, address), raw_client(address) as peer:
            await peer.call(1)
            await entered.wait()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.stop, 0)
                assert (await peer.answer(1)).status == StatusCode.UNAVAILABLE
                await peer.closed()
                await peer.stream.aclose()
                await turns()
                clock.advance(5.1)
            release.set()
            await server.wait_stopped()

    run(main)


def test_a_second_stop_with_less_grace_hurries_the_first(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with paired(Probe(bidi=slow)) as pair, anyio.create_task_group() as tasks:
            call = pair.stub.bidi([b"1"])
            assert await anext(aiter(call)) == b"1"
            tasks.start_soon(pair.server.stop, 1000)
            await turns()
            await pair.server.stop(0)
            assert (await status_of(collect(call)))[0] is StatusCode.UNAVAILABLE

    run(main, loop=loop)


def test_a_stop_that_was_cancelled_can_be_made_again(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with paired(Probe(bidi=slow)) as pair:
            call = pair.stub.bidi([b"1"])
            assert await anext(aiter(call)) == b"1"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pair.server.stop, 1000)
                await turns()
                tasks.cancel_scope.cancel()
            await pair.server.stop(0)
            await pair.server.wait_stopped()

    run(main, loop=loop)


def test_an_error_in_the_block_stops_the_server_without_grace(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with wire.Server([Probe(bidi=slow)]) as server, wire.Channel(await server.listen(LOCAL)) as channel:
            call = ProbeStub(channel).bidi([b"1"])
            assert await anext(aiter(call)) == b"1"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, loop=loop)


def test_a_rolling_restart_under_load_fails_no_call(loop: LoopName, engine: EngineName) -> None:
    """Each server in turn is replaced on the same address while eight tasks call."""

    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        async with short_directory() as directory, anyio.create_task_group() as tasks:
            address = f"unix:{directory}/s"
            channel_config = wire.ChannelConfig(engine=engine, wait_for_ready=True, backoff_initial_s=0.001)
            async with wire.Channel(address, config=channel_config) as channel:
                stub = ProbeStub(channel)
                done = 0
                loading = 8
                stopping = False

                async def load() -> None:
                    nonlocal done, loading
                    while not stopping:
                        assert await stub.unary(b"x") == b"x"
                        assert await collect(stub.server_stream(b"12")) == [b"1", b"2"]
                        done += 1
                    loading -= 1

                async with anyio.create_task_group() as loads:
                    for _ in range(loading):
                        loads.start_soon(load)
                    for _ in range(3):
                        async with wire.Server([Probe()], config=config) as server:
                            await server.listen(address)
                            wanted = done + 40
                            while done < wanted:
                                await anyio.lowlevel.checkpoint()
                            tasks.start_soon(server.stop, 10)
                            await server.wait_stopped()
                    async with wire.Server([Probe()], config=config) as server:
                        await server.listen(address)
                        stopping = True
                        while loading:
                            await anyio.lowlevel.checkpoint()

    run(main, loop=loop)


def test_a_connection_that_arrives_while_stopping_is_drained(clock: ManualClock) -> None:
    async def main() -> None:
        async with paired(Probe(bidi=slow)) as pair, anyio.create_task_group() as tasks:
            call = pair.stub.bidi([b"1"])
            assert await anext(aiter(call)) == b"1"
            pair.server.stopping = True  # the listener is not closed yet
            async with raw_client(pair.address) as late:
                assert (await late.until(FrameType.GOAWAY)).number == 2**31 - 1
                await late.until(FrameType.PING)
            tasks.start_soon(pair.server.stop, 0)

    run(main)


# Whom it turns away.


async def other_connections_are_served(address: str) -> None:
    async with wire.Channel(address) as channel:
        assert await ProbeStub(channel).unary(b"x", timeout=5) == b"x"


async def closed_by_the_server(stream: anyio.abc.ByteStream) -> bytes:
    """What came until the server closed its side."""
    received = b""
    try:
        while True:
            received += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return received


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\0\xff" * 50,
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
    ids=["http/1.1", "tls", "garbage", "preface"],
)
def test_whoever_speaks_something_else_is_closed_with_one_line_in_the_log(
    loop: LoopName, engine: EngineName, greeting: bytes, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serving(config=wire.ServerConfig(engine=engine)) as (_, address):
            port = int(address.rpartition(":")[2])
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(greeting)
                await closed_by_the_server(stream)
            await other_connections_are_served(address)

    run(main, loop=loop)
    records = [each for each in caplog.records if each.name.startswith("wire")]
    assert len(records) == 1
    assert "\n" not in records[0].getMessage()
    assert "GET" not in records[0].getMessage()


@pytest.mark.parametrize("greeting", [b"", b"PRI * HTT", frames.PREFACE])
def test_whoever_says_nothing_is_closed_in_time(
    loop: LoopName, engine: EngineName, greeting: bytes, clock: ManualClock
) -> None:
    async def main() -> None:
        async with serving(config=wire.ServerConfig(engine=engine)) as (server, address):
            port = int(address.rpartition(":")[2])
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                if greeting:
                    await stream.send(greeting)
                while not server.connections:
                    await anyio.lowlevel.checkpoint()
                await turns()
                clock.advance(9.9)
                await turns()
                assert server.connections
                clock.advance(0.2)
                await closed_by_the_server(stream)
            async with raw_client(address) as peer:
                clock.advance(20)
                await peer.barrier()

    run(main, loop=loop)


def test_too_many_pings_are_answered_with_goaway(engine: EngineName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        async with serving(config=config) as (_, address):
            async with raw_client(address) as peer:
                for _ in range(3):
                    await peer.barrier()
                await peer.send(frames.ping())
                goaway = await peer.goaway()
                assert goaway.code is ErrorCode.ENHANCE_YOUR_CALM
                assert goaway.payload[8:] == b"too_many_pings"
                await peer.closed()
            await other_connections_are_served(address)

    run(main)


def test_pings_far_apart_or_with_calls_between_them_are_welcome(engine: EngineName, clock: ManualClock) -> None:
    async def main() -> None:
        config = wire.ServerConfig(engine=engine, keepalive=wire.KeepaliveConfig())
        async with serving(config=config) as (_, address), raw_client(address) as peer:
            for number in range(10):
                for _ in range(3):  # of which the first is no strike
                    await peer.barrier()
                await peer.call(2 * number + 1)
                await peer.answer(2 * number + 1)
            for _ in range(10):
                await peer.barrier()
                clock.advance(301)

    run(main)


def test_pings_while_a_large_reply_leaves_frame_by_frame_are_welcome(engine: EngineName, clock: ManualClock) -> None:
    """As grpc-go probes the bandwidth: a PING with each of its WINDOW_UPDATEs, the reply long handed over."""

    async def main() -> None:
        config = wire.ServerConfig(engine=engine, keepalive=wire.KeepaliveConfig(max_ping_strikes=0))
        large = Probe(unary=lambda request, context: bytes(300_000))
        async with serving(large, config=config) as (_, address), raw_client(address) as peer:
            await peer.call(1)
            while not peer.answers[1].ended:
                await peer.send(frames.window_update(0, 20_000), frames.window_update(1, 20_000))
                await peer.barrier()
            assert peer.goaways == []

    run(main)


@pytest.mark.parametrize(("method", "body"), [("Unary", framed(b"x")), ("Bidi", framed(b"x")), ("Bidi", b"")])
def test_deadlines_of_many_calls_leave_their_neighbour_alone(engine: EngineName, method: str, body: bytes) -> None:
    async def forever(request: Any, context: wire.ServerContext) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    async def forever_bidi(requests: Any, context: wire.ServerContext) -> Any:
        async for _ in requests:
            await anyio.sleep_forever()
            yield b""

    async def test(peer: RawPeer, server: wire.Server) -> None:
        await peer.call(1, framed(b"watch"), request("ServerStream"))
        for start in range(3, 1803, 600):
            for stream_id in range(start, start + 600, 2):
                await peer.call(stream_id, body, request(method), end=method == "Unary")
            await peer.barrier()
            for stream_id in range(start, start + 600, 2):
                await peer.send(frames.rst_stream(stream_id, ErrorCode.CANCEL))
            await peer.barrier()
        assert (await peer.answer(1)).status == 0

    handlers = Probe(unary=forever, bidi=forever_bidi)
    ask(test, handlers, engine=engine, http2=wire.Http2Config(reset_burst=10, resets_per_s=0))


FLOODS: dict[str, tuple[bytes, ErrorCode]] = {
    "rapid reset": (
        b"".join(frames.headers(2 * n + 1, request()) + frames.rst_stream(2 * n + 1) for n in range(60)),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "resets that the server is made to send": (
        b"".join(frames.headers(2 * n + 1, request()) + frames.window_update(2 * n + 1, 0) for n in range(60)),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "settings": (frames.settings() * 300, ErrorCode.ENHANCE_YOUR_CALM),
    "priority": (frames.priority(1) * 300, ErrorCode.ENHANCE_YOUR_CALM),
    "empty data": (frames.headers(1, request()) + frames.data(1) * 300, ErrorCode.ENHANCE_YOUR_CALM),
    "continuation": (
        frames.headers(1, request(), end_headers=False) + frames.continuation(1, end_headers=False) * 300,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "oversize frame": (frames.frame(0, 0, 1, length=1 << 20), ErrorCode.FRAME_SIZE_ERROR),
    "window": (frames.window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "header bomb": (
        frames.headers(
            1,
            frames.block(request()) + frames.literal(b"x", b"y" * 1000, indexing=True) + frames.indexed(62) * 300,
        ),
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_floods_cost_their_own_connection_only(engine: EngineName, flood: str) -> None:
    sent, code = FLOODS[flood]

    async def main() -> None:
        http2 = wire.Http2Config(reset_burst=50, resets_per_s=0, control_burst=200, controls_per_s=0)
        config = wire.ServerConfig(engine=engine, http2=http2)
        async with serving(config=config) as (server, address), wire.Channel(address) as channel:
            assert await ProbeStub(channel).unary(b"before") == b"before"
            async with raw_client(address) as peer:
                await peer.send(sent)
                assert (await peer.goaway()).code is code
                await peer.closed()
            assert await ProbeStub(channel).unary(b"after") == b"after"
            while len(server.connections) > 1:
                await anyio.lowlevel.checkpoint()

    run(main)


def test_streams_over_the_limit_are_refused_alone(engine: EngineName) -> None:
    async def main() -> None:
        config = wire.ServerConfig(engine=engine, http2=wire.Http2Config(max_concurrent_streams=2))
        async with serving(config=config) as (_, address), raw_client(address) as peer:
            for stream_id in (1, 3, 5):
                await peer.call(stream_id, b"", request("Bidi"), end=False)
            assert (await peer.answer(5)).reset is ErrorCode.REFUSED_STREAM
            await peer.send(frames.data(1, framed(b"x"), end=True))
            assert (await peer.answer(1)).data == framed(b"x")
            await peer.call(7)
            assert (await peer.answer(7)).data == framed(b"hello")

    run(main)


def test_a_peer_that_never_reads_is_not_read_from_and_is_given_up(
    loop: LoopName, engine: EngineName, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Unary replies do not wait for the transport, so their memory is bounded by not reading on."""
    called = 0

    def unary(request: bytes, context: ServerContext) -> bytes:
        nonlocal called
        called += 1
        return request or bytes(100_000)

    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        async with serving(Probe(unary=unary), config=config) as (server, address):
            with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                windows = frames.settings({4: 2**31 - 1}) + frames.window_update(0, 2**31 - 1 - 65_535)
                sock.sendall(frames.PREFACE + windows)
                for number in range(900):
                    stream_id = 2 * number + 1
                    sock.sendall(frames.headers(stream_id, request()) + frames.data(stream_id, framed(b""), end=True))
                    await anyio.lowlevel.checkpoint()
                await other_connections_are_served(address)
                assert called < 450  # the transport's buffer and the sockets' hold the replies to a part of them
                clock.advance(20.1)
                while len(server.connections) > 0:
                    await anyio.lowlevel.checkpoint()
        assert "stopped reading" in caplog.text

    run(main, loop=loop)


def test_handlers_of_one_connection_do_not_see_anothers_end(loop: LoopName) -> None:
    async def main() -> None:
        async with paired(Probe(bidi=slow)) as pair:
            call = pair.stub.bidi()
            await call.send(b"1")
            assert await anext(aiter(call)) == b"1"
            async with raw_client(pair.address) as other:
                await other.call(1, framed(b"x"), request("Bidi"), end=False)
                await other.until(FrameType.DATA, 1)
            await call.send(b"2")
            assert await anext(aiter(call)) == b"2"
            call.cancel()

    run(main, loop=loop)


# TLS.


def test_tls_is_told_to_the_handler(loop: LoopName, engine: EngineName, certificates: Any) -> None:
    seen: list[Any] = []

    def unary(request: bytes, context: ServerContext) -> bytes:
        seen.append(context.peer)
        return request

    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca)
        client_tls = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key)
        config = wire.ServerConfig(engine=engine)
        async with (
            serving(Probe(unary=unary), config=config, tls=server_tls) as (_, address),
            wire.Channel(address, tls=client_tls) as channel,
        ):
            assert await ProbeStub(channel).unary(bytes(100_000)) == bytes(100_000)
        assert seen[0].tls_version == "TLSv1.3"
        assert seen[0].certificate is not None

    run(main, loop=loop)
