"""The contract between sockets and connections, and between connections and whatever runs them.

A `Transport` carries bytes of one connected socket (in the clear or through TLS); it is driven by an event loop and
calls a `TransportProtocol`. A `Runtime` is the event loop as the rest of wire sees it: time, timers, tasks, futures,
connecting and listening. asyncio and uvloop share one runtime (`asyncio_transport`), trio has another
(`anyio_transport`). Both give the same calls in the same order, from the loop's own thread. Imports only its siblings
`address` and `tls`.

Order of a protocol's calls: `connection_made` once; then `data_received`, `pause_writing`, `resume_writing` any number
of times, `eof_received` at most once; then `connection_lost` exactly once, and nothing after it. `connection_lost` is
never called from within a method of `Transport`. When TLS is used, `connection_made` comes after the handshake; a
handshake that fails makes no call at all on the accepting side, and raises from `connect` on the other.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from wire.config import TransportConfig
from wire.transport.address import Address, MemoryAddress
from wire.transport.tls import ClientTls, ServerTls

ListeningSocket = socket.socket | MemoryAddress
"""What a runtime accepts on: a socket that listens, or a name within the process."""

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a transport. Fields that the transport does not know are None.

    `address` in gRPC's name syntax: "ipv4:127.0.0.1:40022", "ipv6:[::1]:40022", "unix:" (unnamed), "vsock:3:1024".
    """

    address: str
    cid: int | None = None
    """VSOCK: the context id of the peer's machine."""
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    """UNIX: SO_PEERCRED, read when the connection was made."""
    tls_version: str | None = None
    """Such as "TLSv1.3"; None for a transport in the clear."""
    tls_resumed: bool | None = field(default=None, compare=False)
    """Whether the handshake resumed an earlier connection's session."""
    certificate: bytes | None = None
    """The peer's certificate, DER, where it sent one that was verified."""
    certificate_fields: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What is in it, as `ssl.SSLSocket.getpeercert` has it: subject, issuer, subjectAltName, notAfter and so on."""


@dataclass(frozen=True, slots=True)
class SocketCounters:
    """What the operating system has counted of one TCP connection, so that nothing needs to be counted here."""

    bytes_received: int
    bytes_sent: int
    """Those that the peer's system has acknowledged."""
    round_trip_s: float
    """The smoothed round-trip time of RFC 6298."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One socket address that a channel's target stands for: what one attempt to connect needs.

    `address` is what it came from, as errors and certificates name it; `sockaddr` is what `socket.connect` takes for
    the family.
    """

    address: Address
    family: int
    sockaddr: Any


Answer = Callable[[bytes], bytes]
"""What a server tells a client that did not ask for HTTP/2: its first bytes → the answer, which may be empty."""


class TransportProtocol(Protocol):
    """What a transport calls. None of these may raise."""

    def connection_made(self, transport: Transport) -> None: ...

    def data_received(self, data: bytes) -> None:
        """Never empty."""

    def eof_received(self) -> None:
        """The peer closed its side; writing still works until `Transport.close`."""

    def connection_lost(self, error: Exception | None) -> None:
        """The last call. `error` says what broke; None when `close` or `abort` was called on this side."""

    def pause_writing(self) -> None:
        """The transport holds more than `TransportConfig.write_buffer_bytes`."""

    def resume_writing(self) -> None:
        """It holds a quarter of that, or less."""


class Transport(Protocol):
    """One connected socket. Methods never block, and do nothing on a transport that was lost."""

    peer: Peer

    def write(self, data: bytes) -> None:
        """Queue `data`; written at once as far as the socket takes it."""

    def writelines(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        """As `write` of the pieces together, which is not empty. None of them changes from then on."""

    def unsent_bytes(self) -> int:
        """What `write` was given and the socket has not taken yet."""

    def counters(self) -> SocketCounters | None:
        """None where the system keeps none: sockets other than TCP, systems other than Linux, a transport that was
        lost. Any thread may ask."""

    def local_address(self) -> str | None:
        """This end's, as `Peer.address` is the other's; None for a transport that was lost. Any thread may ask."""

    def close(self) -> None:
        """Write what is queued, then close; `connection_lost` follows when the peer has closed its side too, or after
        `TransportConfig.linger_s`. No other call of the protocol does."""

    def abort(self) -> None:
        """Close now, dropping what is queued; `connection_lost` follows."""

    def pause_reading(self) -> None:
        """No `data_received` until `resume_reading`; the kernel then slows the peer down.

        Not within `connection_made`: uvloop starts to read only after it.
        """

    def resume_reading(self) -> None: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Task(Protocol):
    """A running coroutine. Whoever spawned it keeps a reference until it has ended."""

    def cancel(self) -> Any:
        """Raise the event loop's cancellation in it at its next `await`. No effect on a finished task."""


class Future(Protocol[T_contra]):
    """One value to come, awaited by one task. `asyncio.Future` is one."""

    def __await__(self) -> Any: ...

    def done(self) -> bool:
        """True once it has a result or an exception, or its waiter was cancelled."""

    def set_result(self, result: T_contra, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


class Resumable(Protocol):
    """A task that a callback may go on with at once where it waits by `park`; see `transport.resumable`."""

    @property
    def park(self) -> Awaitable[None]:
        """Await it where `parking` says so: until `resume` or `wake`."""

    @property
    def parking(self) -> bool:
        """Whether this is called from within the task, and not from another that it has made."""

    def resume(self) -> bool:
        """Go on with the task up to its next wait. False when it cannot be now: then nothing was done."""

    def wake(self) -> None:
        """Have a task that waits in `park` go on, a turn of the loop later."""


class Listener(Protocol):
    """A socket that is being accepted from."""

    arriving: int
    """Connections that were accepted and have no protocol yet, such as those in a TLS handshake."""

    on_arrived: Callable[[], object] | None
    """Called when one of these has its protocol, or has failed."""

    def drain(self) -> None:
        """Accept what the system has queued, then close: whoever connected in time is served."""

    def close(self) -> None:
        """Accept nothing more and close the socket. Connections that were accepted go on."""


class Runtime(Protocol):
    """An event loop. Used from its own thread only, but for `call_soon_threadsafe`."""

    name: str
    """"asyncio", "uvloop" or "trio", for logs."""

    cancelled: type[BaseException]
    """What a cancelled task sees raised at its `await`."""

    def now(self) -> float:
        """Seconds of the monotonic clock that the timers use."""

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        """Call once, after the callbacks that are due now; never from within this method."""

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> Any:
        """As `call_soon`, from any thread and in the middle of anything, as finalizers run. Raises RuntimeError once
        the loop is closed."""

    def call_later(self, delay_s: float, callback: Callable[..., Any], *args: Any) -> Timer: ...

    def spawn(self, coroutine: Coroutine[Any, Any, Any], /) -> Task:
        """Run in a task of its own; on Python ≥ 3.12 asyncio runs it up to its first wait before this returns.

        The coroutine handles its own exceptions; one that escapes is logged and swallowed.
        """

    def begin(self, coroutine: Coroutine[Any, Any, Any], context: Context, /) -> Any:
        """Run the coroutine in `context` up to its first wait, as a task does. Gives what it returned, or raises what
        it raised; a `begun.Begun` when it waits; the coroutine itself, untouched, where it cannot be begun now."""

    def resumable(
        self, coroutine: Coroutine[Any, Any, None], context: Context, /
    ) -> tuple[Resumable, Callable[[], Task]] | None:
        """What `spawn` would make a task of, as one that can be resumed, to run in `context`, and the function that
        starts it. None where the event loop has no such tasks."""

    def future(self) -> Future[Any]: ...

    async def resolve(self, address: Address, timeout_s: float) -> list[Candidate]:
        """Every socket address that `address` stands for, at least one. Raises `ConnectError`."""

    async def connect(
        self, candidate: Candidate, protocol: TransportProtocol, *, tls: ClientTls | None, config: TransportConfig
    ) -> Transport:
        """Connect to one socket address. `protocol.connection_made` was called when it returns.

        Raises `ConnectError` or `TlsError`, whose text names the address and says what to do about it; their `errno`
        is ECONNRESET when the peer took the connection and ended it during the TLS handshake.
        """

    def listen(
        self,
        sock: ListeningSocket,
        make_protocol: Callable[[], TransportProtocol],
        *,
        tls: ServerTls | None,
        config: TransportConfig,
        answer: Answer | None = None,
    ) -> Listener:
        """Accept on a listening socket (`listening.listen_on`) with a new protocol for each connection, peers that
        `config` does not allow closed before anything is read. Running out of descriptors backs off and recovers.

        `answer`: for TLS clients that do not offer HTTP/2; without it they are closed at once. Raises `ListenError` for
        a name within the process that is taken."""

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
        """As if `listen` had accepted this connected socket. `arrived`: called once it has its protocol, or failed."""

    async def sleep(self, delay_s: float) -> None: ...


OpenRuntime = Callable[[], AbstractAsyncContextManager[Runtime]]
"""The runtime of the running event loop; leaving the context cancels what is still spawned (trio)."""
