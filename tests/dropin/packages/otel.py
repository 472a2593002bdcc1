"""opentelemetry-instrumentation-grpc: spans of clients and servers, sync and asyncio."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import (
    GrpcAioInstrumentorClient,
    GrpcAioInstrumentorServer,
    GrpcInstrumentorClient,
    GrpcInstrumentorServer,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
for instrumentor in (
    GrpcAioInstrumentorClient,
    GrpcAioInstrumentorServer,
    GrpcInstrumentorClient,
    GrpcInstrumentorServer,
):
    instrumentor().instrument()


def show() -> None:
    spans = sorted(exporter.get_finished_spans(), key=lambda span: (span.name, span.kind.name))
    by_id = {span.context.span_id: span for span in spans}
    for span in spans:
        parent = by_id.get(span.parent.span_id) if span.parent else None
        told = {
            key: value for key, value in span.attributes.items() if key.startswith("rpc.") and key != "rpc.user_agent"
        }
        print(span.name, span.kind.name, span.status.status_code.name, told, parent.kind.name if parent else None)
    exporter.clear()


def handlers(asynchronous: bool) -> Any:
    def uu(request: bytes, context: Any) -> bytes:
        return request

    def fail(request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "none")
        return b""

    def us(request: bytes, context: Any) -> Any:
        yield b"1"
        yield b"2"

    def su(requests: Any, context: Any) -> bytes:
        return b"".join(requests)

    async def aio_uu(request: bytes, context: Any) -> bytes:
        return request

    async def aio_fail(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        return b""

    async def aio_us(request: bytes, context: Any) -> Any:
        yield b"1"
        yield b"2"

    async def aio_su(requests: Any, context: Any) -> bytes:
        return b"".join([request async for request in requests])

    chosen = (aio_uu, aio_fail, aio_us, aio_su) if asynchronous else (uu, fail, us, su)
    return grpc.method_handlers_generic_handler(
        "t.Service",
        {
            "uu": grpc.unary_unary_rpc_method_handler(chosen[0]),
            "fail": grpc.unary_unary_rpc_method_handler(chosen[1]),
            "us": grpc.unary_stream_rpc_method_handler(chosen[2]),
            "su": grpc.stream_unary_rpc_method_handler(chosen[3]),
        },
    )


def sync() -> None:
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handlers(False),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(channel.unary_unary("/t.Service/uu")(b"x"))
        print(channel.unary_unary("/t.Service/uu").future(b"x").result())
        print(list(channel.unary_stream("/t.Service/us")(b"x")))
        print(channel.stream_unary("/t.Service/su")(iter([b"1", b"2"])))
        try:
            channel.unary_unary("/t.Service/fail")(b"x")
        except grpc.RpcError as error:
            print(error.code())
    server.stop(1).wait()
    show()


async def asynchronous() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(True),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        print(await channel.unary_unary("/t.Service/uu")(b"x"))
        print([each async for each in channel.unary_stream("/t.Service/us")(b"x")])
        print(await channel.stream_unary("/t.Service/su")(iter([b"1", b"2"])))
        try:
            await channel.unary_unary("/t.Service/fail")(b"x")
        except grpc.RpcError as error:
            print(error.code())
    await server.stop(1)
    show()


sync()
asyncio.run(asynchronous())
