"""What grpcio-channelz asks grpcio's compiled core for: protobuf's JSON of what servers and channels are doing now.

It is what `wire.standard.Channelz` says. The option "grpc.enable_channelz" takes a server or channel out of it, as in
grpcio. Imports wire's standard services, when it is first asked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import wire
from wire.live import hide


def heed(options: dict[str, Any], made: Any) -> None:
    """Tell nobody of a server or channel whose options say so."""
    if not options.get("grpc.enable_channelz", True):
        hide(made)


@cache
def _service() -> tuple[Any, Any]:
    from wire.standard import channelz
    from wire.standard.generated.grpc.channelz import v1

    return channelz.Channelz(), v1


def _say(method: str, request: str, failure: str, **fields: int) -> bytes:
    """Raises `ValueError` with `failure` when there is no such thing."""
    service, messages = _service()
    try:
        reply = getattr(service, method)(getattr(messages, request)(**fields), None)
    except wire.RpcError:
        said = [f"{name}=={value}" for name, value in fields.items()]
        raise ValueError(f"Failed to get {failure}, please ensure your {' and '.join(said)} is valid") from None
    text: str = reply.to_json()
    return text.encode()


def channelz_get_top_channels(start_channel_id: int) -> bytes:
    return _say("get_top_channels", "GetTopChannelsRequest", "top channels", start_channel_id=start_channel_id)


def channelz_get_servers(start_server_id: int) -> bytes:
    return _say("get_servers", "GetServersRequest", "servers", start_server_id=start_server_id)


def channelz_get_server(server_id: int) -> bytes:
    return _say("get_server", "GetServerRequest", "the server", server_id=server_id)


def channelz_get_server_sockets(server_id: int, start_socket_id: int, max_results: int) -> bytes:
    return _say(
        "get_server_sockets",
        "GetServerSocketsRequest",
        "server sockets",
        server_id=server_id,
        start_socket_id=start_socket_id,
        max_results=max_results,
    )


def channelz_get_channel(channel_id: int) -> bytes:
    return _say("get_channel", "GetChannelRequest", "the channel", channel_id=channel_id)


def channelz_get_subchannel(subchannel_id: int) -> bytes:
    return _say("get_subchannel", "GetSubchannelRequest", "the subchannel", subchannel_id=subchannel_id)


def channelz_get_socket(socket_id: int) -> bytes:
    return _say("get_socket", "GetSocketRequest", "the socket", socket_id=socket_id)
