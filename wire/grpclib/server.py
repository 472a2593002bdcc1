"""`grpclib.server`: servers, and calls that receive and send message by message.

Every method is a stream both ways for wire, so that its handler begins with the request's headers, as grpclib's does;
the kind that it has for gRPC is held here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

from multidict import MultiDict

import wire
from wire.grpclib import _core, _sockets, events
from wire.grpclib._registry import servers
from wire.grpclib._typing import IServable
from wire.grpclib.config import Configuration
from wire.grpclib.const import Handler, Status
from wire.grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from wire.grpclib.encoding.proto import ProtoCodec, ProtoStatusDetailsCodec, decoder, encoder, googleapis_available
from wire.grpclib.exceptions import GRPCError, ProtocolError
from wire.grpclib.metadata import Deadline, _Metadata, _MetadataLike, checked, received
from wire.grpclib.protocol import Peer
from wire.grpclib.stream import StreamIterator, _RecvType, _SendType
from wire.grpclib.utils import warn_of_loop

if TYPE_CHECKING:
    import ssl as _ssl

log = logging.getLogger("grpclib.server")  # where programs look for it

_NO_MESSAGE = "Unary response with OK status requires a single message to be sent"


class Stream(StreamIterator[_RecvType], Generic[_RecvType, _SendType]):
    """One call, which its handler is given.

    `deadline`: when the client gives up, None for never. `user_agent`, `peer`: who calls. `metadata`: what the client
    sent with its request, as a multi-dict.
    """

    deadline: Deadline | None = None
    _metadata: _Metadata | None = None
    _held: bytes | None = None
    """The one response of a call, until the end of the loop's turn: sent with the status, both are one write."""
    _initial_done = False
    _send_done = False
    _trailing_done = False
    _cancelled = False

    def __init__(self, method: _Method, requests: Any, context: wire.ServerContext) -> None:
        self._method = method
        self._requests = requests
        self._context = context
        if context.deadline is not None:
            self.deadline = Deadline.from_timeout(context.time_remaining() or 0.0)

    @property
    def metadata(self) -> _Metadata:
        if self._metadata is None:
            self._metadata = received(self._context.metadata)
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: _Metadata) -> None:
        self._metadata = metadata

    @property
    def user_agent(self) -> str | None:
        value = self._context.metadata.get("user-agent")
        return value if isinstance(value, str) else None

    @property
    def peer(self) -> Peer:
        return self._method.server._peer(self._context)

    async def recv_message(self) -> _RecvType | None:
        """The next message; None when the client has ended its stream."""
        try:
            data = await self._requests.__anext__()
        except StopAsyncIteration:
            return None
        except wire.RpcError:
            await _core.gone(self._context)
        method = self._method
        message: _RecvType = method.decode(data)
        listeners = method.recv_listeners
        if listeners:
            message = (await events.notify(listeners, events.RecvMessage(message=message))).message
        return message

    async def send_initial_metadata(self, *, metadata: _MetadataLike | None = None) -> None:
        """Send the response's headers. The first `send_message` does it where this was not called before."""
        if self._initial_done:
            raise ProtocolError("Initial metadata was already sent")
        listeners = self._method.initial_listeners
        if listeners:
            event = events.SendInitialMetadata(metadata=MultiDict(metadata or ()))
            metadata = (await events.notify(listeners, event)).metadata
        pairs = checked(metadata) if metadata else ()
        if self._context.done:
            await _core.gone(self._context)
        self._context.send_initial_metadata(pairs)
        self._initial_done = True

    async def send_message(self, message: _SendType) -> None:
        """Send a message; waits while the client takes no more. A unary response has one."""
        method = self._method
        if not self._initial_done:
            if method.initial_listeners:
                await self.send_initial_metadata()
            self._initial_done = True  # wire sends them before the message
        if self._send_done and not method.streams:
            raise ProtocolError("Message was already sent")
        listeners = method.send_listeners
        if listeners:
            message = (await events.notify(listeners, events.SendMessage(message=message))).message
        data = method.encode(message)
        if self._trailing_done or self._cancelled:
            raise ProtocolError("Stream is ended")
        if self._context.done:
            await _core.gone(self._context)
        if method.streams:
            await self._context.send(data)
        else:
            self._held = data
            method.hold(self)
        self._send_done = True

    async def _release(self) -> None:
        """Send what is held."""
        data, self._held = self._held, None
        if data is not None and not self._context.done:
            await self._context.send(data)

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: Any = None,
        metadata: _MetadataLike | None = None,
    ) -> None:
        """Send the status, which ends the call, though its handler may go on. Where this was not called, the handler's
        end does it.

        Raises ProtocolError for the second time, and for OK in a unary call that has sent no message.
        """
        if self._trailing_done:
            raise ProtocolError("Trailing metadata was already sent")
        method = self._method
        if status is Status.OK and not self._send_done and not method.streams:
            raise ProtocolError(_NO_MESSAGE)
        listeners = method.trailing_listeners
        if listeners:
            event = events.SendTrailingMetadata(
                metadata=MultiDict(metadata or ()),
                status=status,
                status_message=status_message,
                status_details=status_details,
            )
            metadata = (await events.notify(listeners, event)).metadata
        pairs = checked(metadata) if metadata else []
        codec = method.server._status_details_codec
        if status_details is not None and codec is not None:
            pairs.insert(0, ("grpc-status-details-bin", codec.encode(status, status_message, status_details)))
        self._end(wire.StatusCode(status.value), status_message or "", pairs)
        self._trailing_done = True

    def _end(self, code: wire.StatusCode, message: str, pairs: list[Any]) -> None:
        context = self._context
        if context.done:
            return
        if pairs:
            context.set_trailing_metadata(pairs)
        data, self._held = self._held, None
        if data is None:
            context.end(code, message)
        elif code is wire.StatusCode.OK and not message:
            context.send_last(data)
        else:
            _core.send_now(context, data)
            context.end(code, message)

    async def cancel(self) -> None:
        """End the call without a status: the client is told that there is nothing to come."""
        if self._cancelled:
            raise ProtocolError("Stream was already cancelled")
        if self._held is not None:
            await self._release()
        self._context.reset(0)
        self._cancelled = True


def _is_grpc_error(error: BaseException) -> bool:
    """Also for an error of grpclib itself, which generated code raises in programs that do not `install`."""
    return isinstance(error, GRPCError) or (
        type(error).__name__ == "GRPCError" and type(error).__module__ == "grpclib.exceptions"
    )


class Server:
    """Serves services: objects whose `__mapping__` gives a `Handler` for each path, as generated bases do."""

    def __init__(
        self,
        handlers: Collection[IServable],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        codec: CodecBase | None = None,
        status_details_codec: StatusDetailsCodecBase | None = None,
        config: Configuration | None = None,
    ) -> None:
        if loop is not None:
            warn_of_loop(2)
        if codec is None:
            codec = ProtoCodec()
            if status_details_codec is None and googleapis_available():
                status_details_codec = ProtoStatusDetailsCodec()
        self._mapping: dict[str, Any] = {}
        for handler in handlers:
            self._mapping.update(handler.__mapping__())
        self._loop = loop or asyncio.get_event_loop()
        self._codec = codec
        self._status_details_codec = status_details_codec
        self._config = (Configuration() if config is None else config).__for_server__()
        self._core: wire.Server | None = None
        self._server: _sockets.Listening | None = None
        self._closed: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._running: set[wire.ServerContext] = set()  # calls whose handlers have not ended
        self._emptied: asyncio.Event | None = None
        self.__dispatch__ = events.server_dispatch()
        servers.add(self)

    async def start(
        self,
        host: str | Collection[str] | None = None,
        port: int | None = None,
        *,
        path: str | None = None,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: _ssl.SSLContext | None = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
    ) -> None:
        """Listen on `host` and `port`, on the UNIX socket `path`, or on a socket that is bound already; arguments as
        for asyncio's `create_server`. The host may be an address in gRPC's name syntax whose scheme is not TCP's:
        "vsock:any:50051", or "vsock:any" and a port. Raises OSError, RuntimeError when the server was started already.
        """
        if path is not None and (host is not None or port is not None):
            raise ValueError("The 'path' parameter can not be used with the 'host' or 'port' parameters.")
        if self._server is not None:
            raise RuntimeError("Server is already started")
        address = _core.address_of(host, port) if isinstance(host, str) else None
        if path is not None:
            listening = [_sockets.unix(path)] if sock is None else [sock]
        elif sock is not None:
            if host is not None or port is not None:
                raise ValueError("host/port and sock can not be specified at the same time")
            listening = [sock]
        elif address is not None:
            listening = []
        else:
            listening = await _sockets.tcp(host, port, family, flags, reuse_address, reuse_port)
        servicers = [
            _core.servicer(path, _Method(self, path, each).handle)
            for path, each in self._mapping.items()
            if hasattr(each, "func")  # tests of services' health map paths to anything
        ]
        tls = None if ssl is None else _core.server_tls(ssl)
        self._core = core = wire.Server(servicers, config=_core.server_config(self._config), tls=tls)
        await core.__aenter__()
        if address is not None:
            try:
                await core.listen(address)
            except wire.WireError as error:
                await core.__aexit__(None, None, None)
                raise OSError(str(error)) from error
        for each in listening:
            each.setblocking(False)
            each.listen(backlog)
            core.serve(each)
        self._server = _sockets.Listening(listening)
        self._closed = self._loop.create_future()

    def close(self) -> None:
        """Listen no more, cancel the handlers that run, and close the connections. Raises RuntimeError when the server
        was not started."""
        if self._closed is None:
            raise RuntimeError("Server is not started")
        if not self._closed.done():
            self._closed.set_result(None)
            assert self._core is not None
            core, self._core = self._core, None  # its routes lead back to this object
            self._stopping = self._loop.create_task(self._stop(core))

    async def _stop(self, core: wire.Server) -> None:
        await core.stop(0)
        await core.__aexit__(None, None, None)

    async def wait_closed(self) -> None:
        """Returns once `close` was called, and the handlers have ended. Raises RuntimeError when the server was not
        started."""
        if self._closed is None:
            raise RuntimeError("Server is not started")
        await asyncio.shield(self._closed)
        assert self._stopping is not None
        await asyncio.shield(self._stopping)
        if self._running:  # wire has stopped waiting for handlers that take long to end
            if self._emptied is None:
                self._emptied = asyncio.Event()
            await self._emptied.wait()

    def _peer(self, context: wire.ServerContext) -> Peer:
        return Peer(context.peer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()


class _Method:
    """What runs the calls of one path. What all of its calls need is looked up once."""

    def __init__(self, server: Server, path: str, method: Handler) -> None:
        self.server = server
        self.path = path
        self.function = method.func
        self.streams = method.cardinality.server_streaming
        self.encode = encoder(server._codec, method.reply_type)
        self.decode = decoder(server._codec, method.request_type)
        listeners = server.__dispatch__.listeners
        self.request_listeners = listeners(events.RecvRequest)
        self.recv_listeners = listeners(events.RecvMessage)
        self.send_listeners = listeners(events.SendMessage)
        self.initial_listeners = listeners(events.SendInitialMetadata)
        self.trailing_listeners = listeners(events.SendTrailingMetadata)
        self._holding: list[Stream[Any, Any]] = []
        self._releasing: set[asyncio.Task[None]] = set()

    def hold(self, stream: Stream[Any, Any]) -> None:
        """The stream holds its response until its handler ends, but no longer than to the end of the loop's turn."""
        if not self._holding:
            asyncio.get_running_loop().call_soon(self._release)
        self._holding.append(stream)

    def _release(self) -> None:
        holding, self._holding = self._holding, []
        for stream in holding:
            if stream._held is not None:  # its handler goes on, and waits for something
                task = asyncio.ensure_future(stream._release())
                self._releasing.add(task)
                task.add_done_callback(self._releasing.discard)

    async def handle(self, requests: Any, context: wire.ServerContext) -> None:
        """One call, from its request's headers to its status."""
        running = self.server._running
        running.add(context)
        stream: Stream[Any, Any] = Stream(self, requests, context)
        try:
            if self.request_listeners:
                stream.metadata, function = await self._notify(stream, context)
                await function(stream)
            else:
                await self.function(stream)
        except asyncio.CancelledError:
            if context.cancelled:
                log.info("Deadline exceeded" if context.time_remaining() == 0 else "Request was cancelled")
            raise
        except Exception as error:
            await self._fail(stream, error)
        else:
            data = stream._held
            if data is not None and not self.trailing_listeners and not context.done:
                stream._held = None
                context.send_last(data)
            elif not stream._trailing_done and not stream._cancelled:
                await self._succeed(stream)
        finally:
            running.discard(context)
            if self.server._emptied is not None and not running:
                self.server._emptied.set()

    async def _notify(self, stream: Stream[Any, Any], context: wire.ServerContext) -> tuple[_Metadata, Any]:
        event = events.RecvRequest(
            metadata=stream.metadata,
            method_func=self.function,
            method_name=self.path,
            deadline=stream.deadline,
            content_type=_core.content_type(context),
            user_agent=stream.user_agent,
            peer=stream.peer,
        )
        await events.notify(self.request_listeners, event)
        return event.metadata, event.method_func

    async def _succeed(self, stream: Stream[Any, Any]) -> None:
        if stream._context.done:
            log.error("Failed to handle cancellation")
        elif stream._send_done or self.streams:
            await stream.send_trailing_metadata()
        else:
            await stream.send_trailing_metadata(status=Status.UNKNOWN, status_message="Internal Server Error")
            log.error("Application error", exc_info=ProtocolError(f"{_NO_MESSAGE}: {self.path!r}"))

    async def _fail(self, stream: Stream[Any, Any], error: Any) -> None:
        if stream._context.cancelled:
            log.error("Failed to handle cancellation", exc_info=error)
            return
        if not _is_grpc_error(error):
            log.error("Timeout occurred" if isinstance(error, TimeoutError) else "Application error", exc_info=error)
        if stream._trailing_done or stream._cancelled:
            return
        if _is_grpc_error(error):
            await stream.send_trailing_metadata(
                status=error.status, status_message=error.message, status_details=error.details
            )
        else:
            await stream.send_trailing_metadata(status=Status.UNKNOWN, status_message="Internal Server Error")
