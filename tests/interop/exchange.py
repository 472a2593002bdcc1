"""What every pair of stacks must do: one service over bytes, and the checks that any client makes of any server.

A stack's module gives a `Client` and a server of the service; `CHECKS` are then run through each pair. Peers run in
this process: what blocks in threads of its own, what is asynchronous in the test's loop. Imports `wire` alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import anyio

import wire
from tests.support import LOCAL, TIMEOUT_S, status_of
from wire.config import EngineName

ECHO = wire.UnaryUnary("Echo", bytes, bytes)
"""The request; its metadata `text`, `data-bin` comes back as `initial`, `initial-bin`, `trailing`, `trailing-bin`."""
SPLIT = wire.UnaryStream("Split", bytes, bytes)
"""Each byte of the request as a message."""
MEASURE = wire.StreamUnary("Measure", bytes, bytes)
"""The lengths of all requests, with spaces between."""
CHAT = wire.StreamStream("Chat", bytes, bytes)
"""Each request at once."""
FAIL = wire.UnaryUnary("Fail", bytes, bytes)
"""The status whose number the request is, with `REASON` and the trailing metadata `why`."""
INFLATE = wire.UnaryUnary("Inflate", bytes, bytes)
"""As many zeros as the request says."""
REMAINING = wire.UnaryUnary("Remaining", bytes, bytes)
"""The handler's time until the deadline, in seconds."""
HANG = wire.UnaryUnary("Hang", bytes, bytes)
"""No answer: the handler notes in `Seen` that it was entered, and that it was cancelled."""
WATCH = wire.UnaryStream("Watch", bytes, bytes)
"""The request as the first response, then as HANG."""
MISSING = wire.UnaryUnary("Missing", bytes, bytes)
"""No server has it."""

SERVICE = wire.Service(
    "interop.v1.Interop", (ECHO, SPLIT, MEASURE, CHAT, FAIL, INFLATE, REMAINING, HANG, WATCH, MISSING)
)
REASON = "größer als 100 %: 世界\n🚀"
MIB = 1 << 20

Method = wire.service.Method[bytes, bytes]
Compression = Literal["gzip", "deflate", "zstd"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went, as its client saw it."""

    replies: Sequence[bytes]
    code: int
    message: str
    initial: Mapping[str, str | bytes]
    trailing: Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened to the handler of a call that hangs, in whichever thread."""

    entered: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Client(Protocol):
    async def call(
        self,
        method: Method,
        *requests: bytes,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Outcome:
        """A call from its first request to its status."""

    async def cancel(self, method: Method, request: bytes, entered: Callable[[], Awaitable[None]]) -> Outcome:
        """Start a call, wait for `entered()`, then cancel it."""


def kind_of(method: Method) -> str:
    """As other stacks name it: unary_unary, unary_stream, …"""
    kinds = ("stream" if streams else "unary" for streams in (method.streams_requests, method.streams_responses))
    return "_".join(kinds)


async def happened(event: threading.Event) -> None:
    """Wait for an event of any thread; the test fails where it does not come."""
    assert await anyio.to_thread.run_sync(event.wait, TIMEOUT_S)


# Checks.


async def all_four_kinds_of_call(client: Client, seen: Seen) -> None:
    for method, requests, replies in (
        (ECHO, [b"hello"], [b"hello"]),
        (ECHO, [b""], [b""]),
        (SPLIT, [b"abc"], [b"a", b"b", b"c"]),
        (SPLIT, [b""], []),
        (MEASURE, [b"a", b"", b"bc"], [b"1 0 2"]),
        (MEASURE, [], [b""]),
        (CHAT, [b"a", b"", b"bc"], [b"a", b"", b"bc"]),
        (CHAT, [], []),
    ):
        outcome = await client.call(method, *requests)
        assert (outcome.code, outcome.message, list(outcome.replies)) == (0, "", replies), method


async def many_calls_at_once(client: Client, seen: Seen) -> None:
    async def one(number: int) -> None:
        payload = b"%d" % number * 1000
        assert (await client.call(ECHO, payload)).replies == [payload]

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(one, number)


async def metadata_both_ways(client: Client, seen: Seen) -> None:
    for data in (b"\x00\xff", b"\x00\xff\x01", b",", b"abcdefgh" * 100):  # base64 of every length, with padding or not
        outcome = await client.call(ECHO, b"x", metadata=[("text", "a b=c,d"), ("data-bin", data)])
        assert outcome.code == 0
        assert (outcome.initial["initial"], outcome.initial["initial-bin"]) == ("a b=c,d", data)
        assert (outcome.trailing["trailing"], outcome.trailing["trailing-bin"]) == ("a b=c,d", data)


async def every_status_with_a_message_beyond_ascii(client: Client, seen: Seen) -> None:
    for code in list(wire.StatusCode)[1:]:
        outcome = await client.call(FAIL, b"%d" % code)
        assert (outcome.code, outcome.message, outcome.trailing["why"]) == (code, REASON, "because")


async def unknown_methods_are_unimplemented(client: Client, seen: Seen) -> None:
    assert (await client.call(MISSING, b"x")).code == wire.StatusCode.UNIMPLEMENTED
    assert (await client.call(ECHO, b"x")).code == 0


async def a_mebibyte_each_way(client: Client, seen: Seen) -> None:
    payload = bytes(range(256)) * (MIB // 256)
    assert (await client.call(ECHO, payload)).replies == [payload]
    assert (await client.call(CHAT, payload, payload, payload)).replies == [payload] * 3


async def the_deadline_reaches_the_handler(client: Client, seen: Seen) -> None:
    outcome = await client.call(REMAINING, b"", timeout=1000)
    assert 900 < float(outcome.replies[0]) < 1100  # grpcio rounds up to three digits


async def the_deadline_ends_the_call(client: Client, seen: Seen) -> None:
    for method in (HANG, WATCH):
        seen.entered.clear()
        seen.cancelled.clear()
        assert (await client.call(method, b"x", timeout=0.2)).code == wire.StatusCode.DEADLINE_EXCEEDED
        if seen.entered.is_set():  # on a machine that is slow enough the deadline comes first
            await happened(seen.cancelled)


async def cancellation_reaches_the_handler(client: Client, seen: Seen) -> None:
    for method in (HANG, WATCH):
        seen.entered.clear()
        seen.cancelled.clear()
        outcome = await client.cancel(method, b"x", lambda: happened(seen.entered))
        assert outcome.code == wire.StatusCode.CANCELLED
        await happened(seen.cancelled)
    assert (await client.call(ECHO, b"x")).code == 0


Check = Callable[[Client, Seen], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    all_four_kinds_of_call,
    many_calls_at_once,
    metadata_both_ways,
    every_status_with_a_message_beyond_ascii,
    unknown_methods_are_unimplemented,
    a_mebibyte_each_way,
    the_deadline_reaches_the_handler,
    the_deadline_ends_the_call,
    cancellation_reaches_the_handler,
)


async def requests_over_the_servers_limit_are_refused(client: Client, seen: Seen) -> None:
    over = bytes(4 * MIB + 1)  # to methods whose response is short: it is not the client that refuses
    assert (await client.call(REMAINING, over, timeout=1000)).code == wire.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.call(MEASURE, b"x", over)).code == wire.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.call(MEASURE, b"x", over[1:])).replies == [b"1 %d" % (4 * MIB)]


async def responses_over_the_clients_limit_are_refused(client: Client, seen: Seen) -> None:
    assert (await client.call(INFLATE, b"%d" % (4 * MIB + 1))).code == wire.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.call(INFLATE, b"%d" % (4 * MIB))).code == 0


LIMITS: tuple[Check, ...] = (
    requests_over_the_servers_limit_are_refused,
    responses_over_the_clients_limit_are_refused,
)
"""Checks for stacks that take messages of 4 MiB and no more unless told."""


async def compressed_both_ways(client: Client, traffic: Traffic) -> None:
    """Through a `relay`, of stacks that are told to compress."""
    payload = bytes(MIB)
    assert (await client.call(ECHO, payload)).replies == [payload]
    assert (await client.call(CHAT, payload, payload)).replies == [payload] * 2
    assert 1000 < traffic.to_server_bytes < MIB / 4
    assert 1000 < traffic.to_client_bytes < MIB / 4


async def no_call_fails_while_a_server_stops(client: Client, stop: Callable[[], Awaitable[Any]]) -> None:
    """`stop` stops the server gracefully; another must be there for the calls that come after."""
    ends: list[tuple[int, str]] = []
    finished = False

    async def call(method: Method) -> None:
        outcome = await client.call(method, b"x")
        ends.append((outcome.code, outcome.message))

    async def call_on() -> None:
        while not finished:
            await call(CHAT)
            await call(ECHO)

    async def call_until(count: int) -> None:
        while len(ends) < count:
            await call(ECHO)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(call_on)
        await call_until(50)
        await stop()
        await call_until(len(ends) + 50)
        finished = True
    assert set(ends) == {(0, "")}


# Bytes as they travel.


@dataclass(slots=True)
class Traffic:
    """Where a relay listens, and what has passed through it."""

    address: str
    to_server_bytes: int = 0
    to_client_bytes: int = 0


@asynccontextmanager
async def relay(address: str) -> AsyncIterator[Traffic]:
    """A TCP relay to a server, which counts."""
    host, _, port = address.removeprefix("ipv4:").rpartition(":")
    tasks: set[asyncio.Task[Any]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counter: str) -> None:
        try:
            while data := await reader.read(MIB):
                setattr(traffic, counter, getattr(traffic, counter) + len(data))
                writer.write(data)
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        tasks.add(asyncio.create_task(pump(reader, far_writer, "to_server_bytes")))
        tasks.add(asyncio.create_task(pump(far_reader, writer, "to_client_bytes")))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    traffic = Traffic(f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    async with listener:
        yield traffic
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# wire's own client and server.


class InteropStub(wire.Stub):
    service = SERVICE
    echo = ECHO
    split = SPLIT
    measure = MEASURE
    chat = CHAT
    fail = FAIL
    inflate = INFLATE
    remaining = REMAINING
    hang = HANG
    watch = WATCH
    missing = MISSING


class Interop(wire.Servicer):
    service = SERVICE

    def __init__(self) -> None:
        self.seen = Seen()
        self.peer_certificate: bytes | None = None

    def echo(self, request: bytes, context: wire.ServerContext) -> bytes:
        given = context.metadata
        if "text" in given:
            context.send_initial_metadata([("initial", given["text"]), ("initial-bin", given["data-bin"])])
            context.set_trailing_metadata([("trailing", given["text"]), ("trailing-bin", given["data-bin"])])
        self.peer_certificate = context.peer.certificate
        return request

    def split(self, request: bytes, context: wire.ServerContext) -> Iterator[bytes]:
        for byte in request:
            yield bytes([byte])

    async def measure(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> bytes:
        return b" ".join([b"%d" % len(each) async for each in requests])

    async def chat(self, requests: AsyncIterator[bytes], context: wire.ServerContext) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each

    def fail(self, request: bytes, context: wire.ServerContext) -> bytes:
        context.set_trailing_metadata([("why", "because")])
        raise wire.RpcError(wire.StatusCode(int(request)), REASON)

    def inflate(self, request: bytes, context: wire.ServerContext) -> bytes:
        return bytes(int(request))

    def remaining(self, request: bytes, context: wire.ServerContext) -> bytes:
        return str(context.time_remaining()).encode()

    async def hang(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.seen.entered.set()
        try:
            await anyio.sleep_forever()
        finally:
            if context.cancelled:
                self.seen.cancelled.set()
        return request

    async def watch(self, request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        yield request
        yield await self.hang(request, context)


@asynccontextmanager
async def wire_server(
    engine: EngineName, *, compression: Compression | None = None, tls: wire.ServerTls | None = None
) -> AsyncIterator[tuple[wire.Server, str, Interop]]:
    """A server, its address and its service."""
    service = Interop()
    config = wire.ServerConfig(engine=engine, calls=wire.CallConfig(compression=compression))
    async with wire.Server([service], config=config, tls=tls) as server:
        yield server, await server.listen(LOCAL), service
        await server.stop(0)


class WireClient:
    def __init__(self, channel: wire.Channel, *, wait_for_ready: bool = False) -> None:
        self.stub = InteropStub(channel)
        self._wait_for_ready = wait_for_ready

    def _start(self, method: Method, requests: Sequence[bytes], **options: Any) -> Any:
        start = getattr(self.stub, method.attribute)
        given = requests if method.streams_requests else requests[0]
        return start(given, wait_for_ready=self._wait_for_ready, **options)

    async def call(
        self,
        method: Method,
        *requests: bytes,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Outcome:
        return await _outcome(method, self._start(method, requests, timeout=timeout, metadata=metadata))

    async def cancel(self, method: Method, request: bytes, entered: Callable[[], Awaitable[None]]) -> Outcome:
        call = self._start(method, [request])
        await entered()
        call.cancel()
        return await _outcome(method, call)


async def _outcome(method: Method, call: Any) -> Outcome:
    replies: list[bytes] = []
    try:
        if method.streams_responses:
            async for reply in call:
                replies.append(reply)
        else:
            replies.append(await call)
    except wire.RpcError:
        pass
    return Outcome(
        replies, call.code, call.message, dict(call.initial_metadata or ()), dict(call.trailing_metadata or ())
    )


@asynccontextmanager
async def wire_client(
    address: str,
    engine: EngineName,
    *,
    compression: Compression | None = None,
    tls: wire.ClientTls | None = None,
    **options: Any,
) -> AsyncIterator[WireClient]:
    config = wire.ChannelConfig(engine=engine, calls=wire.CallConfig(compression=compression))
    async with wire.Channel(address, config=config, tls=tls) as channel:
        yield WireClient(channel, **options)


async def large_metadata_costs_the_call_alone(client: WireClient) -> None:
    """A call with more metadata than the server takes fails; its connection and its neighbours go on."""
    neighbour = client.stub.chat()
    await neighbour.send(b"before")
    assert await anext(neighbour) == b"before"
    connection = neighbour._exchange.connection
    for _ in range(3):
        code, _ = await status_of(client.stub.echo(b"x", metadata=[("k", "v" * 100_000)]))
        assert code is wire.StatusCode.RESOURCE_EXHAUSTED
    await neighbour.send(b"after")
    assert await anext(neighbour) == b"after"
    assert connection is not None
    assert not connection.closing
    neighbour.cancel()
