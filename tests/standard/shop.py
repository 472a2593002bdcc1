"""The service of protos/shop.proto, made from its descriptors, on a server of its own in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import anyio.from_thread
import pytest

import wire
from tests.support import serving
from wire.standard import reflection, rich_error
from wire.standard.details import BadRequest, BadRequestFieldViolation

PROTOS = Path(__file__).parent / "protos"


@cache
def descriptors(*names: str) -> bytes:
    """A FileDescriptorSet of files in `protos`, with comments."""
    pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, which this interpreter has no wheel of")
    from wire.generate.descriptors import descriptor_set

    return descriptor_set([PROTOS / name for name in names])


def make_shop() -> wire.Servicer:
    """Get fails for the names "absent" and "wrong"; List gives an item for each of its sizes; Count counts."""
    from wire.standard.dynamic import Schema, files_of_set

    files = files_of_set(descriptors("shop.proto"))
    schema = Schema(files)
    item, total, sold_out = (_class_of(schema, f"shop.v1.{name}") for name in ("Item", "Total", "SoldOut"))
    methods = (
        wire.UnaryUnary("Get", item, item),
        wire.UnaryStream("List", item, item),
        wire.StreamUnary("Count", item, total),
        wire.StreamStream("Follow", item, item),
    )

    class Shop(wire.Servicer):
        service = wire.Service("shop.v1.Shop", methods, files=files)

        def get(self, request: Any, context: wire.ServerContext) -> Any:
            if request.name == "absent":
                violation = BadRequestFieldViolation(field="name", description="is absent")
                raise rich_error(
                    wire.StatusCode.NOT_FOUND,
                    "no such item",
                    BadRequest(field_violations=[violation]),
                    sold_out(until="Monday"),
                )
            if request.name == "headers":
                request.country = str(context.metadata.get("x-who"))
            return request

        def list(self, request: Any, context: wire.ServerContext) -> Iterator[Any]:
            for size in request.sizes:
                yield item(name=request.name, sizes=[size])
            if request.name == "wrong":
                raise wire.RpcError(wire.StatusCode.DATA_LOSS, "that was all")

        async def count(self, requests: AsyncIterator[Any], context: wire.ServerContext) -> Any:
            return total(count=len([each async for each in requests]))

        async def follow(self, requests: AsyncIterator[Any], context: wire.ServerContext) -> AsyncIterator[Any]:
            async for each in requests:
                if each.name == "enough":
                    return
                yield each

    return Shop()


def _class_of(schema: Any, name: str) -> Any:
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(schema.pool.FindMessageTypeByName(name))


@asynccontextmanager
async def shop_server(*, with_reflection: bool = True) -> AsyncIterator[str]:
    async with serving(make_shop(), *(reflection() if with_reflection else ())) as (_, address):
        yield address


@contextmanager
def shop_in_thread(*, with_reflection: bool = True) -> Iterator[str]:
    """Its address."""
    with anyio.from_thread.start_blocking_portal() as portal:
        server = shop_server(with_reflection=with_reflection)
        with portal.wrap_async_context_manager(server) as address:
            yield address
