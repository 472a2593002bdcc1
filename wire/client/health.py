"""Whether the server at the other end of a connection says that it can take calls (gRPC's health-checking.md and
proposal A17).

A watch is a call of grpc.health.v1.Health/Watch on that connection, which goes on for as long as the connection does.
Its two messages are read and written here, since no codec below has them. Imports `stream_exchange`, `backoff` and
`preparation`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from threading import get_ident
from typing import Any, TypeVar

from wire.client.backoff import Backoff
from wire.client.dialing import ClientConnection
from wire.client.exchange import Exchange
from wire.client.preparation import Preparation, Prepared
from wire.client.stream_exchange import ServerStreamExchange
from wire.codec import Codec
from wire.config import ChannelConfig
from wire.deadline import DeadlineTimer
from wire.errors import DecodeError
from wire.service import method_at
from wire.status import RpcError, StatusCode
from wire.transport.contract import Future, Runtime, Task

R = TypeVar("R")

_log = logging.getLogger("wire.client")

SERVING = 1
_STATUSES = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_VARINT_CONTINUES = 0x80


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest: its one field, number 1, a string."""
    name = service.encode()
    length = bytearray()
    size = len(name)
    while size >= _VARINT_CONTINUES:
        length.append(size & 0x7F | _VARINT_CONTINUES)
        size >>= 7
    length.append(size)
    return b"\x0a" + bytes(length) + name if name else b""


def decode_response(data: bytes) -> int:
    """The status in a HealthCheckResponse: field 1, an enum. Raises `DecodeError`; what else there is is skipped."""
    status = 0
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value = 0
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise DecodeError("a HealthCheckResponse is malformed")
        if at > len(data):
            raise DecodeError("a HealthCheckResponse is cut short")
        if tag == 0x08:
            status = value
    return status


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < _VARINT_CONTINUES:
            return value, at
    raise DecodeError("a HealthCheckResponse is cut short")


_WATCH = method_at(
    "/grpc.health.v1.Health/Watch",
    Codec(str, encode_request, lambda data: data.decode()),
    Codec(int, lambda status: b"", decode_response),
    streams_responses=True,
)


class HealthWatch:
    """What one server says of `service`. `changed(connection, healthy)` is called with each answer.

    `reason`: why the connection takes no calls; None while it does, and before the first answer.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: ChannelConfig,
        preparation: Preparation,
        connection: ClientConnection,
        service: str,
        changed: Callable[[ClientConnection, bool], None],
    ) -> None:
        self._runtime = runtime
        self._caller = _OneConnection(runtime, config, preparation, connection)
        self._connection = connection
        self._service = service
        self._changed: Callable[[ClientConnection, bool], None] | None = changed
        self._backoff = Backoff(config)
        self._task: Task | None = None
        self._ended = False
        self._call: ServerStreamExchange[int] | None = None
        self.reason: str | None = None

    def start(self) -> None:
        task = self._runtime.spawn(self._run())
        if not self._ended:  # an eager task may have ended already
            self._task = task

    def stop(self) -> None:
        """Nobody wants to know any more."""
        self._changed = None
        if self._call is not None:
            self._call.cancel()
        if self._task is not None:
            self._runtime.call_soon(self._task.cancel)  # not now: a task must begin before it can clean up

    async def _run(self) -> None:
        try:
            while self._changed is not None and self._connection.engine.can_open:
                failure = await self._watch()
                if failure.code is StatusCode.UNIMPLEMENTED:
                    _log.warning("%s has no health service: it is taken as healthy", self._address)
                    self._tell(None)
                    return
                if self._changed is None or self._connection.lost:
                    return
                self._tell(f"the health of {self._address} is not known: {failure}")
                await self._runtime.sleep(self._backoff.next_s())
        finally:
            self._ended = True
            self._task = None

    async def _watch(self) -> RpcError:
        """Follow one call to its end, which always is an error: a watch goes on for ever."""
        self._call = call = ServerStreamExchange(self._caller, _WATCH, self._service, (None, (), True))
        try:
            async for status in call.incoming:
                self._backoff.reset()
                text = _STATUSES.get(status, str(status))
                self._tell(None if status == SERVING else f'{self._address} says that "{self._service}" is {text}')
        except RpcError as error:
            return RpcError(error.code, error.message)  # without its traceback
        finally:
            self._call = None
        return RpcError(StatusCode.UNKNOWN, "the server ended the watch")

    @property
    def _address(self) -> str:
        return str(self._connection.candidate.address)

    def _tell(self, reason: str | None) -> None:
        self.reason = reason
        if self._changed is not None:
            self._changed(self._connection, reason is None)


class _OneConnection:
    """A `Caller` whose calls all start on one connection."""

    def __init__(
        self, runtime: Runtime, config: ChannelConfig, preparation: Preparation, connection: ClientConnection
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.new_future: Callable[[], Future[Any]] = runtime.future
        self.deadlines: DeadlineTimer = connection.deadlines
        self.compress = None
        self.queue: Collection[Any] = ()
        self._connection = connection
        self._preparation = preparation

    @property
    def entrance(self) -> _OneConnection:
        return self

    @property
    def thread(self) -> int:
        return get_ident()

    def prepared(self, method: Any) -> Prepared[Any]:
        return self._preparation.prepare(method, None, shared=False)  # once for each connection, so not to be kept

    def submit(self, call: Exchange[Any]) -> None:
        if self._connection.lost or not self._connection.engine.can_open:
            call.fail(StatusCode.UNAVAILABLE, "the connection takes no more calls")
        else:
            call.start(self._connection)

    def call_ended(self, call: Exchange[Any]) -> None:
        pass
