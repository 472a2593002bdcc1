"""What wire-bench calls: any method, with requests that are encoded once, and responses that are not decoded.

So the load costs little, and the same for every message: what is measured is the server. Sent to the processes that
call, which need no protobuf for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import wire
from wire.programs.load import Exchange, NewExchange


@dataclass(frozen=True, slots=True, kw_only=True)
class CallWorkload:
    """Calls of one method.

    `requests`: encoded. Calls with one request take them in turn; those with a stream of requests send all of them. A
    call ends with its last response. `files`: the descriptors, for a trace.
    """

    service: str
    method: str
    streams_requests: bool
    streams_responses: bool
    requests: tuple[bytes, ...]
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    timeout_s: float | None = None
    files: tuple[bytes, ...] = ()

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"

    @property
    def services(self) -> Sequence[wire.Service]:
        kinds: dict[tuple[bool, bool], type[wire.Method[Any, Any]]] = {
            (False, False): wire.UnaryUnary,
            (False, True): wire.UnaryStream,
            (True, False): wire.StreamUnary,
            (True, True): wire.StreamStream,
        }
        method = kinds[self.streams_requests, self.streams_responses](self.method, bytes, bytes)
        return (wire.Service(self.service, (method,), files=self.files),)

    def exchanges(self, channel: wire.Channel) -> NewExchange:
        by_path: dict[tuple[bool, bool], Any] = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        kind = by_path[self.streams_requests, self.streams_responses]
        metadata = wire.Metadata(self.metadata)
        start = partial(kind(self.path, bytes, bytes), timeout=self.timeout_s, metadata=metadata)
        if self.streams_responses:
            start = partial(_read_all, start)
        if self.streams_requests:
            return lambda: partial(start, self.requests)
        if len(self.requests) == 1:
            exchange = partial(start, self.requests[0])
            return lambda: exchange
        turns = count()
        return partial(_in_turn, start, self.requests, turns)


async def _read_all(start: Any, request: Any) -> None:
    async with start(request) as call:
        async for _ in call:
            pass


def _in_turn(start: Any, requests: tuple[bytes, ...], turns: Any) -> Exchange:
    """All callers of a connection go round the requests together."""

    def exchange() -> Any:
        return start(requests[next(turns) % len(requests)])

    return exchange
