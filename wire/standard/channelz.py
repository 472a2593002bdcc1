"""Channelz (gRPC proposal A14): a process tells of its channels, servers and sockets, to grpcdebug
and others.

What it says comes from `wire.live`, when it is asked for. Timestamps and counts of single messages are not kept, as
they would cost every call; neither are traces of events. Imports `wire` and the generated messages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import TypeVar

import wire
from wire import live
from wire.standard.generated.grpc.channelz import v1
from wire.standard.generated.grpc.channelz.v1.channelz_wire import ChannelzBase

T = TypeVar("T")

_PAGE = 100
"""Entries of an answer, when the question does not say how many at most."""


class Channelz(ChannelzBase):
    """The service grpc.channelz.v1.Channelz. Give it to a `Server`; it tells of all channels and servers of its
    process.

    Whoever may call it sees the addresses of all peers: on a server that strangers reach, put an interceptor in front.
    """

    inline = True

    def get_servers(self, request: v1.GetServersRequest, context: wire.ServerContext) -> v1.GetServersResponse:
        states = [state for state in live.servers() if state.number >= request.start_server_id]
        page, end = _page(states, request.max_results)
        return v1.GetServersResponse(server=[_server(state) for state in page], end=end)

    def get_server(self, request: v1.GetServerRequest, context: wire.ServerContext) -> v1.GetServerResponse:
        return v1.GetServerResponse(server=_server(_find_server(request.server_id)))

    def get_server_sockets(
        self, request: v1.GetServerSocketsRequest, context: wire.ServerContext
    ) -> v1.GetServerSocketsResponse:
        connections = _find_server(request.server_id).connections
        later = [each for each in connections if each.number >= request.start_socket_id]
        page, end = _page(later, request.max_results)
        refs = [v1.SocketRef(socket_id=each.number, name=each.peer.address) for each in page]
        return v1.GetServerSocketsResponse(socket_ref=refs, end=end)

    def get_socket(self, request: v1.GetSocketRequest, context: wire.ServerContext) -> v1.GetSocketResponse:
        for server in live.servers():
            for listener in server.listeners:
                if listener.number == request.socket_id:
                    ref = v1.SocketRef(socket_id=listener.number, name=listener.address)
                    return v1.GetSocketResponse(socket=v1.Socket(ref=ref, local=_address(listener.address)))
            for connection in server.connections:
                if connection.number == request.socket_id:
                    return v1.GetSocketResponse(socket=_socket(connection))
        for channel in live.channels():
            for connection in channel.connections:
                if connection.number == request.socket_id:
                    return v1.GetSocketResponse(socket=_socket(connection))
        raise wire.RpcError(wire.StatusCode.NOT_FOUND, f"there is no socket {request.socket_id}")

    def get_top_channels(
        self, request: v1.GetTopChannelsRequest, context: wire.ServerContext
    ) -> v1.GetTopChannelsResponse:
        states = [state for state in live.channels() if state.number >= request.start_channel_id]
        page, end = _page(states, request.max_results)
        return v1.GetTopChannelsResponse(channel=[_channel(state) for state in page], end=end)

    def get_channel(self, request: v1.GetChannelRequest, context: wire.ServerContext) -> v1.GetChannelResponse:
        for state in live.channels():
            if state.number == request.channel_id:
                return v1.GetChannelResponse(channel=_channel(state))
        raise wire.RpcError(wire.StatusCode.NOT_FOUND, f"there is no channel {request.channel_id}")

    def get_subchannel(self, request: v1.GetSubchannelRequest, context: wire.ServerContext) -> v1.GetSubchannelResponse:
        for channel in live.channels():
            for state in channel.subchannels:
                if state.number == request.subchannel_id:
                    return v1.GetSubchannelResponse(subchannel=_subchannel(state, channel))
        raise wire.RpcError(wire.StatusCode.NOT_FOUND, f"there is no subchannel {request.subchannel_id}")


def _page(items: Sequence[T], max_results: int) -> tuple[Sequence[T], bool]:
    """The first items, and whether these are all."""
    size = max_results if max_results > 0 else _PAGE
    return items[:size], len(items) <= size


def _find_server(number: int) -> live.ServerState:
    for state in live.servers():
        if state.number == number:
            return state
    raise wire.RpcError(wire.StatusCode.NOT_FOUND, f"there is no server {number}")


def _server(state: live.ServerState) -> v1.Server:
    return v1.Server(
        ref=v1.ServerRef(server_id=state.number, name=", ".join(state.services)),
        data=v1.ServerData(
            calls_started=state.calls_started,
            calls_succeeded=max(0, state.calls_started - state.calls_failed - state.calls_open),
            calls_failed=state.calls_failed,
        ),
        listen_socket=[v1.SocketRef(socket_id=each.number, name=each.address) for each in state.listeners],
    )


def _data(connectivity: str, target: str, started: int, failed: int, running: int) -> v1.ChannelData:
    return v1.ChannelData(
        state=v1.ChannelConnectivityState(state=v1.ChannelConnectivityStateState[connectivity]),
        target=target,
        calls_started=started,
        calls_succeeded=max(0, started - failed - running),
        calls_failed=failed,
    )


def _channel(state: live.ChannelState) -> v1.Channel:
    return v1.Channel(
        ref=v1.ChannelRef(channel_id=state.number, name=state.target),
        data=_data(state.connectivity, state.target, state.calls_started, state.calls_failed, state.calls_open),
        subchannel_ref=[v1.SubchannelRef(subchannel_id=each.number, name=each.address) for each in state.subchannels],
    )


def _subchannel(state: live.SubchannelState, channel: live.ChannelState) -> v1.Subchannel:
    connections = [each for each in channel.connections if each.number in state.connections]
    return v1.Subchannel(
        ref=v1.SubchannelRef(subchannel_id=state.number, name=state.address),
        data=_data(
            state.connectivity,
            state.address,
            sum(each.streams_opened for each in connections),
            sum(each.streams_failed for each in connections),
            sum(each.streams_open for each in connections),
        ),
        socket_ref=[v1.SocketRef(socket_id=each.number, name=each.peer.address) for each in connections],
    )


def _socket(state: live.ConnectionState) -> v1.Socket:
    peer = state.peer
    security = None
    if peer.tls_version is not None:
        tls = v1.SecurityTls(other_name=peer.tls_version, remote_certificate=peer.certificate or b"")
        security = v1.Security(tls=tls)
    return v1.Socket(
        ref=v1.SocketRef(socket_id=state.number, name=peer.address),
        data=v1.SocketData(
            streams_started=state.streams_opened,
            streams_succeeded=max(0, state.streams_opened - state.streams_failed - state.streams_open),
            streams_failed=state.streams_failed,
            local_flow_control_window=state.send_window,
            remote_flow_control_window=state.receive_window,
            option=[v1.SocketOption(name=name, value=value) for name, value in _options(state)],
        ),
        local=None if state.local is None else _address(state.local),
        remote=_address(peer.address),
        security=security,
        remote_name=peer.address,
    )


def _options(state: live.ConnectionState) -> Iterator[tuple[str, str]]:
    """What channelz has no fields for."""
    yield "held_bytes", str(state.held_bytes)
    yield "idle_s", f"{state.idle_s:.3f}"
    if state.counters is not None:
        yield "bytes_received", str(state.counters.bytes_received)
        yield "bytes_sent", str(state.counters.bytes_sent)
        yield "round_trip_s", f"{state.counters.round_trip_s:.6f}"


def _address(address: str) -> v1.Address:
    """An address in gRPC's name syntax."""
    scheme, _, rest = address.partition(":")
    if scheme in ("ipv4", "ipv6"):
        host, _, port = rest.rpartition(":")
        packed = ipaddress.ip_address(host.strip("[]").partition("%")[0]).packed
        return v1.Address(tcpip_address=v1.AddressTcpIpAddress(ip_address=packed, port=int(port)))
    if scheme == "unix":
        return v1.Address(uds_address=v1.AddressUdsAddress(filename=rest))
    return v1.Address(other_address=v1.AddressOtherAddress(name=address))
