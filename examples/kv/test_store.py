"""The store, called as its users call it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pb.kv.v1 import Entry, GetRequest, ListRequest
from pb.kv.v1.kv_wire import KeyValueStub
from store import Store

import wire
from wire.testing import channel_for


def with_store(test: Callable[[KeyValueStub], Awaitable[None]]) -> None:
    async def main() -> None:
        async with channel_for(Store()) as channel:
            await test(KeyValueStub(channel))

    wire.run(main)


def test_what_was_put_is_got_and_listed_in_order() -> None:
    async def test(store: KeyValueStub) -> None:
        entries = [Entry(key="b", value=b"2"), Entry(key="a1", value=b"1"), Entry(key="a0", value=b"0")]
        assert (await store.put_all(entries)).stored == 3
        assert (await store.get(GetRequest(key="a1"), timeout=1.0)).value == b"1"
        assert [entry.key async for entry in store.list(ListRequest(prefix="a"))] == ["a0", "a1"]

    with_store(test)


def test_a_swap_answers_with_what_was_there() -> None:
    async def test(store: KeyValueStub) -> None:
        async with store.swap() as call:
            await call.send(Entry(key="a", value=b"1"))
            assert (await anext(call)).value == b""
            await call.send(Entry(key="a", value=b"2"))
            assert (await anext(call)).value == b"1"
            await call.end()

    with_store(test)


def test_a_key_that_is_not_there_is_not_found() -> None:
    async def test(store: KeyValueStub) -> None:
        with pytest.raises(wire.RpcError, match="there is no key 'x'") as caught:
            await store.get(GetRequest(key="x"))
        assert caught.value.code is wire.StatusCode.NOT_FOUND

    with_store(test)
