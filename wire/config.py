"""Every knob, as frozen dataclasses. Each field says its unit, its default and the reason for it.

Made with keywords and changed with `dataclasses.replace`; a value out of range raises `ConfigurationError` when the
object is made, never later. Imports only `errors`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from wire.errors import ConfigurationError

EngineName = Literal["h2", "tuned"]
CompressionName = Literal["gzip", "deflate", "zstd"]
LoadBalancing = Literal["pick_first", "round_robin"]


RANGES: dict[type[Any], dict[str, tuple[float, float]]] = {}
"""Class → field → inclusive range, of every class that an object was made of; for programs that list the knobs."""


def _check_ranges(config: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Raise for the first field of `config` that is not a number within its inclusive range. None means unlimited."""
    RANGES[type(config)] = ranges
    for field in fields(config):  # type: ignore[arg-type]
        if field.name not in ranges:
            continue
        value = getattr(config, field.name)
        low, high = ranges[field.name]
        if value is None:
            if "None" in str(field.type):
                continue
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            continue
        raise ConfigurationError(f"{type(config).__name__}.{field.name} is {value!r}, but must be from {low} to {high}")


def _check_name(config: object, field: str, names: Any) -> None:
    """Raise for a field that is not one of the names of a Literal."""
    value = getattr(config, field)
    if value not in get_args(names):
        shown = ", ".join(f'"{name}"' for name in get_args(names))
        raise ConfigurationError(f"{type(config).__name__}.{field} is {value!r}, but must be one of {shown}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Config:
    """Limits and windows of one HTTP/2 connection; the same for both engines and both roles.

    The limits' sources are CVE-2023-44487, CVE-2024-27316, CVE-2025-8671 and RFC 9113 §10.5; a peer that passes one
    gets ENHANCE_YOUR_CALM unless another code is named.
    """

    stream_window_bytes: int = 1 << 17
    """Receive window of each stream as it begins. 128 KiB: what a stream that nobody reads holds. A message that is
    longer gets the rest of its length when its prefix has come and somebody waits for it.

    What a peer can make one connection hold unread is at most `max_concurrent_streams` x `stream_window_bytes` +
    `receive_budget_bytes` (and, where messages can be longer than half of that, one message)."""

    max_stream_window_bytes: int = 1 << 21
    """How far the window of a stream whose messages are taken grows. 2 MiB: 200 MB/s over a round trip of 10 ms."""

    receive_budget_bytes: int = 1 << 25
    """What all streams of a connection together may be granted beyond their first windows, for long messages and for
    windows that have grown; the latter take half of it at most. 32 MiB: eight messages of the largest size at once,
    further ones wait for their turn."""

    connection_window_bytes: int = 1 << 22
    """Receive window of the connection, granted again as DATA arrives: it bounds what is under way, and so what one
    connection carries in a round trip. 4 MiB."""

    max_frame_bytes: int = (1 << 16) + (1 << 10)
    """SETTINGS_MAX_FRAME_SIZE that we announce. 65 KiB: a payload of 64 KiB comes in one frame, with what stands before
    it; a quarter of the frames of the default, still little to buffer."""

    max_concurrent_streams: int = 1000
    """Streams that a peer may have open on us; one more is refused alone (REFUSED_STREAM)."""

    header_table_bytes: int = 4096
    """HPACK dynamic table that we offer the peer's encoder (SETTINGS_HEADER_TABLE_SIZE)."""

    max_header_list_bytes: int = 16_384
    """Largest field section, each field counted as name + value + 32 (RFC 9113 §6.5.2). The C core's hard limit."""

    max_header_fields: int = 128
    """Fields in one section, so that many empty ones cannot pass under the byte limit."""

    max_continuation_frames: int = 8
    """CONTINUATION frames in one field block."""

    max_queued_replies: int = 1000
    """PING and SETTINGS acknowledgements and RST_STREAMs queued while the peer does not read."""

    reset_burst: int = 1000
    """Streams that may be reset, by us because of what the peer sent or by the peer before a handler waited for what
    they bring, before `resets_per_s` applies. Those are streams without a whole request, and streams of requests that
    are reset in the read that opened them. Other cancelled calls cost nothing: `max_concurrent_streams` bounds the
    handlers that run, those of reset streams included."""

    resets_per_s: float = 1000.0
    """Resets a second that refill the burst. A reset costs about 10 µs, so this is one percent of a core; nghttp2's 33
    would cut off a busy client whose deadlines are short."""

    control_burst: int = 10_000
    """Frames that carry no request or response bytes (SETTINGS, PRIORITY, tiny DATA, unknown types; PINGs,
    WINDOW_UPDATEs and late frames beyond what our own frames explain; all in `http2/limits.py`) before
    `controls_per_s` applies."""

    controls_per_s: float = 1000.0
    """Such frames a second that refill the burst."""

    settings_timeout_s: float = 30.0
    """Time for the peer to acknowledge our SETTINGS; then the connection is closed with SETTINGS_TIMEOUT (RFC 9113
    §6.5.3). 30 s: more than the slowest transport takes, and nobody keeps us in doubt about our own limits."""

    max_turn_s: float = 0.002
    """How long the frames of one connection may keep the event loop before other callbacks have their turn. 2 ms: what
    reads bring in good order takes less, and a call beside a flood waits for two or three such turns."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "settings_timeout_s": (0.001, 86_400),
                "max_turn_s": (0.0001, 60),
                "stream_window_bytes": (65_535, 2**31 - 1),
                "max_stream_window_bytes": (65_535, 2**30),
                "receive_budget_bytes": (0, 2**40),
                "connection_window_bytes": (65_535, 2**31 - 1),
                "max_frame_bytes": (2**14, 2**24 - 1),
                "max_concurrent_streams": (1, 2**31 - 1),
                "header_table_bytes": (0, 1 << 20),
                "max_header_list_bytes": (1024, 1 << 24),
                "max_header_fields": (16, 1 << 16),
                "max_continuation_frames": (0, 1 << 16),
                "max_queued_replies": (1, 1 << 20),
                "reset_burst": (1, 1 << 30),
                "resets_per_s": (0, 1e9),
                "control_burst": (1, 1 << 30),
                "controls_per_s": (0, 1e9),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportConfig:
    """Sockets and transports."""

    connect_timeout_s: float = 20.0
    """One attempt to connect, TLS handshake included (gRPC's connection-backoff.md: MIN_CONNECT_TIMEOUT)."""

    handshake_timeout_s: float = 10.0
    """A server closes a connection that has not finished TLS within this time of its being accepted."""

    read_bytes: int = 1 << 16
    """Most that one read takes from a socket (uvloop has its own 250 KiB). 64 KiB: from 128 KiB up the C library maps
    fresh memory for each read, which costs 16 µs even when a few bytes came."""

    write_buffer_bytes: int = 1 << 18
    """Written bytes that a transport holds for a slow peer before it says `pause_writing`; it resumes at a quarter."""

    linger_s: float = 1.0
    """After `close` has written everything, the peer has so long to close its side, and what it still sends is dropped.
    Closing with bytes unread would reset the connection, and the peer would lose what it has not read yet."""

    backlog: int = 1024
    """Connections that the kernel queues for `accept`."""

    max_connections: int | None = None
    """Connections a server holds at once; further ones are closed when accepted. None: as many as descriptors allow."""

    vsock_allow_cids: frozenset[int] | None = None
    """Peers by CID that a server accepts over VSOCK; None accepts all."""

    unix_allow_uids: frozenset[int] | None = None
    """Peers by user id (SO_PEERCRED) that a server accepts over UNIX sockets; None accepts all."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "connect_timeout_s": (0.001, 86_400),
                "handshake_timeout_s": (0.001, 86_400),
                "read_bytes": (4096, 1 << 26),
                "write_buffer_bytes": (4096, 1 << 30),
                "linger_s": (0, 3600),
                "backlog": (1, 1 << 16),
                "max_connections": (1, 1 << 24),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """Messages and streams of one connection's calls; the same for both roles."""

    max_receive_message_bytes: int = 1 << 22
    """Largest message taken in, compressed and decompressed. 4 MiB, as in every gRPC implementation."""

    max_send_message_bytes: int | None = None
    """Largest message sent; None: no limit but the peer's."""

    max_message_depth: int = 100
    """How deep messages and groups may nest in a received message. 100, as in google's upb, C++ and Java."""

    max_decoded_bytes: int | None = None
    """Memory that the messages, map entries and unknown enum members in one received message may take, by estimate; it
    is refused beyond that. None: 64 MiB, or 16 times the message where that is more. In Python an empty message of two
    bytes takes some 150, so that 4 MiB could become 300 MiB. Text, bytes and numbers are not counted: they take no more
    than 20 times their encoding. Messages up to 1 KiB, and types that another library decodes, are not looked at."""

    inline_decode_bytes: int = 1 << 14
    """A message with more to go over than this is decoded in a thread, so that it holds nobody up; what text and bytes
    fields hold does not count. One that becomes more than twice this when it is decompressed goes there as well. 16 KiB
    decode in about 5 ms at worst, as long as one thread waits for another."""

    send_buffer_bytes: int = 1 << 16
    """Messages that one call may have queued before its sender waits: behind a closed flow-control window, or behind a
    transport that is not being read. 64 KiB, as grpc-go keeps for each stream."""

    retry_buffer_bytes: int = 1 << 16
    """Clients: requests of a stream that are kept until the response begins, so that a call which the server refused
    unseen can be sent once more (gRPC proposal A6). A call that has sent more is not retried; 0 keeps none. 64 KiB: a
    refusal comes within a round trip."""

    compression: CompressionName | None = None
    """How sent messages are compressed. None by default: it costs more time than a data centre's network saves."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "max_receive_message_bytes": (0, 2**32 - 1),
                "max_send_message_bytes": (0, 2**32 - 1),
                "max_message_depth": (1, 300),
                "max_decoded_bytes": (1024, 2**40),
                "inline_decode_bytes": (0, 2**32 - 1),
                "send_buffer_bytes": (1, 1 << 30),
                "retry_buffer_bytes": (0, 1 << 30),
            },
        )
        if self.compression is not None:
            _check_name(self, "compression", CompressionName)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveConfig:
    """Pings that find out whether a quiet peer is still there (gRPC proposals A8 and A18)."""

    time_s: float | None = None
    """Silence before a ping; None: never. Clients: off by default, and at least 10 s. Servers: 2 hours."""

    timeout_s: float = 20.0
    """Time for the answer, and for a peer that takes nothing of what is written to it; then the connection is
    closed."""

    without_calls: bool = False
    """Ping although no call is open (A8's permit without stream). Servers always do."""

    min_ping_interval_s: float = 300.0
    """Servers: pings of a client that come closer together than this are strikes, unless data was sent between them."""

    max_ping_strikes: int = 2
    """Servers: strikes before GOAWAY with ENHANCE_YOUR_CALM and "too_many_pings"."""

    max_connection_idle_s: float | None = None
    """Servers: a connection without calls for so long, give or take a quarter, is asked to end (GOAWAY); None: never
    (gRPC proposal A9, as the next two)."""

    max_connection_age_s: float | None = None
    """Servers: a connection is asked to end after so long, give or take a tenth, so that clients spread anew over the
    servers behind a balancer; None: never."""

    max_connection_age_grace_s: float | None = None
    """Servers: how long its calls may go on then, before they fail; None: as long as they like."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "time_s": (0.001, 1e9),
                "timeout_s": (0.001, 1e9),
                "min_ping_interval_s": (0, 1e9),
                "max_ping_strikes": (0, 1 << 30),
                "max_connection_idle_s": (0.001, 1e9),
                "max_connection_age_s": (0.001, 1e9),
                "max_connection_age_grace_s": (0, 1e9),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Everything a `Server` can be told."""

    engine: EngineName = "tuned"
    """The HTTP/2 engine: "tuned" is ours, "h2" the reference it is tested against."""

    http2: Http2Config = Http2Config()
    transport: TransportConfig = TransportConfig()
    calls: CallConfig = CallConfig()
    keepalive: KeepaliveConfig = KeepaliveConfig(time_s=7200.0)

    preface_timeout_s: float = 10.0
    """A connection whose HTTP/2 preface and SETTINGS have not come by then is closed."""

    reply_buffer_bytes: int = 1 << 24
    """Replies of unary calls that a connection holds for a peer that does not take them, be it by closed windows or by
    not reading; beyond it calls wait with their handlers not begun. 16 MiB: four of the largest requests' echoes, and
    more than a fast transport carries in a round trip. What handlers that already run reply comes on top, and so does
    `send_buffer_bytes` and a message for each stream of responses. A peer that grants nothing for
    `KeepaliveConfig.timeout_s` while calls wait is closed."""

    handler_messages_bytes: int = 1 << 28
    """What the long messages take that the handlers of one connection hold, in memory: requests whose handlers run, and
    of each stream of requests the one that was taken last. A call that is given more is refused (RESOURCE_EXHAUSTED);
    one message always has room. Those up to `inline_decode_bytes` do not count. 256 MiB: 64 of the largest messages at
    once; a connection that carries more callers than that is a proxy's."""

    trim_memory_bytes: int | None = 1 << 25
    """When connections have ended and glibc keeps more than this of what the process has freed, it is told to hand that
    back (malloc_trim); in a thread, at most each ten seconds. None: never. Nothing happens with other C libraries. 32
    MiB: less than one hostile peer leaves, and more than calls come and go with."""

    grace_s: float = 30.0
    """How long `Server.stop` lets open calls go on before it cancels them."""

    handler_threads: int | None = None
    """Threads for handlers that are plain `def`s, so that they may block; made as they are needed, and calls wait when
    all are busy. None: those handlers run in the event loop, which is fastest."""

    slow_handler_s: float | None = 0.1
    """A handler that holds the event loop for longer, without an `await`, is named in the log, once for each method;
    None: nothing watches, nor does it on PyPy. 0.1 s: other calls wait that long, and what takes so long belongs in a
    thread. A thread looks twice in that time while there are connections, at no cost to calls."""

    hang_timeout_s: float | None = 10.0
    """Several workers: one whose event loop has not turned for so long is killed and replaced (`run_workers`); None: it
    is not. 10 s: what waited for it has mostly given up by then, and no handler may hold a loop that long."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "preface_timeout_s": (0.001, 86_400),
                "reply_buffer_bytes": (1, 1 << 40),
                "handler_messages_bytes": (0, 1 << 40),
                "trim_memory_bytes": (0, 1 << 40),
                "grace_s": (0, 86_400),
                "handler_threads": (1, 1 << 16),
                "slow_handler_s": (0.001, 86_400),
                "hang_timeout_s": (0.1, 86_400),
            },
        )
        _check_name(self, "engine", EngineName)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierConfig:
    """When an address of a round_robin channel is left out for a while, because its calls fail (as gRPC proposal A50,
    by failures in a row)."""

    consecutive_failures: int = 5
    """Calls in a row that ended with UNAVAILABLE, INTERNAL, UNKNOWN, DATA_LOSS or DEADLINE_EXCEEDED. The other codes
    are answers of an application that works."""

    ejection_s: float = 30.0
    """How long the first time; as many times as long as the address was left out in a row, up to the most."""

    max_ejection_s: float = 300.0
    """The most, as in A50."""

    max_ejected: float = 0.5
    """The share of the addresses that are left out at most: when all fail, the fault is not theirs."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "consecutive_failures": (1, 1 << 30),
                "ejection_s": (0.001, 86_400),
                "max_ejection_s": (0.001, 86_400),
                "max_ejected": (0, 1),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConfig:
    """Everything a `Channel` can be told."""

    engine: EngineName = "tuned"
    """The HTTP/2 engine: "tuned" is ours, "h2" the reference it is tested against."""

    load_balancing: LoadBalancing = "pick_first"
    """Which of the target's addresses are used. "pick_first": the first that can be (and as many as `connections`,
    where that is more); "round_robin": all of them, calls go round."""

    connections: int = 1
    """Connections that the channel keeps to its target; calls go round them. They spread over its addresses, of which
    round_robin gives each at least one."""

    max_connections: int = 4
    """How many there may be, by one more each time that a server's limit of concurrent streams makes calls wait; with
    round_robin for each address. What is more than `connections` is closed once it is idle. A small number: who sets
    such a limit means it."""

    health_check_service: str | None = None
    """Where it is given, a connection takes calls only while the server's health service (grpc.health.v1, `Watch`) says
    that this service is SERVING; "" is the server as a whole. A server without that service is taken as healthy."""

    outliers: OutlierConfig | None = None
    """Leave addresses out whose calls fail; None: never. For round_robin."""

    resolve_interval_s: float | None = 300.0
    """How often a name is looked up again while the channel is open, besides after each failure to connect and each
    connection that is lost; None: only then. It finds servers that were added. 5 minutes, which is one look-up."""

    resolve_min_interval_s: float = 1.0
    """Least time between two look-ups of a name."""

    wait_for_ready: bool = False
    """Calls wait for a connection until their deadline, rather than fail when one cannot be made."""

    user_agent: str = ""
    """Put in front of wire's own user-agent."""

    user_agent_suffix: str = ""
    """Put behind it."""

    authority: str | None = None
    """The :authority of requests; None: what the target says (gRPC's naming document)."""

    http_proxy: str | None = dataclasses.field(default=None, repr=False)
    """Connect by way of this proxy, "http://[user:password@]host:port"; "environment": the one that https_proxy (with
    TLS) or http_proxy names and no_proxy does not forbid. It only passes bytes on; TLS is with the server."""

    idle_timeout_s: float | None = 1800.0
    """A channel without calls for so long, give or take a quarter, closes its connections and is IDLE; it connects
    again for the next call. None: never. 30 minutes, as in grpc-go."""

    credentials_in_clear: bool = False
    """Call credentials may travel over TCP without TLS, where whoever can read the network can use them. UNIX sockets
    and VSOCK stay within the machine, so they need no such leave."""

    connect_stagger_s: float = 0.25
    """An address that cannot be used after so long is no longer waited for alone: the target's next one is tried beside
    it (RFC 8305 §8, Connection Attempt Delay; gRPC proposal A61)."""

    connect_retries: int = 3
    """Times that a connection is tried again at once, when a server took it and ended it before it could be used, as
    one that stops does; then it is a failed attempt. Few, so that a server that always does is not stormed."""

    backoff_initial_s: float = 1.0
    """After a failed attempt to connect (connection-backoff.md)."""

    backoff_multiplier: float = 1.6
    """How many times as long the next wait is, after one that failed again."""

    backoff_jitter: float = 0.2
    """The share by which a wait is made longer or shorter at random, so that clients do not come back all at once."""

    backoff_max_s: float = 120.0
    """The longest wait."""

    http2: Http2Config = Http2Config()
    transport: TransportConfig = TransportConfig()
    calls: CallConfig = CallConfig()
    keepalive: KeepaliveConfig = KeepaliveConfig()

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "connections": (1, 1 << 16),
                "max_connections": (1, 1 << 16),
                "resolve_interval_s": (0.001, 1e9),
                "resolve_min_interval_s": (0, 86_400),
                "idle_timeout_s": (0.001, 1e9),
                "connect_stagger_s": (0.01, 86_400),
                "connect_retries": (0, 100),
                "backoff_initial_s": (0.001, 86_400),
                "backoff_multiplier": (1, 100),
                "backoff_jitter": (0, 1),
                "backoff_max_s": (0.001, 86_400),
            },
        )
        _check_name(self, "engine", EngineName)
        _check_name(self, "load_balancing", LoadBalancing)
        if self.keepalive.time_s is not None and self.keepalive.time_s < 10:
            raise ConfigurationError("a channel's KeepaliveConfig.time_s must be at least 10 s (gRPC proposal A8)")
