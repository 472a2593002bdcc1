"""What an inspector tells: one record for each frame, for each call that ends, for each connection's begin and end.

Records are plain data. What is secret (`secrets`) is masked before a record is made, so whoever gets one may print it.
Imports nothing of wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFACE: Final = "PREFACE"
CALL: Final = "CALL"
CONNECTION: Final = "CONNECTION"
RAW: Final = "RAW"


class To(StrEnum):
    """Where bytes travel: to the client or to the server, wherever they are looked at."""

    SERVER = "server"
    CLIENT = "client"

    @property
    def other(self) -> To:
        return To.CLIENT if self is To.SERVER else To.SERVER


@dataclass(frozen=True, slots=True)
class Value:
    """One field of a protobuf message.

    `name` is None where the message's type is not known; the number then stands for it. `kind` is protobuf's type
    name, "message" for a nested one, whose fields are in `content`, or "masked". In a raw field `kind` is what its
    bytes look like. An enum's content is its name, or its number where that has none.
    """

    number: int
    name: str | None
    kind: str
    content: bool | int | float | str | bytes | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One gRPC message, with the frame that completed it.

    `size_bytes` is what travelled behind the prefix. `fields` is None where it was not decoded; `problem` says why.
    `type_name` is "" where the type is not known.
    """

    index: int
    """Its place among the messages of this call in this direction, from 1."""
    size_bytes: int
    compressed: bool
    plain_bytes: int
    """Its size decompressed."""
    type_name: str = ""
    fields: tuple[Value, ...] | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`at_s`: seconds since the trace began. `connection`: counted from 1."""

    connection: int
    at_s: float

    @property
    def kind(self) -> str:
        """What a filter's `frame=` calls it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionMade(Record):
    """Both ends as addresses in gRPC's name syntax, "" for one that is not known."""

    client: str
    server: str
    tls: str = ""
    """The version, such as "TLSv1.3"; "" in the clear."""

    @property
    def kind(self) -> str:
        return CONNECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLost(Record):
    """`reason` is "" when it ended without an error."""

    reason: str

    @property
    def kind(self) -> str:
        return CONNECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBytes(Record):
    """Bytes that are no frames. `content` is None unless secrets are shown."""

    to: To
    size_bytes: int
    problem: str
    """What they look like, or why they could not be read."""
    content: bytes | None = None

    @property
    def kind(self) -> str:
        return RAW


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame(Record):
    """One frame, or the client's preface.

    `stream` is 0 for the connection. `since_s`: seconds since the last frame of the same stream, None for its first.
    `details`: what the payload says, by name, such as a setting, an increment or an error code. Windows are what the
    sender of DATA may still send, after this frame; None where they are not known. `problems`: what RFC 9113 forbids.
    """

    to: To
    name: str
    """As in RFC 9113 §6, "0x1f" for one that is not there, or `PREFACE`."""
    flags: tuple[str, ...] = ()
    stream: int = 0
    size_bytes: int = 0
    """The payload's."""
    padding_bytes: int = 0
    method: str = ""
    """The call's path, such as "/echo.v1.EchoService/Echo"; "" where it is not known."""
    since_s: float | None = None
    details: tuple[tuple[str, int | str], ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    messages: tuple[Message, ...] = ()
    message_progress: tuple[int, int] | None = None
    """Of a message that is not whole yet: bytes that have come, and how many it has."""
    stream_window_bytes: int | None = None
    connection_window_bytes: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Record):
    """A call is over: by trailers, by RST_STREAM, or because the connection is gone.

    Sizes are those of messages without their prefixes, as they travelled. Times are in seconds since the request's
    HEADERS.
    """

    stream: int
    method: str
    status: str
    """gRPC's name of it; where none was sent, what PROTOCOL-HTTP2.md makes of the end that came."""
    status_message: str
    how: str
    """"" for trailers, else such as "RST_STREAM CANCEL by the client"."""
    requests: int
    request_bytes: int
    responses: int
    response_bytes: int
    first_response_s: float | None
    took_s: float

    @property
    def kind(self) -> str:
        return CALL
