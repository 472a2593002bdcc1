"""What runs on every interpreter, grpcio installed or not: both APIs, four kinds, interceptors, errors, deadlines."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Word:
    """A message."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    def SerializeToString(self):
        return self.text.encode()

    @classmethod
    def FromString(cls, data):
        return cls(data.decode())


class Stub:
    """As generated code makes them."""

    def __init__(self, channel):
        codecs = {"request_serializer": Word.SerializeToString, "response_deserializer": Word.FromString}
        self.Say = channel.unary_unary("/test.Words/Say", **codecs)
        self.Count = channel.unary_stream("/test.Words/Count", **codecs)
        self.Join = channel.stream_unary("/test.Words/Join", **codecs)
        self.Chat = channel.stream_stream("/test.Words/Chat", **codecs)


def add_to_server(servicer, server):
    kinds = {
        "Say": grpc.unary_unary_rpc_method_handler,
        "Count": grpc.unary_stream_rpc_method_handler,
        "Join": grpc.stream_unary_rpc_method_handler,
        "Chat": grpc.stream_stream_rpc_method_handler,
    }
    handlers = {
        name: kind(getattr(servicer, name), Word.FromString, Word.SerializeToString) for name, kind in kinds.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Words", handlers),))


class Words:
    def Say(self, request, context):
        if request.text == "abort":
            context.set_trailing_metadata((("why", "asked for"),))
            context.abort(grpc.StatusCode.NOT_FOUND, "no such wörd")
        return Word(f"{request} {dict(context.invocation_metadata()).get('who')}")

    def Count(self, request, context):
        for number in range(int(request.text)):
            yield Word(str(number))

    def Join(self, requests, context):
        return Word("".join(map(str, requests)))

    def Chat(self, requests, context):
        for request in requests:
            yield Word(request.text * 2)


class AsyncWords:
    async def Say(self, request, context):
        if request.text == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such wörd", (("why", "asked for"),))
        if request.text == "wait":
            await asyncio.Event().wait()
        return Word(f"{request} {dict(context.invocation_metadata()).get('who')}")

    async def Count(self, request, context):
        for number in range(int(request.text)):
            yield Word(str(number))

    async def Join(self, requests, context):
        return Word("".join([str(request) async for request in requests]))

    async def Chat(self, requests, context):
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(Word(request.text * 2))


class Introduced(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=[("who", "interceptor")]), request)


class Heard(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        print("heard", details.method)
        return continuation(details)


def sync():
    server = grpc.server(ThreadPoolExecutor(4), interceptors=[Heard()])
    add_to_server(Words(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = Stub(channel)
        print(stub.Say(Word("hello"), metadata=(("who", "me"),), timeout=20))
        print(list(stub.Count(Word("3"))), stub.Join(map(Word, "abc")), list(stub.Chat(map(Word, "xy"))))
        try:
            stub.Say(Word("abort"))
        except grpc.RpcError as error:
            print(type(error).__name__, error.code(), error.details(), error.trailing_metadata()[0])
        print(Stub(grpc.intercept_channel(channel, Introduced())).Say(Word("hello")))
        print(stub.Say.future(Word("later")).result(timeout=20), grpc.channel_ready_future(channel).result(timeout=20))
    server.stop(None).wait()


async def asynchronous():
    server = grpc.aio.server()
    add_to_server(AsyncWords(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = Stub(channel)
        print(await stub.Say(Word("hello"), metadata=(("who", "me"),), timeout=20))
        print([number async for number in stub.Count(Word("3"))], await stub.Join(map(Word, "abc")))
        call = stub.Chat()
        await call.write(Word("x"))
        print(await call.read())
        await call.done_writing()
        print(await call.read() is grpc.aio.EOF, await call.code())
        for request, timeout in (("abort", None), ("wait", 0.05)):
            try:
                await stub.Say(Word(request), timeout=timeout)
            except grpc.aio.AioRpcError as error:
                print(error.code(), error.details(), error.trailing_metadata())
        waiting = stub.Say(Word("wait"))
        print(waiting.cancel(), waiting.cancelled())
        try:
            await waiting
        except asyncio.CancelledError:
            print("cancelled")
    await server.stop(None)


sync()
asyncio.run(asynchronous())
if "wire" in sys.modules:
    compiled = [name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).endswith(".so")]
    assert not [name for name in compiled if "grpc" in name], compiled
