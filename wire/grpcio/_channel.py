"""Channels of the sync API, and their methods. Imports wire and this package's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Self

import wire
import wire.blocking
from wire.grpcio import _abstract, _channelz, _options
from wire.grpcio._call import (
    _InactiveRpcError,
    _MultiThreadedRendezvous,
    _Rendezvous,
    _RPCState,
    _SingleThreadedRendezvous,
)
from wire.grpcio._callables import (
    _StreamStreamMultiCallable,
    _StreamUnaryMultiCallable,
    _UnaryStreamMultiCallable,
    _UnaryUnaryMultiCallable,
)
from wire.grpcio._credentials import CallCredentials, ChannelCredentials, check_call_credentials, client_tls
from wire.grpcio._enums import ChannelConnectivity
from wire.grpcio.version import __version__

__all__ = [
    "Channel",
    "_InactiveRpcError",
    "_MultiThreadedRendezvous",
    "_RPCState",
    "_Rendezvous",
    "_SingleThreadedRendezvous",
]

_LOGGER = logging.getLogger("grpc._channel")
_USER_AGENT = f"grpc-python/{__version__}"


class Channel(_abstract.Channel):
    """Calls to one target from any number of threads."""

    def __init__(self, target: str, options: Any, credentials: ChannelCredentials | None, compression: Any) -> None:
        found = _options.read(options)
        self._target = target
        tls = client_tls(credentials, found)
        self.credentials = None if credentials is None else credentials.call_credentials
        self._is_secure = credentials is not None
        self._authority = found.get("grpc.default_authority") or _options.authority(target)
        config = _options.channel_config(found, compression, _USER_AGENT)
        self.wire = _options.made_channel(wire.blocking.Channel, found, target, config=config, tls=tls)
        _channelz.heed(found, self.wire)
        self._closed = False
        self._watch = _Watch(self.wire)

    def is_closed(self) -> bool:
        return self._closed

    def ask(self, path: str, credentials: CallCredentials | None) -> list[tuple[str, str | bytes]]:
        """What call credentials, the channel's and those of one call, add to its metadata. Asked in the calling
        thread. Raises `wire.RpcError`."""
        if credentials is not None:
            check_call_credentials(credentials)
        if credentials is not None and not self._is_secure:
            raise wire.RpcError(
                wire.StatusCode.UNAUTHENTICATED,
                "Established channel does not have a sufficient security level to transfer call credential.",
            )
        pairs: list[tuple[str, str | bytes]] = []
        service = path.rpartition("/")[0]
        context = wire.CallContext(f"https://{self._authority}{service}", path)
        for each in (self.credentials, credentials):
            if each is not None:
                pairs += each.ask(context)
        return pairs

    def subscribe(self, callback: Callable[[ChannelConnectivity], Any], try_to_connect: bool | None = None) -> None:
        self._watch.subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[ChannelConnectivity], Any]) -> None:
        self._watch.unsubscribe(callback)

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _UnaryUnaryMultiCallable:
        return _UnaryUnaryMultiCallable(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _UnaryStreamMultiCallable:
        return _UnaryStreamMultiCallable(self, method, request_serializer, response_deserializer)

    def stream_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _StreamUnaryMultiCallable:
        return _StreamUnaryMultiCallable(self, method, request_serializer, response_deserializer)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        _registered_method: bool | None = False,
    ) -> _StreamStreamMultiCallable:
        return _StreamStreamMultiCallable(self, method, request_serializer, response_deserializer)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._watch.close()
            self.wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) is False:
            self._watch.close()


_STATES = {state: ChannelConnectivity[state.name] for state in wire.ConnectivityState}


class _Watch:
    """Tells callbacks of a channel's state, in a thread that runs as long as there are any."""

    def __init__(self, channel: wire.blocking.Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._told: list[list[Any]] = []  # callback, and the state that it was told last
        self._running = False
        self._closed = False

    def subscribe(self, callback: Callable[[ChannelConnectivity], Any], try_to_connect: bool) -> None:
        if try_to_connect and not self._closed:
            self._channel.connect()
        with self._lock:
            self._told.append([callback, None])
            if self._running or self._closed:
                return
            self._running = True
        threading.Thread(target=self._run, name="grpc-connectivity", daemon=True).start()

    def unsubscribe(self, callback: Callable[[ChannelConnectivity], Any]) -> None:
        with self._lock:
            for index, (subscribed, _) in enumerate(self._told):
                if subscribed == callback:
                    del self._told[index]
                    return

    def close(self) -> None:
        self._closed = True

    def _run(self) -> None:
        while True:
            last = self._channel.state
            with self._lock:
                due = [] if self._closed else [entry for entry in self._told if entry[1] is not _STATES[last]]
                if not self._told or self._closed:
                    self._running = False
                    return
                for entry in due:
                    entry[1] = _STATES[last]
            for callback, state in due:
                try:
                    callback(state)
                except Exception:
                    _LOGGER.exception("Exception calling channel subscription callback!")
            if not due:
                self._channel.state_changed(last, timeout=_LOOK_S)


_LOOK_S = 0.2  # how soon a thread sees that nobody subscribes any more, or that somebody does; grpcio's own


def insecure_channel(target: str, options: Any = None, compression: Any = None) -> Channel:
    """A channel in the clear to a target in gRPC's name syntax, `vsock:` included."""
    return Channel(target, options, None, compression)


def secure_channel(
    target: str, credentials: ChannelCredentials, options: Any = None, compression: Any = None
) -> Channel:
    """A channel with credentials, such as `grpc.ssl_channel_credentials()`."""
    if not isinstance(credentials, ChannelCredentials):
        raise AttributeError(f"'{type(credentials).__name__}' object has no attribute '_credentials'")
    return Channel(target, options, credentials, compression)
