"""FastAPI and gRPC in one process and one event loop: `uvicorn beside_fastapi:app`, and gRPC on port 50051.

The gRPC server lives as long as the application (its lifespan), so both start and stop together, and an HTTP endpoint
calls the same objects that gRPC's handlers do. With `uvicorn --workers 4` each worker listens on the same port.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import wire


class GreeterStub(wire.Stub[wire.AnyChannel]):
    greet = wire.UnaryUnary("Greet", bytes, bytes)
    service = wire.Service("example.Greeter", (greet,))


class Greeter(wire.Servicer):
    service = GreeterStub.service

    def __init__(self) -> None:
        self.greeted = 0

    def greet(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.greeted += 1
        return b"hello, " + request


greeter = Greeter()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with wire.Server([greeter]) as server:
        address = os.environ.get("GRPC_ADDRESS", "127.0.0.1:50051")
        app.state.grpc_address = await server.listen(address, reuse_port=True)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/greeted")
async def greeted() -> dict[str, int]:
    return {"greeted": greeter.greeted}
