"""The contract between HTTP/2 and everything above it.

In: bytes from a transport (`receive`), and sends from the calls above. Out: bytes for the transport (`take`), and calls
on a `Sink`. An engine is sans-I/O: it owns no socket, no task and no clock (time comes in as an argument), and the same
engine serves both roles. Two engines keep this contract, `h2` and `tuned`; `engines` picks one by name.

Rules that both keep. Sending:

- Sends on a stream that is closed, or that we ended, are dropped without a word, as is everything after a connection
  error: a reset may always cross them (RFC 9113 §5.1).
- DATA that the windows do not allow is queued in the engine, in order, trailers behind it: large pieces as they are,
  small ones joined, so that what is held is what is counted. The layer above bounds that queue: it stops sending while
  `stream.queued_bytes` is over its quota, until `on_writable`, and begins no replies while `held_bytes` is too much.
- A server that ends a stream (END_STREAM sent) while its client has not, also resets it with NO_ERROR (§8.1).
- A GOAWAY of ours names the highest stream the peer has opened, refused ones included (a client's: 0), and never a
  higher one than a final one did before (§6.8). Its debug data is the reason, which holds no text of the peer's.

Receiving:

- `receive` never raises because of what a peer sent. A stream error queues RST_STREAM and calls `on_reset`, unless the
  sink never saw the stream; the frame at fault is not reported. A connection error queues GOAWAY, calls
  `on_connection_error` once and no `on_reset`; everything received later is ignored.
- The preface is judged at its first wrong byte, a frame's size (too long, not what its type must have, too short for
  its flags: FRAME_SIZE_ERROR) and the limits of a field block when its 9-byte header is there, all else when the frame
  is. A PRIORITY of a wrong size is no exception (§5.4.1 allows it). The first frame is SETTINGS, not an
  acknowledgement (§3.4).
- A frame is judged in this order: size; stream 0 or not 0; inside a field block or not; its padding; its budget
  (`limits`); for DATA the connection's window; the state of its stream; its contents. PRIORITY and priority fields are
  read past (§5.3.2), self-dependency too, and so are settings of unknown ids.
- A field block is judged when complete: decoded first, for the HPACK state (COMPRESSION_ERROR, or the hard limit of
  `limits`), then the state of its stream; REFUSED_STREAM for a new one beyond the limit or after our final GOAWAY; the
  list limits (ENHANCE_YOUR_CALM); `validation`. Trailers without END_STREAM, and an informational response with it, are
  malformed.
- Streams of ids not opened yet are idle, as is every even one: any frame but HEADERS that opens one, PRIORITY and
  unknown types is PROTOCOL_ERROR (§5.1). Ids that a client skipped last are too, for HEADERS (§5.1.1).
- DATA and HEADERS on a stream that its peer ended: stream error STREAM_CLOSED. On a closed one: read past if we reset
  it (§5.1), connection error STREAM_CLOSED if not. Of the streams that we
  reset the last `RESETS_REMEMBERED` are known; up to the highest one forgotten nothing is an error. WINDOW_UPDATE and
  RST_STREAM on a closed stream are read past. A GOAWAY that leaves a stream out counts as a reset of ours here.
- The connection's window is granted again by the engine as DATA arrives, in large steps, whatever becomes of its
  stream; the stream's by the layer above, which says what it `consumed` and what it does `expect`, and by the engine
  for padding, at once. So a stream that nobody reads holds its own window and holds up no other.
- More DATA than a window allows is FLOW_CONTROL_ERROR of the connection, whichever window it was. A WINDOW_UPDATE that
  overflows, or of 0, is an error of its stream (FLOW_CONTROL_ERROR, PROTOCOL_ERROR), or on stream 0 of the connection.
- Field sections are validated (§8.1–§8.3, §10.3, by `validation`): what reaches the sink has legal names, values and
  pseudo-fields, and content-length, where present, matches the DATA received (else PROTOCOL_ERROR of the stream, at
  the frame that exceeds or ends it; a response without any DATA may have one all the same, §8.1.1). DATA before the
  final response's headers is PROTOCOL_ERROR of the stream.
- Informational responses (1xx) are swallowed. PUSH_PROMISE is a connection error: push is always disabled. So is
  SETTINGS_ENABLE_PUSH other than 0, but for a client's 1 (§6.5.2).
- A peer's header table is used up to 4,096 bytes, whatever it offers. Acknowledgements of SETTINGS and of PINGs that
  we did not send are controls and no error. Of one SETTINGS frame each entry is judged, and the last of each id
  applied: a stream's window changes once.
- A field block begins with at most two changes of the dynamic table's size, which are all that RFC 7541 §4.2 has a use
  for; one more is COMPRESSION_ERROR.

Imports only `codes` and `wire.config`.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from wire.http2.codes import MIN_MAX_FRAME_BYTES, ErrorCode
from wire.http2.send_queue import Chunk

RESETS_REMEMBERED: Final = 1000
"""Streams whose frames are known to be late, because we reset them."""

SHORT_REPLY_BYTES: Final = MIN_MAX_FRAME_BYTES
"""Of DATA, in one frame that every peer takes."""

Fields = tuple[tuple[bytes, bytes], ...]
"""Decoded fields in order, names in lower case: `((b":method", b"POST"), (b"te", b"trailers"))`."""


NO_LIMIT: Final = 2**32 - 1
"""`Engine.peer_max_header_list_bytes` of a peer that did not say: no more fits a setting."""


MOST_ANSWER_BYTES: Final = 1024
"""Of a message that `on_message` may return."""


class HeaderList:
    """A decoded field section (RFC 7541 §1.3 calls it a header list).

    `fields`: the fields in order. `parsed`: a place for the layer above to keep what it worked out from them; the
    engine hands the same object over again when a peer repeats a block, so the work is done once. `own`: another place,
    which is not set before: for what differs in lists that have the same as `parsed`. `shared`: set by a
    sender on an object that it will send many times; an engine may then keep its encoding for the life of the
    connection. `model`: None, or a list that the peer sent before, with the same fields but for the value of the one at
    `model.varies_at`, which here is `value`; an engine need not find it. Compared and hashed by identity.
    """

    __slots__ = ("fields", "model", "own", "parsed", "shared", "value", "varies_at")

    own: Any
    value: bytes
    varies_at: int

    def __init__(self, fields: Fields, *, shared: bool = False) -> None:
        self.fields = fields
        self.parsed: Any = None
        self.model: HeaderList | None = None
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

    `id`: the stream identifier. `call`: belongs to the layer above. Where it is set, an engine may report DATA that
    does not end the stream by `call.on_data_within(data, start, stop)`: it is `data[start:stop]`, 5 bytes or more; or
    by `call.on_message(message)`: its first 5 bytes, as a number, are the length of the rest, `message`. What these
    return, such a message of up to `MOST_ANSWER_BYTES` or None, is sent behind its length, as by `send_data`.
    `queued_bytes`: DATA accepted by the engine and not yet framed, because a window is closed. `closed`: both sides
    ended, or it was reset; it is set, and the stream out of `Engine.streams`, before the sink hears of it. An engine
    may derive its own class.
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

    reply: tuple[HeaderList, HeaderList] | None
    """The headers and the trailers around the DATA that `on_request` returns, `shared` and small. A client's: None."""

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        """A server's engine may offer a request whose HEADERS, and the one DATA frame that ends it, came in one read:
        its DATA is `data[start:stop]`, which then is not consumed. The windows take a reply of `SHORT_REPLY_BYTES`.

        Returns the DATA of a reply, of no more than that, which is sent between the headers and trailers of `reply`;
        nothing more may be said on the stream, whose object the engine may use again. b"" where the request is taken
        and answered by other means; None where it is not: `on_headers` and `on_data` follow for that stream."""

    def on_data(self, stream: Stream, data: bytes, end_stream: bool) -> None:
        """DATA without its padding; to be granted again by `Engine.consumed`. An empty frame comes only with
        END_STREAM."""

    def on_trailers(self, stream: Stream, trailers: HeaderList) -> None:
        """Trailing fields; they end the stream."""

    def whole_answer(self, headers: HeaderList, trailers: HeaderList) -> Any:
        """Client: whether answers to complete requests that have these two sections may be reported whole, in which
        case they are by `stream.call.on_response(answer, data, start, stop)`: `answer` is what this returned, and their
        only DATA is `data[start:stop]`, of any length. That returns False for one that it does not take, which is then
        reported in parts, and True for one that it does: nothing more may be said on the stream, whose object the
        engine may use again. None: not these. An engine need not ask, and may ask often."""

    def on_reset(self, stream: Stream, code: int, by_peer: bool) -> bool:
        """The stream is gone before its end: RST_STREAM came, we sent one for a violation, or a GOAWAY left it out
        (`REFUSED_STREAM`, by_peer). Never called for `Engine.reset`, nor for NO_ERROR after a complete response.

        Returns whether the stream had brought a handler a request: the reset of any other counts (`limits`). Clients
        may return anything."""

    def on_writable(self, stream: Stream) -> None:
        """`stream.queued_bytes` shrank to nothing by sending, within `receive`; an end queued behind it is out too."""

    def on_settings(self) -> None:
        """The peer's SETTINGS were applied; `Engine.can_open` may have changed. Before any `on_writable` that
        they cause, and not for an acknowledgement."""

    def on_more_to_write(self) -> None:
        """Windows have opened for more than is framed at a time: `write_more` goes on with it, after `take`."""

    def on_settings_ack(self) -> None:
        """The peer acknowledged our SETTINGS. Once."""

    def on_ping(self, explained: bool) -> None:
        """A PING came (its acknowledgement is queued already). For keepalive policing. `explained`: a HEADERS or DATA
        frame of ours was written since the PING before it."""

    def on_ping_ack(self, payload: bytes) -> None:
        """The answer to one of our pings, 8 bytes."""

    def on_goaway(self, last_stream_id: int, code: int, debug: bytes) -> None:
        """The peer will open no more, nor accept, streams above `last_stream_id`; ours above it were reset already."""

    def on_connection_error(self, code: ErrorCode, reason: str) -> None:
        """The peer broke the protocol or a limit. GOAWAY is queued: write what `take` gives, then close."""


class Engine(Protocol):
    """See the module's rules. Every send only queues; `take` hands the bytes over."""

    streams: dict[int, Any]
    """Open streams by id (values are `Stream`s): those that count against the limits of concurrent streams."""

    can_open: bool
    """Client: a stream may be opened now (peer's MAX_CONCURRENT_STREAMS, GOAWAY, ids left, no connection error)."""

    drained: bool
    """Nothing more can be opened on this connection: GOAWAY received, a final one sent, ids used up, or an error."""

    held_bytes: int
    """DATA accepted and not yet taken: queued on the streams behind closed windows, or framed since the last `take`."""

    @property
    def framed_bytes(self) -> int:
        """Of these, what is framed: DATA that `take` gives."""

    peer_max_header_list_bytes: int
    """Largest field section that the peer takes, counted as in RFC 9113 §6.5.2; it may treat more as it likes. The
    engine sends any."""

    @property
    def streams_opened(self) -> int:
        """Streams that the client of this connection has opened, ever."""

    @property
    def windows(self) -> tuple[int, int]:
        """The connection's windows in bytes: what we may send, and what the peer may."""

    queued_replies: int
    """PING and SETTINGS acknowledgements and RST_STREAMs that the peer's frames made the engine queue since the last
    `take`. The one past `Http2Config.max_queued_replies` is ENHANCE_YOUR_CALM instead."""

    def start(self) -> None:
        """Queue the preface (client) and the first SETTINGS. Called once, before anything else."""

    def receive(self, data: bytes, now: float) -> bool:
        """Bytes from the peer, in any chunking. `now`: seconds of any monotonic clock, for the rate limits.

        Handles a slice of them: the frames that begin within its length, which is the engine's own and a millisecond's
        work or so. True when there may be more to handle, which `receive(b"", now)` goes on with; more bytes may come
        before that, but had better be held back, for each time they do all that waits is copied."""

    def open_stream(self, headers: HeaderList, extra: Fields = (), end_stream: bool = False) -> Stream:
        """Client: queue HEADERS of a new stream. `extra`: fields of this request only, sent behind `headers`.

        Raises `UsageError` unless `can_open`.
        """

    def send_request(self, headers: HeaderList, data: bytes, extra: Fields = (), call: Any = None) -> Stream:
        """Client: a whole request at once, HEADERS and DATA with END_STREAM. As `open_stream` otherwise. `call`: the
        stream's."""

    def send_headers(self, stream: Stream, headers: HeaderList, end_stream: bool = False) -> None:
        """Response headers, or trailers (`end_stream`); trailers wait behind queued DATA."""

    def send_data(self, stream: Stream, data: bytes | bytearray | memoryview, end_stream: bool = False) -> None:
        """DATA of any length; framed as windows and the peer's frame size allow. What small pieces of a stream are sent
        before the next `take` leave in one frame. A bytearray, which then is the engine's, holds messages joined; what
        a memoryview shows must not change."""

    def send_reply(self, stream: Stream, headers: HeaderList, data: bytes, trailers: HeaderList) -> None:
        """Server: a whole unary reply: HEADERS, DATA, trailers with END_STREAM."""

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Queue RST_STREAM, drop what the stream had queued, and forget it. Nothing on a closed stream."""

    def refuse(self, stream: Stream) -> None:
        """Server, within `Sink.on_headers` only: RST_STREAM with REFUSED_STREAM, for a request that there is no room
        for. Counts as a reset that the peer caused, and so may end the connection: then it does not return to the
        sink, but to `receive`."""

    def consumed(self, stream: Stream, size: int) -> bool:
        """`size` bytes of the stream's DATA are held no longer: grant them to the peer again (RFC 9113 §6.9). Sent in
        large steps; True when something was queued now. Nothing on a stream that the peer ended or that is closed."""

    def write_more(self) -> None:
        """Go on framing what `Sink.on_more_to_write` told of."""

    def expect(self, stream: Stream, size: int) -> None:
        """Somebody waits for a message of which `size` bytes are yet to come: see that the stream's window lets them,
        as soon as the connection's budget does (`receive_budget`). May be said again while they come; what was granted
        for it is given back as the message is `consumed`, or the stream closed."""

    def ping(self, payload: bytes) -> None:
        """Queue a PING with 8 bytes."""

    def goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, debug: bytes = b"", *, final: bool = True) -> None:
        """Queue GOAWAY. `final=False` announces a shutdown (last stream id 2³¹-1) and still accepts streams; a final
        one names the last stream seen, and streams that arrive later are refused (§6.8). Open ones go on in both."""

    def take(self) -> bytes:
        """The queued bytes, which are then the caller's to write; b"" when there is nothing."""

    def take_pieces(self) -> list[Chunk]:
        """As `take`, which is not empty, without joining what are long pieces."""

    def close(self) -> None:
        """The transport is gone: close every stream without a word, free what they and the engine hold, and let go of
        the sink. Sends are dropped from then on. Called once, and not from within `receive`."""
