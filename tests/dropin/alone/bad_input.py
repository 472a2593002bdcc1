"""What is given wrong to channels, calls, servers and handlers, sync and asyncio: which exception comes, and that one
does. Each case has ten seconds; where grpcio never answers, or with another status, the name ends in "?"."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc


def word(value):
    """An exception by its class and status, anything else as it is."""
    if isinstance(value, BaseException):
        code = getattr(value, "code", None)
        return f"{type(value).__name__} {code().name if callable(code) else ''}".strip()
    return repr(value)


def attempt(name, function):
    """Runs in a thread of its own, so that one that hangs says so."""
    said = []

    def run():
        try:
            said.append(word(function()))
        except BaseException as error:
            said.append(word(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    print(name, said[0] if said else "hangs")


async def attempt_asyncio(name, function):
    try:
        async with asyncio.timeout(10):
            answer = function()
            if hasattr(answer, "__aiter__") and not hasattr(answer, "__await__"):
                answer = [each async for each in answer]
            elif hasattr(answer, "__await__"):
                answer = await answer
            print(name, word(answer))
    except TimeoutError:
        print(name, "hangs")
    except BaseException as error:
        print(name, word(error))


def broken(*_):
    raise ValueError("broken")


class Unprintable(Exception):  # noqa: N818
    def __str__(self):
        raise RuntimeError("no words")


def unprintable(request, context):
    raise Unprintable


def stop_iteration(request, context):
    raise StopIteration


def exits(request, context):
    raise SystemExit(3)


U = grpc.unary_unary_rpc_method_handler
S = grpc.unary_stream_rpc_method_handler
HANDLERS = {
    "Echo": U(lambda request, context: request),
    "Stream": S(lambda request, context: iter([request, request])),
    "Unserializable": U(lambda request, context: request, response_serializer=broken),
    "Undeserializable": U(lambda request, context: request, request_deserializer=broken),
    "NotBytes": U(lambda request, context: 7),
    "Text": U(lambda request, context: "text"),
    "NoneSerialized": U(lambda request, context: b"x", response_serializer=lambda value: None),
    "Unprintable": U(unprintable),
    "StopIteration": U(stop_iteration),
    "NotIterable": S(lambda request, context: 7),
    "NoneIterable": S(lambda request, context: None),
    "Items": S(lambda request, context: iter([b"a", 7])),
    "BadItems": S(lambda request, context: iter([b"a", b"b"]), response_serializer=broken),
    "FailsLate": S(lambda request, context: (broken() if n else b"%d" % n for n in range(2))),
    "NotCallable": U(7),
    "TooManyArguments": U(lambda request: request),
    "Generator": U(lambda request, context: (each for each in [b"a"])),
    "BadMetadata": U(lambda request, context: context.send_initial_metadata((("Upper", "x"),)) or request),
    "BadTrailing": U(lambda request, context: context.set_trailing_metadata(7) or request),
    "BadCode": U(lambda request, context: context.set_code("nonsense") or request),
    "BadAbort": U(lambda request, context: context.abort("nonsense", "x")),
    "AbortOk": U(lambda request, context: context.abort(grpc.StatusCode.OK, "x")),
    "BadDetails": U(lambda request, context: context.abort(grpc.StatusCode.ABORTED, 7)),
    "BadStatus": U(lambda request, context: context.abort_with_status(7)),
}


UNANSWERED = {
    "sync": {"NotBytes", "Text", "Items", "Generator", "BadTrailing"},
    "aio": {"StopIteration", "Unprintable", "AbortOk", "WritesAfter"},
}


def case(server, name):
    """A deadline for calls of a handler, and a mark where grpcio lets it pass."""
    unanswered = name in UNANSWERED[server]
    return {"timeout": 0.3 if unanswered else 8}, "?" * unanswered


class Broken(grpc.GenericRpcHandler):
    """A generic handler that fails, or gives what is no handler."""

    def service(self, details):
        if details.method == "/broken/Raises":
            broken()
        return 7 if details.method == "/broken/Gives" else None


def sync_calls(port):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    uu, us = channel.unary_unary, channel.unary_stream
    su, ss = channel.stream_unary, channel.stream_stream
    for name, handler in HANDLERS.items():
        method = us if handler.response_streaming else uu
        options, mark = case("sync", name)
        call = method(f"/bad/{name}")
        attempt(f"sync {name}{mark}", lambda call=call, options=options: answer_of(call(b"x", **options)))
    echo = "/bad/Echo"
    for name, function in {
        "serializer": lambda: uu(echo, request_serializer=broken)(b"x"),
        "serializer, future": lambda: uu(echo, request_serializer=broken).future(b"x").result(),
        "serializer, stream": lambda: finish(us("/bad/Stream", request_serializer=broken)(b"x")),
        "serializer of requests": lambda: su(echo, request_serializer=broken)(iter([b"x"])),
        "deserializer": lambda: uu(echo, response_deserializer=broken)(b"x"),
        "deserializer, stream": lambda: finish(us("/bad/Stream", response_deserializer=broken)(b"x")),
        "not bytes": lambda: uu(echo)(7),
        "text": lambda: uu(echo)("text"),
        "None": lambda: uu(echo)(None),
        "requests not iterable": lambda: su(echo)(7),
        "requests not bytes?": lambda: su(echo)(iter([7]), timeout=0.3),
        "requests that fail": lambda: finish(ss(echo)(map(broken, [1]))),
        "path without slash": lambda: uu("Echo")(b"x"),
        "path not text": lambda: uu(7)(b"x"),
        "empty path?": lambda: uu("")(b"x"),
        "upper case metadata": lambda: uu(echo)(b"x", metadata=(("Upper", "x"),)),
        "binary value, text key": lambda: uu(echo)(b"x", metadata=(("key", b"\xff"),)),
        "metadata of numbers": lambda: uu(echo)(b"x", metadata=(("key", 7),)),
        "metadata not pairs": lambda: uu(echo)(b"x", metadata=7),
        "metadata of triples": lambda: uu(echo)(b"x", metadata=(("a", "b", "c"),)),
        "reserved metadata": lambda: uu(echo)(b"x", metadata=((":path", "x"),)),
        "timeout text": lambda: uu(echo)(b"x", timeout="soon"),
        "timeout negative": lambda: uu(echo)(b"x", timeout=-1),
        "credentials in the clear": lambda: uu(echo)(b"x", credentials=grpc.access_token_call_credentials("t")),
        "credentials wrong": lambda: uu(echo)(b"x", credentials="token"),
        "compression wrong": lambda: uu(echo)(b"x", compression="gzip"),
        "wrong kind, stream for unary": lambda: finish(us(echo)(b"x")),
        "wrong kind, unary for stream?": lambda: uu("/bad/Stream")(b"x", timeout=0.3),
        "interceptor wrong": lambda: grpc.intercept_channel(channel, object()),
        "subscribe wrong": lambda: channel.unsubscribe(7),
    }.items():
        attempt(f"sync {name}", function)
    methods = uu(echo), us("/bad/Stream"), su(echo), ss(echo)
    channel.close()
    channel.close()
    for name, function in {
        "unary": lambda: methods[0](b"x"),
        "future": lambda: methods[0].future(b"x"),
        "with_call": lambda: methods[0].with_call(b"x"),
        "stream": lambda: finish(methods[1](b"x")),
        "requests": lambda: methods[2](iter([b"x"])),
        "both": lambda: finish(methods[3](iter([b"x"]))),
        "new method": lambda: grpc_call(channel, echo),
        "subscribe": lambda: channel.subscribe(print),
        "enter": lambda: channel.__enter__() is channel,
    }.items():
        attempt(f"sync closed {name}", function)


def grpc_call(channel, path):
    return channel.unary_unary(path)(b"x")


def answer_of(answer):
    return answer if isinstance(answer, bytes) else finish(answer)


def finish(call):
    return list(call)


def sync_channels_and_servers():
    pool = ThreadPoolExecutor(1)
    for name, function in {
        "options not pairs": lambda: grpc.insecure_channel("localhost:1", options=7),
        "options of singles": lambda: grpc.insecure_channel("localhost:1", options=[("one",)]),
        "option name": lambda: grpc.insecure_channel("localhost:1", options=[(7, 1)]),
        "option value": lambda: grpc.insecure_channel("localhost:1", options=[("grpc.x", None)]),
        "target": lambda: type(grpc.insecure_channel(7)).__name__,
        "target None": lambda: type(grpc.insecure_channel(None)).__name__,
        "server pool": lambda: grpc.server(None).stop(None).wait(),
        "server options": lambda: grpc.server(pool, options=[(7, 1)]),
        "server handlers": lambda: grpc.server(pool, handlers=[7]),
        "server interceptors": lambda: grpc.server(pool, interceptors=[7]).stop(None) and None,
        "port": lambda: grpc.server(pool).add_insecure_port(7),
        "port text": lambda: grpc.server(pool).add_insecure_port("nonsense:nonsense"),
        "start twice": lambda: started_twice(pool),
        "stop text": lambda: grpc.server(pool).stop("soon").is_set(),
        "abstract channel": grpc.Channel,
        "abstract server": grpc.Server,
        "ready future": lambda: grpc.channel_ready_future(grpc.insecure_channel("127.0.0.1:1")).result(timeout=0.05),
        "handler names": lambda: grpc.method_handlers_generic_handler(7, {"a": U(None)}).service_name(),
        "alts": lambda: type(grpc.alts_channel_credentials).__name__,
    }.items():
        attempt(f"sync {name}", function)


def started_twice(pool):
    server = grpc.server(pool)
    server.start()
    try:
        server.start()
    finally:
        server.stop(None)


async def calls(port):
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    uu, us = channel.unary_unary, channel.unary_stream
    su, ss = channel.stream_unary, channel.stream_stream
    for name, handler in HANDLERS.items():
        method = us if handler.response_streaming else uu
        options, mark = case("sync", name)
        call = method(f"/bad/{name}")
        await attempt_asyncio(f"aio {name}{mark}", lambda call=call, options=options: call(b"x", **options))
    echo = "/bad/Echo"
    for name, function in {
        "serializer": lambda: uu(echo, request_serializer=broken)(b"x"),
        "serializer, stream": lambda: us("/bad/Stream", request_serializer=broken)(b"x"),
        "serializer of requests": lambda: su(echo, request_serializer=broken)(iter([b"x"])),
        "deserializer": lambda: uu(echo, response_deserializer=broken)(b"x"),
        "deserializer, stream": lambda: us("/bad/Stream", response_deserializer=broken)(b"x"),
        "not bytes": lambda: uu(echo)(7),
        "text": lambda: uu(echo)("text"),
        "requests not iterable": lambda: su(echo)(7),
        "requests not bytes": lambda: su(echo)(iter([7])),
        "requests that fail": lambda: ss(echo)(map(broken, [1])),
        "write not bytes": lambda: written(ss(echo), 7),
        "write while iterating": lambda: written(ss(echo, None), b"x", iter([b"x"])),
        "write after done": lambda: written_late(ss(echo)),
        "read a unary": lambda: uu(echo)(b"x").read(),
        "path without slash": lambda: uu("Echo")(b"x"),
        "empty path?": lambda: uu("")(b"x"),
        "upper case metadata": lambda: uu(echo)(b"x", metadata=(("Upper", "x"),)),
        "metadata of numbers": lambda: uu(echo)(b"x", metadata=(("key", 7),)),
        "metadata not pairs": lambda: uu(echo)(b"x", metadata=7),
        "timeout text": lambda: uu(echo)(b"x", timeout="soon"),
        "credentials in the clear": lambda: uu(echo)(b"x", credentials=grpc.access_token_call_credentials("t")),
        "credentials wrong": lambda: uu(echo)(b"x", credentials="token"),
        "compression wrong": lambda: uu(echo)(b"x", compression="gzip"),
        "wrong kind, stream for unary": lambda: us(echo)(b"x"),
        "wrong kind, unary for stream?": lambda: uu("/bad/Stream")(b"x", timeout=0.3),
        "interceptor wrong": lambda: grpc.aio.insecure_channel("localhost:1", interceptors=[object()]),
        "option name": lambda: grpc.aio.insecure_channel("localhost:1", options=[(7, 1)]),
        "target": lambda: type(grpc.aio.insecure_channel(7)).__name__,
        "server interceptors": lambda: grpc.aio.server(interceptors=[7]),
        "server rpcs": lambda: grpc.aio.server(maximum_concurrent_rpcs=-1),
        "port": lambda: grpc.aio.server().add_insecure_port("nonsense:nonsense"),
        "state wrong": lambda: channel.wait_for_state_change(7),
    }.items():
        await attempt_asyncio(f"aio {name}", function)
    methods = uu(echo), us("/bad/Stream"), su(echo), ss(echo)
    await channel.close()
    await channel.close()
    for name, function in {
        "unary": lambda: methods[0](b"x"),
        "stream": lambda: methods[1](b"x"),
        "requests": lambda: methods[2](iter([b"x"])),
        "both": lambda: methods[3](iter([b"x"])),
        "new method": lambda: grpc_call(channel, echo),
        "state": lambda: channel.get_state(True),
        "ready": channel.channel_ready,
    }.items():
        await attempt_asyncio(f"aio closed {name}", function)


def broken_generic_handlers():
    """The second makes an end of grpcio's server."""
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Broken()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name, mark in (("Raises", ""), ("Nothing", ""), ("Gives", "?")):
            call = channel.unary_unary(f"/broken/{name}")
            attempt(f"generic {name}{mark}", lambda call=call, mark=mark: call(b"x", timeout=0.3 if mark else 8))


async def written(method, message, requests=None):
    call = method(requests)
    try:
        await call.write(message)
    finally:
        call.cancel()


async def written_late(method):
    call = method()
    await call.done_writing()
    await call.write(b"x")


async def asyncio_handlers():
    """The same handlers on the server of asyncio, which also has coroutines."""

    async def fails(request, context):
        broken()

    async def streams_and_returns(request, context):
        return b"x"

    async def stream_fails(request, context):
        yield b"x"
        broken()

    async def writes_after(request, context):
        await context.write(b"x")
        return b"y"

    async def reads_unary(request, context):
        return await context.read()

    async def bad_abort(request, context):
        await context.abort("nonsense", "x")

    async def bad_metadata(request, context):
        await context.send_initial_metadata((("Upper", "x"),))
        return request

    more = {
        "Fails": U(fails),
        "StreamsAndReturns": S(streams_and_returns),
        "StreamFails": S(stream_fails),
        "WritesAfter": U(writes_after),
        "ReadsUnary": U(reads_unary),
        "AwaitedBadAbort": U(bad_abort),
        "AwaitedBadMetadata": U(bad_metadata),
    }
    server = grpc.aio.server(ThreadPoolExecutor(4), handlers=[Broken()])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bad", {**HANDLERS, **more}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name, handler in {**HANDLERS, **more}.items():
            method = channel.unary_stream if handler.response_streaming else channel.unary_unary
            options, mark = case("aio", name)
            call = method(f"/bad/{name}")
            await attempt_asyncio(f"aio server {name}{mark}", lambda call=call, options=options: call(b"x", **options))
        for name in ("Raises", "Gives", "Nothing"):
            path = f"/broken/{name}"
            await attempt_asyncio(f"aio server {path}", lambda path=path: channel.unary_unary(path)(b"x", timeout=8))
    await server.stop(None)


def main():
    logging.disable(logging.CRITICAL)
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bad", HANDLERS),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sync_calls(port)
    sync_channels_and_servers()
    asyncio.run(calls(port))
    asyncio.run(asyncio_handlers())
    server.stop(None)
    broken_generic_handlers()


main()
