"""Programs in the style of grpc.aio's clients: each says what it saw.

`python aio_client.py ARGUMENTS [NAME…]`, where ARGUMENTS is JSON: the server's ports, and the directory of certificates
as "certificates". Prints what each program said, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import echo_pb2
import echo_pb2_grpc
import grpc
from common import RUN, metadata, outcome, pem, plain, quiet, report, run_programs, shown

PROGRAMS: dict[str, Any] = {}


def program(function: Any) -> Any:
    PROGRAMS[function.__name__] = function
    return function


class Server:
    """The server under test, as the programs call it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.ports = arguments
        self.certificates = arguments["certificates"]

    def channel(self, port: str = "plain", **options: Any) -> Any:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[port]}", **options)

    async def notes(self, say: Callable[..., None], name: str, count: int) -> None:
        """Say what the server's handlers noted."""
        async with self.channel() as channel:
            for line in (
                (await channel.unary_unary("/behave/take_notes")(f"{name}{RUN} {count}".encode())).decode().split("\n")
            ):
                say("server: ", plain(line))


def named(name: str, *pairs: tuple[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    return (("program", name), ("run", RUN), *pairs)


async def ended(say: Callable[..., None], call: Any) -> None:
    """Say all that a call knows when it is over."""
    say(await call.code(), repr(await call.details()), call.done(), call.cancelled())
    say(metadata(await call.initial_metadata()), metadata(await call.trailing_metadata()))
    say(repr(await call.debug_error_string()), call)


# One request, one response.


@program
async def generated_stub(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        stub = echo_pb2_grpc.EchoStub(channel)
        say((await stub.Unary(echo_pb2.EchoRequest(payload=b"hello"))).payload)
        say([response.payload async for response in stub.ServerStream(echo_pb2.EchoRequest(payload=b"n", count=3))])
        requests = [echo_pb2.EchoRequest(payload=b"%d" % number) for number in range(4)]
        say((await stub.ClientStream(iter(requests))).payload)
        say([response.payload async for response in stub.Bidi(iter(requests))])
        say(await outcome(stub.Unary(5)))


@program
async def unary(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_echo")(b"x", timeout=30)
        say(call, call.done(), call.cancelled(), 0 < call.time_remaining() <= 30)
        say(await call, await call)
        await ended(say, call)
        say(call.cancel(), await call)


@program
async def many_at_once(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        echo = channel.unary_unary("/behave/uu_echo")
        say(await asyncio.gather(*(echo(b"%d" % number) for number in range(100))))


@program
async def what_the_handler_sees(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        pairs = named(name, ("key", "value"), ("key", "again"), ("bytes-bin", b"\x00\xfe\xff"))
        say(await channel.unary_unary("/behave/uu_context")(b"x", metadata=pairs, timeout=30))
    await server.notes(say, name, 6)


@program
async def metadata_both_ways(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_metadata")(b"x", metadata=named(name))
        say(await call.initial_metadata(), type(await call.initial_metadata()).__name__)
        say(await call.trailing_metadata(), (await call.trailing_metadata()).get_all("trailing"))
        say(await call)
    await server.notes(say, name, 2)


@program
async def kinds_of_metadata(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        method = channel.unary_unary("/behave/uu_context")
        for given in (
            grpc.aio.Metadata(("program", name), ("run", RUN), ("a", "1")),
            [("program", name), ("run", RUN), ("a", "1")],
            (("program", name), ("run", RUN), ("a", b"bytes")),
        ):
            await method(b"", metadata=given)
            await server.notes(say, name, 6)


@program
async def bad_metadata(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        method = channel.unary_unary("/behave/uu_echo")

        async def call(given: Any) -> Any:
            return await method(b"", metadata=given)

        for given in (
            (("Upper", "case"),),
            (("sp ace", "v"),),
            (("k", "\xe4"),),
            (("k", "line\nbreak"),),
            ((":path", "/x"),),
            (("k-bin", "text"),),
            (("k", 5),),
            (("a", "b", "c"),),
            "abc",
            {"key": "value"},
        ):
            said = (await outcome(call(given))).split(":")[0]
            say(given, said)
        say(await method(b"still works"))


@program
async def metadata_object(say: Any, name: str, server: Server) -> None:
    made = grpc.aio.Metadata(("a", "1"), ("b", "2"), ("a", "3"))
    say(made, len(made), list(made), made["a"], made.get_all("a"), "b" in made, made.get("c"), made.get("c", "d"))
    made["a"] = "4"
    made.add("c", "5")
    del made["b"]
    say(made, made == grpc.aio.Metadata(*made), made == tuple(made), list(made.keys()), list(made.values()))
    say(made + (("d", "6"),), made + grpc.aio.Metadata(("a", "7")))  # noqa: RUF005
    made.set_all("e", ["1", "2"])
    made.delete_all("a")
    say(made, list(made.items()))
    for wrong in (lambda: made["none"], lambda: made.__delitem__("none"), lambda: made.delete_all("none")):
        try:
            wrong()
        except Exception as error:
            say(error)


@program
async def statuses(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        for method, count in (
            ("uu_raise", 0),
            ("uu_raise_with_code", 0),
            ("uu_abort", 3),
            ("uu_abort_suppressed", 0),
            ("uu_abort_with_status", 0),
            ("uu_set_code", 1),
            ("uu_set_ok", 0),
            ("uu_wrong_type", 0),
            ("uu_none", 0),
            ("uu_bad_trailing", 4),
            ("uu_bad_deserializer", 0),
            ("uu_bad_serializer", 0),
            ("no_such_method", 0),
        ):
            call = channel.unary_unary(f"/behave/{method}")(b"x", metadata=named(name))
            say(method, await outcome(call))
            await ended(say, call)
            if count:
                await server.notes(say, name, count)


@program
async def unknown_service(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        say(await outcome(channel.unary_unary("/nowhere/method")(b"")))
        call = channel.stream_stream("/nowhere/method")()
        say(await outcome(call.read()))


@program
async def generic_handlers(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        say(await channel.unary_unary("/dynamic/uu_one")(b"", metadata=named(name)))
        say(await channel.unary_unary("/dynamic/uu_two")(b"", metadata=named(name)))
        say([each async for each in channel.stream_stream("/dynamic/ss")(iter([b"1", b"2"]))])
        say(await outcome(channel.unary_unary("/dynamic/other")(b"")))


@program
async def error_object(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        try:
            await channel.unary_unary("/behave/uu_abort")(b"", metadata=named(name))
        except grpc.RpcError as error:
            say(isinstance(error, grpc.aio.AioRpcError), str(error) == repr(error), error.args)
            say(error.code(), error.code().value, error.details(), error.debug_error_string())
            say(error.initial_metadata(), error.trailing_metadata())
            import pickle

            say(pickle.loads(pickle.dumps(error)))
    made = grpc.aio.AioRpcError(grpc.StatusCode.OK, details="d")
    say(made, made.initial_metadata(), made.trailing_metadata())


@program
async def deadline(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        await channel.channel_ready()
        call = channel.unary_unary("/behave/uu_wait")(b"", timeout=0.6, metadata=named(name))
        say((await outcome(call)).split("details")[0], await call.code())  # the text is the server's or the client's
        say(call.time_remaining() == 0)
        call = channel.unary_stream("/behave/us_wait")(b"", timeout=0.6, metadata=named(name))
        say(await call.read(), await outcome(call.read()) != "", await call.code())
        say(await outcome(channel.unary_unary("/behave/uu_wait")(b"", timeout=-1, metadata=named("none"))))


@program
async def cancelled(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        await channel.channel_ready()
        method = channel.unary_unary("/behave/uu_wait")
        call = method(b"")
        say(call.cancel(), call.cancel(), call.done(), call.cancelled(), await outcome(call))
        await ended(say, call)
        call = method(b"", metadata=named(name))
        await server.notes(say, name, 1)
        say(call.cancel(), await outcome(call))
        await server.notes(say, name, 2)


@program
async def task_cancelled(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        await channel.channel_ready()
        call = channel.unary_unary("/behave/uu_wait")(b"", metadata=named(name))

        async def wait() -> Any:
            return await call

        task = asyncio.create_task(wait())
        await server.notes(say, name, 1)
        task.cancel()
        say(await outcome(task))
        await ended(say, call)
        await server.notes(say, name, 2)
        try:
            async with asyncio.timeout(0.1):
                await channel.unary_unary("/behave/uu_wait")(b"", metadata=named("none"))
        except TimeoutError:
            say("timed out")


@program
async def done_callbacks(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_callback")(b"x", metadata=named(name))
        call.add_done_callback(lambda of: say("done", of is call, of.done()))
        say("called")
        say(await call)
        call.add_done_callback(lambda of: say("done at once", of is call))
        await server.notes(say, name, 1)
        call = channel.unary_unary("/behave/uu_wait")(b"")
        call.add_done_callback(lambda of: say("cancelled", of.cancelled()))
        call.cancel()
        call = channel.unary_stream("/behave/us_count")(b"2")
        call.add_done_callback(lambda of: say("stream done", of.done()))
        say([each async for each in call])


@program
async def awaited_by_several(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_echo")(b"x")

        async def response() -> Any:
            return await call

        say(await asyncio.gather(response(), response(), call.code(), call.details(), call.wait_for_connection()))


@program
async def serializers(say: Any, name: str, server: Server) -> None:
    def fail(data: Any) -> Any:
        raise ValueError("never")

    async with server.channel() as channel:
        path = "/behave/uu_echo"
        say(await channel.unary_unary(path, str.encode, bytes.decode)("text"))
        say(await outcome(channel.unary_unary(path, request_serializer=fail)(b"x")))
        say(await outcome(channel.unary_unary(path, response_deserializer=fail)(b"x")))
        say(await outcome(channel.unary_unary(path, request_serializer=lambda data: "text")(b"x")))
        say(await outcome(channel.unary_unary(path)(5)))
        call = channel.unary_stream("/behave/us_count", response_deserializer=fail)(b"2")
        say([each async for each in call])
        for method in ("us_bad_serializer",):
            say(await outcome(channel.unary_stream(f"/behave/{method}")(b"1").read()))
        say(await outcome(channel.stream_unary("/behave/su_bad_deserializer")(iter([b"1"]))))


# Streams of responses.


@program
async def responses_iterated(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        for method in ("us_count", "us_write", "us_sync"):
            call = channel.unary_stream(f"/behave/{method}")(b"3")
            say(call.done(), [each async for each in call])
            await ended(say, call)
            say([each async for each in call])
        say([each async for each in channel.unary_stream("/behave/us_count")(b"0")])


@program
async def responses_read(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_stream("/behave/us_count")(b"2")
        say(await call.read(), await call.read(), await call.read(), await call.read())
        say((await call.read()) is grpc.aio.EOF, bool(grpc.aio.EOF), len(grpc.aio.EOF))
        await ended(say, call)


@program
async def styles_mixed(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_stream("/behave/us_count")(b"3")
        say(await call.read())
        try:
            async for each in call:
                say(each)
        except Exception as error:
            say(error)
        call = channel.unary_stream("/behave/us_count")(b"3")
        async for each in call:
            say(each)
            break
        say(await outcome(call.read()))
        call = channel.stream_unary("/behave/su_join")(iter([b"1"]))
        say(await outcome(call.write(b"2")), await outcome(call.done_writing()), await call)


@program
async def stream_metadata(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_stream("/behave/us_metadata")(b"")
        say(metadata(await call.initial_metadata()), await call.read(), await call.read())
        await ended(say, call)


@program
async def stream_statuses(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        for method in ("us_abort", "us_raise", "us_set_code", "no_such"):
            call = channel.unary_stream(f"/behave/{method}")(b"", metadata=named(name))
            try:
                async for each in call:
                    say(each)
            except Exception as error:
                say(method, error)
            await ended(say, call)
            call = channel.unary_stream(f"/behave/{method}")(b"", metadata=named(name))
            for _ in range(3):
                say(await outcome(call.read()))


@program
async def stream_cancelled(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_stream("/behave/us_wait")(b"", metadata=named(name))
        say(await call.read())
        await server.notes(say, name, 1)
        say(call.cancel(), await outcome(call.read()))
        await ended(say, call)
        await server.notes(say, name, 1)
        call = channel.unary_stream("/behave/us_wait")(b"", metadata=named(name))

        begun = asyncio.Event()

        async def iterate() -> None:
            async for each in call:
                say(each)
                begun.set()

        task = asyncio.create_task(iterate())
        await begun.wait()
        await server.notes(say, name, 1)
        call.cancel()
        say(await outcome(task))
        await server.notes(say, name, 1)


@program
async def stream_broken_off(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_stream("/behave/us_endless")(b"", metadata=named(name))
        async for each in call:
            say(len(each))
            break
        say(call.cancel())
        await server.notes(say, name, 1)


# Streams of requests.


@program
async def requests_from_iterators(say: Any, name: str, server: Server) -> None:
    async def generator() -> Any:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"%d" % number

    async with server.channel() as channel:
        for method, count in (("su_join", 0), ("su_read", 1), ("su_sync", 0)):
            for requests in (iter([b"a", b"b"]), [b"c", b"d"], generator(), ()):
                call = channel.stream_unary(f"/behave/{method}")(requests, metadata=named(name))
                say(await call, await call.code())
                if count:
                    await server.notes(say, name, count)


@program
async def requests_written(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.stream_unary("/behave/su_join")()
        await call.wait_for_connection()
        await call.write(b"a")
        await call.write(b"b")
        say(await outcome(call.done_writing()), await outcome(call.done_writing()))
        say(await outcome(call.write(b"c")))
        say(await call)
        say(await outcome(call.write(b"c")), await outcome(call.done_writing()))
        await ended(say, call)


@program
async def request_iterator_fails(say: Any, name: str, server: Server) -> None:
    def generator() -> Any:
        yield b"1"
        raise ValueError("mine")

    async with server.channel() as channel:
        call = channel.stream_unary("/behave/su_join")(generator())
        say(await outcome(call))
        await ended(say, call)
        call = channel.stream_stream("/behave/ss_seen")(generator(), metadata=named(name))
        say(await outcome(call.code()))


@program
async def early_status(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.stream_unary("/behave/su_first")()
        await call.write(b"1")
        say(await call, await outcome(call.write(b"2")), await outcome(call.done_writing()))
        call = channel.stream_unary("/behave/su_abort")()
        say(await outcome(call), await outcome(call.write(b"2")))
        call = channel.stream_stream("/behave/ss_early_ok")()
        await call.write(b"1")
        say(await call.read(), await call.read(), await call.code(), await outcome(call.write(b"2")))


# Both ways.


@program
async def ping_pong(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        for method in ("ss_echo", "ss_read_write", "ss_sync"):
            call = channel.stream_stream(f"/behave/{method}")()
            for number in range(3):
                await call.write(b"Ping %d" % number)
                say(await call.read())
            await call.done_writing()
            say(await call.read())
            await ended(say, call)


@program
async def both_iterated(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.stream_stream("/behave/ss_echo")(iter([b"1", b"2", b"3"]))
        say([each async for each in call], await call.code())


@program
async def bidi_cancelled(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.stream_stream("/behave/ss_seen")(metadata=named(name))
        await call.write(b"1")
        say(await call.read(), call.cancel())
        say(await outcome(call.read()), await outcome(call.write(b"2")), await outcome(call.done_writing()))
        await ended(say, call)
        await server.notes(say, name, 1)


@program
async def thousands_of_messages(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.stream_stream("/behave/ss_echo")(b"%d" % number for number in range(3000))
        say(sum([int(each) async for each in call]))
        say(len(await channel.unary_unary("/behave/uu_echo")(b"x" * 3_000_000)))


# Interceptors.


class Spy(
    grpc.aio.UnaryUnaryClientInterceptor,
):
    """Says what passes, and adds to the metadata."""

    def __init__(self, say: Any, label: str) -> None:
        self.say = say
        self.label = label

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.say(
            self.label, client_call_details.method, client_call_details.timeout, metadata(client_call_details.metadata)
        )
        changed = grpc.aio.ClientCallDetails(
            client_call_details.method,
            client_call_details.timeout,
            grpc.aio.Metadata(*client_call_details.metadata, (self.label, "was here")),
            client_call_details.credentials,
            client_call_details.wait_for_ready,
        )
        call = await continuation(changed, request + self.label.encode())
        self.say(self.label, "got", type(call).__name__)
        return call


@program
async def client_interceptors(say: Any, name: str, server: Server) -> None:
    async with server.channel(interceptors=[Spy(say, "one"), Spy(say, "two")]) as channel:
        call = channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name), timeout=30)
        say(type(call).__name__, call.done())
        say(await call)
        await ended(say, call)
        await server.notes(say, name, 6)
        call = channel.unary_unary("/behave/uu_raise")(b"x", timeout=30)
        say(await outcome(call))
        await ended(say, call)


@program
async def interceptor_answers(say: Any, name: str, server: Server) -> None:
    class Answer(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            if request == b"raise":
                raise ValueError("from the interceptor")
            if request == b"await":
                return await (await continuation(client_call_details, request))
            if request == b"twice":
                await (await continuation(client_call_details, b"first"))
                return await continuation(client_call_details, b"second")
            return b"in its place"

    async with server.channel(interceptors=[Answer()]) as channel:
        for request in (b"", b"await", b"twice"):
            call = channel.unary_unary("/behave/uu_echo")(request)
            say(await call, await call.code(), call.done(), await call.trailing_metadata())
        say(await outcome(channel.unary_unary("/behave/uu_echo")(b"raise")))
        call = channel.unary_unary("/behave/uu_raise")(b"await")
        say(await outcome(call), await call.code())


@program
async def interceptor_cancelled(say: Any, name: str, server: Server) -> None:
    class Slow(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            if request == b"before":
                await asyncio.sleep(60)
            call = await continuation(client_call_details, request)
            await call.code()
            return call

    async with server.channel(interceptors=[Slow()]) as channel:
        for request in (b"before", b"after"):
            call = channel.unary_unary("/behave/uu_wait")(request)
            await asyncio.sleep(0.05)
            say(
                call.cancel(),
                await outcome(call),
                call.cancelled(),
                call.done(),
                await call.code(),
                await call.details(),
            )


class StreamSpy(
    grpc.aio.UnaryStreamClientInterceptor,
):
    def __init__(self, say: Any, wrap: bool) -> None:
        self.say = say
        self.wrap = wrap

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        call = await continuation(client_call_details, request)
        if not self.wrap:
            return call

        async def doubled() -> Any:
            async for response in call:
                yield response * 2

        return doubled()


@program
async def stream_interceptors(say: Any, name: str, server: Server) -> None:
    for wrap in (False, True):
        async with server.channel(interceptors=[StreamSpy(say, wrap)]) as channel:
            call = channel.unary_stream("/behave/us_count")(b"3")
            say([each async for each in call], await call.code(), call.done())
            call = channel.unary_stream("/behave/us_count")(b"2")
            say(await call.read(), await call.read(), await call.read())
            call = channel.unary_stream("/behave/us_abort")(b"2")
            say(await outcome(call.read()), await outcome(call.read()))


@program
async def request_interceptors(say: Any, name: str, server: Server) -> None:
    class Upper(grpc.aio.StreamUnaryClientInterceptor):
        async def intercept_stream_unary(
            self, continuation: Any, client_call_details: Any, request_iterator: Any
        ) -> Any:
            async def upper() -> Any:
                if hasattr(request_iterator, "__aiter__"):
                    async for request in request_iterator:
                        yield request.upper()
                else:
                    for request in request_iterator:
                        yield request.upper()

            return await continuation(client_call_details, upper())

    class Pass(grpc.aio.StreamStreamClientInterceptor):
        async def intercept_stream_stream(
            self, continuation: Any, client_call_details: Any, request_iterator: Any
        ) -> Any:
            say(client_call_details.method)
            return await continuation(client_call_details, request_iterator)

    async with server.channel(interceptors=[Upper(), Pass()]) as channel:
        say(await channel.stream_unary("/behave/su_join")(iter([b"a", b"b"])))
        call = channel.stream_unary("/behave/su_join")()
        await call.write(b"c")
        await call.write(b"d")
        await call.done_writing()
        say(await call, await call.code())
        say(await outcome(call.write(b"e")))
        call = channel.stream_stream("/behave/ss_echo")()
        await call.write(b"1")
        say(await call.read())
        await call.done_writing()
        say(await call.read(), await call.code())
        say([each async for each in channel.stream_stream("/behave/ss_echo")(iter([b"1", b"2"]))])


@program
async def wrong_interceptor(say: Any, name: str, server: Server) -> None:
    try:
        server.channel(interceptors=[object()])
    except Exception as error:
        say(type(error).__name__)
    try:
        grpc.aio.server(interceptors=[object()])
    except Exception as error:
        say(type(error).__name__)


@program
async def server_interceptors(say: Any, name: str, server: Server) -> None:
    async with server.channel("intercepted") as channel:
        say(await channel.unary_unary("/behave/uu_contextvar")(b""))
        say(await channel.unary_unary("/behave/uu_contextvar")(b""))
        say(await channel.unary_unary("/dynamic/uu_one")(b"", metadata=named(name)))
        say([each async for each in channel.unary_stream("/behave/us_count")(b"3")])
        say(await channel.stream_unary("/behave/su_join")(iter([b"1", b"2"])))
        say([each async for each in channel.stream_stream("/behave/ss_echo")(iter([b"1", b"2"]))])
        for pairs in ((("refuse", "one"),), (("refuse", "two"),), (("raise", "two"),), (("nothing", "one"),)):
            say(await outcome(channel.unary_unary("/behave/uu_echo")(b"", metadata=pairs)))
            say(await outcome(channel.unary_stream("/behave/us_count")(b"3", metadata=pairs).read()))
            # While requests are on their way grpcio's client may say INTERNAL in place of a status that comes early.
            say("raised" in await outcome(channel.stream_unary("/behave/su_join")(iter([b"1"]), metadata=pairs)))
            say(
                "raised" in await outcome(channel.stream_stream("/behave/ss_echo")(iter([b"1"]), metadata=pairs).read())
            )
        say(await outcome(channel.unary_unary("/behave/nowhere")(b"")))


# Servers' other ways.


@program
async def sync_handlers(say: Any, name: str, server: Server) -> None:
    async with server.channel() as channel:
        call = channel.unary_unary("/behave/uu_sync")(b"x", metadata=named(name))
        say(await call)
        await ended(say, call)
        await server.notes(say, name, 1)
        say(await outcome(channel.unary_unary("/behave/uu_sync_abort")(b"x")))


@program
async def limits(say: Any, name: str, server: Server) -> None:
    async with server.channel("limited") as channel:
        echo = channel.unary_unary("/behave/uu_echo")
        say(await echo(b"x" * 900))
        say((await outcome(echo(b"x" * 2000))).split("details")[0])
    async with server.channel("single") as channel:
        call = channel.unary_unary("/behave/uu_wait")(b"", metadata=named(name))
        await server.notes(say, name, 1)
        say(await outcome(channel.unary_unary("/behave/uu_echo")(b"x")))
        call.cancel()
    async with server.channel(options=[("grpc.max_receive_message_length", 10)]) as channel:
        say((await outcome(channel.unary_unary("/behave/uu_echo")(b"x" * 11))).split("details")[0])
    async with server.channel(options=[("grpc.max_send_message_length", 10)]) as channel:
        say((await outcome(channel.unary_unary("/behave/uu_echo")(b"x" * 11))).split("details")[0])
    async with server.channel(options=[("grpc.no_such_option", 10), ("other", "x")]) as channel:
        say(await channel.unary_unary("/behave/uu_echo")(b"unknown options"))


@program
async def no_server(say: Any, name: str, server: Server) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        method = channel.unary_unary("/behave/uu_echo")
        error = (await outcome(method(b""))).split("last error")[0]
        say(error)
        say(await outcome(method(b"", wait_for_ready=True, timeout=0.2)))
        call = channel.stream_stream("/behave/ss_echo")()
        say((await outcome(call.read())).split("last error")[0])


@program
async def connectivity(say: Any, name: str, server: Server) -> None:
    channel = server.channel()
    say(channel.get_state())
    state = channel.get_state(try_to_connect=True)
    seen = [state]
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state()
        seen.append(state)
    say([each for each in seen if each is not grpc.ChannelConnectivity.CONNECTING])  # which may pass unseen
    await channel.channel_ready()
    say(channel.get_state())
    await channel.close()
    say(channel.get_state(), channel.get_state(True))
    for awaitable in (channel.channel_ready(), channel.wait_for_state_change(grpc.ChannelConnectivity.SHUTDOWN)):
        say(await outcome(awaitable))


@program
async def channel_closed(say: Any, name: str, server: Server) -> None:
    channel = server.channel()
    await channel.channel_ready()
    unary_call = channel.unary_unary("/behave/uu_wait")(b"", metadata=named(name))
    stream_call = channel.unary_stream("/behave/us_wait")(b"", metadata=named(name))
    say(await stream_call.read())
    await channel.close()
    await channel.close()
    for call in (unary_call, stream_call):
        await ended(say, call)
    say(await outcome(unary_call), await outcome(stream_call.read()))
    for make in (channel.unary_unary, channel.unary_stream, channel.stream_unary, channel.stream_stream):
        method = make("/behave/uu_echo")
        try:
            method(b"x")
        except Exception as error:
            say(error)


@program
async def channel_closed_with_grace(say: Any, name: str, server: Server) -> None:
    channel = server.channel()
    waiting = channel.unary_unary("/behave/uu_wait")(b"", metadata=named(name))
    stream = channel.stream_unary("/behave/su_join")()
    await stream.write(b"before")
    closing = asyncio.create_task(channel.close(0.6))
    await asyncio.sleep(0.05)
    await stream.write(b", meanwhile")
    await stream.done_writing()
    say(await stream)
    await closing
    say(await outcome(waiting))


# Security.


@program
async def tls(say: Any, name: str, server: Server) -> None:
    ca = pem(server.certificates, "ca.pem")
    target = f"localhost:{server.ports['tls']}"
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca)) as channel:
        say(await channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name), timeout=30))
        await server.notes(say, name, 6)
    overridden = (("grpc.ssl_target_name_override", "server.invalid"),)
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca), options=overridden) as channel:
        say((await outcome(channel.unary_unary("/behave/uu_echo")(b"x"))).split("details")[0])
    stranger = grpc.ssl_channel_credentials(pem(server.certificates, "stranger-ca.pem"))
    async with grpc.aio.secure_channel(target, stranger) as channel:
        say((await outcome(channel.unary_unary("/behave/uu_echo")(b"x"))).split("details")[0])


@program
async def mutual_tls(say: Any, name: str, server: Server) -> None:
    ca, key, chain = (pem(server.certificates, file) for file in ("ca.pem", "client.key", "client.pem"))
    target = f"localhost:{server.ports['mtls']}"
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, chain)) as channel:
        say(await channel.unary_unary("/behave/uu_context")(b"x", metadata=named(name)))
        await server.notes(say, name, 6)
    async with grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca)) as channel:
        say((await outcome(channel.unary_unary("/behave/uu_echo")(b"x"))).split("details")[0])


@program
async def wrong_credentials(say: Any, name: str, server: Server) -> None:
    for wrong in (None, "text", object()):
        try:
            grpc.aio.secure_channel("localhost:1", wrong)
        except Exception as error:
            say(type(error).__name__)
        try:
            grpc.aio.server().add_secure_port("localhost:0", wrong)
        except Exception as error:
            say(type(error).__name__)
    for make in (
        lambda: grpc.ssl_server_credentials([]),
        lambda: grpc.ssl_server_credentials([(b"", b"")], None, True),
        lambda: grpc.ssl_server_certificate_configuration([]),
    ):
        try:
            make()
        except Exception as error:
            say(error)


@program
async def bad_port(say: Any, name: str, server: Server) -> None:
    made = grpc.aio.server()
    try:
        made.add_insecure_port("no.such.host.invalid:1")
    except Exception as error:
        say(type(error).__name__)
    await made.stop(None)
    try:
        grpc.aio.server(maximum_concurrent_rpcs=0)
    except Exception as error:
        say(error)


async def main(arguments: dict[str, Any]) -> None:
    quiet()
    report(await run_programs(PROGRAMS, Server(arguments)))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
    shown(None)
