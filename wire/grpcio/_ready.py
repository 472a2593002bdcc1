"""`grpc.channel_ready_future`. Imports this package's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from wire.grpcio import _abstract
from wire.grpcio._enums import ChannelConnectivity
from wire.grpcio._errors import FutureCancelledError, FutureTimeoutError

_LOGGER = logging.getLogger("grpc._utilities")


class _ChannelReadyFuture(_abstract.Future):
    """Done once a channel is ready for calls."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._condition = threading.Condition()
        self._matured = False
        self._cancelled = False
        self._callbacks: list[Callable[[Any], Any]] = []

    def start(self) -> None:
        self._channel.subscribe(self._update, try_to_connect=True)

    def _update(self, connectivity: ChannelConnectivity) -> None:
        if connectivity is ChannelConnectivity.READY:
            self._end(matured=True)

    def _end(self, *, matured: bool) -> bool:
        with self._condition:
            if self._matured or self._cancelled:
                return False
            self._matured = matured
            self._cancelled = not matured
            callbacks, self._callbacks = self._callbacks, []
            self._condition.notify_all()
        self._channel.unsubscribe(self._update)
        for callback in callbacks:
            try:
                callback(self)
            except Exception:
                _LOGGER.exception('Exception calling connectivity future "done" callback!')
        return True

    def _wait(self, timeout: float | None) -> None:
        with self._condition:
            if not self._condition.wait_for(lambda: self._matured or self._cancelled, timeout):
                raise FutureTimeoutError
            if self._cancelled:
                raise FutureCancelledError

    def cancel(self) -> bool:
        return self._end(matured=False)

    def cancelled(self) -> bool:
        return self._cancelled

    def running(self) -> bool:
        return not self.done()

    def done(self) -> bool:
        return self._cancelled or self._matured

    def result(self, timeout: float | None = None) -> None:
        self._wait(timeout)

    def exception(self, timeout: float | None = None) -> None:
        self._wait(timeout)

    def traceback(self, timeout: float | None = None) -> None:
        self._wait(timeout)

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        with self._condition:
            if not self.done():
                self._callbacks.append(fn)
                return
        fn(self)


def channel_ready_future(channel: Any) -> _ChannelReadyFuture:
    """A future that is done once the channel is ready."""
    future = _ChannelReadyFuture(channel)
    future.start()
    return future
