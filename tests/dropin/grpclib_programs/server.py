"""A server in grpclib's style, whose handlers do what the client's programs ask for in the metadata key "do".

`python server.py CERTIFICATES`: prints its ports as JSON, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import cafe_grpc
from cafe_pb2 import Drink, Order
from google.rpc.error_details_pb2 import BadRequest, ResourceInfo
from grpclib.const import Status
from grpclib.events import (
    RecvMessage,
    RecvRequest,
    SendInitialMetadata,
    SendMessage,
    SendTrailingMetadata,
    listen,
)
from grpclib.exceptions import GRPCError
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.reflection.service import ServerReflection
from grpclib.server import Server
from speech import Notes, outcome, quiet, report, server_context

notes = Notes()
status = ServiceStatus()
ACTIONS: dict[str, Callable[..., Any]] = {}


def action(function: Any) -> Any:
    ACTIONS[function.__name__] = function
    return function


def note(stream: Any, *what: Any) -> None:
    notes.add(stream.metadata.get("program", ""), *what)


class Cafe(cafe_grpc.CafeBase):
    """The generated service. Without anything to do, it echoes."""

    async def Unary(self, stream: Any) -> None:
        if await self._do(stream):
            request = await stream.recv_message()
            await stream.send_message(Drink(payload=request.payload))

    async def ServerStream(self, stream: Any) -> None:
        if await self._do(stream):
            request = await stream.recv_message()
            for number in range(request.count):
                await stream.send_message(Drink(payload=request.payload + b"%d" % number))

    async def ClientStream(self, stream: Any) -> None:
        if await self._do(stream):
            payload = b"".join([request.payload async for request in stream])
            await stream.send_message(Drink(payload=payload))

    async def Bidi(self, stream: Any) -> None:
        if await self._do(stream):
            async for request in stream:
                await stream.send_message(Drink(payload=request.payload))

    async def _do(self, stream: Any) -> bool:
        """Do what the client asks for; True when that is nothing."""
        name = stream.metadata.get("do")
        if name is None:
            return True
        await ACTIONS[name](stream)
        return False


@action
async def take_notes(stream: Any) -> None:
    """What this program's handlers noted, when it is so many lines."""
    request = await stream.recv_message()
    lines = await notes.take(request.payload.decode(), request.count)
    await stream.send_message(Drink(payload="\n".join(lines).encode()))


@action
async def metadata(stream: Any) -> None:
    await stream.send_initial_metadata(metadata={"initial": "one", "initial-bin": b"\x00\xff"})
    request = await stream.recv_message()
    seen = sorted((key, value) for key, value in stream.metadata.items() if key not in ("do", "program"))
    await stream.send_message(Drink(payload=repr(seen).encode() + request.payload))
    await stream.send_trailing_metadata(metadata=[("trailing", "two"), ("trailing", "three"), ("trailing-bin", b"")])


@action
async def take_time(stream: Any) -> None:
    request = await stream.recv_message()
    await asyncio.sleep(0.3)
    await stream.send_message(Drink(payload=request.payload))


@action
async def describe(stream: Any) -> None:
    await stream.recv_message()
    host = stream.peer.addr()
    deadline = stream.deadline
    said = [
        type(deadline).__name__,
        deadline is not None and 0 < deadline.time_remaining() <= 30,
        stream.user_agent.startswith("grpc-python-grpclib/"),
        host[0] if isinstance(host, tuple) else host,
        stream.peer.cert() and sorted(stream.peer.cert()),
        stream.peer.cert() and stream.peer.cert()["subject"],
        type(stream.metadata).__name__,
    ]
    await stream.send_message(Drink(payload=repr(said).encode()))


@action
async def error(stream: Any) -> None:
    await stream.recv_message()
    raise GRPCError(Status.NOT_FOUND, "no such drink: caf\u00e9 %\n", [ResourceInfo(resource_name="drink")])


@action
async def error_without_text(stream: Any) -> None:
    raise GRPCError(Status.FAILED_PRECONDITION)


@action
async def error_after_initial(stream: Any) -> None:
    await stream.recv_message()
    await stream.send_initial_metadata(metadata={"initial": "one"})
    raise GRPCError(Status.ABORTED, "later", [BadRequest()])


@action
async def error_after_messages(stream: Any) -> None:
    await stream.recv_message()
    await stream.send_message(Drink(payload=b"first"))
    await stream.send_trailing_metadata(
        status=Status.DATA_LOSS, status_message="the rest is gone", metadata={"trailing": "one"}
    )


@action
async def early_error(stream: Any) -> None:
    """Before the client has ended its requests."""
    await stream.recv_message()
    raise GRPCError(Status.RESOURCE_EXHAUSTED, "enough")


@action
async def crash(stream: Any) -> None:
    await stream.recv_message()
    raise KeyError("a secret")


@action
async def no_message(stream: Any) -> None:
    await stream.recv_message()


@action
async def wrong_type(stream: Any) -> None:
    await stream.recv_message()
    note(stream, await outcome(stream.send_message(Order(payload=b"x"))))
    await stream.send_message(Drink(payload=b"right"))


@action
async def timeout_error(stream: Any) -> None:
    raise TimeoutError("of the program's own")


@action
async def go_on(stream: Any) -> None:
    """The handler goes on after its status was sent."""
    await stream.recv_message()
    await stream.send_message(Drink(payload=b"answer"))
    await stream.send_trailing_metadata()
    await asyncio.sleep(0.02)
    note(stream, "went on")


@action
async def sleep(stream: Any) -> None:
    await stream.recv_message()
    note(stream, "sleeps")
    try:
        await asyncio.sleep(30)
    except BaseException as caught:
        note(stream, "woken by", type(caught).__name__)
        raise
    finally:
        note(stream, "done")


@action
async def swallow(stream: Any) -> None:
    """A handler that does not let its cancellation through."""
    await stream.recv_message()
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError:
        note(stream, "swallowed")


@action
async def wait_for_messages(stream: Any) -> None:
    try:
        async for request in stream:
            note(stream, "got", request)
            await stream.send_message(Drink(payload=request.payload))
        note(stream, "ended")
    except BaseException as caught:
        note(stream, "woken by", type(caught).__name__)
        raise


@action
async def endless(stream: Any) -> None:
    await stream.recv_message()
    number = 0
    try:
        while True:
            await stream.send_message(Drink(payload=b"%d" % number + bytes(10_000)))
            number += 1
    except BaseException as caught:
        note(stream, "woken by", type(caught).__name__)
        raise


@action
async def reset(stream: Any) -> None:
    await stream.recv_message()
    await stream.cancel()
    note(stream, await outcome(stream.cancel()))


@action
async def reset_later(stream: Any) -> None:
    await stream.recv_message()
    await stream.send_message(Drink(payload=b"first"))
    await stream.recv_message()
    await stream.cancel()


@action
async def misuse(stream: Any) -> None:
    note(stream, await outcome(stream.send_trailing_metadata()))
    await stream.send_initial_metadata()
    note(stream, await outcome(stream.send_initial_metadata()))
    note(stream, await outcome(stream.recv_message()))
    note(stream, await outcome(stream.recv_message()))
    await stream.send_message(Drink(payload=b"only"))
    note(stream, await outcome(stream.send_message(Drink(payload=b"again"))))
    await stream.send_trailing_metadata()
    note(stream, await outcome(stream.send_trailing_metadata()))


@action
async def bad_metadata(stream: Any) -> None:
    for pairs in ({"UPPER": "x"}, {"grpc-own": "x"}, {"te": "x"}, {"key": ""}, {"key": b"x"}, {"key-bin": "x"}):
        note(stream, await outcome(stream.send_initial_metadata(metadata=pairs)))
    await stream.send_message(Drink(payload=b"sent"))


@action
async def headers_first(stream: Any) -> None:
    """The response's headers before the request's message."""
    await stream.send_initial_metadata(metadata={"initial": "before"})
    request = await stream.recv_message()
    await stream.send_message(Drink(payload=b"after " + request.payload))


@action
async def set_status(stream: Any) -> None:
    request = await stream.recv_message()
    status.set({b"good": True, b"bad": False, b"unknown": None}[request.payload])
    await stream.send_message(Drink())


def hear(server: Any) -> None:
    """Listeners that change and note what goes by, for programs that ask for it."""

    async def request(event: Any) -> None:
        if event.metadata.get("hear"):
            name = event.metadata["program"]
            notes.add(name, "request", event.method_name, event.deadline is not None, event.content_type)
            notes.add(name, event.user_agent.startswith("grpc-python-grpclib/"), type(event.peer).__name__)
            try:
                event.method_name = "other"
            except AttributeError as caught:
                notes.add(name, caught)
            event.metadata = type(event.metadata)([*event.metadata.items(), ("added", "by listener")])
            function = event.method_func

            async def around(stream: Any) -> None:
                notes.add(name, "before")
                await function(stream)
                notes.add(name, "after")

            event.method_func = around

    async def second(event: Any) -> None:
        if event.metadata.get("hear") == "interrupt":
            event.interrupt()

    async def third(event: Any) -> None:
        if event.metadata.get("hear"):
            notes.add(event.metadata["program"], "third listener")

    async def received(event: Any) -> None:
        if getattr(event.message, "payload", b"").startswith(b"heard"):
            event.message = Order(payload=event.message.payload + b" received")

    async def sent(event: Any) -> None:
        if getattr(event.message, "payload", b"").startswith(b"heard"):
            event.message = Drink(payload=event.message.payload + b" sent")

    async def initial(event: Any) -> None:
        if "initial" in event.metadata:
            event.metadata["initial-heard"] = "yes"

    async def trailing(event: Any) -> None:
        if "trailing" in event.metadata:
            event.metadata["trailing-heard"] = f"{event.status} {event.status_message}"

    for kind, listener in (
        (RecvRequest, request),
        (RecvRequest, second),
        (RecvRequest, third),
        (RecvMessage, received),
        (SendMessage, sent),
        (SendInitialMetadata, initial),
        (SendTrailingMetadata, trailing),
    ):
        listen(server, kind, listener)


def port(server: Any) -> int:
    return int(server._server.sockets[0].getsockname()[1])


async def main() -> None:
    quiet()
    certificates = sys.argv[1]
    cafe = Cafe()
    services = ServerReflection.extend([cafe, Health({cafe: [status], OVERALL: []})])
    plain, heard, tls, mutual = (Server(services) for _ in range(4))
    hear(heard)
    await plain.start("127.0.0.1", 0)
    await heard.start("127.0.0.1", 0)
    await tls.start("127.0.0.1", 0, ssl=server_context(certificates))
    await mutual.start("127.0.0.1", 0, ssl=server_context(certificates, mutual=True))
    report({"plain": port(plain), "heard": port(heard), "tls": port(tls), "mutual": port(mutual)})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in (plain, heard, tls, mutual):
        server.close()


if __name__ == "__main__":
    asyncio.run(main())
