"""Calls that fail by the drop-ins for grpcio and grpclib leave nothing for the garbage collector, on either side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import wire.grpcio as grpc
from tests.leftovers import COUNTED, uncollected
from wire.grpcio import aio
from wire.grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from wire.grpclib.const import Cardinality, Handler, Status
from wire.grpclib.exceptions import GRPCError
from wire.grpclib.server import Server

pytestmark = COUNTED

METHODS = ["Abort", "Raise", "Stream"]


def handlers(abort: Any, raises: Any, stream: Any) -> Any:
    return grpc.method_handlers_generic_handler(
        "a.B",
        {
            "Abort": grpc.unary_unary_rpc_method_handler(abort),
            "Raise": grpc.unary_unary_rpc_method_handler(raises),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
        },
    )


def raises(request: bytes, context: Any) -> bytes:
    raise ValueError


def abort(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.ABORTED, "asked to")
    return b""


def stream(request: bytes, context: Any) -> Iterator[bytes]:
    yield b"x"
    context.abort(grpc.StatusCode.ABORTED, "asked to")


async def abort_in_loop(request: bytes, context: Any) -> None:
    await context.abort(grpc.StatusCode.ABORTED, "asked to")


async def stream_in_loop(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield b"x"
    await context.abort(grpc.StatusCode.ABORTED, "asked to")


@pytest.mark.parametrize("kinds", [(abort, raises, stream), (abort_in_loop, raises, stream_in_loop)])
def test_grpcio_aio(kinds: Any) -> None:
    async def main() -> None:
        server = aio.server()
        server.add_generic_rpc_handlers((handlers(*kinds),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await fail(channel, "Abort")  # what is made at first
            with uncollected() as found:
                for method in METHODS:
                    await fail(channel, method)
                await asyncio.sleep(0)
            assert found == {}
        await server.stop(0)

    async def fail(channel: Any, method: str) -> None:
        with suppress(grpc.RpcError):
            if method == "Stream":
                async for _ in channel.unary_stream("/a.B/Stream")(b""):
                    pass
            else:
                await channel.unary_unary(f"/a.B/{method}")(b"")

    asyncio.run(main())


def test_grpcio() -> None:
    def fail(method: str) -> None:
        with suppress(grpc.RpcError):
            if method == "Stream":
                for _ in channel.unary_stream("/a.B/Stream")(b""):
                    pass
            else:
                channel.unary_unary(f"/a.B/{method}")(b"")

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((handlers(abort, raises, stream),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            fail("Abort")
            with uncollected() as found:
                for method in METHODS:
                    fail(method)
                threads.submit(threading.get_ident).result()  # the thread has let go of what it had
            assert found == {}
        server.stop(0).wait()


class Message:
    def SerializeToString(self) -> bytes:
        return b""

    @classmethod
    def FromString(cls, data: bytes) -> Message:
        return cls()


class Failing:
    async def unary(self, call: Any) -> None:
        raise GRPCError(Status.ABORTED)

    async def stream(self, call: Any) -> None:
        await call.recv_message()
        await call.send_message(Message())
        raise GRPCError(Status.ABORTED)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/a.B/Unary": Handler(self.unary, Cardinality.UNARY_UNARY, Message, Message),
            "/a.B/Stream": Handler(self.stream, Cardinality.UNARY_STREAM, Message, Message),
        }


def test_grpclib(tmp_path: Any) -> None:
    async def main() -> None:
        path = str(tmp_path / "s")
        server = Server([Failing()])
        await server.start(path=path)
        channel = Channel(path=path)
        unary = UnaryUnaryMethod(channel, "/a.B/Unary", Message, Message)
        stream = UnaryStreamMethod(channel, "/a.B/Stream", Message, Message)
        with suppress(GRPCError):
            await unary(Message())
        with uncollected() as found:
            for method in (unary, stream):
                with suppress(GRPCError):
                    await method(Message())
            await asyncio.sleep(0)
        assert found == {}
        channel.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
