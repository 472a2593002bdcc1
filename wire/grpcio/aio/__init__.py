"""`grpc.aio`: asyncio calls and servers, over wire. The names are documented where grpcio documents them."""

from wire.grpcio._errors import EOF, AbortError, BaseError, InternalError, UsageError
from wire.grpcio.aio._base_call import (
    Call,
    RpcContext,
    StreamStreamCall,
    StreamUnaryCall,
    UnaryStreamCall,
    UnaryUnaryCall,
)
from wire.grpcio.aio._base_channel import (
    Channel,
    StreamStreamMultiCallable,
    StreamUnaryMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
)
from wire.grpcio.aio._base_server import Server, ServicerContext
from wire.grpcio.aio._call import AioRpcError
from wire.grpcio.aio._channel import insecure_channel, secure_channel
from wire.grpcio.aio._interceptor import (
    ClientCallDetails,
    ClientInterceptor,
    InterceptedUnaryUnaryCall,
    ServerInterceptor,
    StreamStreamClientInterceptor,
    StreamUnaryClientInterceptor,
    UnaryStreamClientInterceptor,
    UnaryUnaryClientInterceptor,
)
from wire.grpcio.aio._metadata import Metadata
from wire.grpcio.aio._server import server
from wire.grpcio.aio._typing import ChannelArgumentType  # noqa: F401  # as there, not exported

__all__ = [
    "EOF",
    "AbortError",
    "AioRpcError",
    "BaseError",
    "Call",
    "Channel",
    "ClientCallDetails",
    "ClientInterceptor",
    "InterceptedUnaryUnaryCall",
    "InternalError",
    "Metadata",
    "RpcContext",
    "Server",
    "ServerInterceptor",
    "ServicerContext",
    "StreamStreamCall",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryCall",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamCall",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryCall",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
    "UsageError",
    "init_grpc_aio",
    "insecure_channel",
    "secure_channel",
    "server",
    "shutdown_grpc_aio",
]


def init_grpc_aio() -> None:
    """Does nothing: an event loop is all that is needed."""


def shutdown_grpc_aio() -> None:
    """Does nothing."""
