"""What a process tells of its servers and sockets, asked as any client asks."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable

import anyio
import pytest

import wire
from tests.support import Probe, ProbeStub, end_of, run, serving
from wire import StatusCode, live
from wire.config import EngineName
from wire.standard import Channelz
from wire.standard.generated.grpc.channelz import v1
from wire.standard.generated.grpc.channelz.v1.channelz_wire import ChannelzStub


def _refuses(request: bytes, context: wire.ServerContext) -> bytes:
    raise wire.RpcError(StatusCode.NOT_FOUND, "no")


def _serve(test: Callable[[ChannelzStub, ProbeStub, str], Awaitable[None]], engine: EngineName = "tuned") -> None:
    async def main() -> None:
        config = wire.ServerConfig(engine=engine)
        async with wire.Server([Probe(ServerStream=_refuses), Channelz()], config=config) as server:
            address = await server.listen("127.0.0.1:0")
            async with wire.Channel(address) as channel, wire.Channel(address) as asking:
                await test(ChannelzStub(asking), ProbeStub(channel), address)
            await server.stop(0)

    gc.collect()  # servers of other tests that failed
    run(main)


async def _own(channelz: ChannelzStub, address: str) -> v1.Server:
    answer = await channelz.get_servers(v1.GetServersRequest())
    (server,) = [each for each in answer.server if [ref.name for ref in each.listen_socket] == [address]]
    return server


def test_a_server_counts_its_calls_also_those_of_connections_that_are_gone(engine: EngineName) -> None:
    async def test(channelz: ChannelzStub, probe: ProbeStub, address: str) -> None:
        await probe.unary(b"x")
        await end_of(probe.server_stream(b"x"), "ServerStream")
        async with probe.bidi() as call:
            await call.send(b"x")
            await anext(call)
            server = await _own(channelz, address)
            assert server.ref is not None
            assert server.ref.name == "probe.v1.Probe, grpc.channelz.v1.Channelz"
            assert server.data is not None
            counts = (server.data.calls_started, server.data.calls_succeeded, server.data.calls_failed)
            assert counts == (4, 1, 1)  # the open one is neither, nor is the one that asks
        asked = 2  # counting the questions, of which the one that is asked is open
        async with wire.Channel(address) as other:
            await ProbeStub(other).unary(b"x")
            await end_of(ProbeStub(other).server_stream(b"x"), "ServerStream")
        assert server.ref is not None
        sockets = v1.GetServerSocketsRequest(server_id=server.ref.server_id)
        with anyio.fail_after(30):
            while len((await channelz.get_server_sockets(sockets)).socket_ref) > 2:
                asked += 1
        server = await _own(channelz, address)
        assert server.data is not None
        assert server.data.calls_started == 5 + asked + 1
        assert server.data.calls_succeeded == 2 + asked
        assert server.data.calls_failed == 3  # among them the stream that was cancelled

    _serve(test, engine)


def test_sockets_have_their_peers_windows_and_counts(engine: EngineName) -> None:
    async def test(channelz: ChannelzStub, probe: ProbeStub, address: str) -> None:
        await probe.unary(b"x" * 1000)
        await probe.unary(b"x")
        server = await _own(channelz, address)
        assert server.ref is not None
        answer = await channelz.get_server_sockets(v1.GetServerSocketsRequest(server_id=server.ref.server_id))
        assert answer.end
        assert len(answer.socket_ref) == 2
        sockets = [
            (await channelz.get_socket(v1.GetSocketRequest(socket_id=ref.socket_id))).socket
            for ref in answer.socket_ref
        ]
        (socket,) = [each for each in sockets if each and each.data and each.data.streams_started == 2]
        assert socket.data is not None
        assert (socket.data.streams_succeeded, socket.data.streams_failed) == (2, 0)
        assert socket.data.local_flow_control_window is not None
        assert 0 < socket.data.local_flow_control_window <= 2**31 - 1
        assert socket.data.remote_flow_control_window == wire.Http2Config().connection_window_bytes - 1011
        assert socket.remote is not None
        assert socket.remote.tcpip_address is not None
        assert socket.remote.tcpip_address.ip_address == bytes([127, 0, 0, 1])
        listening = server.listen_socket[0].socket_id
        listener = (await channelz.get_socket(v1.GetSocketRequest(socket_id=listening))).socket
        assert listener is not None
        assert listener.local is not None
        assert listener.local.tcpip_address is not None
        assert listener.local.tcpip_address.port == int(address.rpartition(":")[2])

    _serve(test, engine)


def test_a_channel_tells_of_its_calls_its_subchannel_and_its_connection() -> None:
    async def test(channelz: ChannelzStub, probe: ProbeStub, address: str) -> None:
        await probe.unary(b"x")
        await end_of(probe.server_stream(b"x"), "ServerStream")
        found = (await channelz.get_top_channels(v1.GetTopChannelsRequest())).channel
        (channel,) = [
            each for each in found if each.data and (each.data.target, each.data.calls_failed) == (address, 1)
        ]
        assert channel.data is not None
        assert channel.ref is not None
        assert (channel.data.calls_started, channel.data.calls_succeeded) == (2, 1)
        assert channel.data.state is not None
        assert channel.data.state.state is v1.ChannelConnectivityStateState.READY
        same = (await channelz.get_channel(v1.GetChannelRequest(channel_id=channel.ref.channel_id))).channel
        assert same == channel
        (ref,) = channel.subchannel_ref
        asked = v1.GetSubchannelRequest(subchannel_id=ref.subchannel_id)
        subchannel = (await channelz.get_subchannel(asked)).subchannel
        assert subchannel is not None
        assert subchannel.data is not None
        assert (subchannel.data.calls_started, subchannel.data.calls_failed) == (2, 1)
        (socket_ref,) = subchannel.socket_ref
        socket = (await channelz.get_socket(v1.GetSocketRequest(socket_id=socket_ref.socket_id))).socket
        assert socket is not None
        assert socket.remote_name == address

    _serve(test)


def test_a_channel_counts_the_calls_of_connections_that_are_gone() -> None:
    async def main() -> None:
        async with serving(Probe(ServerStream=_refuses)) as (server, address), wire.Channel(address) as channel:
            probe = ProbeStub(channel)
            await probe.unary(b"x")
            await end_of(probe.server_stream(b"x"), "ServerStream")
            await server.stop(0)
            with anyio.fail_after(30):
                while channel.live_state().connections:
                    await anyio.lowlevel.checkpoint()
            state = channel.live_state()
            assert (state.calls_started, state.calls_failed, state.calls_open) == (2, 1, 0)

    run(main)


def test_answers_come_in_pages() -> None:
    async def test(channelz: ChannelzStub, probe: ProbeStub, address: str) -> None:
        await probe.unary(b"x")
        server = await _own(channelz, address)
        assert server.ref is not None
        asked = v1.GetServerSocketsRequest(server_id=server.ref.server_id, max_results=1)
        first = await channelz.get_server_sockets(asked)
        assert (len(first.socket_ref), first.end) == (1, False)
        asked.start_socket_id = first.socket_ref[0].socket_id + 1
        second = await channelz.get_server_sockets(asked)
        assert (len(second.socket_ref), second.end) == (1, True)
        assert first.socket_ref != second.socket_ref

    _serve(test)


def test_what_is_not_there_is_not_found() -> None:
    async def test(channelz: ChannelzStub, probe: ProbeStub, address: str) -> None:
        for call in (
            channelz.get_server(v1.GetServerRequest(server_id=-1)),
            channelz.get_server_sockets(v1.GetServerSocketsRequest(server_id=-1)),
            channelz.get_socket(v1.GetSocketRequest(socket_id=-1)),
            channelz.get_channel(v1.GetChannelRequest(channel_id=-1)),
            channelz.get_subchannel(v1.GetSubchannelRequest(subchannel_id=-1)),
        ):
            with pytest.raises(wire.RpcError) as caught:
                await call
            assert caught.value.code is StatusCode.NOT_FOUND

    _serve(test)


def test_a_server_that_nobody_holds_is_not_told_of() -> None:
    gc.collect()
    before = len(live.servers())
    server = wire.Server([Probe()])
    assert [state.services for state in live.servers()[before:]] == [("probe.v1.Probe",)]
    del server
    gc.collect()  # PyPy frees nothing before
    assert len(live.servers()) == before


def test_a_server_that_is_hidden_is_not_told_of() -> None:
    before = live.servers()
    server = wire.Server([Probe()])
    live.hide(server)
    assert live.servers() == before


def test_what_is_closed_is_not_told_of_and_a_channel_is_from_the_start() -> None:
    async def main() -> None:
        gc.collect()
        before = live.servers(), live.channels()
        async with wire.Server([Probe()]) as server:
            address = await server.listen("127.0.0.1:0")
            channel = wire.Channel(address)
            assert [state.connectivity for state in live.channels()] == [
                *(state.connectivity for state in before[1]),
                "IDLE",
            ]
            await ProbeStub(channel).unary(b"x")
            (connection,) = live.channels()[-1].connections
            assert connection.peer.address == address
            (accepted,) = live.servers()[-1].connections
            assert (accepted.local, connection.local) == (address, accepted.peer.address)
            await channel.close()
            await server.stop(0)
            assert (live.servers(), live.channels()) == before

    asyncio.run(main())


def test_any_thread_may_ask_while_connections_come_and_go() -> None:
    async def main() -> None:
        async with wire.Server([Probe()]) as server:
            address = await server.listen("127.0.0.1:0")
            over = threading.Event()
            asking = asyncio.create_task(asyncio.to_thread(ask, over))
            for _ in range(50):
                async with wire.Channel(address) as channel:
                    await ProbeStub(channel).unary(b"x")
            over.set()
            await asking
            await server.stop(0)

    def ask(over: threading.Event) -> None:
        while not over.is_set():
            live.servers()
            live.channels()

    asyncio.run(main())
