"""gRPC in pure Python: over TCP, UNIX sockets and AF_VSOCK, built for speed and for being looked into.

What users need is exported here. What lies underneath, from the bytes up:

    transport/    sockets, TLS and event loops: bytes in, bytes out; one contract for all
    http2/        bytes ⇄ frames and streams; one contract (`engine`), two engines (`tuned/`, `h2/`)
    rpc/          streams ⇄ messages: framing, compression, header fields
    codec/        messages ⇄ betterproto2 objects, by functions compiled for each class
    service       services as plain data, and what implements them
    connection    joins a transport, an engine and the calls on it
    messages      of streaming calls, bounded in both directions; `message_decoder`: one message → its object
    server/       accepting, finding handlers, one call on a server
    client/       channels, their connections, one call on a client
    blocking/     the same for threads, without an event loop
    stub          typed stubs, for either
    inspect/      what is on the wire in words: trace, tap, captures
    standard/     health, reflection, rich errors, calls without generated code
    testing       a server without sockets and a channel to it, for tests
    generate/     .proto files → messages, bases and stubs
    programs/     wire-client, wire-bench, wire-tap, and what the programs in `bin/` are made of
    config        every knob of a server or channel
    process       knobs of the whole process
    errors, status, metadata, deadline, throttle (log lines that peers can cause)

docs/architecture.md follows one call through these files.
"""

from wire import blocking
from wire.client.call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.client.channel import Channel
from wire.client.channel_base import ClientInterceptor, StartCall
from wire.client.connectivity import ConnectivityState
from wire.client.credentials import CallContext, CallCredentials
from wire.codec import Codec, codec_for
from wire.config import (
    CallConfig,
    ChannelConfig,
    Http2Config,
    KeepaliveConfig,
    OutlierConfig,
    ServerConfig,
    TransportConfig,
)
from wire.errors import (
    AddressError,
    CodecError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    EncodeError,
    ListenError,
    MetadataError,
    ServiceError,
    TlsError,
    TransportError,
    UsageError,
    WireError,
)
from wire.metadata import Metadata, MetadataInput
from wire.process import tune_process
from wire.server.activation import inherited_sockets
from wire.server.context import ServerContext
from wire.server.server import Server, bind, bind_all
from wire.server.serving import serve
from wire.server.workers import Worker, run_workers
from wire.service import Handler, Method, Responses, ServerInterceptor, Service, Servicer, per_message
from wire.status import CallError, RpcError, StatusCode
from wire.stub import AnyChannel, StreamStream, StreamUnary, Stub, UnaryStream, UnaryUnary
from wire.transport.runtime import run
from wire.transport.tls import ClientTls, ServerTls
from wire.version import VERSION

__version__ = VERSION

__all__ = [
    "AddressError",
    "AnyChannel",
    "CallConfig",
    "CallContext",
    "CallCredentials",
    "CallError",
    "Channel",
    "ChannelConfig",
    "ClientInterceptor",
    "ClientTls",
    "Codec",
    "CodecError",
    "ConfigurationError",
    "ConnectError",
    "ConnectivityState",
    "DecodeError",
    "EncodeError",
    "Handler",
    "Http2Config",
    "KeepaliveConfig",
    "ListenError",
    "Metadata",
    "MetadataError",
    "MetadataInput",
    "Method",
    "OutlierConfig",
    "Responses",
    "RpcError",
    "Server",
    "ServerConfig",
    "ServerContext",
    "ServerInterceptor",
    "ServerTls",
    "Service",
    "ServiceError",
    "Servicer",
    "StartCall",
    "StatusCode",
    "StreamStream",
    "StreamStreamCall",
    "StreamUnary",
    "StreamUnaryCall",
    "Stub",
    "TlsError",
    "TransportConfig",
    "TransportError",
    "UnaryStream",
    "UnaryStreamCall",
    "UnaryUnary",
    "UnaryUnaryCall",
    "UsageError",
    "WireError",
    "Worker",
    "__version__",
    "bind",
    "bind_all",
    "blocking",
    "codec_for",
    "inherited_sockets",
    "per_message",
    "run",
    "run_workers",
    "serve",
    "tune_process",
]
