"""What handlers of `grpc.aio` get beside their requests. Imports wire and this package's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import wire
from wire.grpcio._errors import EOF, AbortError, BaseError, ExecuteBatchError, UsageError
from wire.grpcio._metadata import check_trailing, from_wire, to_wire
from wire.grpcio._options import COMPRESSIONS
from wire.grpcio._peer import PeerInfo, status_number

_RPC_FINISHED_DETAILS = "RPC already finished."


def as_bytes(data: Any) -> bytes:
    """What a serializer gave. Text and None are taken, as in grpc."""
    if data.__class__ is bytes:
        taken: bytes = data
        return taken
    if data is None:
        return b""
    if isinstance(data, str):
        return data.encode()
    raise TypeError(f"Expected bytes, got {type(data).__name__}")


class ServicerContext(PeerInfo):
    """One call, as its handler sees it."""

    # What most calls never set costs them nothing.
    _abort_exception: BaseError | None = None
    _callbacks: list[Callable[[], Any]] | None = None
    _code: Any = None
    _details = ""
    _trailing: tuple[Any, ...] = ()
    _metadata_sent = False
    _status_sent = False
    _number = 0
    _plain_next = False

    def __init__(self, call: Any, handler: Any, requests: Any = None) -> None:
        self._call = call
        self._handler = handler
        self._requests = requests

    def raise_for_termination(self) -> None:
        """Nothing goes on after `abort`, also where a handler suppressed its exception, or after the status."""
        if self._abort_exception is not None:
            raise self._abort_exception
        if self._status_sent:
            raise UsageError(_RPC_FINISHED_DETAILS)

    async def read(self) -> Any:
        self.raise_for_termination()
        if self._requests is None:
            return EOF
        try:
            data = await anext(self._requests)
        except StopAsyncIteration:
            return EOF
        except wire.RpcError:  # the call has ended, and cancels this task
            return EOF
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not self._call.cancelled:
                raise
            # As in grpc: who reads sees the end of the requests, and is cancelled where it waits next.
            task.uncancel()
            asyncio.get_running_loop().call_soon(task.cancel)
            return EOF
        self.raise_for_termination()
        deserialize = self._handler.request_deserializer
        return data if deserialize is None else deserialize(data)

    async def write(self, message: Any) -> None:
        self.raise_for_termination()
        serialize = self._handler.response_serializer
        data = as_bytes(message if serialize is None else serialize(message))
        self._metadata_sent = True
        await self._call.send(data, compress=not self._plain_next)
        self._plain_next = False

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.raise_for_termination()
        if self._metadata_sent:
            raise UsageError("Send initial metadata failed: already sent")
        try:
            self._call.send_initial_metadata(to_wire(metadata))
        except ExecuteBatchError as error:
            self._status_sent = True
            self._abort_exception = error
            self._call.end(wire.StatusCode.INTERNAL, "Invalid metadata")
            raise
        self._metadata_sent = True

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        if self._abort_exception is not None:
            raise UsageError("Abort already called!")
        if not isinstance(details, str):
            raise TypeError(f"Argument 'details' has incorrect type (expected str, got {type(details).__name__})")
        self._abort_exception = AbortError("Locally aborted.")
        if trailing_metadata == () and self._trailing:
            trailing_metadata = self._trailing
        else:
            self._trailing = check_trailing(trailing_metadata)
        if details == "" and self._details:
            details = self._details
        else:
            self._details = details
        self._number = status_number(code)
        self._code = code
        self._status_sent = True
        self._call.end(wire.StatusCode(self._number), details, trailing_metadata=to_wire(self._trailing))
        raise self._abort_exception

    async def abort_with_status(self, status: Any) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._trailing = check_trailing(metadata)

    def trailing_metadata(self) -> tuple[Any, ...]:
        return self._trailing

    def invocation_metadata(self) -> tuple[Any, ...]:
        return from_wire(self._call.metadata)

    def set_code(self, code: Any) -> None:
        self._number = status_number(code)
        self._code = code

    def code(self) -> Any:
        return self._code

    def set_details(self, details: str) -> None:
        if not isinstance(details, str):
            raise TypeError(f"Argument 'details' has incorrect type (expected str, got {type(details).__name__})")
        self._details = details

    def details(self) -> str:
        return self._details

    def set_compression(self, compression: Any) -> None:
        if self._metadata_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        self._call.set_compression(COMPRESSIONS[compression])

    def disable_next_message_compression(self) -> None:
        self._plain_next = True

    def _peer_of_call(self) -> Any:
        return self._call.peer

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(partial(callback, self))

    def done(self) -> bool:
        return self._status_sent

    def cancelled(self) -> bool:
        return self._number == 1


class SyncServicerContext:
    """The same for plain `def` handlers, which run in a thread."""

    def __init__(self, context: ServicerContext, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop
        self.callbacks: list[Callable[[], Any]] = []
        for name in (
            "set_trailing_metadata",
            "trailing_metadata",
            "invocation_metadata",
            "set_code",
            "code",
            "set_details",
            "details",
            "set_compression",
            "disable_next_message_compression",
            "peer",
            "peer_identities",
            "peer_identity_key",
            "auth_context",
            "time_remaining",
        ):
            setattr(self, name, getattr(context, name))

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> None:
        asyncio.run_coroutine_threadsafe(self._context.abort(code, details, trailing_metadata), self._loop).result()

    def abort_with_status(self, status: Any) -> None:
        self.abort(status.code, status.details, status.trailing_metadata)

    def send_initial_metadata(self, metadata: Any) -> None:
        asyncio.run_coroutine_threadsafe(self._context.send_initial_metadata(metadata), self._loop).result()

    def add_callback(self, callback: Callable[[], Any]) -> None:
        self.callbacks.append(callback)
