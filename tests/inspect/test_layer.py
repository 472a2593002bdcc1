"""A trace on servers and channels: it sees what they see, changes nothing, and is not there unless asked for."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

import wire
from services.echo import EchoServicer
from tests.certificates import Certificates
from tests.support import LOCAL, Probe, ProbeStub, collect, paired, run, serving
from wire.config import EngineName
from wire.inspect import CallEnded, ConnectionLost, ConnectionMade, Frame, JsonLines, Record, Trace
from wire.server.connection import ServerConnection
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


def test_slow_readers_hold_senders_up_through_it(engine: EngineName) -> None:
    """Pausing and resuming pass: megabytes arrive whole at a client that takes them one by one."""

    async def many(request: bytes, context: wire.ServerContext) -> Any:
        for _ in range(100):
            yield bytes(100_000)

    async def main() -> None:
        async with wire.Server([Probe(ServerStream=many)], trace=Trace(outputs=[lambda record: None])) as server:
            address = await server.listen(LOCAL)
            async with wire.Channel(address, trace=Trace(outputs=[lambda record: None])) as channel:
                sizes = [len(each) async for each in ProbeStub(channel).server_stream(b"x")]
                assert sizes == [100_000] * 100

    run(main)


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
