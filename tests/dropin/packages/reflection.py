"""grpcio-reflection: its servicers and its descriptor database."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

NAMES = (health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)


def look(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        print(sorted(database.get_services()))
        pool = DescriptorPool(database)
        print([method.name for method in pool.FindServiceByName(NAMES[0]).methods])


server = grpc.server(ThreadPoolExecutor(4))
reflection.enable_server_reflection(NAMES, server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
look(port)
server.stop(None)


async def asynchronous() -> None:
    server = grpc.aio.server()
    reflection.enable_server_reflection(NAMES, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(look, port)
    await server.stop(None)


asyncio.run(asynchronous())
