"""Names of grpcio's compiled core that programs are known to import from it. Imports this package's."""

from wire.grpcio._channelz import (
    channelz_get_channel,
    channelz_get_server,
    channelz_get_server_sockets,
    channelz_get_servers,
    channelz_get_socket,
    channelz_get_subchannel,
    channelz_get_top_channels,
)
from wire.grpcio._errors import EOF, AbortError, BaseError, ExecuteBatchError, InternalError, UsageError

__all__ = [
    "EOF",
    "AbortError",
    "BaseError",
    "ExecuteBatchError",
    "InternalError",
    "UsageError",
    "channelz_get_channel",
    "channelz_get_server",
    "channelz_get_server_sockets",
    "channelz_get_servers",
    "channelz_get_socket",
    "channelz_get_subchannel",
    "channelz_get_top_channels",
]
