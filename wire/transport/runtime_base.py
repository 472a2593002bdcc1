"""What the runtimes of asyncio and of anyio share: connecting and listening, in the clear and through TLS.

Sockets come from `connecting` and `accepting`; a runtime attaches them to its loop; TLS stands between transport and
protocol. Imports `errors`, `config` and its siblings; no event loop.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import anyio

from wire.config import TransportConfig
from wire.errors import TlsError
from wire.throttle import Throttle
from wire.transport import connecting, sockets
from wire.transport.accepting import AcceptLoop, Guard
from wire.transport.address import Address, HybridVsockAddress, MemoryAddress, ProxiedAddress, TcpAddress
from wire.transport.contract import (
    Answer,
    Candidate,
    Future,
    Listener,
    ListeningSocket,
    Peer,
    Resumable,
    Task,
    Timer,
    Transport,
    TransportProtocol,
)
from wire.transport.memory import MemoryListener, MemoryTransport, connect_memory
from wire.transport.tls import ClientTls, ServerTls
from wire.transport.tls_transport import LOST_IN_HANDSHAKE, TlsTransport
from wire.transport.waits import Waits

logger = logging.getLogger("wire.transport")

End = socket.socket | MemoryTransport
"""What a new connection is before it has a protocol."""


class RuntimeBase(ABC):
    """A `Runtime` but for its loop: subclasses supply time, tasks and `_attach_socket`.

    `turned_by`: what runs the callbacks; the same for all runtimes of one event loop.
    """

    cancelled: type[BaseException]
    now: Callable[[], float]
    call_soon: Callable[..., Any]
    call_soon_threadsafe: Callable[..., Any]
    future: Callable[[], Future[Any]]
    spawn: Callable[[Coroutine[Any, Any, Any]], Task]

    def __init__(self, name: str, turned_by: object = None) -> None:
        self.name = name
        self.turned_by = object() if turned_by is None else turned_by  # not itself: that would be a cycle
        self._left = False
        self._warnings = Throttle(logger)
        self._transports: dict[
            Transport, Guard | None
        ] = {}  # open ones: a paused transport has nobody else to keep it alive
        self._listeners: set[AcceptLoop | MemoryListener] = set()
        self._guards: dict[int, Guard] = {}  # by id of the configuration, which the guard keeps alive

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context, /) -> Any:
        return coroutine

    def resumable(
        self, coroutine: Coroutine[Any, Any, None], context: Context, /
    ) -> tuple[Resumable, Callable[[], Task]] | None:
        return None

    @abstractmethod
    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer: ...

    @abstractmethod
    async def sleep(self, delay_s: float) -> None: ...

    @abstractmethod
    async def _attach_socket(
        self, sock: socket.socket, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        """Make a connected socket a transport, kept in `_transports`. Calls `protocol.connection_made` before it
        returns.

        Transports call `forget` once they are lost. Raises OSError when the socket is no good; it is closed then.
        """

    async def _attach(
        self, end: End, protocol: TransportProtocol, peer: Peer, config: TransportConfig, guard: Guard | None
    ) -> Transport:
        """As `_attach_socket`, for either kind of end. What comes once the runtime is left would never be lost."""
        if self._left:
            if guard is not None:
                guard.open -= 1
            _discard(end)
            raise OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
        if not isinstance(end, MemoryTransport):
            return await self._attach_socket(end, protocol, peer, config, guard)
        self._transports[end] = guard
        try:
            end.start(protocol, peer, config)
        except OSError:
            self.forget(end)
            raise
        return end

    async def resolve(self, address: Address, timeout_s: float) -> list[Candidate]:
        return await connecting.resolve(address, timeout_s, self._waits())

    def _waits(self) -> Waits:
        """How connecting waits: for as long as one attempt lasts."""
        return anyio

    async def connect(
        self, candidate: Candidate, protocol: TransportProtocol, *, tls: ClientTls | None, config: TransportConfig
    ) -> Transport:
        address = candidate.address
        end = self.now() + config.connect_timeout_s
        sock: End
        if isinstance(address, MemoryAddress):
            sock = connect_memory(address, self)
        else:
            sock = await connecting.connect(candidate, config.connect_timeout_s, self._waits())
        try:
            if isinstance(address, HybridVsockAddress) or isinstance(sock, MemoryTransport):
                # To whoever dials a hybrid vsock, the peer is the guest, not the VMM whose socket this is.
                peer = Peer(str(address))
            elif isinstance(address, ProxiedAddress):
                peer = Peer(str(address.target))
            else:
                peer = sockets.peer_of(sock)
            if tls is None:
                return await self._attach(sock, protocol, peer, config, None)
            shaken: Future[str | None] = self.future()
            transport = TlsTransport(
                protocol,
                tls.current(),
                server_name=tls.server_name or _host_of(address, peer),
                timeout_s=max(end - self.now(), 0.001),
                call_later=self.call_later,
                finished=lambda reason: None if shaken.done() else shaken.set_result(reason),
            )
            await self._attach(sock, transport, peer, config, None)
        except OSError as error:
            _discard(sock)
            raise sockets.connect_error(address, error) from None
        except BaseException:
            _discard(sock)
            raise
        try:
            reason = await shaken
        except BaseException:
            transport.abort()
            raise
        if reason is not None:
            number = errno.ECONNRESET if reason == LOST_IN_HANDSHAKE else None
            raise TlsError(f"cannot connect to {address}: {reason}", number)
        return transport

    def listen(
        self,
        sock: ListeningSocket,
        make_protocol: Callable[[], TransportProtocol],
        *,
        tls: ServerTls | None,
        config: TransportConfig,
        answer: Answer | None = None,
    ) -> Listener:
        guard = self._guard_of(config)

        def accepted(end: End, peer: Peer, listener: AcceptLoop | MemoryListener) -> None:
            self.spawn(self._arrive(end, peer, make_protocol, tls, answer, guard, listener.arrived))

        if isinstance(sock, MemoryAddress):
            named = MemoryListener(sock, self, guard, accepted, self._listeners.discard)
            self._listeners.add(named)
            return named
        listener = AcceptLoop(sock, guard, accepted, self._listeners.discard)
        self._listeners.add(listener)
        # Not at once: anyio on asyncio ends the wait of a listener that was just closed one turn later, by its file
        # descriptor, which this socket may have got.
        self.call_soon(listener.start, self.spawn)
        return listener

    def take_over(
        self,
        sock: socket.socket,
        make_protocol: Callable[[], TransportProtocol],
        *,
        tls: ServerTls | None,
        config: TransportConfig,
        answer: Answer | None,
        arrived: Callable[[], None],
    ) -> None:
        guard = self._guard_of(config)
        peer = guard.admit(sock)
        if peer is None:
            arrived()
        else:
            self.spawn(self._arrive(sock, peer, make_protocol, tls, answer, guard, arrived))

    def _guard_of(self, config: TransportConfig) -> Guard:
        return self._guards.setdefault(id(config), Guard(config))

    async def _arrive(
        self,
        sock: End,
        peer: Peer,
        make_protocol: Callable[[], TransportProtocol],
        tls: ServerTls | None,
        answer: Answer | None,
        guard: Guard,
        arrived: Callable[[], None],
    ) -> None:
        def finished(reason: str | None) -> None:
            arrived()
            if reason is not None:
                self._warnings.warning(f"refused: {reason}", "refused %s: %s", peer.address, reason)

        try:
            protocol = make_protocol()
            if tls is not None:
                protocol = TlsTransport(
                    protocol,
                    tls.current(),
                    server_name=None,
                    timeout_s=guard.config.handshake_timeout_s,
                    call_later=self.call_later,
                    finished=finished,
                    answer=answer,
                )
        except BaseException:
            guard.open -= 1
            arrived()
            _discard(sock)
            raise
        try:
            await self._attach(sock, protocol, peer, guard.config, guard)
        except OSError as error:
            if tls is not None:
                arrived()
            self._warnings.warning("lost", "lost %s on arrival: %s", peer.address, error.strerror)
        finally:
            if tls is None:
                arrived()

    def forget(self, transport: Transport) -> None:
        """A transport was lost, or was never made. Transports call it once their protocol knows."""
        guard = self._transports.pop(transport, None)
        if guard is not None:
            guard.open -= 1

    def close(self) -> None:
        """Stop listening, and abort the transports that are still open. There will be no others."""
        self._left = True
        for listener in list(self._listeners):
            listener.close()
        for transport in list(self._transports):
            transport.abort()


def _discard(end: End) -> None:
    """Close what has become no transport."""
    if isinstance(end, MemoryTransport):
        end.abort()
    else:
        end.close()


def _host_of(address: Address, peer: Peer) -> str:
    """The name that a server's certificate must be valid for."""
    if isinstance(address, ProxiedAddress):
        address = address.target
    if isinstance(address, TcpAddress):
        return address.host.partition("%")[0]  # less the zone of a transport-local address
    if peer.address.startswith("ipv"):  # the one of several that answered
        return peer.address.partition(":")[2].rpartition(":")[0].strip("[]")
    return "localhost"  # what gRPC sends as :authority over UNIX sockets
