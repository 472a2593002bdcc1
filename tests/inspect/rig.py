"""Bytes in, records out: a reader whose records a test keeps."""

from __future__ import annotations

from typing import TypeVar

from tests.http2 import frames
from wire.inspect import CallEnded, ConnectionReader, Frame, RawBytes, Record, Secrets, To
from wire.inspect.schemas import Schemas

R = TypeVar("R", bound=Record)


class Rig:
    """Time passes by a millisecond with each piece."""

    def __init__(
        self,
        *,
        schemas: Schemas | None = None,
        secrets: Secrets | None = None,
        whole: bool = True,
        greet: bool = True,
        max_message_bytes: int = 1 << 20,
    ) -> None:
        self.records: list[Record] = []
        self.reader = ConnectionReader(
            1,
            self.records.append,
            schemas=schemas or Schemas(),
            secrets=secrets or Secrets(),
            whole=whole,
            max_message_bytes=max_message_bytes,
        )
        self._now_s = 0.0
        if greet:
            self.to_server(frames.PREFACE, frames.settings())
            self.to_client(frames.settings(), frames.settings(ack=True))
            self.to_server(frames.settings(ack=True))
            self.records.clear()

    def to_server(self, *data: bytes) -> None:
        self._feed(To.SERVER, b"".join(data))

    def to_client(self, *data: bytes) -> None:
        self._feed(To.CLIENT, b"".join(data))

    def _feed(self, to: To, data: bytes) -> None:
        self._now_s += 0.001
        self.reader.feed(to, data, self._now_s)

    def lose(self) -> None:
        self.reader.lost(self._now_s)

    def of(self, kind: type[R]) -> list[R]:
        return [each for each in self.records if isinstance(each, kind)]

    @property
    def frames(self) -> list[Frame]:
        return self.of(Frame)

    @property
    def calls(self) -> list[CallEnded]:
        return self.of(CallEnded)

    @property
    def raw(self) -> list[RawBytes]:
        return self.of(RawBytes)

    @property
    def problems(self) -> list[str]:
        return [problem for each in self.frames for problem in each.problems]
