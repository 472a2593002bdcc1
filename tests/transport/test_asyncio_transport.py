"""What is particular to asyncio and uvloop: eager tasks, the size of reads, and transports that arrive too late."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.transport.harness import Recorder, TransportKind, Transports, quick, run_loop, run_transports
from wire.transport.address import parse_address
from wire.transport.asyncio_transport import AsyncioRuntime, AsyncioTransport
from wire.transport.contract import Peer, Runtime

LOOPS = ("asyncio", "uvloop")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_task_runs_up_to_its_first_wait_before_spawn_returns(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        steps: list[str] = []
        ended = runtime.future()

        async def work() -> None:
            task = asyncio.current_task()
            steps.append("begun")
            await runtime.sleep(0)
            assert asyncio.current_task() is task
            ended.set_result(None)

        def spawn() -> None:
            assert asyncio.current_task() is None
            runtime.spawn(work())
            steps.append("spawned")
            assert asyncio.current_task() is None

        runtime.call_soon(spawn)
        await ended
        assert steps == ["begun", "spawned"]

    run_loop(loop, test)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_task_factory_of_the_user_comes_first(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        made: list[str] = []

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            made.append(coroutine.__name__)
            return asyncio.Task(coroutine, loop=loop, **options)

        async def work() -> None: ...

        asyncio.get_running_loop().set_task_factory(factory)
        task = cast("asyncio.Task[None]", runtime.spawn(work()))
        asyncio.get_running_loop().set_task_factory(None)
        await task
        assert made == ["work"]

    run_loop(loop, test)


def test_reads_are_as_large_as_configured_and_no_larger(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(transports: Transports) -> None:
        client, server = await transports.pair(read_bytes=4096)
        client.transport.write(b"x" * 40_960)
        await server.until(lambda recorder: len(recorder.data) == 40_960)
        assert server.chunks >= 10

    run_transports(TransportKind("asyncio", "tcp", tls=False), cast(Any, None), short_path, monkeypatch, test)


@pytest.mark.parametrize("ending", ["reads", "closes", "aborts"])
def test_asyncio_is_given_little_more_than_it_can_write(
    ending: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = b"".join(bytes((number,)) * (1 << 20) for number in range(32))

    async def test(transports: Transports) -> None:
        client, server = await transports.pair(write_buffer_bytes=1 << 16)
        server.transport.pause_reading()
        for number in range(32):
            client.transport.write(sent[number << 20 : (number + 1) << 20])
        assert client.calls.count("pause") == 1
        below = cast(Any, client.transport)._transport
        if isinstance(getattr(below, "_buffer", None), bytearray):
            assert below.get_write_buffer_size() < 2 << 20
        assert 16 << 20 < client.transport.unsent_bytes() <= len(sent) + (1 << 18)
        if ending == "reads":
            server.transport.resume_reading()
            await server.until(lambda recorder: len(recorder.data) == len(sent))
            await client.until(lambda recorder: "resume" in recorder.calls)
            assert client.transport.unsent_bytes() == 0
            client.transport.write(b"more")
            await server.until(lambda recorder: recorder.data.endswith(b"more"))
            assert server.data == sent + b"more"
        elif ending == "closes":
            client.transport.close()
            server.transport.resume_reading()
            await server.until(lambda recorder: "eof" in recorder.calls)
            assert server.data == sent
        else:
            client.transport.abort()
            await client.lost()
            assert client.calls.count("resume") == 0

    run_transports(TransportKind("asyncio", "unix", tls=False), cast(Any, None), short_path, monkeypatch, test)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def abort(self) -> None:
        self.calls.append("abort")


def test_a_transport_aborted_before_it_was_made_never_reaches_its_receiver() -> None:
    async def main() -> None:
        runtime = AsyncioRuntime(asyncio.get_running_loop())
        recorder = Recorder(runtime)
        transport = AsyncioTransport(recorder, Peer("unix:"), quick(), runtime)
        transport.abort()
        below = Transport()
        transport.connection_made(below)
        assert below.calls == ["abort"]
        transport.connection_lost(None)
        assert recorder.calls == []

    asyncio.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connect_cancelled_at_any_turn_loses_the_transport_that_it_made(loop: str) -> None:
    async def test(runtime: Runtime) -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        address = parse_address(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        (candidate,) = await runtime.resolve(address, 5)
        for turns in range(12):
            recorder = Recorder(runtime)
            connecting = asyncio.ensure_future(runtime.connect(candidate, recorder, tls=None, config=quick()))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():
                recorder.transport.abort()
            if "made" in recorder.calls:
                await recorder.lost()
            assert recorder.calls.count("lost") == recorder.calls.count("made")
        server.close()

    run_loop(loop, test)
