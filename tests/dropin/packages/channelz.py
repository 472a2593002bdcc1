"""grpcio-channelz: its servicers, sync and asyncio, tell of servers and channels of both kinds."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_channelz.v1 import channelz, channelz_pb2_grpc
from grpc_channelz.v1 import channelz_pb2 as pb2

HIDDEN = [("grpc.enable_channelz", 0)]


def fail(request, context):
    context.abort(grpc.StatusCode.ABORTED, "on purpose")


def handlers():
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    return grpc.method_handlers_generic_handler("test.Observed", methods)


def call(channel, times, failing):
    for _ in range(times):
        channel.unary_unary("/test.Observed/Say")(b"hello")
    for _ in range(failing):
        try:
            channel.unary_unary("/test.Observed/Fail")(b"hello")
        except grpc.RpcError as error:
            print(error.code())


def calls(data):
    return data.calls_started, data.calls_succeeded, data.calls_failed


def not_found(rpc, request):
    try:
        rpc(request)
    except grpc.RpcError as error:
        print(error.code(), error.details())


def tell(stub, port):
    """What is said of a server and of the channel to it, after three calls that succeeded and two that failed."""
    servers = stub.GetServers(pb2.GetServersRequest(start_server_id=0))
    print(len(servers.server), servers.end)
    server = stub.GetServer(pb2.GetServerRequest(server_id=servers.server[0].ref.server_id)).server
    print(calls(server.data), len(server.listen_socket))
    sockets = stub.GetServerSockets(pb2.GetServerSocketsRequest(server_id=server.ref.server_id))
    print(len(sockets.socket_ref), sockets.end)
    socket = stub.GetSocket(pb2.GetSocketRequest(socket_id=sockets.socket_ref[0].socket_id)).socket
    print(socket.data.streams_started, socket.remote.tcpip_address.ip_address, socket.remote.tcpip_address.port > 0)
    listening = stub.GetSocket(pb2.GetSocketRequest(socket_id=server.listen_socket[0].socket_id)).socket
    print(listening.local.tcpip_address.ip_address)
    channels = stub.GetTopChannels(pb2.GetTopChannelsRequest(start_channel_id=0))
    print(len(channels.channel), channels.end)
    channel = stub.GetChannel(pb2.GetChannelRequest(channel_id=channels.channel[0].ref.channel_id)).channel
    print(calls(channel.data), pb2.ChannelConnectivityState.State.Name(channel.data.state.state))
    print(channel.data.target.endswith(f"127.0.0.1:{port}"))
    reference = channel.subchannel_ref[0].subchannel_id
    subchannel = stub.GetSubchannel(pb2.GetSubchannelRequest(subchannel_id=reference)).subchannel
    print(calls(subchannel.data), subchannel.data.target.endswith(f"127.0.0.1:{port}"))
    socket = stub.GetSocket(pb2.GetSocketRequest(socket_id=subchannel.socket_ref[0].socket_id)).socket
    print(socket.remote.tcpip_address.port == port)
    not_found(stub.GetServer, pb2.GetServerRequest(server_id=10**6))
    not_found(stub.GetServerSockets, pb2.GetServerSocketsRequest(server_id=10**6, max_results=7))
    not_found(stub.GetChannel, pb2.GetChannelRequest(channel_id=10**6))
    not_found(stub.GetSubchannel, pb2.GetSubchannelRequest(subchannel_id=10**6))
    not_found(stub.GetSocket, pb2.GetSocketRequest(socket_id=10**6))
    print(stub.GetServers(pb2.GetServersRequest(start_server_id=10**6)))


def sync():
    observed = grpc.server(ThreadPoolExecutor(2))
    observed.add_generic_rpc_handlers((handlers(),))
    port = observed.add_insecure_port("127.0.0.1:0")
    observed.start()
    observer = grpc.server(ThreadPoolExecutor(2), options=HIDDEN)
    channelz.add_channelz_servicer(observer)
    observer_port = observer.add_insecure_port("127.0.0.1:0")
    observer.start()
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{observer_port}", options=HIDDEN) as looking,
    ):
        call(channel, 3, 2)
        tell(channelz_pb2_grpc.ChannelzStub(looking), port)
    observer.stop(None)
    observed.stop(None).wait()


async def asynchronous():
    observer = grpc.aio.server(options=HIDDEN)
    channelz.add_channelz_servicer(observer)
    port = observer.add_insecure_port("127.0.0.1:0")
    await observer.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=HIDDEN) as looking:
        stub = channelz_pb2_grpc.ChannelzStub(looking)
        before = await stub.GetServers(pb2.GetServersRequest())
        observed = grpc.aio.server()
        observed.add_generic_rpc_handlers((handlers(),))
        observed_port = observed.add_insecure_port("127.0.0.1:0")
        await observed.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{observed_port}") as channel:
            await channel.unary_unary("/test.Observed/Say")(b"hello")
            servers = (await stub.GetServers(pb2.GetServersRequest())).server
            print(len(servers) - len(before.server), calls(servers[-1].data))
            channels = (await stub.GetTopChannels(pb2.GetTopChannelsRequest())).channel
            print(calls(channels[-1].data), channels[-1].data.state.state == pb2.ChannelConnectivityState.READY)
            try:
                await stub.GetServer(pb2.GetServerRequest(server_id=10**6))
            except grpc.aio.AioRpcError as error:
                print(error.code(), error.details())
        await observed.stop(None)
    await observer.stop(None)


sync()
asyncio.run(asynchronous())
