"""Channel arguments (`options=[("grpc.…", value)]`) as wire's configuration, and targets as its addresses.

An argument that is not known is ignored, with a line at debug. Imports wire.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import wire
from wire.grpcio._enums import Compression
from wire.grpcio._proxy import http_proxy

_log = logging.getLogger(__name__)

COMPRESSIONS: dict[int, Any] = {
    Compression.NoCompression: None,
    Compression.Deflate: "deflate",
    Compression.Gzip: "gzip",
}
_INT32_MAX = 2**31 - 1
# grpc closes at once; a peer has this long to take what it was sent.
_TRANSPORT = wire.TransportConfig(linger_s=0.1)
_LONGEST_S = 1e9


def _limit(value: Any) -> int | None:
    """A limit of bytes: -1 is none."""
    if not isinstance(value, int):
        raise TypeError(f"Expected int, got {type(value)}")
    return None if value < 0 else value


def _seconds(value: Any) -> float | None:
    """Milliseconds, INT_MAX of which are for ever."""
    if not isinstance(value, int):
        raise TypeError(f"Expected int, got {type(value)}")
    return None if value >= _INT32_MAX else max(value, 1) / 1000


def _max_receive(config: Any, value: Any) -> Any:
    limit = _limit(value)
    return replace(config, calls=replace(config.calls, max_receive_message_bytes=2**32 - 1 if limit is None else limit))


def _max_send(config: Any, value: Any) -> Any:
    return replace(config, calls=replace(config.calls, max_send_message_bytes=_limit(value)))


def _keepalive_time(config: Any, value: Any) -> Any:
    time_s = _seconds(value)
    if time_s is not None and isinstance(config, wire.ChannelConfig):
        time_s = max(time_s, 10.0)  # gRPC proposal A8; grpc's C core raises it as well
    return replace(config, keepalive=replace(config.keepalive, time_s=time_s))


def _keepalive_timeout(config: Any, value: Any) -> Any:
    timeout_s = _seconds(value)
    return replace(
        config, keepalive=replace(config.keepalive, timeout_s=_LONGEST_S if timeout_s is None else timeout_s)
    )


def _keepalive_without_calls(config: Any, value: Any) -> Any:
    return replace(config, keepalive=replace(config.keepalive, without_calls=bool(value)))


def _min_ping_interval(config: Any, value: Any) -> Any:
    if isinstance(config, wire.ChannelConfig):
        return config
    interval_s = _seconds(value)
    return replace(
        config,
        keepalive=replace(config.keepalive, min_ping_interval_s=_LONGEST_S if interval_s is None else interval_s),
    )


def _max_ping_strikes(config: Any, value: Any) -> Any:
    if isinstance(config, wire.ChannelConfig):
        return config
    strikes = value or 1 << 30  # 0: as many as the client likes
    return replace(config, keepalive=replace(config.keepalive, max_ping_strikes=strikes))


def _connection(field: str) -> Callable[[Any, Any], Any]:
    """How long a server's connections last (gRPC proposal A9)."""

    def apply(config: Any, value: Any) -> Any:
        if isinstance(config, wire.ChannelConfig):
            return config
        changed: Any = {field: _seconds(value)}
        return replace(config, keepalive=replace(config.keepalive, **changed))

    return apply


def _channel_time(field: str, *, endless: float | None = 86_400.0) -> Callable[[Any, Any], Any]:
    """A time of channels alone. `endless`: what stands for ever."""

    def apply(config: Any, value: Any) -> Any:
        time_s = _seconds(value)
        if not isinstance(config, wire.ChannelConfig):
            return config
        changed: Any = {field: endless if time_s is None else time_s}
        return replace(config, **changed)

    return apply


def _max_concurrent_streams(config: Any, value: Any) -> Any:
    return replace(config, http2=replace(config.http2, max_concurrent_streams=max(1, min(value, _INT32_MAX))))


def _max_metadata(config: Any, value: Any) -> Any:
    return replace(config, http2=replace(config.http2, max_header_list_bytes=max(1024, min(value, 1 << 24))))


def _max_frame(config: Any, value: Any) -> Any:
    return replace(config, http2=replace(config.http2, max_frame_bytes=max(2**14, min(value, 2**24 - 1))))


def _compression(config: Any, value: Any) -> Any:
    return replace(config, calls=replace(config.calls, compression=COMPRESSIONS[value]))


def _authority(config: Any, value: Any) -> Any:
    return replace(config, authority=_text(value)) if isinstance(config, wire.ChannelConfig) else config


def _user_agent(config: Any, value: Any) -> Any:
    return replace(config, user_agent=_text(value)) if isinstance(config, wire.ChannelConfig) else config


def _user_agent_suffix(config: Any, value: Any) -> Any:
    return replace(config, user_agent_suffix=_text(value)) if isinstance(config, wire.ChannelConfig) else config


def _load_balancing(config: Any, value: Any) -> Any:
    if not isinstance(config, wire.ChannelConfig):
        return config
    name: Any = _text(value)
    try:
        return replace(config, load_balancing=name)
    except wire.ConfigurationError:
        _log.error("LB policy: %s passed through channel_args does not exist. Using pick_first instead.", value)
        return config


def _handshake_timeout(config: Any, value: Any) -> Any:
    if isinstance(config, wire.ChannelConfig):
        return config
    return replace(config, transport=replace(config.transport, handshake_timeout_s=max(value, 1) / 1000))


def _ignored(config: Any, value: Any) -> Any:
    return config


_APPLY: dict[str, Callable[[Any, Any], Any]] = {
    "grpc.max_receive_message_length": _max_receive,
    "grpc.max_send_message_length": _max_send,
    "grpc.max_message_length": _max_receive,
    "grpc.keepalive_time_ms": _keepalive_time,
    "grpc.keepalive_timeout_ms": _keepalive_timeout,
    "grpc.keepalive_permit_without_calls": _keepalive_without_calls,
    "grpc.http2.min_ping_interval_without_data_ms": _min_ping_interval,
    "grpc.http2.min_recv_ping_interval_without_data_ms": _min_ping_interval,
    "grpc.http2.max_ping_strikes": _max_ping_strikes,
    "grpc.http2.max_frame_size": _max_frame,
    "grpc.max_concurrent_streams": _max_concurrent_streams,
    "grpc.max_metadata_size": _max_metadata,
    "grpc.absolute_max_metadata_size": _max_metadata,
    "grpc.default_compression_algorithm": _compression,
    "grpc.default_authority": _authority,
    "grpc.primary_user_agent": _user_agent,
    "grpc.initial_reconnect_backoff_ms": _channel_time("backoff_initial_s"),
    "grpc.max_reconnect_backoff_ms": _channel_time("backoff_max_s"),
    "grpc.client_idle_timeout_ms": _channel_time("idle_timeout_s", endless=None),
    "grpc.dns_min_time_between_resolutions_ms": _channel_time("resolve_min_interval_s"),
    "grpc.max_connection_idle_ms": _connection("max_connection_idle_s"),
    "grpc.max_connection_age_ms": _connection("max_connection_age_s"),
    "grpc.max_connection_age_grace_ms": _connection("max_connection_age_grace_s"),
    "grpc.server_handshake_timeout_ms": _handshake_timeout,
    "grpc.secondary_user_agent": _user_agent_suffix,
    "grpc.lb_policy_name": _load_balancing,
    # What others read, or what is so here anyway.
    "grpc.service_config": _ignored,
    "grpc.enable_retries": _ignored,
    "grpc.ssl_target_name_override": _ignored,
    "grpc.so_reuseport": _ignored,
    "grpc.enable_channelz": _ignored,
    "grpc.use_local_subchannel_pool": _ignored,
    "grpc.http2.max_pings_without_data": _ignored,
    "grpc.enable_http_proxy": _ignored,
    "grpc.http_proxy": _ignored,
    "grpc.ssl_session_cache": _ignored,
}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _name(value: Any) -> str:
    """A target or address. Raises what grpcio raises for what is no text."""
    if isinstance(value, (str, bytes)):
        return _text(value)
    raise AttributeError(f"'{type(value).__name__}' object has no attribute 'encode'")


def read(options: Any) -> dict[str, Any]:
    """Options as a dictionary; of those given twice the first counts. Raises `TypeError` and `ValueError` for what are
    no pairs."""
    found: dict[str, Any] = {}
    for key, value in options or ():
        if not isinstance(key, (str, bytes)):
            raise TypeError(f"Expected bytes, str, or unicode, not {type(key)}")
        if not (isinstance(value, (int, str, bytes)) or hasattr(value, "__int__")):
            raise TypeError(f"Expected int, bytes, or behavior, got {type(value)}")
        found.setdefault(_text(key), value)
    return found


def _applied(config: Any, options: dict[str, Any]) -> Any:
    for key, value in options.items():
        apply = _APPLY.get(key)
        if apply is None:
            _log.debug("the channel argument %s has no meaning here, and is ignored", key)
        else:
            config = apply(config, value)
    return config


def channel_config(options: dict[str, Any], compression: Any, user_agent: str) -> wire.ChannelConfig:
    """The configuration of a channel."""
    # That credentials go where they may is looked after where grpc does.
    config = wire.ChannelConfig(user_agent=user_agent, credentials_in_clear=True, transport=_TRANSPORT)
    if compression:
        config = _compression(config, compression)
    if "grpc.primary_user_agent" in options:
        options = {**options, "grpc.primary_user_agent": f"{_text(options['grpc.primary_user_agent'])} {user_agent}"}
    applied: wire.ChannelConfig = _applied(config, options)
    return applied


def server_config(options: dict[str, Any], compression: Any) -> wire.ServerConfig:
    """The configuration of a server. Handlers are the program's own business: nothing watches how long they take."""
    config = wire.ServerConfig(slow_handler_s=None, transport=_TRANSPORT)
    if compression:
        config = _compression(config, compression)
    applied: wire.ServerConfig = _applied(config, options)
    return applied


def service_config(options: dict[str, Any]) -> dict[str, Any] | None:
    """How a channel's calls are made, without retries where the options forbid them. Raises `wire.ConfigurationError`
    for what is no JSON."""
    text = options.get("grpc.service_config")
    if not isinstance(text, (str, bytes)):
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise wire.ConfigurationError(f"JSON parsing failed: {error}") from None
    if not options.get("grpc.enable_retries", 1) and isinstance(config, dict):
        for each in config.get("methodConfig", ()):
            each.pop("retryPolicy", None)
            each.pop("hedgingPolicy", None)
    made: dict[str, Any] = config
    return made


C = TypeVar("C")


def made_channel(kind: Callable[..., C], options: dict[str, Any], text: str | bytes, **arguments: Any) -> C:
    """wire's channel of a kind. What grpc takes, and wire does not, is what calls on it learn of: a target that cannot
    be read is never reached, and with a service config that is none each call fails."""
    proxy = http_proxy(target(text), options)
    if proxy is not None:
        arguments["config"] = replace(arguments["config"], http_proxy=proxy)
    try:
        arguments["service_config"] = service_config(options)
        return _reaching(kind, text, arguments)
    except wire.ConfigurationError as error:
        failure = f"Failed to create channel to '{_text(text)}':{error}"
        arguments.update(service_config=None, interceptors=(_refusing(failure),))
        return _reaching(kind, text, arguments)


def _reaching(kind: Callable[..., C], text: str | bytes, arguments: dict[str, Any]) -> C:
    try:
        return kind(target(text), **arguments)
    except wire.AddressError:
        return kind(unreachable(text), **arguments)


def _refusing(failure: str) -> wire.ClientInterceptor:
    def refuse(method: Any, start: Any) -> Any:
        def refused(*request: Any, **options: Any) -> Any:
            raise wire.RpcError(wire.StatusCode.INVALID_ARGUMENT, failure)

        return refused

    return refuse


def target(text: str | bytes) -> str:
    """A target or address as wire reads it: one without a port gets gRPC's default, 443."""
    text = _name(text)
    scheme = text.partition(":")[0]
    if scheme in {"unix", "unix-abstract", "vsock", "hvsock", "memory", "dns", "ipv4", "ipv6"}:
        return text
    if text.startswith("[") and text.endswith("]"):
        return f"{text}:443"
    return text if ":" in text else f"{text}:443"


def bind(address: str | bytes, *, reuse_port: bool) -> list[socket.socket]:
    """Listening sockets; others may share the port, where the kernel can, as with grpc. Raises `wire.WireError`."""
    text = target(address)
    return wire.bind_all(text, reuse_port=reuse_port and not text.startswith(("unix", "vsock", "hvsock")))


def port_of(sock: socket.socket) -> int:
    """What adding a port gives: its number, and 1 for what has none."""
    name = sock.getsockname()
    return int(name[1]) if isinstance(name, tuple) else 1


def authority(text: str | bytes) -> str:
    """Of whom credentials are asked for: the target's host, and its port where that is not 443."""
    return target(text).rpartition("/")[2].removeprefix("dns:").removesuffix(":443")


def unreachable(text: str | bytes) -> str:
    """A target that can never be reached, in the place of one that cannot be read (RFC 6761 §6.4)."""
    name = re.sub("[^0-9A-Za-z]+", "-", _text(text)).strip("-")[:60]
    return f"dns:///{name or 'empty'}.invalid:443"


def sendable_path(path: str) -> str:
    """In the place of a path that cannot be sent, one that can be and that names no method either."""
    return "/" + (quote(path, safe="/") or "%00")
