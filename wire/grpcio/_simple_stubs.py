"""`grpc.experimental.unary_unary` and its like: calls without a channel of one's own. Imports this package's.

Channels are kept for the calls that follow, and closed when nothing was called on them for a while.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from typing import Any

from wire.grpcio import _channel
from wire.grpcio._credentials import ChannelCredentials, insecure_channel_credentials, ssl_channel_credentials

_TIMEOUT_S = float("60")  # an object of its own: who gives none has what the environment says


def _setting(name: str, default: float) -> float:
    """Of the environment; read at each call, as programs set it before they import `grpc`, and this may be there by
    then."""
    return float(os.environ.get(f"GRPC_PYTHON_{name}", default))


_INSECURE = insecure_channel_credentials()


class _Channels:
    """Channels by what they were made of, those used last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    def get(self, target: str, options: Any, credentials: Any, insecure: bool, compression: Any) -> Any:
        if insecure and credentials:
            raise ValueError("The insecure option is mutually exclusive with the channel_credentials option.")
        if insecure:
            credentials = _INSECURE
        elif credentials is None:
            credentials = ssl_channel_credentials()
        key = target, tuple(options or ()), id(credentials) if insecure else credentials, compression
        now = time.monotonic()
        kept_s = _setting("MANAGED_CHANNEL_EVICTION_SECONDS", 600)
        most = _setting("MANAGED_CHANNEL_MAXIMUM", 256)
        with self._lock:
            _, channel = self._kept.pop(key, (0.0, None))
            if channel is None:
                plain = credentials is _INSECURE or not isinstance(credentials, ChannelCredentials)
                make = _channel.Channel
                channel = make(target, options, None if plain else credentials, compression)
            self._kept[key] = now, channel
            stale = []
            while self._kept:
                oldest = next(iter(self._kept))
                used, old = self._kept[oldest]
                if used > now - kept_s and len(self._kept) <= most:
                    break
                del self._kept[oldest]
                stale.append(old)
        for old in stale:
            old.close()
        return channel


_channels = _Channels()


def _call(kind: str, request: Any, target: str, method: str, arguments: dict[str, Any]) -> Any:
    channel = _channels.get(
        target,
        arguments.pop("options"),
        arguments.pop("channel_credentials"),
        arguments.pop("insecure"),
        arguments["compression"],
    )
    serializers = arguments.pop("request_serializer"), arguments.pop("response_deserializer")
    arguments["credentials"] = arguments.pop("call_credentials")
    if arguments["timeout"] is _TIMEOUT_S:
        arguments["timeout"] = _setting("DEFAULT_TIMEOUT_SECONDS", _TIMEOUT_S)
    if arguments["wait_for_ready"] is None:
        arguments["wait_for_ready"] = True
    return getattr(channel, kind)(method, *serializers)(request, **arguments)


def unary_unary(
    request: Any,
    target: str,
    method: str,
    request_serializer: Any = None,
    response_deserializer: Any = None,
    options: Any = (),
    channel_credentials: Any = None,
    insecure: bool = False,
    call_credentials: Any = None,
    compression: Any = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _TIMEOUT_S,
    metadata: Any = None,
    _registered_method: bool | None = False,
) -> Any:
    """Call a method with one request and one response; returns the response."""
    arguments = dict(locals())
    for name in ("request", "target", "method", "_registered_method"):
        del arguments[name]
    return _call("unary_unary", request, target, method, arguments)


def unary_stream(
    request: Any,
    target: str,
    method: str,
    request_serializer: Any = None,
    response_deserializer: Any = None,
    options: Any = (),
    channel_credentials: Any = None,
    insecure: bool = False,
    call_credentials: Any = None,
    compression: Any = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _TIMEOUT_S,
    metadata: Any = None,
    _registered_method: bool | None = False,
) -> Any:
    """Call a method that streams responses; returns an iterator over them."""
    arguments = dict(locals())
    for name in ("request", "target", "method", "_registered_method"):
        del arguments[name]
    return _call("unary_stream", request, target, method, arguments)


def stream_unary(
    request_iterator: Any,
    target: str,
    method: str,
    request_serializer: Any = None,
    response_deserializer: Any = None,
    options: Any = (),
    channel_credentials: Any = None,
    insecure: bool = False,
    call_credentials: Any = None,
    compression: Any = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _TIMEOUT_S,
    metadata: Any = None,
    _registered_method: bool | None = False,
) -> Any:
    """Call a method that takes a stream of requests; returns the response."""
    arguments = dict(locals())
    for name in ("request_iterator", "target", "method", "_registered_method"):
        del arguments[name]
    return _call("stream_unary", request_iterator, target, method, arguments)


def stream_stream(
    request_iterator: Any,
    target: str,
    method: str,
    request_serializer: Any = None,
    response_deserializer: Any = None,
    options: Any = (),
    channel_credentials: Any = None,
    insecure: bool = False,
    call_credentials: Any = None,
    compression: Any = None,
    wait_for_ready: bool | None = None,
    timeout: float | None = _TIMEOUT_S,
    metadata: Any = None,
    _registered_method: bool | None = False,
) -> Any:
    """Call a method with streams both ways; returns an iterator over the responses."""
    arguments = dict(locals())
    for name in ("request_iterator", "target", "method", "_registered_method"):
        del arguments[name]
    return _call("stream_stream", request_iterator, target, method, arguments)
