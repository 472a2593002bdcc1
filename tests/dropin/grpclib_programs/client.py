"""Programs in the style of grpclib's clients: each says what it saw.

`python client.py ARGUMENTS [NAME…]`, where ARGUMENTS is JSON: the server's ports, and the directory of certificates as
"certificates". Prints what each program said, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import cafe_grpc
import grpclib
from cafe_pb2 import Drink, Order
from grpclib.client import Channel, StreamStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.events import (
    RecvInitialMetadata,
    RecvMessage,
    RecvTrailingMetadata,
    SendMessage,
    SendRequest,
    listen,
)
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest
from grpclib.metadata import Deadline
from grpclib.reflection.v1.reflection_grpc import ServerReflectionStub
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest
from grpclib.testing import ChannelFor
from speech import client_context, outcome, quiet, report, run_programs, shown

PROGRAMS: dict[str, Any] = {}
Say = Callable[..., None]


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


class World:
    """The server under test, as the programs call it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.ports = arguments
        self.certificates = arguments["certificates"]

    def channel(self, port: str = "plain", **options: Any) -> Any:
        return Channel("127.0.0.1", self.ports[port], **options)

    async def notes(self, say: Say, name: str, count: int) -> None:
        """Say what the server's handlers noted."""
        async with self.channel() as channel:
            stub = cafe_grpc.CafeStub(channel)
            request = Order(payload=name.encode(), count=count)
            reply = await stub.Unary(request, metadata={"do": "take_notes"}, timeout=30)
            for line in reply.payload.decode().split("\n"):
                say("noted:", line)


def to_do(name: str, action: str) -> dict[str, str]:
    return {"program": name, "do": action}


@program
async def unary(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(payload=b"hello")))
        say(await stub.Unary(Order(payload=b"in time"), timeout=30))
        say(await stub.Unary(Order(payload=b""), metadata={"some": "thing"}))


@program
async def streams_as_lists(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say([shown(each) for each in await stub.ServerStream(Order(payload=b"x", count=3))])
        say(await stub.ServerStream(Order(payload=b"x", count=0)))
        say(await stub.ClientStream([Order(payload=b"a"), Order(payload=b"b")]))
        say(await stub.ClientStream([]))
        say([shown(each) for each in await stub.Bidi([Order(payload=b"a"), Order(payload=b"b")], timeout=30)])
        say(await stub.Bidi([]))


@program
async def streams_step_by_step(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Bidi.open() as stream:
            say(stream.initial_metadata, stream.trailing_metadata, stream.peer)
            await stream.send_request()
            say(type(stream.peer).__name__, stream.peer.addr(), stream.peer.cert())
            for payload in (b"a", b"b", b"c"):
                await stream.send_message(Order(payload=payload))
                say(await stream.recv_message())
            await stream.end()
            say(await stream.recv_message(), await stream.recv_message())
            await stream.recv_trailing_metadata()
            say(stream.initial_metadata, stream.trailing_metadata)
        async with stub.ServerStream.open() as stream:
            await stream.send_message(Order(payload=b"x", count=2))
            async for reply in stream:
                say(reply)
        async with stub.ClientStream.open() as stream:
            await stream.send_message(Order(payload=b"a"))
            await stream.send_message(Order(payload=b"b"), end=True)
            say(await stream.recv_message())


@program
async def unary_step_by_step(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Unary.open() as stream:
            await stream.send_request()
            await stream.send_message(Order(payload=b"x"))
            await stream.end()
            await stream.recv_initial_metadata()
            say(await stream.recv_message(), await stream.recv_message())
            await stream.recv_trailing_metadata()
        async with stub.Unary.open() as stream:
            await stream.send_message(Order(payload=b"y"), end=True)
            say(await stream.recv_message(), await stream.recv_message())
        async with stub.Unary.open() as stream:
            await stream.send_message(Order(payload=b"nobody looks"))
        say(stream.initial_metadata, stream.trailing_metadata)
        async with stub.Unary.open() as stream:
            say("nothing sent")
        say(stream.initial_metadata)


@program
async def headers_before_the_message(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Unary.open(metadata=to_do(name, "headers_first")) as stream:
            await stream.send_request()
            await stream.recv_initial_metadata()
            say(stream.initial_metadata)
            await stream.send_message(Order(payload=b"x"))
            say(await stream.recv_message())


@program
async def metadata(say: Say, name: str, world: World) -> None:
    sent = [*to_do(name, "metadata").items(), ("a", "1"), ("a", "2"), ("b-bin", b"\x00\x01\xfe"), ("c", "spaced ~")]
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Unary.open(metadata=sent) as stream:
            await stream.send_message(Order(payload=b"!"), end=True)
            await stream.recv_initial_metadata()
            say(stream.initial_metadata, stream.trailing_metadata)
            say(await stream.recv_message())
            await stream.recv_trailing_metadata()
            say(stream.trailing_metadata, stream.trailing_metadata.getall("trailing"))
        async with stub.ServerStream.open(metadata=sent) as stream:
            await stream.send_message(Order(payload=b"!"), end=True)
            say([shown(each) async for each in stream], stream.initial_metadata)
        say(stream.trailing_metadata)


@program
async def metadata_that_cannot_be_sent(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        for pairs in (
            {"UPPER": "x"},
            {"grpc-own": "x"},
            {"user-agent": "x"},
            {"sp ace": "x"},
            {"key": ""},
            {"key": "caf\u00e9"},
            {"key": b"x"},
            {"key-bin": "x"},
            [("key", 5)],
        ):
            say(await outcome(stub.Unary(Order(), metadata=pairs)))
        say(await outcome(stub.Unary(Order(), metadata=to_do(name, "bad_metadata"))))
    await world.notes(say, name, 6)


@program
async def what_a_handler_knows(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(), metadata=to_do(name, "describe"), timeout=30))
        say(await stub.Unary(Order(), metadata=to_do(name, "describe")))


@program
async def errors(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        for action in (
            "error",
            "error_without_text",
            "error_after_initial",
            "error_after_messages",
            "crash",
            "no_message",
            "timeout_error",
        ):
            say(action, await outcome(stub.Unary(Order(), metadata=to_do(name, action))))
            say(action, await outcome(stub.ServerStream(Order(), metadata=to_do(name, action))))
            say(action, await outcome(stub.ClientStream([Order()], metadata=to_do(name, action))))
            say(action, await outcome(stub.Bidi([Order()], metadata=to_do(name, action))))
        say(await outcome(stub.Unary(Order(), metadata=to_do(name, "wrong_type"))))
        say(await outcome(stub.Unary(Drink())))
    await world.notes(say, name, 1)


@program
async def errors_step_by_step(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        for method in (stub.Unary, stub.ServerStream, stub.ClientStream, stub.Bidi):
            for action in ("error", "error_after_initial", "error_after_messages"):
                try:
                    async with method.open(metadata=to_do(name, action)) as stream:
                        await stream.send_message(Order(), end=True)
                        say(await outcome(stream.recv_initial_metadata()), stream.initial_metadata)
                        say(await outcome(stream.recv_message()))
                        say(await outcome(stream.recv_message()))
                        say(await outcome(stream.recv_trailing_metadata()), stream.trailing_metadata)
                        say(await outcome(stream.recv_trailing_metadata()))
                except GRPCError as error:
                    say("left with", error)
                else:
                    say("left well")


@program
async def errors_left_to_the_block(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        for method in (stub.Unary, stub.ServerStream, stub.ClientStream, stub.Bidi):
            for action in ("error", "error_after_initial", "error_after_messages"):
                try:
                    async with method.open(metadata=to_do(name, action)) as stream:
                        await stream.send_message(Order(), end=True)
                        say("end of the block")
                except GRPCError as error:
                    say("left with", error, stream.initial_metadata, stream.trailing_metadata)
                    say(error.status, error.message, [type(each).__name__ for each in error.details or ()])


@program
async def unknown_methods(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        for path in ("/cafe.v1.Cafe/Nothing", "/no.Service/Unary"):
            for call in (
                UnaryUnaryMethod(channel, path, Order, Drink)(Order()),
                StreamStreamMethod(channel, path, Order, Drink)([Order()]),
            ):
                try:
                    await call
                except GRPCError as error:
                    say(type(error).__name__)


async def raising(error: Exception) -> None:
    raise error


async def timing(awaitable: Any) -> str:
    """As `outcome`; whose clock is the first to say that the deadline has passed is a matter of chance."""
    try:
        return shown(await awaitable)
    except TimeoutError as error:
        return str(error)
    except (GRPCError, StreamTerminatedError) as error:
        ours = isinstance(error, StreamTerminatedError) or error.status is Status.DEADLINE_EXCEEDED
        return "Deadline exceeded" if ours else shown(error)


@program
async def deadlines(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await timing(stub.Unary(Order(), metadata=to_do(name, "sleep"), timeout=0.3)))
        await world.notes(say, name, 3)
        say(await timing(stub.ServerStream(Order(), metadata=to_do(name, "sleep"), timeout=0.3)))
        await world.notes(say, name, 3)
        say(await outcome(stub.Unary(Order(), timeout=0)))
        say(await outcome(stub.Unary(Order(), timeout=-1)))
        try:
            async with stub.Bidi.open(metadata=to_do(name, "sleep"), timeout=0.3) as stream:
                await stream.send_message(Order())
                say(await timing(stream.recv_message()))
                say(await timing(stream.recv_message()))
                say(await timing(stream.send_message(Order())))
        except (TimeoutError, GRPCError) as error:
            say("left with", await timing(raising(error)))
        await world.notes(say, name, 3)
        say(await outcome(stub.Unary(Order(payload=b"and on"), timeout=30)))


@program
async def deadline_objects(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        for options in (
            {"deadline": 0.3},
            {"deadline": 0.3, "timeout": 20},
            {"deadline": 20, "timeout": 0.3},
        ):
            options["deadline"] = Deadline.from_timeout(options["deadline"])

            async def call(options: Any = options) -> Any:
                request = channel.request(
                    "/cafe.v1.Cafe/Unary",
                    Cardinality.UNARY_UNARY,
                    Order,
                    Drink,
                    metadata=to_do(name, "sleep"),
                    **options,
                )
                async with request as stream:
                    await stream.send_message(Order())
                    return await stream.recv_message()

            say(await timing(call()))
            await world.notes(say, name, 3)
    one, two = Deadline.from_timeout(1), Deadline.from_timeout(2)
    say(one < two, min(two, one) is one, one == two, one == 5, 0 < one.time_remaining() <= 1)


@program
async def work_between_steps_outlives_the_deadline(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        try:
            async with stub.Unary.open(timeout=0.1) as stream:
                await stream.send_message(Order(payload=b"x"))
                await asyncio.sleep(0.2)
                say("not woken")
                say(await outcome(stream.recv_message()))
        except TimeoutError as error:
            say("left with", error)


@program
async def cancelling(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Unary.open(metadata=to_do(name, "sleep")) as stream:
            await stream.send_message(Order())
            await world.notes(say, name, 1)
            await stream.cancel()
            say(await outcome(stream.cancel()))
        await world.notes(say, name, 2)
        async with stub.Bidi.open(metadata=to_do(name, "wait_for_messages")) as stream:
            await stream.send_message(Order(payload=b"one"))
            say(await stream.recv_message())
            await stream.cancel()
        await world.notes(say, name, 2)
        say(await stub.Unary(Order(payload=b"and on")))


@program
async def leaving_a_block_with_an_exception(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        try:
            async with stub.Bidi.open(metadata=to_do(name, "wait_for_messages")) as stream:
                await stream.send_message(Order(payload=b"one"))
                say(await stream.recv_message())
                raise ValueError("the program's own")
        except ValueError as error:
            say(error)
        await world.notes(say, name, 2)
        try:
            async with stub.ServerStream.open(metadata=to_do(name, "endless")) as stream:
                await stream.send_message(Order())
                async for reply in stream:
                    say(reply)
                    raise ValueError("enough")
        except ValueError as error:
            say(error)
        await world.notes(say, name, 1)


@program
async def cancelling_the_task(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        task = asyncio.ensure_future(stub.Unary(Order(), metadata=to_do(name, "sleep")))
        await world.notes(say, name, 1)
        task.cancel()
        say(await outcome(task), task.cancelled())
        await world.notes(say, name, 2)
        say(await outcome(asyncio.wait_for(stub.Unary(Order(), metadata=to_do(name, "swallow")), 0.3)))
        await world.notes(say, name, 1)


@program
async def the_server_resets(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await outcome(stub.Unary(Order(), metadata=to_do(name, "reset"))))
        await world.notes(say, name, 1)
        say(await outcome(stub.ServerStream(Order(), metadata=to_do(name, "reset"))))
        await world.notes(say, name, 1)
        try:
            async with stub.Bidi.open(metadata=to_do(name, "reset_later")) as stream:
                await stream.send_message(Order())
                say(await stream.recv_message())
                await stream.send_message(Order())
                say(await outcome(stream.recv_message()))
                say(await outcome(stream.recv_message()))
                raise ValueError("seen")
        except ValueError as error:
            say("left with", error)


@program
async def the_server_ends_early(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        for method in (stub.Bidi, stub.ClientStream):
            try:
                async with method.open(metadata=to_do(name, "early_error")) as stream:
                    while True:
                        await stream.send_message(Order(payload=bytes(1000)))
                        await asyncio.sleep(0)
            except GRPCError as error:
                say("left with", error)


@program
async def handlers_go_on_after_their_status(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(), metadata=to_do(name, "go_on")))
        await world.notes(say, name, 1)


@program
async def misuse_of_a_client_stream(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Unary.open() as stream:
            say(await outcome(stream.recv_initial_metadata()))
            say(await outcome(stream.recv_message()))
            say(await outcome(stream.recv_trailing_metadata()))
            say(await outcome(stream.cancel()))
            say(await outcome(stream.end()))
            say(await outcome(stream.send_request(end=True)))
            await stream.send_request()
            say(await outcome(stream.send_request()))
            say(await outcome(stream.end()))
            say(await outcome(stream.recv_trailing_metadata()))
            await stream.send_message(Order())
            say(await outcome(stream.send_message(Order())))
            say(await outcome(stream.recv_trailing_metadata()))
            await stream.recv_initial_metadata()
            say(await outcome(stream.recv_initial_metadata()))
            await stream.end()
            say(await outcome(stream.end()))
            await stream.recv_trailing_metadata()
            say(await outcome(stream.recv_trailing_metadata()))
        async with stub.Bidi.open() as stream:
            await stream.send_message(Order(), end=True)
            say(await outcome(stream.send_message(Order())))
            say(await outcome(stream.end()))
        try:
            async with stub.Bidi.open() as stream:
                await stream.send_message(Order(payload=b"not ended"))
                say(await stream.recv_message())
        except Exception as error:
            say("left with", error)


@program
async def misuse_of_a_server_stream(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(payload=b"x"), metadata=to_do(name, "misuse")))
        await world.notes(say, name, 6)


@program
async def listening_on_a_channel(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)

        async def request(event: Any) -> None:
            say(event.metadata, event.method_name, event.deadline is not None, event.content_type)
            event.metadata["b-bin"] = b"added"

        async def sent(event: Any) -> None:
            say("sending", event.message)
            event.message = Order(payload=event.message.payload + b" changed")

        async def received(event: Any) -> None:
            say("received", event.message)
            event.message = Drink(payload=event.message.payload[::-1])

        async def initial(event: Any) -> None:
            say("initial", event.metadata)
            event.metadata = type(event.metadata)({"replaced": "initial"})

        async def trailing(event: Any) -> None:
            say("trailing", event.metadata, event.status, event.status_message, event.status_details)
            event.metadata.clear()

        async def interrupting(event: Any) -> None:
            say("second")
            event.interrupt()

        async def never(event: Any) -> None:
            say("third")

        for kind, listener in (
            (SendRequest, request),
            (SendMessage, sent),
            (RecvMessage, received),
            (RecvInitialMetadata, initial),
            (RecvTrailingMetadata, trailing),
            (SendRequest, interrupting),
            (SendRequest, never),
        ):
            listen(channel, kind, listener)
        async with stub.Unary.open(metadata=to_do(name, "metadata"), timeout=30) as stream:
            await stream.send_message(Order(payload=b"hello"), end=True)
            say(await stream.recv_message())
        say(stream.initial_metadata, stream.trailing_metadata)
        say(await outcome(stub.Bidi([Order(payload=b"x")], metadata=to_do(name, "error"))))
        try:
            listen(channel, str, never)
        except KeyError as error:
            say(error)

        async def failing(event: Any) -> None:
            raise LookupError("the listener's own")

        listen(channel, SendMessage, failing)
        say(await outcome(stub.Unary(Order())))


@program
async def listening_on_a_server(say: Say, name: str, world: World) -> None:
    async with world.channel("heard") as channel:
        stub = cafe_grpc.CafeStub(channel)
        hear = {"hear": "yes", "program": name}
        say(await stub.Unary(Order(payload=b"heard"), metadata=hear, timeout=30))
        async with stub.Unary.open(metadata={**hear, "hear": "interrupt", "do": "metadata"}) as stream:
            await stream.send_message(Order(payload=b"heard"), end=True)
            say(await stream.recv_message())
        say(stream.initial_metadata, stream.trailing_metadata)
        for method in (stub.ServerStream, stub.ClientStream, stub.Bidi):
            async with method.open() as stream:
                await stream.send_message(Order(payload=b"heard", count=2), end=True)
                say([shown(each) async for each in stream])
    async with world.channel("plain") as channel:
        stub = cafe_grpc.CafeStub(channel)
        await world_notes_of_heard(say, name, world)


async def world_notes_of_heard(say: Say, name: str, world: World) -> None:
    await world.notes(say, name, 11)


@program
async def many_at_once(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        replies = await asyncio.gather(*[stub.Unary(Order(payload=b"%d" % number)) for number in range(300)])
        say([reply.payload for reply in replies] == [b"%d" % number for number in range(300)])

        async def converse(number: int) -> int:
            count = 0
            async with stub.Bidi.open() as stream:
                for turn in range(10):
                    await stream.send_message(Order(payload=b"%d %d" % (number, turn)))
                    reply = await stream.recv_message()
                    count += reply.payload == b"%d %d" % (number, turn)
                await stream.end()
            return count

        say(await asyncio.gather(*[converse(number) for number in range(20)]))


@program
async def long_messages(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(payload=b"long" + bytes(9_000_000))))
        say(await stub.ClientStream([Order(payload=b"long" + bytes(3_000_000))] * 3))
        say([shown(each) for each in await stub.Bidi([Order(payload=b"long" + bytes(2_000_000))] * 3)])


@program
async def sending_and_receiving_in_two_tasks(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Bidi.open() as stream:
            await stream.send_request()

            async def send() -> None:
                for number in range(200):
                    await stream.send_message(Order(payload=b"%d" % number + bytes(10_000)))
                await stream.end()

            task = asyncio.ensure_future(send())
            replies = [reply.payload async for reply in stream]
            await task
        say(len(replies), sum(map(len, replies)))


@program
async def closing_the_channel(say: Say, name: str, world: World) -> None:
    channel = world.channel()
    stub = cafe_grpc.CafeStub(channel)
    task = asyncio.ensure_future(stub.Unary(Order(), metadata=to_do(name, "sleep")))
    await world.notes(say, name, 1)
    channel.close()
    say(await outcome(task))
    say(await stub.Unary(Order(payload=b"connected again")))
    await world.notes(say, name, 2)
    channel.close()
    channel.close()
    say(repr(Channel("example.com", 5)), repr(Channel(path="/tmp/x")))


@program
async def tls(say: Say, name: str, world: World) -> None:
    context = client_context(world.certificates)
    async with world.channel("tls", ssl=context) as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(payload=b"hello")))
        async with stub.Unary.open() as stream:
            await stream.send_message(Order())
            await stream.recv_message()
            say(sorted(stream.peer.cert()), stream.peer.cert()["subject"], stream.peer.cert()["subjectAltName"])


@program
async def nobody_listens(say: Say, name: str, world: World) -> None:
    for options in ({"host": "127.0.0.1", "port": 1}, {"path": "/nowhere/at/all.sock"}):
        channel = Channel(**options)
        stub = cafe_grpc.CafeStub(channel)
        for _ in range(2):
            for call in (stub.Unary(Order()), stub.Bidi([Order()]), stub.Unary(Order(), timeout=30)):
                try:
                    await call
                except OSError as error:
                    say(type(error).__name__, error.errno)
        try:
            async with stub.Bidi.open() as stream:
                await stream.send_request()
        except OSError as error:
            say(type(error).__name__, stream.peer)
        channel.close()


@program
async def tls_refusals(say: Say, name: str, world: World) -> None:
    context = client_context(world.certificates)
    stranger = client_context(world.certificates, ca="stranger-ca")
    async with world.channel("tls", ssl=stranger) as channel:
        try:
            await cafe_grpc.CafeStub(channel).Unary(Order())
        except OSError as error:
            say([each.__name__ for each in type(error).__mro__], error.verify_message)
    async with world.channel("tls", ssl=context, config=Configuration(ssl_target_name_override="other")) as channel:
        try:
            await cafe_grpc.CafeStub(channel).Unary(Order())
        except OSError as error:
            say(type(error).__name__, error.verify_message)


@program
async def mutual_tls(say: Say, name: str, world: World) -> None:
    context = client_context(world.certificates, certificate="client")
    async with world.channel("mutual", ssl=context) as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(), metadata=to_do(name, "describe")))


@program
async def arguments(say: Say, name: str, world: World) -> None:
    for options in (
        {"host": "localhost", "path": "/x"},
        {"port": 5, "path": "/x"},
    ):
        try:
            Channel(**options)
        except ValueError as error:
            say(error)
    for options in (
        {"http2_connection_window_size": 1},
        {"http2_stream_window_size": 2**31},
        {"http2_stream_window_size": "large"},
        {"_keepalive_time": 0},
        {"_keepalive_timeout": "long"},
        {"_http2_max_pings_without_data": -1},
    ):
        try:
            Configuration(**options)
        except (TypeError, ValueError) as error:
            say(error)
    async with world.channel(config=Configuration(http2_stream_window_size=2**16 - 1)) as channel:
        say(await cafe_grpc.CafeStub(channel).Unary(Order(payload=b"long" + bytes(1_000_000))))


@program
async def health(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub, cafe = HealthStub(channel), cafe_grpc.CafeStub(channel)
        for service in ("", "cafe.v1.Cafe", "other"):
            say(service, await outcome(stub.Check(HealthCheckRequest(service=service))))
        async with stub.Watch.open() as watch:
            await watch.send_message(HealthCheckRequest(service="cafe.v1.Cafe"))
            say(await watch.recv_message())
            for state in (b"good", b"bad", b"unknown"):
                await cafe.Unary(Order(payload=state), metadata=to_do(name, "set_status"))
                say(state, await watch.recv_message())
                say(await stub.Check(HealthCheckRequest(service="cafe.v1.Cafe")))
            await watch.cancel()
        for service in ("", "other"):
            async with stub.Watch.open() as watch:
                await watch.send_message(HealthCheckRequest(service=service))
                say(service, await watch.recv_message())
                await watch.cancel()


@program
async def reflection(say: Say, name: str, world: World) -> None:
    async with world.channel() as channel:
        stub = ServerReflectionStub(channel)
        requests = [
            ServerReflectionRequest(list_services=""),
            ServerReflectionRequest(file_by_filename="cafe.proto"),
            ServerReflectionRequest(file_by_filename="other.proto"),
            ServerReflectionRequest(file_containing_symbol="cafe.v1.Cafe"),
            ServerReflectionRequest(file_containing_symbol="cafe.v1.Order"),
            ServerReflectionRequest(file_containing_symbol="other"),
            ServerReflectionRequest(all_extension_numbers_of_type="cafe.v1.Order"),
            ServerReflectionRequest(all_extension_numbers_of_type="other"),
            ServerReflectionRequest(),
        ]
        for reply in await stub.ServerReflectionInfo(requests):
            say(reply)


@program
async def waiting_in_vain(say: Say, name: str, world: World) -> None:
    """Who stops waiting has not given up the call."""

    async def in_vain(step: Any) -> None:
        try:
            async with asyncio.timeout(0.02):
                say(await step)
        except TimeoutError:
            say("nothing yet")

    async with world.channel() as channel:
        stub = cafe_grpc.CafeStub(channel)
        async with stub.Bidi.open() as stream:
            await stream.send_request()
            await in_vain(stream.recv_initial_metadata())
            await in_vain(stream.recv_message())
            await stream.send_message(Order(payload=b"a"))
            say(await stream.recv_message())
            await in_vain(stream.recv_message())
            await stream.send_message(Order(payload=b"b"), end=True)
            say(await stream.recv_message())
            await stream.recv_trailing_metadata()
        async with stub.Unary.open(metadata=to_do(name, "take_time")) as stream:
            await stream.send_message(Order(payload=b"c"))
            await in_vain(stream.recv_message())
            await in_vain(stream.recv_initial_metadata())
            say(await stream.recv_message())


class ChannelOfOnesOwn(Channel):
    """Adds metadata to each call, as programs do that sign theirs."""

    def request(self, *args: Any, metadata: Any = None, **options: Any) -> Any:
        return super().request(*args, metadata={**(metadata or {}), "do": "metadata", "key": "mine"}, **options)


@program
async def a_channel_of_ones_own(say: Say, name: str, world: World) -> None:
    async with ChannelOfOnesOwn("127.0.0.1", world.ports["plain"]) as channel:
        stub = cafe_grpc.CafeStub(channel)
        await channel.__connect__()
        say(await stub.Unary(Order(payload=b"x")))
        say(await stub.ServerStream(Order(payload=b"x")))


class Untouched(cafe_grpc.CafeBase):
    """A service with one method that is called."""

    async def Unary(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(Drink(payload=request.payload + repr(stream.peer.addr()).encode()))

    async def ServerStream(self, stream: Any) -> None: ...

    async def ClientStream(self, stream: Any) -> None: ...

    async def Bidi(self, stream: Any) -> None: ...


@program
async def services_under_test(say: Say, name: str, world: World) -> None:
    async with ChannelFor([Untouched()]) as channel:
        stub = cafe_grpc.CafeStub(channel)
        say(await stub.Unary(Order(payload=b"x")), await outcome(stub.ServerStream(Order(payload=b"x"))))
        async with stub.Unary.open() as stream:
            await stream.send_message(Order(payload=b"y"))
            say(stream.peer.addr(), stream.peer.cert(), await stream.recv_message())


@program
async def errors_as_values(say: Say, name: str, world: World) -> None:
    error = GRPCError(Status.NOT_FOUND, "text", ["details"])
    say(error, error.args, error.status, error.message, error.details, str(error))
    say(GRPCError(Status.OK), [each.name for each in Status], Status(5), list(Cardinality))
    say(grpclib.GRPCError is GRPCError, grpclib.Status is Status, grpclib.__version__)
    say(GRPCError.__module__, Channel.__module__, StreamTerminatedError.__qualname__)


if __name__ == "__main__":
    quiet()
    arguments_given = json.loads(sys.argv[1])
    report(asyncio.run(run_programs(PROGRAMS, World(arguments_given))))
