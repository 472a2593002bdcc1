"""Puts a trace between sockets and connections: a runtime around a runtime.

A `TracedRuntime` is a `Runtime` like the one it is given, but what it connects and accepts passes a `TracedTransport`
on its way: the protocol of the transport below, and the transport of the protocol above. TLS stands below it, so it
sees what is inside. It is put there when a server or channel opens; without it nothing of this is there. Imports
`transport` and `reader`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wire.config import TransportConfig
from wire.inspect.reader import ConnectionReader
from wire.inspect.records import To
from wire.transport.contract import (
    Answer,
    Candidate,
    Listener,
    ListeningSocket,
    Peer,
    Runtime,
    SocketCounters,
    Transport,
    TransportProtocol,
)
from wire.transport.listening import bound_address
from wire.transport.tls import ClientTls, ServerTls


class TracedTransport:
    """Stands between a transport and its protocol, keeps both contracts, and changes nothing.

    `own_address`: what this side is known by, "" where it has no name; the other side is the transport's peer.
    """

    __slots__ = (
        "_ended",
        "_inward",
        "_new_reader",
        "_now",
        "_outward",
        "_own_address",
        "_protocol",
        "_reader",
        "_transport",
        "peer",
    )

    def __init__(
        self,
        protocol: TransportProtocol,
        new_reader: Callable[[], ConnectionReader],
        now: Callable[[], float],
        *,
        at_server: bool,
        own_address: str,
    ) -> None:
        self._protocol = protocol
        self._new_reader = new_reader
        self._now = now
        self._inward = To.SERVER if at_server else To.CLIENT
        self._outward = self._inward.other
        self._own_address = own_address
        self._ended = False
        """Nothing that is written is sent any more."""
        self._reader: ConnectionReader
        self._transport: Transport
        self.peer: Peer

    # The protocol of the transport below.

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self.peer = peer = transport.peer
        ends = {self._inward: self._own_address, self._outward: peer.address}
        self._reader = self._new_reader()
        self._reader.made(self._now(), client=ends[To.CLIENT], server=ends[To.SERVER], tls=peer.tls_version or "")
        self._protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(self._inward, data, self._now())
        self._protocol.data_received(data)

    def eof_received(self) -> None:
        self._protocol.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._reader.lost(self._now(), "" if error is None else str(error))
        self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # The transport of the protocol above.

    def write(self, data: bytes) -> None:
        if not self._ended:
            self._reader.feed(self._outward, data, self._now())
            self._transport.write(data)

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(pieces))

    def counters(self) -> SocketCounters | None:
        return self._transport.counters()

    def local_address(self) -> str | None:
        return self._transport.local_address()

    def unsent_bytes(self) -> int:
        return self._transport.unsent_bytes()

    def close(self) -> None:
        self._ended = True
        self._transport.close()

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()


class TracedRuntime:
    """A runtime but for `connect`, `listen` and `take_over`; the rest are those of the one that it stands around."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            value = getattr(self._runtime, name)
            if callable(value):
                setattr(self, name, value)  # so that it is found at once the next time
            return value

    def __init__(self, runtime: Runtime, new_reader: Callable[[], ConnectionReader], now: Callable[[], float]) -> None:
        self._runtime = runtime
        self._new_reader = new_reader
        self._trace_now = now

    async def connect(
        self, candidate: Candidate, protocol: TransportProtocol, *, tls: ClientTls | None, config: TransportConfig
    ) -> Transport:
        between = TracedTransport(protocol, self._new_reader, self._trace_now, at_server=False, own_address="")
        await self._runtime.connect(candidate, between, tls=tls, config=config)
        return between

    def listen(
        self,
        sock: ListeningSocket,
        make_protocol: Callable[[], TransportProtocol],
        *,
        tls: ServerTls | None,
        config: TransportConfig,
        answer: Answer | None = None,
    ) -> Listener:
        make = self._traced(make_protocol, bound_address(sock))
        return self._runtime.listen(sock, make, tls=tls, config=config, answer=answer)

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
        make = self._traced(make_protocol, bound_address(sock))
        self._runtime.take_over(sock, make, tls=tls, config=config, answer=answer, arrived=arrived)

    def _traced(self, make_protocol: Callable[[], TransportProtocol], address: str) -> Callable[[], TransportProtocol]:
        return lambda: TracedTransport(
            make_protocol(), self._new_reader, self._trace_now, at_server=True, own_address=address
        )
