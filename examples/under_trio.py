"""A server and a client under trio, with its cancel scopes around calls: nothing but the last line is different."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

import wire


class ClockStub(wire.Stub[wire.AnyChannel]):
    tick = wire.UnaryStream("Tick", bytes, bytes)
    service = wire.Service("example.Clock", (tick,))


class Clock(wire.Servicer):
    service = ClockStub.service

    async def tick(self, request: bytes, context: wire.ServerContext) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"tick"
                await trio.sleep(0.1)
        finally:
            print("the server stopped ticking")


async def main() -> None:
    async with wire.Server([Clock()]) as server, wire.Channel(await server.listen("127.0.0.1:0")) as channel:
        with trio.move_on_after(1):
            async with ClockStub(channel).tick(b"") as call:
                async for _ in call:
                    pass
    print("the client has had enough")


if __name__ == "__main__":
    wire.run(main, loop="trio")
