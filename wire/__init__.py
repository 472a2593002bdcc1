"""gRPC in pure Python: over TCP, UNIX sockets and AF_VSOCK, built for speed and for being looked into.

What users need is exported here. What lies underneath, from the bytes up:

    transport/    sockets, TLS and event loops: bytes in, bytes out; `racing` orders a target's addresses
    http2/        bytes ⇄ frames and streams; one contract (`engine`), two engines (`tuned/`, `h2_engine`), and what
                  both share: `receiving` (windows), `queues` (DATA that waits), `late` (frames after a reset), `limits`
    rpc/          streams ⇄ messages: framing, compression, header fields
    codec/        messages ⇄ betterproto2 objects, by functions compiled for each class
    connection    joins a link, an engine and the calls on it
    message_decoder   messages → objects within limits, long ones in a thread
    flow          messages of streaming calls, bounded in both directions
    server, server_call             accepting, finding handlers, one call on a server
    channel, pool, dialing          connections of a client: which call runs where, and how one is made
    client_call, exchange           one call on a client: what its user holds, and what does the work
    service       services as plain data, typed stubs and servicers
    config        every knob of a server or channel
    process       knobs of the whole process
    errors, status, metadata, deadline, throttle (log lines that peers can cause)

docs/architecture.md follows one call through these files.
"""

from wire.channel import Channel
from wire.client_call import StreamStreamCall, StreamUnaryCall, UnaryStreamCall, UnaryUnaryCall
from wire.codec import Codec, codec_for
from wire.config import CallConfig, ChannelConfig, Http2Config, KeepaliveConfig, ServerConfig, TransportConfig
from wire.errors import (
    AddressError,
    CallError,
    CodecError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    EncodeError,
    ListenError,
    MetadataError,
    RpcError,
    ServiceError,
    TlsError,
    TransportError,
    UsageError,
    WireError,
)
from wire.metadata import Metadata, MetadataInput
from wire.process import tune_process
from wire.server import Server
from wire.server_call import ServerContext
from wire.service import Responses, Service, Servicer, StreamStream, StreamUnary, Stub, UnaryStream, UnaryUnary
from wire.status import StatusCode
from wire.transport.runtime import run
from wire.transport.tls import ClientTls, ServerTls

__all__ = [
    "AddressError",
    "CallConfig",
    "CallError",
    "Channel",
    "ChannelConfig",
    "ClientTls",
    "Codec",
    "CodecError",
    "ConfigurationError",
    "ConnectError",
    "DecodeError",
    "EncodeError",
    "Http2Config",
    "KeepaliveConfig",
    "ListenError",
    "Metadata",
    "MetadataError",
    "MetadataInput",
    "Responses",
    "RpcError",
    "Server",
    "ServerConfig",
    "ServerContext",
    "ServerTls",
    "Service",
    "ServiceError",
    "Servicer",
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
    "codec_for",
    "run",
    "tune_process",
]
