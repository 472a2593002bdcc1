"""grpcio-status: rich errors, sync and asyncio."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


def status() -> Any:
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason="because", domain="example"))
    return status_pb2.Status(code=code_pb2.ALREADY_EXISTS, message="there is one", details=[detail])


def show(found: Any) -> None:
    info = error_details_pb2.ErrorInfo()
    found.details[0].Unpack(info)
    print(found.code, found.message, info.reason, info.domain)


def sync() -> None:
    def fail(request: bytes, context: Any) -> None:
        context.abort_with_status(rpc_status.to_status(status()))

    handlers = {"fail": grpc.unary_unary_rpc_method_handler(fail)}
    server = grpc.server(ThreadPoolExecutor(1), handlers=(grpc.method_handlers_generic_handler("s", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/s/fail")(b"")
        except grpc.RpcError as error:
            show(rpc_status.from_call(error))
    server.stop(None)


async def asynchronous() -> None:
    async def fail(request: bytes, context: Any) -> None:
        await context.abort_with_status(rpc_status.to_status(status()))

    handlers = {"fail": grpc.unary_unary_rpc_method_handler(fail)}
    server = grpc.aio.server(handlers=(grpc.method_handlers_generic_handler("s", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/s/fail")(b"")
        try:
            await call
        except grpc.RpcError as error:
            show(rpc_status.from_call(error))
        show(await rpc_status.aio.from_call(call))
    await server.stop(None)


sync()
asyncio.run(asynchronous())
