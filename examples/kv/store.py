"""A store of values by key: `python store.py [ADDRESS]` serves it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator

from pb.kv.v1 import Entry, GetRequest, GetResponse, ListRequest, PutAllResponse
from pb.kv.v1.kv_wire import KeyValueBase

import wire
from wire.standard import Health, reflection


class Store(KeyValueBase):
    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, request: GetRequest, context: wire.ServerContext) -> GetResponse:
        if request.key not in self._values:
            raise wire.RpcError(wire.StatusCode.NOT_FOUND, f"there is no key {request.key!r}")
        return GetResponse(value=self._values[request.key])

    async def put_all(self, requests: AsyncIterator[Entry], context: wire.ServerContext) -> PutAllResponse:
        entries = {entry.key: entry.value async for entry in requests}
        self._values |= entries
        return PutAllResponse(stored=len(entries))

    def list(self, request: ListRequest, context: wire.ServerContext) -> Iterator[Entry]:
        for key in sorted(self._values):
            if key.startswith(request.prefix):
                yield Entry(key=key, value=self._values[key])

    async def swap(self, requests: AsyncIterator[Entry], context: wire.ServerContext) -> AsyncIterator[Entry]:
        async for entry in requests:
            before = self._values.get(entry.key, b"")
            self._values[entry.key] = entry.value
            yield Entry(key=entry.key, value=before)


def make_server() -> wire.Server:
    return wire.Server([Store(), Health(), *reflection()])


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    sys.exit(wire.serve(make_server, address, started=lambda bound: print("serving kv.v1.KeyValue on", *bound)))
