"""What grpclib has not: a host may be an address in gRPC's name syntax. Also how a server leaves the process."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("multidict", reason="the extra grpclib is not installed")

from tests.leftovers import COUNTED
from wire.grpclib._core import address_of
from wire.grpclib.client import Channel, UnaryUnaryMethod
from wire.grpclib.const import Cardinality, Handler
from wire.grpclib.encoding.base import CodecBase
from wire.grpclib.server import Server

PATH = "/example.Echo/Echo"


class Plain(CodecBase):
    """Messages are bytes."""

    __content_subtype__ = "plain"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Echo:
    async def echo(self, stream: Any) -> None:
        await stream.send_message(await stream.recv_message())

    def __mapping__(self) -> dict[str, Handler]:
        return {PATH: Handler(self.echo, Cardinality.UNARY_UNARY, bytes, bytes)}


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("127.0.0.1", 5000, None),
        ("localhost", 5000, None),
        ("::1", 5000, None),
        ("fe80::1", 5000, None),
        ("vsock", 5000, None),
        ("vsock:3:5000", None, "vsock:3:5000"),
        ("vsock:any", 5000, "vsock:any:5000"),
        ("memory:here", None, "memory:here"),
        ("unix:/run/echo", None, "unix:/run/echo"),
    ],
)
def test_a_host_is_an_address_when_it_has_a_scheme(host: str, port: int | None, address: str | None) -> None:
    assert address_of(host, port) == address


@pytest.mark.parametrize("scheme", ["memory", "unix"])
def test_both_sides_take_an_address_for_a_host(scheme: str, tmp_path: Path) -> None:
    address = "memory:grpclib-addresses" if scheme == "memory" else f"unix:{tmp_path / 'echo'}"

    async def main() -> None:
        server = Server([Echo()], codec=Plain())
        await server.start(address)
        async with Channel(address, codec=Plain()) as channel:
            assert await UnaryUnaryMethod(channel, PATH, bytes, bytes)(b"x", timeout=5) == b"x"
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_an_address_that_cannot_be_had_is_an_os_error(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'nowhere' / 'echo'}"

    async def main() -> None:
        with pytest.raises(OSError, match="echo"):
            await Server([Echo()], codec=Plain()).start(address)
        channel = Channel(address, codec=Plain())
        with pytest.raises(OSError, match="no connection to unix:"):
            await UnaryUnaryMethod(channel, PATH, bytes, bytes)(b"x", timeout=5)
        channel.close()

    asyncio.run(main())


@COUNTED
def test_a_closed_server_is_gone_without_the_collector() -> None:
    async def main() -> weakref.ref[Server]:
        server = Server([Echo()], codec=Plain())
        await server.start("memory:grpclib-gone")
        async with Channel("memory:grpclib-gone", codec=Plain()) as channel:
            await UnaryUnaryMethod(channel, PATH, bytes, bytes)(b"x", timeout=5)
        server.close()
        await server.wait_closed()
        return weakref.ref(server)

    gc.disable()
    try:
        assert asyncio.run(main())() is None
    finally:
        gc.enable()
