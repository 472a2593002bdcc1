"""grpc-interceptor: exceptions as statuses, and interceptors of both sides."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_interceptor import AsyncServerInterceptor, ClientCallDetails, ClientInterceptor, ServerInterceptor
from grpc_interceptor.exception_to_status import AsyncExceptionToStatusInterceptor
from grpc_interceptor.exceptions import NotFound


class Saying(ServerInterceptor):
    def intercept(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
        print("server", method_name)
        return method(request_or_iterator, context)


class AsyncSaying(AsyncServerInterceptor):
    async def intercept(self, method: Any, request_or_iterator: Any, context: Any, method_name: str) -> Any:
        print("aio server", method_name)
        response = method(request_or_iterator, context)
        return response if hasattr(response, "__aiter__") else await response


class Adding(ClientInterceptor):
    def intercept(self, method: Any, request_or_iterator: Any, call_details: Any) -> Any:
        details = ClientCallDetails(
            call_details.method,
            call_details.timeout,
            [("added", "by the client")],
            call_details.credentials,
            call_details.wait_for_ready,
            call_details.compression,
        )
        return method(request_or_iterator, details)


def sync() -> None:
    def uu(request: bytes, context: Any) -> bytes:
        return str(dict(context.invocation_metadata()).get("added")).encode()

    handlers = {"uu": grpc.unary_unary_rpc_method_handler(uu)}
    server = grpc.server(
        ThreadPoolExecutor(2),
        handlers=(grpc.method_handlers_generic_handler("s", handlers),),
        interceptors=(Saying(),),
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
        channel = grpc.intercept_channel(plain, Adding())
        print(channel.unary_unary("/s/uu")(b"x"))
    server.stop(None)


async def asynchronous() -> None:
    async def uu(request: bytes, context: Any) -> bytes:
        if request == b"missing":
            raise NotFound("not here")
        return request

    async def us(request: bytes, context: Any) -> Any:
        yield b"1"
        raise NotFound("no more")

    handlers = {"uu": grpc.unary_unary_rpc_method_handler(uu), "us": grpc.unary_stream_rpc_method_handler(us)}
    server = grpc.aio.server(
        handlers=(grpc.method_handlers_generic_handler("s", handlers),),
        interceptors=(AsyncSaying(), AsyncExceptionToStatusInterceptor()),
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(await channel.unary_unary("/s/uu")(b"x"))
        try:
            await channel.unary_unary("/s/uu")(b"missing")
        except grpc.RpcError as error:
            print(error.code(), error.details())
        try:
            async for each in channel.unary_stream("/s/us")(b""):
                print(each)
        except grpc.RpcError as error:
            print(error.code(), error.details())
    await server.stop(None)


sync()
asyncio.run(asynchronous())
