"""What calls of `grpc.aio` of all four kinds have in common, over wire's calls of bytes.

Messages are turned into bytes and back here, because grpc.aio does so outside of the call: what a (de)serializer
raises is logged, and stands for an empty request or a response of None. Imports wire and this package's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Protocol

import wire
from wire.grpcio._enums import STATUS_CODES, StatusCode
from wire.grpcio._errors import ExecuteBatchError, RpcError
from wire.grpcio._metadata import from_wire
from wire.grpcio._status import debug_of, details_of
from wire.grpcio.aio._metadata import Metadata

_LOCAL_CANCELLATION_DETAILS = "Locally cancelled by application!"
_GC_CANCELLATION_DETAILS = "Cancelled upon garbage collection!"
_RPC_ALREADY_FINISHED_DETAILS = "RPC already finished."
_RPC_HALF_CLOSED_DETAILS = 'RPC is half closed after calling "done_writing".'
_API_STYLE_ERROR = "The iterator and read/write APIs may not be mixed on a single RPC."
_NON_OK = '<{} of RPC that terminated with:\n\tstatus = {}\n\tdetails = "{}"\n\tdebug_error_string = "{}"\n>'

_LOGGER = logging.getLogger("grpc.aio._call")


class AioRpcError(RpcError):
    """How a call ended: a snapshot of its status, so that nothing here has to be awaited."""

    def __init__(
        self,
        code: StatusCode,
        initial_metadata: Metadata | None = None,
        trailing_metadata: Metadata | None = None,
        details: str | None = None,
        debug_error_string: str | None = None,
    ) -> None:
        super().__init__()
        self._code = code
        self._details = details
        self._initial_metadata = initial_metadata
        self._trailing_metadata = trailing_metadata
        self._debug_error_string = debug_error_string

    def code(self) -> StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def initial_metadata(self) -> Metadata | None:
        return self._initial_metadata

    def trailing_metadata(self) -> Metadata | None:
        return self._trailing_metadata

    def debug_error_string(self) -> str | None:
        return self._debug_error_string

    def _repr(self) -> str:
        return _NON_OK.format(self.__class__.__name__, self._code, self._details, self._debug_error_string)

    def __repr__(self) -> str:
        return self._repr()

    def __str__(self) -> str:
        return self._repr()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            self._code,
            self._initial_metadata,
            self._trailing_metadata,
            self._details,
            self._debug_error_string,
        )


def serialized(message: Any, serializer: Callable[[Any], bytes] | None) -> bytes:
    """A request's bytes. Raises `TypeError` for what are none."""
    if serializer is not None:
        try:
            message = serializer(message)
        except Exception:
            _LOGGER.exception("Exception serializing message!")
            return b""
    if message.__class__ is not bytes:
        if message is None:
            return b""
        raise TypeError(f"Argument 'request' has incorrect type (expected bytes, got {type(message).__name__})")
    data: bytes = message
    return data


def deserialized(data: bytes, deserializer: Callable[[bytes], Any] | None) -> Any:
    if deserializer is None:
        return data
    try:
        return deserializer(data)
    except Exception:
        _LOGGER.exception("Exception deserializing message!")
        return None


class NotMade:
    """Stands for wire's call where none could be made: what was given for it is wrong, and whoever awaits it learns
    of it."""

    initial_metadata = None
    trailing_metadata = None

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = None
        self.code = wire.StatusCode.INTERNAL
        self.message = str(error)
        if isinstance(error, wire.MetadataError):
            self.error = ExecuteBatchError(str(error))
        elif isinstance(error, wire.RpcError):
            self.code, self.message = error.code, error.message
        else:
            self.error = error

    def cancel(self) -> None:
        pass

    def time_remaining(self) -> None:
        return None

    def __await__(self) -> Generator[Any, Any, bytes]:
        raise wire.RpcError(self.code, self.message)
        yield  # what makes it a generator

    async def send(self, request: bytes) -> None:
        raise wire.RpcError(self.code, self.message)

    async def end(self) -> None:
        pass

    async def read_initial_metadata(self) -> wire.Metadata:
        return wire.Metadata()


class Channel(Protocol):
    """What a call needs of its channel."""

    loop: asyncio.AbstractEventLoop
    closing: bool
    """True once it was closed: what ends now was ended here."""


class Ending:
    """Who waits for a call's end, beside a task that awaits it: most calls have none. It belongs to the call and is
    known below it, where the call itself is not."""

    __slots__ = ("callbacks", "held", "waiters")

    def __init__(self, held: Callable[[], bool] | None) -> None:
        self.held = held
        """Whether the end is not to be known yet: a status comes behind the messages."""
        self.waiters: list[asyncio.Future[None]] = []
        self.callbacks: list[Callable[[], Any]] = []

    def __call__(self, call: object = None) -> None:
        if self.held is not None and self.held():
            return
        self.held = None
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


class Call:
    """What calls of all kinds have in common."""

    __slots__ = ("__weakref__", "_call", "_channel", "_deserializer", "_early", "_ending", "_local", "_loop")

    def __init__(self, channel: Channel, call: Any, deserializer: Callable[[bytes], Any] | None) -> None:
        self._channel = channel
        self._loop = channel.loop
        self._call = call
        self._deserializer = deserializer
        self._local: str | None = None  # why this side has cancelled it
        self._ending: Ending | None = None
        self._early = call.code is not None
        if self._early:  # as in grpc, no call has ended when it is made
            self._loop.call_soon(self._no_longer_early)

    def _no_longer_early(self) -> None:
        self._early = False
        self._tell()

    def _tell(self) -> None:
        """The call has ended, as far as anybody is to know."""
        if self._ending is not None:
            self._ending()

    def _held(self) -> Callable[[], bool] | None:
        """Whether the end is not to be known yet; None for calls that hold nothing back."""
        return None

    def _watch(self) -> Ending:
        ending = self._ending
        if ending is None:
            self._ending = ending = Ending(self._held())
            if self._call.__class__ is not NotMade:
                self._call.add_done_callback(ending)
        return ending

    def __del__(self) -> None:
        try:
            call, loop = self._call, self._loop
        except AttributeError:  # it was never made
            return
        if call.code is None:
            try:
                loop.call_soon_threadsafe(call.cancel)
            except RuntimeError:  # the loop is closed, and with it the connection
                pass

    def done(self) -> bool:
        return self._call.code is not None and not self._early

    def cancelled(self) -> bool:
        return self.done() and self._status() is StatusCode.CANCELLED

    def cancel(self) -> bool:
        if self.done():
            return False
        self._local = _LOCAL_CANCELLATION_DETAILS
        self._early = False
        self._call.cancel()
        if self._ending is not None:
            self._ending.held = None
            self._ending()
        return True

    def _cancelled_here(self) -> None:
        """A task that waited for the call was cancelled, and wire has cancelled the call."""
        if not self.cancel() and self._call.trailing_metadata is None and self._call.code is not wire.StatusCode.OK:
            self._local = self._local or _LOCAL_CANCELLATION_DETAILS

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        if self.done():
            callback(self)
        else:
            self._watch().callbacks.append(partial(callback, self))

    def time_remaining(self) -> float | None:
        remaining: float | None = self._call.time_remaining()
        return remaining

    async def _ended(self) -> None:
        while not self.done():
            waiter = self._loop.create_future()
            self._watch().waiters.append(waiter)
            await waiter

    async def initial_metadata(self) -> Metadata:
        await self._ended()
        return Metadata(*from_wire(self._call.initial_metadata))

    async def trailing_metadata(self) -> Metadata:
        await self._ended()
        return Metadata() if self._is_locally_cancelled() else Metadata(*from_wire(self._call.trailing_metadata))

    async def code(self) -> StatusCode:
        await self._ended()
        return self._status()

    async def details(self) -> str:
        await self._ended()
        return self._details()

    async def debug_error_string(self) -> str | None:
        await self._ended()
        return self._debug()

    async def wait_for_connection(self) -> None:
        if self._call.code is None:
            await self._call.started()
        if self._call.code is not None:
            self._raise_for_status()

    def _is_locally_cancelled(self) -> bool:
        """Whether this side has ended the call: by `cancel`, or by closing the channel."""
        if self._local is None:
            call = self._call
            if (
                call.code is not wire.StatusCode.CANCELLED
                or not self._channel.closing
                or call.trailing_metadata is not None
            ):
                return False
            self._local = _LOCAL_CANCELLATION_DETAILS
        return True

    def _status(self) -> StatusCode:
        """The status of a call that has ended."""
        code: StatusCode = STATUS_CODES[self._call.code]
        return StatusCode.CANCELLED if self._is_locally_cancelled() else code

    def _details(self) -> str:
        """The status's text: the server's own, or as grpc says it."""
        if self._is_locally_cancelled():
            return self._local or ""
        call = self._call
        return details_of(call.code, call.message, call.trailing_metadata is None)

    def _debug(self) -> str | None:
        if self._is_locally_cancelled():
            return None
        if self._call.code is wire.StatusCode.OK:
            return ""
        return debug_of(STATUS_CODES[self._call.code].name, self._details())

    def _error(self) -> AioRpcError:
        call = self._call
        return AioRpcError(
            STATUS_CODES[call.code],
            Metadata(*from_wire(call.initial_metadata)),
            Metadata(*from_wire(call.trailing_metadata)),
            self._details(),
            self._debug(),
        )

    def _raise_for_status(self) -> None:
        """Raise what a call that has ended badly raises."""
        call = self._call
        if self._is_locally_cancelled():
            raise asyncio.CancelledError
        if call.code is not wire.StatusCode.OK:
            if call.__class__ is NotMade and call.error is not None:
                raise call.error
            raise self._error()

    def _repr(self) -> str:
        if not self.done():
            return "<_AioCall object>"
        code, details = self._status(), self._details()
        if code is StatusCode.OK:  # theirs has the two in this order
            return _NON_OK.format("_AioCall", details, code, "")
        return _NON_OK.format("_AioCall", details, code, self._debug())

    def __repr__(self) -> str:
        return self._repr()

    def __str__(self) -> str:
        return self._repr()
