"""A channel: what it may be pointed at, what its calls carry, and how it closes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import anyio
import pytest

import wire
from tests.certificates import Certificates
from tests.clocks import ManualClock
from tests.http2 import frames
from tests.leftovers import gone
from tests.peers import IMPATIENT, raw_server, reply
from tests.support import (
    Probe,
    ProbeStub,
    collect,
    failures,
    paired,
    run,
    serving,
    short_directory,
    start,
    status_of,
    turns,
)
from wire import ServerContext, StatusCode
from wire.config import EngineName
from wire.http2.codes import ErrorCode, Setting
from wire.transport.runtime import LoopName


@pytest.mark.parametrize("target", ["", "nowhere", "127.0.0.1", "127.0.0.1:99999", "vsock:x:1", "http://host:1"])
def test_a_target_that_cannot_be_read_is_refused_at_once(target: str) -> None:
    with pytest.raises(wire.AddressError):
        wire.Channel(target)


def test_what_is_no_target_and_no_channel_is_said_so() -> None:
    with pytest.raises(wire.AddressError, match=r'a target is an address such as "localhost:50051".* not 50051'):
        wire.Channel(50051)  # type: ignore[arg-type]
    with pytest.raises(wire.UsageError, match=r"a stub takes a channel, .* not 'localhost:50051'"):
        ProbeStub("localhost:50051")  # type: ignore[type-var]


@pytest.mark.parametrize("authority", ["grün", "a\r\nb", "a\tb"])
def test_an_authority_is_printable_ascii(authority: str) -> None:
    with pytest.raises(wire.ConfigurationError):
        wire.Channel("127.0.0.1:1", config=wire.ChannelConfig(authority=authority))


def test_a_channel_is_entered_once(loop: LoopName) -> None:
    async def main() -> None:
        channel = wire.Channel("127.0.0.1:1")
        async with channel:
            with pytest.raises(wire.UsageError, match="only once"):
                await channel.__aenter__()
            for timeout in (None, 5):
                assert (await status_of(ProbeStub(channel).unary(b"", timeout=timeout)))[0] is StatusCode.UNAVAILABLE
        for timeout in (None, 5):
            assert await status_of(ProbeStub(channel).unary(b"", timeout=timeout)) == (
                StatusCode.CANCELLED,
                "the channel was closed",
            )
        with pytest.raises(wire.UsageError, match="was closed"):
            await channel.__aenter__()

    run(main, loop=loop)


# Opening without a block, and closing.


def test_a_channel_opens_when_the_first_call_is_made(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        async with serving() as (server, address):
            channel = wire.Channel(address, config=wire.ChannelConfig(engine=engine))
            stub = ProbeStub(channel)
            assert await stub.unary(b"x", timeout=5) == b"x"
            assert await collect(stub.bidi([b"1", b"2"])) == [b"1", b"2"]
            async with channel:
                assert await stub.unary(b"y") == b"y"
            while server.connections:
                await anyio.lowlevel.checkpoint()
            with pytest.raises(wire.UsageError, match="was closed"):
                await channel.ready()

    run(main, loop=loop)


def test_a_channel_without_a_loop_says_so() -> None:
    with pytest.raises(wire.UsageError, match="no event loop is running"):
        ProbeStub(wire.Channel("127.0.0.1:1")).unary(b"")


def test_tasks_of_a_channel_without_a_block_know_the_context_of_the_call(loop: LoopName) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    seen: list[str] = []

    async def requests() -> AsyncIterator[bytes]:
        seen.append(variable.get())
        yield b"x"

    async def main() -> None:
        variable.set("the caller's")
        async with serving() as (_, address):
            channel = wire.Channel(address)
            await ProbeStub(channel).client_stream(requests())
            await channel.close()

    run(main, loop=loop)
    assert seen == ["the caller's"]


def test_a_channel_that_is_left_open_ends_with_its_loop() -> None:
    """trio: what serves it is a system task."""

    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            channel = wire.Channel(await server.listen("127.0.0.1:0"))
            kept.append(channel)
            assert await ProbeStub(channel).unary(b"x") == b"x"
            await server.stop(0)

    kept: list[wire.Channel] = []
    run(main, loop="trio")
    assert "connections ready" in repr(kept[0])
    with catch_warnings():
        simplefilter("ignore", ResourceWarning)
        kept.clear()


def test_a_channel_that_nobody_closes_is_closed_and_named(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (server, address):
            channel = wire.Channel(address)
            await ProbeStub(channel).unary(b"")
            await turns()  # the loop lets go of the task that connected
            with pytest.warns(ResourceWarning, match=f"a channel to {address} was never closed"), gone():
                del channel
            while server.connections:
                await anyio.lowlevel.checkpoint()

    run(main, loop=loop)


def test_closing_twice_and_closing_what_was_never_opened(loop: LoopName) -> None:
    async def main() -> None:
        channel = wire.Channel("127.0.0.1:1")
        await channel.close()
        await channel.close(5)
        assert channel.state is wire.ConnectivityState.SHUTDOWN
        assert repr(channel) == "<Channel to ipv4:127.0.0.1:1: closed>"
        with pytest.raises(wire.UsageError, match="was closed: make another one"):
            ProbeStub(channel).unary(b"")

    run(main, loop=loop)


def test_calls_end_within_the_grace_of_a_close(loop: LoopName, engine: EngineName) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server, anyio.create_task_group() as tasks:
            channel = wire.Channel(server.address, config=config)
            stub = ProbeStub(channel)
            open_, queued = stub.unary(b"open"), stub.unary(b"queued")
            peer = await server.accept({Setting.MAX_CONCURRENT_STREAMS: 1})
            await peer.answer(1)
            tasks.start_soon(channel.close, 1000)
            await turns()
            assert await status_of(stub.unary(b"late")) == (StatusCode.CANCELLED, "the channel was closed")
            await reply(peer, 1, b"1")
            await peer.answer(3)
            assert (await peer.goaway()).code is ErrorCode.NO_ERROR  # no more calls wait
            await reply(peer, 3, b"2")
            assert (await open_, await queued) == (b"1", b"2")
            await peer.closed()

    run(main, loop=loop)


def test_calls_that_outlast_the_grace_are_cancelled(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with raw_server() as server, anyio.create_task_group() as tasks:
            config = wire.ChannelConfig(transport=IMPATIENT)
            async with wire.Channel(server.address, config=config) as channel:
                call = ProbeStub(channel).unary(b"")
                peer = await server.accept()
                await peer.answer(1)
                tasks.start_soon(channel.close, 3)
                await turns()
                clock.advance(2.9)
                await turns()
                assert call.code is None
                clock.advance(0.2)
                assert await status_of(call) == (StatusCode.CANCELLED, "the call was cancelled")
                await peer.closed()

    run(main, loop=loop)


# What calls carry.


def test_nothing_connects_before_the_first_call(loop: LoopName) -> None:
    async def main() -> None:
        async with wire.Channel("127.0.0.1:1"), wire.Channel("unix:/nowhere"):
            pass

    run(main, loop=loop)


@pytest.mark.parametrize(
    ("authority", "target", "sent"),
    [
        (None, "127.0.0.1:{port}", "127.0.0.1:{port}"),
        (None, "dns:///localhost:{port}", "localhost:{port}"),
        (None, "ipv4:127.0.0.1:{port},127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("other.example:1", "127.0.0.1:{port}", "other.example:1"),
    ],
)
def test_the_authority_is_the_target_or_what_is_configured(authority: str | None, target: str, sent: str) -> None:
    async def main() -> None:
        async with raw_server() as server:
            port = server.address.rpartition(":")[2]
            config = wire.ChannelConfig(authority=authority, transport=IMPATIENT)
            async with wire.Channel(target.format(port=port), config=config) as channel:
                call = ProbeStub(channel).unary(b"")
                peer = await server.accept()
                fields = dict((await peer.answer(1)).headers or ())
                assert fields[b":authority"].decode() == sent.format(port=port)
                await reply(peer, 1, b"")
                await call

    run(main)


def test_the_authority_of_a_unix_socket_is_localhost(loop: LoopName) -> None:
    seen: list[Any] = []

    def unary(request: bytes, context: ServerContext) -> bytes:
        seen.append(dict(context.headers.fields)[b":authority"])
        return request

    async def main() -> None:
        async with short_directory() as directory, wire.Server([Probe(unary=unary)]) as server:
            address = await server.listen(f"unix:{directory}/s")
            async with wire.Channel(address) as channel:
                await ProbeStub(channel).unary(b"")

    run(main, loop=loop)
    assert seen == [b"localhost"]


@pytest.mark.parametrize("target", ["127.0.0.1:{port}", "unix:/nowhere/at/all"])
def test_a_refused_connection_is_unavailable_and_names_the_target(loop: LoopName, target: str) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            target_ = target.format(port=address.rpartition(":")[2])
        async with wire.Channel(target_) as channel:
            for call in (ProbeStub(channel).unary(b""), ProbeStub(channel).unary(b"", timeout=5)):
                code, message = await status_of(call)
                assert code is StatusCode.UNAVAILABLE
                assert target_.rpartition(":")[2] in message

    run(main, loop=loop)


def test_the_next_address_is_tried_when_one_refuses() -> None:
    async def main() -> None:
        async with serving() as (_, gone):
            pass
        async with serving() as (_, address):
            target = f"ipv4:{gone.removeprefix('ipv4:')},{address.removeprefix('ipv4:')}"
            async with wire.Channel(target) as channel:
                assert await ProbeStub(channel).unary(b"x", timeout=5) == b"x"

    run(main)


# TLS.


def test_tls_and_mutual_tls(loop: LoopName, engine: EngineName, certificates: Certificates) -> None:
    async def main() -> None:
        tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca)
        config = wire.ChannelConfig(engine=engine)
        async with serving(config=wire.ServerConfig(engine=engine), tls=tls) as (_, address):
            mine = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key)
            async with wire.Channel(address, tls=mine, config=config) as channel:
                assert await ProbeStub(channel).unary(bytes(100_000), timeout=5) == bytes(100_000)
                assert await collect(ProbeStub(channel).bidi([b"1", b"2"])) == [b"1", b"2"]

    run(main, loop=loop)


@pytest.mark.parametrize("problem", ["stranger's server", "no certificate", "stranger's certificate", "in the clear"])
def test_a_handshake_that_fails_is_unavailable_and_harms_nobody(
    loop: LoopName, certificates: Certificates, problem: str
) -> None:
    mine = wire.ClientTls(certificates.ca, certificates.client, certificates.client_key)
    bad: dict[str, wire.ClientTls | None] = {
        "stranger's server": wire.ClientTls(certificates.stranger_ca),
        "no certificate": wire.ClientTls(certificates.ca),
        "stranger's certificate": wire.ClientTls(certificates.ca, certificates.stranger, certificates.stranger_key),
        "in the clear": None,
    }

    async def main() -> None:
        tls = wire.ServerTls(certificates.server, certificates.server_key, certificates.ca)
        async with serving(tls=tls) as (_, address), wire.Channel(address, tls=mine) as good:
            assert await ProbeStub(good).unary(b"1") == b"1"
            async with wire.Channel(address, tls=bad[problem]) as channel:
                assert (await status_of(ProbeStub(channel).unary(b"", timeout=5)))[0] is StatusCode.UNAVAILABLE
            assert await ProbeStub(good).unary(b"2") == b"2"

    run(main, loop=loop)


@pytest.mark.parametrize("server_speaks_tls", [True, False])
def test_tls_that_one_side_alone_speaks_is_named_on_both(
    loop: LoopName,
    engine: EngineName,
    certificates: Certificates,
    server_speaks_tls: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        server_tls = wire.ServerTls(certificates.server, certificates.server_key) if server_speaks_tls else None
        client_tls = None if server_speaks_tls else wire.ClientTls(certificates.ca)
        server_config, config = wire.ServerConfig(engine=engine), wire.ChannelConfig(engine=engine)
        async with (
            serving(config=server_config, tls=server_tls) as (_, address),
            wire.Channel(address, tls=client_tls, config=config) as channel,
        ):
            code, message = await status_of(ProbeStub(channel).unary(b""))
            assert code is StatusCode.UNAVAILABLE
            said = "this port speaks TLS" if server_speaks_tls else "does not speak TLS"
            assert said in message
            assert "broke HTTP/2" not in message
            while not caplog.records:
                await anyio.lowlevel.checkpoint()
        assert [said in each.getMessage() for each in caplog.records] == [True]

    run(main, loop=loop)


def test_a_renewed_certificate_is_taken_up_without_a_restart(
    loop: LoopName, certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"

    def renew(name: str) -> None:
        certificate.write_bytes(getattr(certificates, name).read_bytes())
        key.write_bytes(getattr(certificates, f"{name}_key").read_bytes())

    async def main() -> None:
        renew("stranger")
        tls = wire.ServerTls(certificate, key)
        async with serving(tls=tls) as (_, address), wire.Channel(address, tls=wire.ClientTls(verify=False)) as any_:
            assert await ProbeStub(any_).unary(b"1") == b"1"
            async with wire.Channel(address, tls=wire.ClientTls(certificates.ca)) as channel:
                assert (await status_of(ProbeStub(channel).unary(b"")))[0] is StatusCode.UNAVAILABLE
            renew("server")
            tls.reload()
            async with wire.Channel(address, tls=wire.ClientTls(certificates.ca)) as channel:
                assert await ProbeStub(channel).unary(b"2") == b"2"
            assert await ProbeStub(any_).unary(b"3") == b"3"

    run(main, loop=loop)


def test_calls_from_another_thread_are_refused(loop: LoopName) -> None:
    async def main() -> None:
        async with paired() as pair:
            for method in ("Unary", "ServerStream", "ClientStream", "Bidi"):
                with pytest.raises(wire.UsageError, match=r"^a channel's calls are made in the thread [^.\n]+$"):
                    await anyio.to_thread.run_sync(start, pair.stub, method)
            assert await pair.stub.unary(b"goes on") == b"goes on"

    run(main, loop=loop)


# Closing.


async def _never(request: bytes, context: ServerContext) -> bytes:
    await anyio.sleep_forever()
    return request


@pytest.mark.parametrize("method", ["Unary", "Bidi"])
def test_leaving_the_block_cancels_calls_and_says_goodbye(loop: LoopName, engine: EngineName, method: str) -> None:
    async def main() -> None:
        config = wire.ChannelConfig(engine=engine, transport=IMPATIENT)
        async with raw_server() as server:
            async with wire.Channel(server.address, config=config) as channel:
                stub = ProbeStub(channel)
                call: Any = stub.unary(b"") if method == "Unary" else stub.bidi()
                peer = await server.accept()
                await peer.barrier()
            assert call.code is StatusCode.CANCELLED
            await peer.closed()
            assert peer.answers[1].reset is ErrorCode.CANCEL or method == "Unary"
            assert peer.goaways[0].code is ErrorCode.NO_ERROR

    run(main, loop=loop)


def test_leaving_the_block_before_anything_has_connected(loop: LoopName, clock: ManualClock) -> None:
    """The task that connects may not have begun, or wait for a peer that says nothing."""

    async def main() -> None:
        async with raw_server() as server:
            async with wire.Channel(server.address) as channel:
                unborn = ProbeStub(channel).unary(b"")
            assert unborn.code is StatusCode.CANCELLED
            async with wire.Channel(server.address, config=wire.ChannelConfig(transport=IMPATIENT)) as channel:
                waiting = ProbeStub(channel).unary(b"")
                while not channel.pool._all or not next(iter(channel.pool._all)).transport:
                    await anyio.lowlevel.checkpoint()
            assert waiting.code is StatusCode.CANCELLED

    run(main, loop=loop)


def test_a_call_in_a_task_ends_when_its_channel_does(loop: LoopName) -> None:
    statuses: list[StatusCode] = []

    async def wait(call: Any) -> None:
        statuses.append((await status_of(call))[0])

    async def main() -> None:
        async with (
            serving(Probe(unary=_never)) as (_, address),
            anyio.create_task_group() as tasks,
            wire.Channel(address) as channel,
        ):
            tasks.start_soon(wait, ProbeStub(channel).unary(b""))
            while not channel.pool._ready:
                await anyio.lowlevel.checkpoint()

    run(main, loop=loop)
    assert statuses == [StatusCode.CANCELLED]


def test_a_server_that_does_not_read_cannot_hold_the_close_up(loop: LoopName, clock: ManualClock) -> None:
    async def main() -> None:
        async with raw_server() as server, anyio.create_task_group() as tasks:
            async with wire.Channel(server.address) as channel:
                calls = [ProbeStub(channel).unary(bytes(1 << 20)) for _ in range(64)]  # Linux may hold 36 MiB of it
                peer = await server.accept({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1})
                transport = getattr(peer.stream, "_transport", None)
                if transport is not None:  # asyncio's reads on, unless its stream was just waited for
                    transport.pause_reading()
                await peer.send(frames.window_update(0, 2**31 - 1 - 65_535))
                while not any(each.congested for each in channel.pool._all):
                    await anyio.lowlevel.checkpoint()

                async def advance() -> None:
                    while channel.pool._all:
                        await anyio.lowlevel.checkpoint()
                        clock.advance(0.01)

                began = clock.now()
                tasks.start_soon(advance)
            assert clock.now() - began < 2
            assert {call.code for call in calls} == {StatusCode.CANCELLED}

    run(main, loop=loop)


def test_two_channels_to_one_server_are_apart(loop: LoopName) -> None:
    async def main() -> None:
        async with paired() as pair:
            async with wire.Channel(pair.address) as other:
                assert await ProbeStub(other).unary(b"1") == b"1"
            assert await pair.stub.unary(b"2") == b"2"

    run(main, loop=loop)


def test_requests_of_a_channel_without_a_server_do_not_run(loop: LoopName) -> None:
    pulled = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal pulled
        pulled += 1
        yield b""

    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with wire.Channel(address) as channel:
            assert (await status_of(collect(ProbeStub(channel).bidi(requests()))))[0] is StatusCode.UNAVAILABLE

    run(main, loop=loop)
    assert pulled <= 1


def test_the_target_may_be_where_a_server_will_be(loop: LoopName) -> None:
    async def main() -> None:
        async with serving() as (_, address):
            pass
        async with (
            wire.Channel(address, config=wire.ChannelConfig(backoff_initial_s=0.001)) as channel,
            anyio.create_task_group() as tasks,
        ):
            results: list[bytes] = []

            async def call() -> None:
                results.append(await ProbeStub(channel).unary(b"x", wait_for_ready=True, timeout=9))

            tasks.start_soon(call)
            while failures(channel) < 2:
                await anyio.lowlevel.checkpoint()
            async with wire.Server([Probe()]) as server:
                await server.listen(address)
                while not results:
                    await anyio.lowlevel.checkpoint()
            assert results == [b"x"]

    run(main, loop=loop)
