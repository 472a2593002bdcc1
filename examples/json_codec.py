"""A codec of one's own: messages that are JSON, and Python's own objects in handlers and callers.

Needs no .proto file: a service is a name and methods, and what stands for a message type is a `wire.Codec`.
"""

from __future__ import annotations

import json
from typing import Any

import wire


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:  # bytes of a peer: this makes them INTERNAL, as gRPC's status codes say
        raise wire.DecodeError(f"not JSON: {error}") from None


JSON = wire.Codec(object, lambda value: json.dumps(value).encode(), _decode)


class SumStub(wire.Stub[wire.AnyChannel]):
    add = wire.UnaryUnary("Add", JSON, JSON)
    count = wire.UnaryStream("Count", JSON, JSON)
    service = wire.Service("example.Sum", (add, count))


class Sum(wire.Servicer):
    service = SumStub.service

    def add(self, request: Any, context: wire.ServerContext) -> Any:
        return {"sum": sum(request["numbers"])}

    def count(self, request: Any, context: wire.ServerContext) -> Any:
        return ({"number": number} for number in range(request["to"]))


async def main() -> None:
    async with wire.Server([Sum()]) as server, wire.Channel(await server.listen("127.0.0.1:0")) as channel:
        stub = SumStub(channel)
        print(await stub.add({"numbers": [1, 2, 3]}))
        print([response async for response in stub.count({"to": 3})])


if __name__ == "__main__":
    wire.run(main)
