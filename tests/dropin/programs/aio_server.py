"""A server in the style of grpc.aio, with a method for whatever the client's programs want to see.

`python aio_server.py CERTIFICATES`: prints its ports as JSON, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import echo_pb2
import echo_pb2_grpc
import grpc
from common import Notes, metadata, pem, quiet, report, security

notes = Notes()
from_interceptor: contextvars.ContextVar[str] = contextvars.ContextVar("from_interceptor", default="unset")


class Echo(echo_pb2_grpc.EchoServicer):
    """The generated service."""

    async def Unary(self, request: Any, context: Any) -> Any:
        return echo_pb2.EchoResponse(payload=request.payload)

    async def ServerStream(self, request: Any, context: Any) -> Any:
        for number in range(request.count):
            yield echo_pb2.EchoResponse(payload=request.payload + b"%d" % number)

    async def ClientStream(self, request_iterator: Any, context: Any) -> Any:
        joined = b""
        async for request in request_iterator:
            joined += request.payload
        return echo_pb2.EchoResponse(payload=joined)

    async def Bidi(self, request_iterator: Any, context: Any) -> Any:
        async for request in request_iterator:
            yield echo_pb2.EchoResponse(payload=request.payload)


class Behaviours:
    """Methods of bytes, each for something that a handler may do."""

    # One request, one response.

    async def uu_echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def uu_context(self, request: bytes, context: Any) -> bytes:
        notes.add(context, "metadata", metadata(context.invocation_metadata()))
        notes.add(context, "pairs", [type(pair).__name__ for pair in context.invocation_metadata()])
        notes.add(context, "peer", context.peer())
        notes.add(context, "auth", security(context), context.peer_identities(), context.peer_identity_key())
        remaining = context.time_remaining()
        notes.add(context, "time", remaining is None or 0 < remaining < 60)
        notes.add(context, "status", context.code(), context.details(), context.trailing_metadata())
        notes.add(context, "state", context.done(), context.cancelled())
        return request

    async def uu_metadata(self, request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\x00\xff")))
        try:
            await context.send_initial_metadata((("initial", "2"),))
        except Exception as error:
            notes.add(context, error)
        context.set_trailing_metadata((("trailing", "a"), ("trailing", "b"), ("trailing-bin", b"\x01")))
        notes.add(context, context.trailing_metadata())
        return request

    async def uu_raise(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("why", "raised"),))
        raise ValueError("no such thing: ü")

    async def uu_raise_with_code(self, request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        raise ValueError("lost")

    async def uu_abort(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("before", "abort"),))
        try:
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing here: ü%")
        except BaseException as error:
            notes.add(context, "abort raised", error)
            try:
                await context.abort(grpc.StatusCode.ABORTED, "again")
            except BaseException as again:
                notes.add(context, "again", again)
            notes.add(context, context.code(), context.details(), context.done())
            raise
        return request

    async def uu_abort_suppressed(self, request: bytes, context: Any) -> bytes:
        try:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "first", (("own", "trailer"),))
        except BaseException:
            pass
        return b"must not arrive"

    async def uu_abort_with_status(self, request: bytes, context: Any) -> bytes:
        class Status(grpc.Status):
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            details = "rich"
            trailing_metadata = (("grpc-status-details-bin", b"\x08\x08"),)

        await context.abort_with_status(Status())
        return request

    async def uu_set_code(self, request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        context.set_details("there is one")
        notes.add(context, context.code(), context.details())
        return b"must not arrive"

    async def uu_set_ok(self, request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.OK)
        return request

    async def uu_wrong_type(self, request: bytes, context: Any) -> Any:
        return "text"

    async def uu_none(self, request: bytes, context: Any) -> Any:
        return None

    async def uu_bad_trailing(self, request: bytes, context: Any) -> bytes:
        for wrong in ({"a": "b"}, (["a", "b"],), (("a", 1),), 5):
            try:
                context.set_trailing_metadata(wrong)
            except Exception as error:
                notes.add(context, type(error).__name__)
        return request

    async def uu_wait(self, request: bytes, context: Any) -> bytes:
        context.add_done_callback(lambda of: notes.add(of, "done callback", of.done()))
        try:
            notes.add(context, "waits")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            notes.add(context, "cancelled")
            raise
        return request

    async def uu_callback(self, request: bytes, context: Any) -> bytes:
        context.add_done_callback(lambda of: notes.add(of, "done callback", of.done(), of is context))
        return request

    async def uu_contextvar(self, request: bytes, context: Any) -> bytes:
        return from_interceptor.get().encode()

    def uu_sync(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("from", "thread"),))
        notes.add(context, "in a thread", context.peer(), context.time_remaining() is None)
        return request

    def uu_sync_abort(self, request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "from a thread")
        return request

    # One request, a stream of responses.

    async def us_count(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield b"%d" % number

    async def us_write(self, request: bytes, context: Any) -> None:
        for number in range(int(request)):
            await context.write(b"%d" % number)

    async def us_metadata(self, request: bytes, context: Any) -> Any:
        await context.send_initial_metadata((("initial", "1"),))
        context.set_trailing_metadata((("trailing", "1"),))
        yield b"1"

    async def us_abort(self, request: bytes, context: Any) -> Any:
        yield b"1"
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "after one")

    async def us_raise(self, request: bytes, context: Any) -> Any:
        yield b"1"
        raise KeyError("key")

    async def us_set_code(self, request: bytes, context: Any) -> Any:
        yield b"1"
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("half")

    async def us_endless(self, request: bytes, context: Any) -> Any:
        try:
            while True:
                yield b"x" * 1000
        finally:
            notes.add(context, "generator closed")

    async def us_wait(self, request: bytes, context: Any) -> Any:
        yield b"1"
        try:
            notes.add(context, "waits")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            notes.add(context, "cancelled")
            raise

    def us_sync(self, request: bytes, context: Any) -> Any:
        for number in range(int(request)):
            yield b"%d" % number

    # A stream of requests, one response.

    async def su_join(self, request_iterator: Any, context: Any) -> bytes:
        return b"".join([request async for request in request_iterator])

    async def su_read(self, request_iterator: Any, context: Any) -> bytes:
        joined = b""
        while (request := await context.read()) is not grpc.aio.EOF:
            joined += request
        notes.add(context, "after the end", await context.read())
        return joined

    async def su_first(self, request_iterator: Any, context: Any) -> bytes:
        async for request in request_iterator:
            return request  # type: ignore[no-any-return]
        return b"none"

    async def su_abort(self, request_iterator: Any, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "before anything")
        return b""

    def su_sync(self, request_iterator: Any, context: Any) -> bytes:
        return b"".join(request_iterator)

    # Streams both ways.

    async def ss_echo(self, request_iterator: Any, context: Any) -> Any:
        async for request in request_iterator:
            yield request

    async def ss_read_write(self, request_iterator: Any, context: Any) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(request.upper())

    async def ss_early_ok(self, request_iterator: Any, context: Any) -> Any:
        async for request in request_iterator:
            yield request
            return

    async def ss_seen(self, request_iterator: Any, context: Any) -> Any:
        async for request in request_iterator:
            notes.add(context, "request", request)
            yield request

    def ss_sync(self, request_iterator: Any, context: Any) -> Any:
        for request in request_iterator:
            yield request.lower()


_HANDLERS = {
    "uu": grpc.unary_unary_rpc_method_handler,
    "us": grpc.unary_stream_rpc_method_handler,
    "su": grpc.stream_unary_rpc_method_handler,
    "ss": grpc.stream_stream_rpc_method_handler,
}


def handlers() -> dict[str, Any]:
    behaviours = Behaviours()
    found = {}
    for name in dir(behaviours):
        if name[:2] in _HANDLERS and name[2:3] == "_":
            found[name] = _HANDLERS[name[:2]](getattr(behaviours, name))

    async def take_notes(request: bytes, context: Any) -> bytes:
        program, count = request.decode().split()
        return "\n".join(await notes.take(program, int(count))).encode()

    def fail(data: Any) -> Any:
        raise ValueError("this (de)serializer always fails")

    async def never(request: bytes, context: Any) -> bytes:
        return b""

    found["take_notes"] = grpc.unary_unary_rpc_method_handler(take_notes)
    found["uu_bad_deserializer"] = grpc.unary_unary_rpc_method_handler(never, request_deserializer=fail)
    found["uu_bad_serializer"] = grpc.unary_unary_rpc_method_handler(never, response_serializer=fail)
    found["us_bad_serializer"] = grpc.unary_stream_rpc_method_handler(Behaviours().us_count, response_serializer=fail)
    found["su_bad_deserializer"] = grpc.stream_unary_rpc_method_handler(Behaviours().su_join, request_deserializer=fail)
    return found


class Dynamic(grpc.GenericRpcHandler):
    """Finds handlers when calls come."""

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method.startswith("/dynamic/uu_"):
            pairs = dict(handler_call_details.invocation_metadata)

            async def behave(request: bytes, context: Any) -> bytes:
                return f"{handler_call_details.method} {pairs.get('program')}".encode()

            return grpc.unary_unary_rpc_method_handler(behave)
        if handler_call_details.method == "/dynamic/ss":
            return grpc.stream_stream_rpc_method_handler(Behaviours().ss_echo)
        return None


class Interceptor(grpc.aio.ServerInterceptor):
    """Says when it was there, sets a context variable, and refuses what is asked to be refused."""

    def __init__(self, name: str) -> None:
        self.name = name

        async def refuse(request: Any, context: Any) -> bytes:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"refused by {name}")
            return b""

        self.refusal = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        pairs = dict(handler_call_details.invocation_metadata)
        from_interceptor.set(f"{from_interceptor.get()},{self.name}")
        if pairs.get("refuse") == self.name:
            return self.refusal
        if pairs.get("raise") == self.name:
            raise RuntimeError(f"{self.name} raises")
        if pairs.get("nothing") == self.name:
            return None
        return await continuation(handler_call_details)


async def main(directory: str) -> None:
    quiet()
    pool = ThreadPoolExecutor(4)
    generic = grpc.method_handlers_generic_handler("behave", handlers())
    ports = {}

    server = grpc.aio.server(pool)
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    server.add_generic_rpc_handlers((generic, Dynamic()))
    ports["plain"] = server.add_insecure_port("127.0.0.1:0")
    pair = [(pem(directory, "server.key"), pem(directory, "server.pem"))]
    ports["tls"] = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    mutual = grpc.ssl_server_credentials(pair, pem(directory, "ca.pem"), require_client_auth=True)
    ports["mtls"] = server.add_secure_port("127.0.0.1:0", mutual)
    await server.start()

    intercepted = grpc.aio.server(pool, interceptors=(Interceptor("one"), Interceptor("two")))
    intercepted.add_generic_rpc_handlers((generic, Dynamic()))
    ports["intercepted"] = intercepted.add_insecure_port("127.0.0.1:0")
    await intercepted.start()

    single = grpc.aio.server(pool, maximum_concurrent_rpcs=1)
    single.add_generic_rpc_handlers((generic,))
    ports["single"] = single.add_insecure_port("127.0.0.1:0")
    await single.start()

    limited = grpc.aio.server(
        pool,
        compression=grpc.Compression.Gzip,
        options=(("grpc.max_receive_message_length", 1000), ("grpc.max_send_message_length", 1000)),
    )
    limited.add_generic_rpc_handlers((generic,))
    ports["limited"] = limited.add_insecure_port("127.0.0.1:0")
    await limited.start()

    report(ports)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for each in (server, intercepted, single, limited):
        await each.stop(None)
    pool.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
