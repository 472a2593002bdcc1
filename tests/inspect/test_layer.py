"""A trace on servers and channels: it sees what they see, changes nothing, and is not there unless asked for."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.echo import EchoServicer
from tests.certificates import Certificates
from tests.http2 import frames
from tests.peers import raw_client, request
from tests.support import LOCAL, Probe, ProbeStub, collect, paired, run, serving
from wire.config import EngineName
from wire.http2.codes import Setting
from wire.inspect import CallEnded, ConnectionLost, ConnectionMade, Frame, JsonLines, Record, Trace
from wire.inspect.layer import TracedTransport
from wire.server.connection import ServerConnection
from wire.transport.contract import Peer
from wire.transport.runtime import LoopName


def calls(records: list[Record]) -> list[tuple[str, str, int, int]]:
    return [
        (each.method.rpartition("/")[2], each.status, each.request_bytes, each.response_bytes)
        for each in records
        if isinstance(each, CallEnded)
    ]


async def call_each_kind(stub: ProbeStub) -> None:
    assert await stub.unary(b"hello") == b"hello"
    assert await collect(stub.server_stream(b"abc")) == [b"a", b"b", b"c"]
    assert await stub.client_stream([b"a", b"b"]) == b"ab"
    assert await collect(stub.bidi([b"a", b"b"])) == [b"a", b"b"]
    assert await stub.unary(bytes(1_000_000)) == bytes(1_000_000)


def test_both_sides_tell_the_same_of_every_kind_of_call(loop: LoopName, engine: EngineName) -> None:
    told: dict[str, list[Record]] = {"server": [], "client": []}

    async def main() -> None:
        async with wire.Server(
            [Probe()], config=wire.ServerConfig(engine=engine), trace=Trace(outputs=[told["server"].append])
        ) as server:
            address = await server.listen(LOCAL)
            config = wire.ChannelConfig(engine=engine)
            async with wire.Channel(address, config=config, trace=Trace(outputs=[told["client"].append])) as channel:
                await call_each_kind(ProbeStub(channel))
            await server.stop()

    run(main, loop=loop)
    for records in told.values():
        assert calls(records) == [
            ("Unary", "OK", 5, 5),
            ("ServerStream", "OK", 3, 3),
            ("ClientStream", "OK", 2, 2),
            ("Bidi", "OK", 2, 2),
            ("Unary", "OK", 1_000_000, 1_000_000),
        ]
        assert not [problem for each in records if isinstance(each, Frame) for problem in each.problems]
        assert isinstance(records[0], ConnectionMade)
        assert isinstance(records[-1], ConnectionLost)


class Fake:
    """Notes what it is called with: a transport below, or a protocol above."""

    peer = Peer("ipv4:1.2.3.4:5")

    def __init__(self) -> None:
        self.called: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.called.append((name, *args))


def test_every_call_of_both_contracts_passes() -> None:
    below, above = Fake(), Fake()
    trace = Trace(outputs=[lambda record: None])
    between = TracedTransport(above, trace.connection, trace.now, at_server=True, own_address="")
    between.connection_made(below)
    assert between.peer is below.peer
    for name in ("pause_reading", "resume_reading", "unsent_bytes"):
        getattr(between, name)()
    between.write(b"out")
    for name in ("pause_writing", "resume_writing", "eof_received"):
        getattr(between, name)()
    between.data_received(b"in")
    between.close()
    between.abort()
    between.write(b"too late")
    error = OSError("gone")
    between.connection_lost(error)
    assert below.called == [
        ("pause_reading",),
        ("resume_reading",),
        ("unsent_bytes",),
        ("write", b"out"),
        ("close",),
        ("abort",),
    ]
    assert above.called == [
        ("connection_made", between),
        ("pause_writing",),
        ("resume_writing",),
        ("eof_received",),
        ("data_received", b"in"),
        ("connection_lost", error),
    ]


def test_tls_is_looked_into(loop: LoopName, certificates: Certificates) -> None:
    records: list[Record] = []

    async def main() -> None:
        async with (
            serving(tls=wire.ServerTls(certificates.server, certificates.server_key)) as (_, address),
            wire.Channel(
                address, tls=wire.ClientTls(certificates.ca), trace=Trace(outputs=[records.append])
            ) as channel,
        ):
            assert await ProbeStub(channel).unary(b"hello") == b"hello"

    run(main, loop=loop)
    assert isinstance(records[0], ConnectionMade)
    assert records[0].tls == "TLSv1.3"
    assert calls(records) == [("Unary", "OK", 5, 5)]


def test_calls_of_threads_are_told(engine: EngineName) -> None:
    records: list[Record] = []

    async def main() -> None:
        async with serving(config=wire.ServerConfig(engine=engine)) as (_, address):
            await anyio.to_thread.run_sync(call_from_threads, address)

    def call_from_threads(address: str) -> None:
        trace = Trace(outputs=[records.append])
        config = wire.ChannelConfig(engine=engine)
        with wire.blocking.Channel(address, config=config, trace=trace) as channel, ThreadPoolExecutor(4) as threads:
            unary = ProbeStub(channel).unary
            assert list(threads.map(unary, [b"%d" % each for each in range(40)])) == [
                b"%d" % each for each in range(40)
            ]

    run(main)
    assert len(calls(records)) == 40
    assert {status for _, status, _, _ in calls(records)} == {"OK"}
    assert not [problem for each in records if isinstance(each, Frame) for problem in each.problems]


def test_peer_that_does_not_read_holds_senders_up_through_it(loop: LoopName, engine: EngineName) -> None:
    """Pausing and resuming reach the connection, and all arrives once the peer reads."""

    async def many(request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(100_000)

    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        trace = Trace(outputs=[lambda record: None])
        async with wire.Server([Probe(ServerStream=many)], config=config, trace=trace) as server:
            address = await server.listen(LOCAL)
            async with raw_client(address, {Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}) as peer:
                await peer.send(frames.window_update(0, 2**31 - 1 - 65_535))
                await peer.call(1, fields=request("ServerStream"))
                (connection,) = server.connections
                while not connection.congested:
                    await anyio.sleep(0.001)
                left = 200 * 100_005  # and the frames' headers, which make it a little more
                while left > 0:
                    left -= len(await peer.stream.receive(1 << 20))

    run(main, loop=loop)


def test_messages_of_a_channel_are_told_by_its_stubs_classes() -> None:
    records: list[Record] = []

    async def main() -> None:
        async with (
            serving(EchoServicer()) as (_, address),
            wire.Channel(address, trace=Trace(outputs=[records.append])) as channel,
        ):
            await EchoServiceStub(channel).echo(EchoRequest(payload=b"x"))

    run(main)
    names = [message.type_name for each in records if isinstance(each, Frame) for message in each.messages]
    assert names == ["EchoRequest", "EchoResponse"]


def test_output_that_fails_ends_the_trace_and_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    def full(record: Record) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address, trace=Trace(outputs=[full])) as channel:
            assert await ProbeStub(channel).unary(b"hello") == b"hello"

    run(main)
    assert [each.getMessage() for each in caplog.records if each.name == "wire.inspect"] == [
        "the trace ends: [Errno 28] No space left on device"
    ]


def test_without_a_trace_nothing_stands_between() -> None:
    """The transport that a connection writes to is the runtime's own, and what that calls is the connection."""

    async def main() -> None:
        async with paired() as pair:
            await pair.stub.unary(b"x")
            (connection,) = pair.server.connections
            assert isinstance(connection, ServerConnection)
            assert type(connection.transport).__module__.startswith("wire.transport.")
            assert pair.server._runtime is connection.runtime
            assert type(connection.runtime).__module__.startswith("wire.transport.")

    run(main)


def test_lines_of_json_hold_what_records_do(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    output = JsonLines(path, process="7")

    async def main() -> None:
        async with serving() as (_, address), wire.Channel(address, trace=Trace(outputs=[output])) as channel:
            await ProbeStub(channel).unary(b"\x0a\x05hello\x10\x07\x10\x08")

    run(main)
    output.close()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line["process"] == "7" for line in lines)
    assert lines[0]["event"] == "made"
    data = next(line for line in lines if line["kind"] == "DATA")
    assert data["messages"] == [{"index": 1, "size_bytes": 11, "content": {"1": "hello", "2": [7, 8]}}]
    assert data["stream_window_bytes"] > 0
    ended = next(line for line in lines if line["kind"] == "CALL")
    assert (ended["status"], ended["requests"]) == ("OK", 1)


def test_nothing_is_left_for_the_collector(loop: LoopName) -> None:
    """Each connection is let go of when it is lost, with the trace that stood before it."""
    collected: list[int] = []

    async def main() -> None:
        trace = Trace(outputs=[lambda record: None])
        async with wire.Server([Probe()], trace=trace) as server:
            address = await server.listen(LOCAL)
            async with wire.Channel(address, trace=trace) as channel:
                await ProbeStub(channel).unary(b"x")
            await server.stop()

    def between() -> int:
        return sum(type(each).__name__ in ("TracedTransport", "ConnectionReader") for each in gc.get_objects())

    before = between()
    gc.disable()
    try:
        run(main, loop=loop)
        collected.append(between() - before)
    finally:
        gc.enable()
    assert collected == [0]


def test_services_of_a_server_are_known_to_its_trace() -> None:
    trace = Trace(outputs=[lambda record: None])
    wire.Server([EchoServicer()], trace=trace)
    request, response = trace.schemas.of("/echo.v1.EchoService/Echo")
    assert request is not None
    assert response is not None
    assert (request.name, response.name) == ("echo.v1.EchoRequest", "echo.v1.EchoResponse")
