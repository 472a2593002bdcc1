"""google-api-core: its gRPC helpers wrap errors, streams, time-outs and retries, sync and asyncio."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.api_core import exceptions, gapic_v1, grpc_helpers, grpc_helpers_async, retry, retry_async

calls: list[bytes] = []


def uu(request: bytes, context: Any) -> bytes:
    calls.append(request)
    if request == b"flaky" and len(calls) % 3:
        context.abort(grpc.StatusCode.UNAVAILABLE, f"call {len(calls) % 3}")
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "not here")
    return request


def us(request: bytes, context: Any) -> Any:
    yield b"1"
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no more")


handlers = {"uu": grpc.unary_unary_rpc_method_handler(uu), "us": grpc.unary_stream_rpc_method_handler(us)}
server = grpc.server(ThreadPoolExecutor(2), handlers=(grpc.method_handlers_generic_handler("s", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def attempt(call: Any) -> None:
    try:
        print(call())
    except Exception as error:
        print(type(error).__name__, error, getattr(error, "grpc_status_code", None))


with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    unary = grpc_helpers.wrap_errors(channel.unary_unary("/s/uu"))
    stream = grpc_helpers.wrap_errors(channel.unary_stream("/s/us"))
    attempt(lambda: unary(b"x"))
    attempt(lambda: unary(b"missing"))
    attempt(lambda: list(stream(b"x")))
    attempt(lambda: list(stream(b"missing")))
    again = retry.Retry(predicate=retry.if_exception_type(exceptions.ServiceUnavailable), initial=0.001, timeout=10)
    wrapped = gapic_v1.method.wrap_method(channel.unary_unary("/s/uu"), default_retry=again, default_timeout=5.0)
    calls.clear()
    attempt(lambda: wrapped(b"flaky"))


async def asynchronous() -> None:
    async def attempt(awaitable: Any) -> None:
        try:
            print(await awaitable)
        except Exception as error:
            print(type(error).__name__, error, getattr(error, "grpc_status_code", None))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary = grpc_helpers_async.wrap_errors(channel.unary_unary("/s/uu"))
        stream = grpc_helpers_async.wrap_errors(channel.unary_stream("/s/us"))
        await attempt(unary(b"x"))
        await attempt(unary(b"missing"))

        async def all_of(call: Any) -> list[Any]:
            return [each async for each in await call]

        await attempt(all_of(stream(b"x")))
        await attempt(all_of(stream(b"missing")))
        again = retry_async.AsyncRetry(
            predicate=retry_async.if_exception_type(exceptions.ServiceUnavailable), initial=0.001, timeout=10
        )
        method = channel.unary_unary("/s/uu")
        wrapped = gapic_v1.method_async.wrap_method(method, default_retry=again, default_timeout=5.0)
        calls.clear()
        await attempt(wrapped(b"flaky"))


asyncio.run(asynchronous())
server.stop(None)
