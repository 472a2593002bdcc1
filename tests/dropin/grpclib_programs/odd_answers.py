"""Programs whose server is written with PyPI's h2, and answers as gRPC servers seldom do. Called as `client.py` is.

What wire is known to see otherwise is not among the answers: docs/from-grpclib.md has a table of it.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import cafe_grpc
from cafe_pb2 import Drink, Order
from grpclib.client import Channel
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from speech import outcome, quiet, report, run_programs

PROGRAMS: dict[str, Any] = {}
Say = Callable[..., None]
Headers = list[tuple[str, str]]

HTTP_OK = (":status", "200")
HEAD = [HTTP_OK, ("content-type", "application/grpc+proto")]
OK = [("grpc-status", "0")]


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


def framed(data: bytes) -> bytes:
    return struct.pack(">BI", 0, len(data)) + data


DRINK = framed(Drink(payload=b"tea").SerializeToString())


class RawServer(asyncio.Protocol):
    """Answers each request when it has ended."""

    def __init__(self, answer: Callable[[RawServer, int], None]) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.answer = answer
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            if isinstance(event, StreamEnded):
                assert event.stream_id is not None
                self.answer(self, event.stream_id)
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


Answer = Callable[[RawServer, int], None]


class Against:
    """A raw server, and a channel to it."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def __aenter__(self) -> Any:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: RawServer(self.answer), "127.0.0.1", 0)
        self.channel = Channel("127.0.0.1", self.server.sockets[0].getsockname()[1])
        return self.channel

    async def __aexit__(self, *error: Any) -> None:
        self.channel.close()
        self.server.close()


# What servers may answer.


def trailers_only(headers: Headers, raw: RawServer, stream: int) -> None:
    raw.h2.send_headers(stream, headers, end_stream=True)


def whole(data: bytes, trailers: Headers, raw: RawServer, stream: int, *, head: Headers = HEAD) -> None:
    raw.h2.send_headers(stream, head)
    if data:
        raw.h2.send_data(stream, data)
    raw.h2.send_headers(stream, trailers, end_stream=True)


def reset(code: int, raw: RawServer, stream: int) -> None:
    raw.h2.reset_stream(stream, code)


def close(raw: RawServer, stream: int) -> None:
    raw.transport.close()


def close_after_headers(raw: RawServer, stream: int) -> None:
    raw.h2.send_headers(stream, HEAD)
    raw.flush()
    raw.transport.close()


def answers() -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for status in ("400", "401", "404", "429", "503", "508"):
        found[f"status {status}"] = partial(trailers_only, [(":status", status)])
    found["status 503 with a body"] = partial(
        whole, b"busy", [("a", "b")], head=[(":status", "503"), ("content-type", "text/plain")]
    )
    for each in ("12", "0", "05"):
        found[f"trailers only, grpc-status {each}"] = partial(trailers_only, [*HEAD, ("grpc-status", each)])
        found[f"trailers, grpc-status {each}"] = partial(whole, DRINK, [("grpc-status", each)])
        found[f"no message, grpc-status {each}"] = partial(whole, b"", [("grpc-status", each)])
    found["two statuses"] = partial(whole, DRINK, [("grpc-status", "5"), ("grpc-status", "6")])
    for text in ("plain", "a%20b", "%E2%82%AC", "%zz", "%", "%FF"):
        pairs = [("grpc-status", "5"), ("grpc-message", text)]
        found[f"message {text!r} alone"] = partial(trailers_only, [*HEAD, *pairs])
        found[f"message {text!r}"] = partial(whole, DRINK, pairs)
    found["message with OK"] = partial(whole, DRINK, [*OK, ("grpc-message", "fine")])
    found["no content-type"] = partial(whole, DRINK, OK, head=[HTTP_OK])
    for kind in ("text/invalid", "application/grpc", "application/grpc+json"):
        found[f"content-type {kind}"] = partial(whole, DRINK, OK, head=[HTTP_OK, ("content-type", kind)])
    found["metadata"] = partial(
        whole, DRINK, [*OK, ("x-bin", "AAEC"), ("y-bin", "AAE"), ("z", "1"), ("z", "2")], head=[*HEAD, ("h", "v")]
    )
    found["details that cannot be parsed"] = partial(
        whole, DRINK, [("grpc-status", "5"), ("grpc-status-details-bin", "/////w")]
    )
    found["a message that cannot be parsed"] = partial(whole, framed(b"\xff\xff"), OK)
    found["fields of gRPC's own"] = partial(
        whole,
        DRINK,
        [*OK, ("grpc-retry-pushback-ms", "1"), ("grpc-unknown", "x")],
        head=[*HEAD, ("grpc-encoding", "identity"), ("grpc-accept-encoding", "gzip"), ("server", "raw")],
    )
    for code in (0, 1, 8, 11, 99):
        found[f"reset with {code}"] = partial(reset, code)
    found["closed"] = close
    found["closed after headers"] = close_after_headers
    return found


@program
async def odd_answers(say: Say, name: str, arguments: Any) -> None:
    for what, answer in answers().items():
        async with Against(answer) as channel:
            stub = cafe_grpc.CafeStub(channel)
            say(what, await outcome(stub.Unary(Order(payload=b"x"))))
            if answer not in (close, close_after_headers):
                say(await outcome(stub.ServerStream(Order(payload=b"x"))))
                say(await outcome(stub.ClientStream([Order(payload=b"x")])))
                say(await outcome(stub.Bidi([Order(payload=b"x")])))


async def step_by_step(say: Say, opened: Any) -> None:
    async with opened as stream:
        await stream.send_message(Order(payload=b"x"), end=True)
        await stream.recv_initial_metadata()
        say(stream.initial_metadata)
        say(await stream.recv_message(), await stream.recv_message())
        await stream.recv_trailing_metadata()
        say(stream.trailing_metadata)


@program
async def odd_answers_step_by_step(say: Say, name: str, arguments: Any) -> None:
    for what, answer in answers().items():
        for method in ("Unary", "Bidi"):
            async with Against(answer) as channel:
                opened = getattr(cafe_grpc.CafeStub(channel), method).open()
                say(what, method, await outcome(step_by_step(say, opened)))


@program
async def a_block_that_outlives_its_connection(say: Say, name: str, arguments: Any) -> None:
    """Its end does not repeat what a step has said already."""

    async def block(channel: Any) -> None:
        async with cafe_grpc.CafeStub(channel).Unary.open() as stream:
            await stream.send_message(Order(payload=b"x"), end=True)
            say(await outcome(stream.recv_message()))

    async with Against(close) as channel:
        say(await outcome(block(channel)))


if __name__ == "__main__":
    quiet()
    report(asyncio.run(run_programs(PROGRAMS, json.loads(sys.argv[1]))))
