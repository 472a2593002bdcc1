"""A server of betterproto2's generated base: handlers take and give messages, and know nothing of streams.

`python betterproto2_server.py CERTIFICATES`: prints its port as JSON, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpclib
from betterproto2_code.cafe.v1 import CafeBase, Drink, Order
from grpclib.server import Server
from speech import quiet, report


class Cafe(CafeBase):
    async def unary(self, message: Order) -> Drink:
        if message.payload == b"error":
            raise grpclib.GRPCError(grpclib.Status.NOT_FOUND, "no such drink")
        if message.payload == b"crash":
            raise KeyError("a secret")
        if message.payload == b"sleep":
            await asyncio.sleep(30)
        return Drink(payload=message.payload)

    async def server_stream(self, message: Order) -> AsyncIterator[Drink]:
        for number in range(message.count):
            yield Drink(payload=message.payload + b"%d" % number)
        if message.payload == b"error":
            raise grpclib.GRPCError(grpclib.Status.DATA_LOSS, "the rest is gone")

    async def client_stream(self, messages: AsyncIterator[Order]) -> Drink:
        return Drink(payload=b"".join([message.payload async for message in messages]))

    # `bidi` is left as it was generated: it is UNIMPLEMENTED.


class Echo(Cafe):
    async def bidi(self, messages: AsyncIterator[Order]) -> AsyncIterator[Drink]:
        async for message in messages:
            yield Drink(payload=message.payload)


async def main() -> None:
    quiet()
    whole, partial = Server([Echo()]), Server([Cafe()])
    await whole.start("127.0.0.1", 0)
    await partial.start("127.0.0.1", 0)
    ports = [server._server.sockets[0].getsockname()[1] for server in (whole, partial)]
    report({"plain": ports[0], "partial": ports[1]})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in (whole, partial):
        server.close()


if __name__ == "__main__":
    asyncio.run(main())
