"""Every knob, as frozen dataclasses. Each field says its unit, its default and the reason for it.

Made with keywords and changed with `dataclasses.replace`; a value out of range raises `ConfigurationError` when the object
is made, never later. Imports only `errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from wire.errors import ConfigurationError

EngineName = Literal["h2", "tuned"]


def _check_ranges(config: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Raise for the first field of `config` that is not a number within its inclusive range. None means unlimited."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Config:
    """Limits and windows of one HTTP/2 connection; the same for both engines and both roles.

    The limits' sources are CVE-2023-44487, CVE-2024-27316, CVE-2025-8671 and RFC 9113 §10.5; a peer that passes one gets
    ENHANCE_YOUR_CALM unless another code is named.
    """

    stream_window_bytes: int = 1 << 19
    """Receive window of each stream. 512 KiB: a 10 Gbit/s path of 0.4 ms; the peer may have so much unread a stream."""

    connection_window_bytes: int = 1 << 22
    """Receive window of the connection, which bounds what all of its slow streams hold together. 4 MiB."""

    max_frame_bytes: int = 1 << 16
    """SETTINGS_MAX_FRAME_SIZE that we announce. 64 KiB: a quarter of the frames of the default, still little to buffer."""

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
    """Streams that may be reset, by the peer or by us because of what it sent, before `resets_per_s` applies."""

    resets_per_s: float = 33.0
    """Resets a second that refill the burst."""

    control_burst: int = 10_000
    """Frames that carry no request or response bytes (SETTINGS, PING, PRIORITY, empty DATA, unknown types, and
    WINDOW_UPDATEs beyond what our own DATA explains) before `controls_per_s` applies."""

    controls_per_s: float = 1000.0
    """Such frames a second that refill the burst."""

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            {
                "stream_window_bytes": (65_535, 2**31 - 1),
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
    """Sockets and links."""

    connect_timeout_s: float = 20.0
    """One attempt to connect, TLS handshake included (gRPC's connection-backoff.md: MIN_CONNECT_TIMEOUT)."""

    handshake_timeout_s: float = 10.0
    """A server closes a connection that has not finished TLS within this time of its being accepted."""

    read_bytes: int = 1 << 18
    """Most that one read takes from a socket. 256 KiB: what a loop turn may bring from a busy peer."""

    write_buffer_bytes: int = 1 << 18
    """Written bytes that a link holds for a slow peer before it says `pause_writing`; it resumes at a quarter."""

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
                "backlog": (1, 1 << 16),
                "max_connections": (1, 1 << 24),
            },
        )

