"""`grpc` over wire: programs written for grpcio run unchanged, without its compiled core.

Three ways in:

    import wire.grpcio as grpc              # in one's own code
    wire.grpcio.install()                   # from then on, `import grpc` anywhere in the process means this package
    python -m wire.grpcio SCRIPT ARGS…      # does that before it runs a program; -m MODULE as well

Names and behaviour are those of grpcio, whose documentation describes them; docs/from-grpcio.md lists what differs.
Files are named as theirs, so that what knows its way there finds it here.

    _enums, _errors, _abstract    enumerations, exceptions, abstract classes
    _utilities                    handlers, as generated code makes them
    _credentials, _options        certificates and channel arguments as wire's configuration
    _metadata, _peer              metadata and the peer's identity, as grpc gives them
    _channel, _call               calls of threads
    _server, _handling, _context, _pumping    servers whose handlers run in threads
    _interceptor, _ready          what stands before a channel; a future of its being ready
    aio/                          grpc.aio
    _install                      `import grpc` is this package

Imports wire's public names.
"""

import logging

from wire.grpcio import _common, aio, experimental
from wire.grpcio._abstract import (
    AuthMetadataContext,
    AuthMetadataPlugin,
    AuthMetadataPluginCallback,
    Call,
    Channel,
    ClientCallDetails,
    Future,
    GenericRpcHandler,
    HandlerCallDetails,
    RpcContext,
    RpcMethodHandler,
    Server,
    ServerInterceptor,
    ServicerContext,
    ServiceRpcHandler,
    Status,
    StreamStreamClientInterceptor,
    StreamStreamMultiCallable,
    StreamUnaryClientInterceptor,
    StreamUnaryMultiCallable,
    UnaryStreamClientInterceptor,
    UnaryStreamMultiCallable,
    UnaryUnaryClientInterceptor,
    UnaryUnaryMultiCallable,
)
from wire.grpcio._channel import insecure_channel, secure_channel
from wire.grpcio._credentials import (
    CallCredentials,
    ChannelCredentials,
    ServerCredentials,
    access_token_call_credentials,
    alts_channel_credentials,
    alts_server_credentials,
    composite_call_credentials,
    composite_channel_credentials,
    compute_engine_channel_credentials,
    dynamic_ssl_server_credentials,
    insecure_server_credentials,
    local_channel_credentials,
    local_server_credentials,
    metadata_call_credentials,
    ssl_channel_credentials,
    ssl_server_certificate_configuration,
    ssl_server_credentials,
    xds_channel_credentials,
    xds_server_credentials,
)
from wire.grpcio._cython import cygrpc as _cygrpc
from wire.grpcio._enums import ChannelConnectivity, Compression, LocalConnectionType, StatusCode
from wire.grpcio._errors import FutureCancelledError, FutureTimeoutError, RpcError
from wire.grpcio._install import install
from wire.grpcio._interceptor import intercept_channel
from wire.grpcio._ready import channel_ready_future
from wire.grpcio._renewed_tls import ServerCertificateConfiguration
from wire.grpcio._runtime_protos import protos, protos_and_services, services
from wire.grpcio._server import server
from wire.grpcio._utilities import (
    method_handlers_generic_handler,
    stream_stream_rpc_method_handler,
    stream_unary_rpc_method_handler,
    unary_stream_rpc_method_handler,
    unary_unary_rpc_method_handler,
)
from wire.grpcio.version import __version__

logging.getLogger("grpc").addHandler(logging.NullHandler())  # as grpcio: silent, until the program configures logging

_ALSO = (_common, _cygrpc, aio, experimental, install, __version__)  # reached as `grpc.…`, as in grpcio; not exported

__all__ = [
    "AuthMetadataContext",
    "AuthMetadataPlugin",
    "AuthMetadataPluginCallback",
    "Call",
    "CallCredentials",
    "Channel",
    "ChannelConnectivity",
    "ChannelCredentials",
    "ClientCallDetails",
    "Compression",
    "Future",
    "FutureCancelledError",
    "FutureTimeoutError",
    "GenericRpcHandler",
    "HandlerCallDetails",
    "LocalConnectionType",
    "RpcContext",
    "RpcError",
    "RpcMethodHandler",
    "Server",
    "ServerCertificateConfiguration",
    "ServerCredentials",
    "ServerInterceptor",
    "ServiceRpcHandler",
    "ServicerContext",
    "Status",
    "StatusCode",
    "StreamStreamClientInterceptor",
    "StreamStreamMultiCallable",
    "StreamUnaryClientInterceptor",
    "StreamUnaryMultiCallable",
    "UnaryStreamClientInterceptor",
    "UnaryStreamMultiCallable",
    "UnaryUnaryClientInterceptor",
    "UnaryUnaryMultiCallable",
    "access_token_call_credentials",
    "alts_channel_credentials",
    "alts_server_credentials",
    "channel_ready_future",
    "composite_call_credentials",
    "composite_channel_credentials",
    "compute_engine_channel_credentials",
    "dynamic_ssl_server_credentials",
    "insecure_channel",
    "insecure_server_credentials",
    "intercept_channel",
    "local_channel_credentials",
    "local_server_credentials",
    "metadata_call_credentials",
    "method_handlers_generic_handler",
    "protos",
    "protos_and_services",
    "secure_channel",
    "server",
    "services",
    "ssl_channel_credentials",
    "ssl_server_certificate_configuration",
    "ssl_server_credentials",
    "stream_stream_rpc_method_handler",
    "stream_unary_rpc_method_handler",
    "unary_stream_rpc_method_handler",
    "unary_unary_rpc_method_handler",
    "xds_channel_credentials",
    "xds_server_credentials",
]
