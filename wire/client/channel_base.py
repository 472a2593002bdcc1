"""What channels have in common, those of an event loop and those of threads: what their calls share.

Imports everything of the client's below it; nothing of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import get_ident
from typing import Any, TypeVar, cast

from wire.client.callables import CallCompression, CallingChannel
from wire.client.connectivity import ConnectivityState
from wire.client.credentials import CallCredentials, Gate
from wire.client.exchange import Caller, Waiting
from wire.client.method_config import MethodCaller
from wire.client.pool import Pool
from wire.client.preparation import Preparation, Prepared
from wire.client.retry import Tokens
from wire.config import ChannelConfig, CompressionName
from wire.deadline import DeadlineTimer
from wire.errors import AddressError, ConfigurationError, ServiceError, UsageError
from wire.live import ChannelState, enter_channel, next_number
from wire.rpc.compression import compressor
from wire.rpc.service_config import ServiceConfig, parse_service_config
from wire.service import Inspector, Method
from wire.transport.address import (
    Address,
    Dial,
    DialedAddress,
    DiscoveredAddress,
    Find,
    HybridVsockAddress,
    MemoryAddress,
    TcpAddress,
    TcpAddresses,
    UnixAddress,
    VsockAddress,
    parse_address,
)
from wire.transport.contract import Future, Runtime
from wire.transport.http_proxy import through_proxy
from wire.transport.tls import ClientTls
from wire.version import VERSION

_log = logging.getLogger("wire.client")

R = TypeVar("R")
S = TypeVar("S", bound=Callable[..., Any])

_LOCAL = (UnixAddress, VsockAddress, HybridVsockAddress, MemoryAddress)
"""What stays within the machine."""

StartCall = Callable[..., Any]
"""A stub's method: `(request or requests, **options) → call`. `Stub` says which options there are."""

ClientInterceptor = Callable[[Method[Any, Any], StartCall], StartCall]
"""Stands in front of a client's calls. Called once for each method when a stub is made, with the method and what starts
its calls; returns what to call in its place. That returns the call, or for one response anything that can be awaited.

    def tell(method, start):
        def intercepted(request, **options):
            print(method.path)
            return start(request, **options)
        return intercepted
"""

USER_AGENT = f"grpc-python-wire/{VERSION}"


class ChannelBase:
    """What a channel of an event loop and one of threads (`blocking`) have in common: all but opening and closing."""

    def __init__(
        self,
        target: str | Dial,
        *,
        config: ChannelConfig | None = None,
        tls: ClientTls | None = None,
        interceptors: Sequence[ClientInterceptor] = (),
        credentials: CallCredentials | None = None,
        service_config: ServiceConfig | Mapping[str, Any] | str | None = None,
        trace: Inspector | None = None,
        resolver: Find | None = None,
    ) -> None:
        self.number = next_number()
        self._trace = trace
        self._interceptors = tuple(interceptors)
        self.config = ChannelConfig() if config is None else config
        if not isinstance(self.config, ChannelConfig):
            raise ConfigurationError(f"a channel's config is a ChannelConfig, and not a {type(config).__name__}")
        self._service_config = _service_config(service_config)
        if self._service_config is not None:
            self.config = _configured(self.config, self._service_config)
            self._tokens = Tokens(self._service_config.throttling)
        self._address = _address(target, resolver, tls)
        self._tls = tls
        self._way = through_proxy(self._address, self.config.http_proxy, tls=tls is not None)
        authority = _authority(self._address) if self.config.authority is None else self.config.authority
        if not (authority.isascii() and authority.isprintable()):
            raise ConfigurationError(f"{authority!r} cannot be an authority: it must be printable ASCII")
        user_agent = f"{self.config.user_agent} {USER_AGENT} {self.config.user_agent_suffix}".strip()
        scheme = "http" if tls is None else "https"
        self._preparation = Preparation(scheme, authority, user_agent, self.config.calls, trace)
        encoding = self.config.calls.compression
        self.compress = None if encoding is None else compressor(encoding)
        self._credentials: tuple[CallCredentials, ...] = ()
        if credentials is not None:
            self._check_private()
            self._credentials = (credentials,)
        self._prepared: dict[Method[Any, Any], Prepared[Any]] = {}
        self._prepared_otherwise: dict[tuple[Method[Any, Any], str | None], Prepared[Any]] = {}
        self._runtime: Runtime | None = None
        self.thread = 0
        """The one that may make calls, once the channel is open: the event loop's."""
        self.new_future: Callable[[], Future[Any]]
        """The event loop's."""
        self.pool: Pool
        self.entrance: Waiting
        """Where calls go: the pool, or what stands before it."""
        self.deadlines: DeadlineTimer
        enter_channel(self)

    def __repr__(self) -> str:
        if self.state is ConnectivityState.SHUTDOWN:
            state = "closed"
        else:
            state = "not open" if self._runtime is None else f"{self.state}, {self.pool!r}"
        return f"<Channel to {self._address}: {state}>"

    @property
    def state(self) -> ConnectivityState:
        """What the channel is doing about its connections."""
        return ConnectivityState.IDLE if self._runtime is None else self.pool.connectivity.state

    @property
    def runtime(self) -> Runtime:
        """The event loop, which the channel is opened on unless it is open."""
        if self._runtime is None:
            self._open(self._start_runtime())
        assert self._runtime is not None
        return self._runtime

    def _start_runtime(self) -> Runtime:
        """What a channel that is not open opens on. Raises `UsageError`."""
        raise UsageError("the channel is not open")

    def _open(self, runtime: Runtime) -> None:
        runtime = runtime if self._trace is None else self._trace.around(runtime)
        self.thread = get_ident()
        self.new_future = runtime.future
        self.pool = Pool(runtime, self._way, self._tls, self.config, self._preparation)
        self.deadlines = DeadlineTimer(runtime.now, runtime.call_later)
        self._runtime = runtime  # behind the pool: another thread that sees it may ask for our state
        self.entrance = self._gate(self._credentials) if self._credentials else self.pool

    def live_state(self) -> ChannelState:
        """What the channel is doing now (`wire.live`)."""
        target = str(self._address)
        if self._runtime is None:
            return ChannelState(self.number, target, ConnectivityState.IDLE.name, 0, 0, 0, 0, (), ())
        return self.pool.live_state(self.number, target)

    def caller_for(self, method: Method[Any, Any]) -> CallingChannel:
        """What the calls of a method are made on: this channel, unless its service config says something of them."""
        if self._service_config is None or method.path is None:
            return self
        config = self._service_config.method(method.path)
        return self if config is None else MethodCaller(self, config, self._tokens)

    def intercepted(self, method: Method[Any, Any], start: S) -> S:
        """What starts a method's calls, with the channel's interceptors in front of it. Once for each method of a
        stub."""
        made: Any = start
        for interceptor in reversed(self._interceptors):
            made = interceptor(method, made)
            if not callable(made):
                raise ServiceError(f"the interceptor {interceptor!r} returned nothing to call for {method.path}")
        return cast(S, made)

    def prepared(self, method: Method[Any, R]) -> Prepared[R]:
        """What every call of `method` begins and ends with, as one object for all of them."""
        prepared = self._prepared.get(method)
        if prepared is None:
            _ = self.runtime  # opened here, so that it costs the calls that follow nothing
            prepared = self._prepared[method] = self._preparation.prepare(method, self.config.calls.compression)
        return prepared

    def prepared_for(self, method: Method[Any, R], compression: str | None) -> Prepared[R]:
        """As `prepared`, for calls that are compressed in another way than the channel's."""
        prepared = self._prepared_otherwise.get((method, compression))
        if prepared is None:
            prepared = self._prepared_otherwise[method, compression] = self._preparation.prepare(method, compression)
        return prepared

    def with_options(self, compression: CallCompression | None, credentials: CallCredentials | None) -> Caller:
        """The channel for calls that are made in another way than the rest. Raises `ConfigurationError`."""
        return self.variant(compression, credentials, self.config, lambda entrance: entrance)

    def variant(
        self,
        compression: CallCompression | None,
        credentials: CallCredentials | None,
        config: ChannelConfig,
        around: Callable[[Waiting], Waiting],
    ) -> Caller:
        """As `with_options`, with another config, and something more to stand before the calls."""
        encoding = config.calls.compression
        if compression is not None:
            encoding = None if compression == "identity" else compression
        _ = self.runtime
        entrance = self.entrance
        if credentials is not None:
            self._check_private()
            entrance = self._gate((*self._credentials, credentials))
        return _Variant(self, encoding, around(entrance), config)

    def _gate(self, credentials: Sequence[CallCredentials]) -> Gate:
        return Gate(self.runtime, self.pool, credentials, self._preparation.authority)

    def _check_private(self) -> None:
        """Raises when credentials would travel over a network that others can read."""
        in_clear = self._tls is None and not isinstance(self._address, _LOCAL)
        if in_clear and not self.config.credentials_in_clear:
            raise ConfigurationError(
                f"call credentials would travel to {self._address} in the clear: use TLS, or allow it by "
                "ChannelConfig(credentials_in_clear=True)"
            )


class _Variant:
    """A channel for calls that are made in another way than the rest; such a call keeps the channel. A `Caller`."""

    __slots__ = (
        "_channel",
        "_encoding",
        "compress",
        "config",
        "deadlines",
        "entrance",
        "new_future",
        "runtime",
        "thread",
    )

    def __init__(
        self, channel: ChannelBase, encoding: CompressionName | None, entrance: Waiting, config: ChannelConfig
    ) -> None:
        self._channel = channel
        self._encoding = encoding
        self.compress = None if encoding is None else compressor(encoding)
        self.config = config
        self.deadlines = channel.deadlines
        self.entrance = entrance
        self.runtime = channel.runtime
        self.new_future = channel.new_future
        self.thread = channel.thread

    def prepared(self, method: Method[Any, R]) -> Prepared[R]:
        prepared = self._channel.prepared_for(method, self._encoding)
        return prepared if self.config is self._channel.config else prepared.limited(self.config.calls)


def _service_config(given: ServiceConfig | Mapping[str, Any] | str | None) -> ServiceConfig | None:
    if given is None or isinstance(given, ServiceConfig):
        return given
    config = parse_service_config(given)
    if config.skipped:
        _log.warning("the service config has fields that are not known and do nothing: %s", ", ".join(config.skipped))
    return config


def _configured(config: ChannelConfig, service: ServiceConfig) -> ChannelConfig:
    """What the service config says beside what it says of methods comes first."""
    health = service.health_check_service
    return replace(
        config,
        load_balancing=service.load_balancing or config.load_balancing,
        health_check_service=config.health_check_service if health is None else health,
    )


def _address(target: str | Dial, resolver: Find | None, tls: ClientTls | None) -> Address:
    if not isinstance(target, str):
        if not callable(target):
            raise AddressError(f'a target is an address such as "localhost:50051", or a function, and not {target!r}')
        if resolver is not None:
            raise ConfigurationError("a target that is a function has no name for a resolver")
        return DialedAddress(target)
    if resolver is None:
        return parse_address(target)
    if tls is not None and tls.server_name is None:
        raise ConfigurationError("a resolver gives addresses: ClientTls.server_name must say what they are called")
    return DiscoveredAddress(target, resolver)


def _authority(address: Address) -> str:
    """The default :authority of a target (gRPC's naming.md; "localhost" where there is no host)."""
    if isinstance(address, TcpAddresses):
        address = address.addresses[0]
    if isinstance(address, TcpAddress):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    if isinstance(address, DiscoveredAddress):
        return address.name
    return "localhost"
