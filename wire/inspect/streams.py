"""What a reader knows of one stream: windows, the messages in both directions, and how its call went.

Imports `records`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from wire.inspect.records import To

PREFIX_BYTES: Final = 5  # PROTOCOL-HTTP2.md, "Length-Prefixed-Message"


@dataclass(frozen=True, slots=True)
class Piece:
    """A message that has come whole. `data` is None when it was longer than what is kept."""

    flag: int
    size_bytes: int
    data: bytes | None


class MessageCutter:
    """Cuts the DATA of one direction of a stream into messages, in any chunking; holds at most `kept_bytes`.

    Where a prefix is none it gives up: `problem` says why, and nothing more is cut.
    """

    __slots__ = ("_flag", "_kept_bytes", "_left_bytes", "_message", "_prefix", "_size_bytes", "problem")

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        self._prefix = bytearray()
        self._message = bytearray()
        self._flag = 0
        self._size_bytes = 0
        self._left_bytes = 0
        self.problem = ""

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        at = 0
        while at < len(data) and not self.problem:
            if len(self._prefix) < PREFIX_BYTES:
                taken = data[at : at + PREFIX_BYTES - len(self._prefix)]
                self._prefix += taken
                at += len(taken)
                if len(self._prefix) < PREFIX_BYTES:
                    break
                self._begin()
            taken = data[at : at + self._left_bytes]
            at += len(taken)
            self._left_bytes -= len(taken)
            if self._size_bytes <= self._kept_bytes:
                self._message += taken
            if not self._left_bytes and not self.problem:
                whole = self._size_bytes <= self._kept_bytes
                pieces.append(Piece(self._flag, self._size_bytes, bytes(self._message) if whole else None))
                self._message.clear()
                self._prefix.clear()
        return pieces

    def _begin(self) -> None:
        self._flag = self._prefix[0]
        self._size_bytes = self._left_bytes = int.from_bytes(self._prefix[1:], "big")
        if self._flag > 1:
            self.problem = f"the prefix of a message begins with {self._flag}, which is neither 0 nor 1"

    @property
    def progress(self) -> tuple[int, int] | None:
        """Of a message that is not whole: bytes that have come, and how many it has."""
        if len(self._prefix) < PREFIX_BYTES or self.problem:
            return None
        return self._size_bytes - self._left_bytes, self._size_bytes

    @property
    def partial(self) -> bool:
        """In the middle of a message."""
        return bool(self._prefix) and not self.problem


@dataclass(slots=True)
class Half:
    """One direction of a stream."""

    window_bytes: int | None
    cutter: MessageCutter | None = None
    """None while the content type is not known to be gRPC's."""
    encoding: bytes = b"identity"
    ended: bool = False
    messages: int = 0
    message_bytes: int = 0


@dataclass(slots=True)
class StreamState:
    """`method` is "" while its request's HEADERS have not been read."""

    id: int
    halves: dict[To, Half]
    begun_at_s: float
    last_at_s: float | None = None
    method: str = ""
    first_response_at_s: float | None = None
    http_status: int | None = None
    grpc_status: int | None = None
    grpc_message: str = ""
    over: bool = field(default=False)
    """The end of its call was told."""
