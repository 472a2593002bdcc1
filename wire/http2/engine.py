"""The contract between HTTP/2 and everything above it.

In: bytes from a link (`receive`), and sends from the calls above. Out: bytes for the link (`take`), and calls on a
`Sink`. An engine is sans-I/O: it owns no socket, no task and no clock (time comes in as an argument), and the same
engine serves both roles. Two engines keep this contract, `h2_engine` and `tuned`; `engine_factory` picks one by name.

Rules that both keep:

- `receive` never raises because of what a peer sent. A stream error queues RST_STREAM and calls `on_reset`; a connection
  error queues GOAWAY, calls `on_connection_error` once, and everything received later is ignored.
- Sends on a stream that is already closed are dropped without a word: a reset may always cross them (RFC 9113 §5.1).
- DATA that the windows do not allow is queued in the engine, in order, trailers behind it. The layer above bounds that
  queue: it stops sending while `stream.queued_bytes` is over its quota, until `on_writable`.
- A server that ends a stream (END_STREAM sent) while its client has not, also resets it with NO_ERROR (§8.1).
- Field sections are validated (§8.1–§8.3, §10.3): what reaches the sink has legal names, values and pseudo-fields, and
  content-length, where present, matches the DATA received.
- Informational responses (1xx) are swallowed. PUSH_PROMISE is a connection error: push is always disabled.

Imports only `codes` and `wire.config`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wire.config import EngineName, Http2Config
from wire.http2.codes import ErrorCode

Fields = tuple[tuple[bytes, bytes], ...]
"""Decoded fields in order, names in lower case: `((b":method", b"POST"), (b"te", b"trailers"))`."""


class HeaderList:
    """A decoded field section (RFC 7541 §1.3 calls it a header list).

    `fields`: the fields in order. `memo`: a place for the layer above to keep what it worked out from them; the engine
    hands the same object over again when a peer repeats a block, so the work is done once. `shared`: set by a sender on
    an object that it will send many times; an engine may then keep its encoding for the life of the connection.
    Compared and hashed by identity.
    """

    __slots__ = ("fields", "memo", "shared")

    def __init__(self, fields: Fields, *, shared: bool = False) -> None:
        self.fields = fields
        self.memo: Any = None
        self.shared = shared

    def get(self, name: bytes) -> bytes | None:
        """The first value of `name`, or None."""
        for field, value in self.fields:
            if field == name:
                return value
        return None

    def __repr__(self) -> str:
        return f"HeaderList({self.fields!r})"


class Stream:
    """One HTTP/2 stream, as both sides of the contract hold it.

    `id`: the stream identifier. `call`: belongs to the layer above; the engine never reads it. `queued_bytes`: DATA
    accepted by the engine and not yet framed, because a window is closed. `closed`: both sides ended, or it was reset.
    """

    __slots__ = ("call", "closed", "id", "queued_bytes")

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.call: Any = None
        self.queued_bytes = 0
        self.closed = False


class Sink(Protocol):
    """What an engine reports, in the order of the wire. Methods must not raise, and may call the engine."""

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        """A request (server) or the final response headers (client)."""

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> int:
        """DATA without its padding. Returns how many of these bytes are consumed already, and may be granted to the
        peer again at once; the rest are granted by `Engine.consumed`. An empty frame comes only with END_STREAM."""

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        """Trailing fields; they end the stream."""

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> None:
        """The stream is gone before its end: RST_STREAM came, we sent one for a violation, or a GOAWAY left it out
        (`REFUSED_STREAM`, by_peer). Never called for `Engine.reset`, nor for NO_ERROR after a complete response."""

    def on_writable(self, stream: Stream) -> None:
        """`stream.queued_bytes` shrank to nothing after having been above it."""

    def on_settings(self) -> None:
        """The peer's SETTINGS were applied; `Engine.can_open` may have changed."""

    def on_ping(self) -> None:
        """A PING came (its acknowledgement is queued already). For keepalive policing."""

    def on_ping_ack(self, payload: bytes) -> None:
        """The answer to one of our pings, 8 bytes."""

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        """The peer will open no more, nor accept, streams above `last_stream_id`; ours above it were reset already."""

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        """The peer broke the protocol or a limit. GOAWAY is queued: write what `take` gives, then close."""


class Engine(Protocol):
    """See the module's rules. Every send only queues; `take` hands the bytes over."""

    streams: dict[int, Any]
    """Open streams by id (values are `Stream`s)."""

    can_open: bool
    """Client: a stream may be opened now (peer's MAX_CONCURRENT_STREAMS, GOAWAY, ids left, no connection error)."""

    drained: bool
    """Nothing more can be opened on this connection, ever: GOAWAY in either direction, ids used up, or an error."""

    queued_replies: int
    """PING and SETTINGS acknowledgements and RST_STREAMs queued since the last `take`."""

    def start(self) -> None:
        """Queue the preface (client) and the first SETTINGS. Called once, before anything else."""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the peer, in any chunking. `now`: seconds of any monotonic clock, for the rate limits."""

    def open_stream(self, headers: HeaderList, extra: Fields = (), end_stream: bool = False) -> Stream:
        """Client: queue HEADERS of a new stream. `extra`: fields of this request only, sent behind `headers`.

        Raises `UsageError` unless `can_open`.
        """

    def send_request(self, headers: HeaderList, data: bytes, extra: Fields = ()) -> Stream:
        """Client: a whole request at once, HEADERS and DATA with END_STREAM. As `open_stream` otherwise."""

    def send_headers(self, stream: Stream, headers: HeaderList, end_stream: bool = False) -> None:
        """Response headers, or trailers (`end_stream`); trailers wait behind queued DATA."""

    def send_data(self, stream: Stream, data: bytes, end_stream: bool = False) -> None:
        """DATA of any length; framed as windows and the peer's frame size allow."""

    def send_reply(self, stream: Stream, headers: HeaderList, data: bytes, trailers: HeaderList) -> None:
        """Server: a whole unary reply: HEADERS, DATA, trailers with END_STREAM."""

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Queue RST_STREAM, drop what the stream had queued, and forget it."""

    def consumed(self, stream: Stream, size: int) -> None:
        """Grant `size` received bytes to the peer again (RFC 9113 §6.9); sent in large steps."""

    def ping(self, payload: bytes) -> None:
        """Queue a PING with 8 bytes."""

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> None:
        """Queue GOAWAY. `final=False` announces a shutdown (last stream id 2³¹-1) and still accepts streams; a final one
        names the last stream seen, and streams that arrive later are refused (§6.8). Open ones go on in both cases."""

    def take(self) -> bytes:
        """The queued bytes, which are then the caller's to write; b"" when there is nothing."""


EngineFactory = Callable[[bool, Sink, Http2Config], Engine]
"""(client?, sink, config) → engine. Both engine classes have this shape."""


def engine_factory(name: EngineName) -> EngineFactory:
    """The engine class called `name`; imported only when asked for. Raises `ConfigurationError` for another name."""
    if name == "h2":
        from wire.http2.h2_engine import H2Engine

        return H2Engine
    if name == "tuned":
        from wire.http2.tuned.engine import TunedEngine

        return TunedEngine
    from wire.errors import ConfigurationError

    raise ConfigurationError(f'no HTTP/2 engine is called "{name}": there are "h2" and "tuned"')
