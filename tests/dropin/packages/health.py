"""grpcio-health-checking: its servicers, sync and asyncio, and its stub."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def sync() -> None:
    server = grpc.server(ThreadPoolExecutor(4))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        print(stub.Check(health_pb2.HealthCheckRequest()).status)
        servicer.set("a", NOT_SERVING)
        print(stub.Check(health_pb2.HealthCheckRequest(service="a")).status)
        try:
            stub.Check(health_pb2.HealthCheckRequest(service="unknown"))
        except grpc.RpcError as error:
            print(error.code(), error.details())
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="a"))
        print(next(watch).status)
        servicer.set("a", SERVING)
        print(next(watch).status)
        servicer.enter_graceful_shutdown()
        print(next(watch).status)
        watch.cancel()
    server.stop(None)


async def asynchronous() -> None:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        await servicer.set("b", NOT_SERVING)
        print((await stub.Check(health_pb2.HealthCheckRequest(service="b"))).status)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="b"))
        print((await watch.read()).status)
        await servicer.set("b", SERVING)
        print((await watch.read()).status)
        watch.cancel()
    await server.stop(None)


sync()
asyncio.run(asynchronous())
