"""Calls by descriptors alone: all kinds, JSON both ways, and what is said of names that are not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import wire
from tests.standard.shop import descriptors, shop_server
from tests.support import LOCAL, Probe, paired, run
from wire.standard import Health, reflection

pytest.importorskip("google.protobuf")
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from wire.standard.dynamic import ReflectedSchema, Schema, SchemaError, UnknownSymbolError, files_of_set

GET = "shop.v1.Shop/Get"


def on_shop(test: Callable[[wire.Channel, ReflectedSchema], Awaitable[None]]) -> None:
    async def main() -> None:
        async with shop_server() as address, wire.Channel(address) as channel:
            await test(channel, ReflectedSchema(channel, timeout=5))

    run(main)


def test_methods_of_all_kinds_are_called_by_reflection() -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        get, list_, count, follow = await schema.methods("shop.v1.Shop")
        item = schema.from_json(get.request, {"name": "nail", "sizes": [1, 2], "priceCents": "7", "paint": "COLOR_RED"})
        assert await schema.to_json(await get.start(channel, item)) == {
            "name": "nail",
            "sizes": [1, 2],
            "priceCents": "7",
            "paint": "COLOR_RED",
        }
        assert [await schema.to_json(each) async for each in list_.start(channel, item)] == [
            {"name": "nail", "sizes": [1]},
            {"name": "nail", "sizes": [2]},
        ]
        assert await schema.to_json(await count.start(channel, [item, item])) == {"count": 2}
        assert [each.name async for each in follow.start(channel, [item])] == ["nail"]

    on_shop(test)


def test_services_and_methods_are_listed() -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        assert "shop.v1.Shop" in await schema.services()
        methods = await schema.methods("shop.v1.Shop")
        assert [method.path for method in methods] == [
            f"/shop.v1.Shop/{name}" for name in ["Get", "List", "Count", "Follow"]
        ]
        assert await schema.method("shop.v1.Shop.Get") == await schema.method("/shop.v1.Shop/Get")

    on_shop(test)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop.v1.Shop/Gte", r"^shop\.v1\.Shop has no method Gte: did you mean shop\.v1\.Shop/Get\?$"),
        ("Shop/Get", r"^there is no service Shop: did you mean shop\.v1\.Shop/Get"),
        ("Get", r"^'Get' is not of the form package\.Service/Method: did you mean shop\.v1\.Shop/Get\?$"),
        ("shop.v1.Item/Get", r"^there is no service shop\.v1\.Item: did you mean shop\.v1\.Shop/Get\?$"),
        ("", "is not of the form"),
    ],
)
def test_method_that_is_not_there_names_the_nearest(name: str, said: str) -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        with pytest.raises(UnknownSymbolError, match=said):
            await schema.method(name)

    on_shop(test)


def test_symbol_that_is_not_there_names_the_nearest() -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        with pytest.raises(UnknownSymbolError, match=r"^nothing is named shop\.v1\.Itme: did you mean shop\.v1\.Item"):
            await schema.describe("shop.v1.Itme")
        with pytest.raises(UnknownSymbolError, match="is not a message"):
            await schema.message("shop.v1.Shop")

    on_shop(test)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"nam": "x"}, r"shop\.v1\.Item has no field nam: did you mean name\?"),
        ({"name": 1}, "name"),
        ({"priceCents": "x"}, "priceCents"),
        ([], "this is no shop.v1.Item in JSON"),
        (None, "this is no shop.v1.Item in JSON"),
        ({"extra": {"@type": "type.googleapis.com/absent.Message"}}, "absent.Message"),
    ],
)
def test_json_that_does_not_fit_is_refused(value: Any, said: str) -> None:
    async def main() -> None:
        schema = Schema.of_file_set(descriptors("shop.proto"))
        with pytest.raises(wire.EncodeError, match=said):
            schema.from_json(await schema.message("shop.v1.Item"), value)

    run(main)


@pytest.mark.parametrize(
    ("value", "request_bytes"),
    [
        ({"payload": ""}, b""),
        ({"payload": "aGk="}, b"\n\x02hi"),
        ({"payload": "a\nGk"}, b"\n\x02hi"),
        ({"payload": "_-8"}, b"\n\x02\xff\xef"),
        ({"payload": None}, b""),
        ({"payload": "hello"}, None),
        ({"payload": "hello world"}, None),
        ({"payload": 1}, None),
    ],
)
def test_bytes_are_base64_and_nothing_else(value: Any, request_bytes: bytes | None) -> None:
    async def main() -> None:
        schema = Schema()
        echo = FileDescriptorProto(name="e.proto", package="e", syntax="proto3")
        echo.message_type.add(name="E").field.add(name="payload", number=1, type=12, label=1)
        echo.message_type.add(name="Outer").field.add(name="inner", number=1, type=11, type_name=".e.E", label=3)
        schema.add_files([echo.SerializeToString()])
        message = await schema.message("e.E")
        if request_bytes is not None:
            assert schema.from_json(message, value).SerializeToString() == request_bytes
            return
        with pytest.raises(wire.EncodeError, match=r"e\.E\.payload is bytes, in JSON base64"):
            schema.from_json(message, value)
        with pytest.raises(wire.EncodeError, match=r"e\.E\.payload is bytes, in JSON base64"):
            schema.from_json(await schema.message("e.Outer"), {"inner": [{}, value]})

    run(main)


def test_anys_are_shown_by_their_types_and_others_in_base64() -> None:
    value = {
        "extra": {"@type": "type.googleapis.com/shop.v1.SoldOut", "until": "Monday"},
        "more": [{"@type": "type.googleapis.com/absent.Message", "value": "AQI="}],
        "byName": {"a": {"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "AQI="}},
    }

    async def main() -> None:
        schema = Schema.of_file_set(descriptors("shop.proto"))
        item = await schema.message("shop.v1.Item")
        await schema.load_anys(value["extra"])
        message: Any = schema.from_json(item, {"extra": value["extra"], "byName": value["byName"]})
        message.more.add(type_url="type.googleapis.com/absent.Message", value=b"\1\2")
        before = message.SerializeToString()
        assert await schema.to_json(message) == value
        assert message.SerializeToString() == before

        wrapped: Any = item()  # an Any that is not known, within one that is
        wrapped.extra.Pack(message)
        shown = await schema.to_json(wrapped)
        assert shown["extra"].pop("@type") == "type.googleapis.com/shop.v1.Item"
        assert shown["extra"] == value

        broken: Any = item()
        broken.extra.type_url, broken.extra.value = "type.googleapis.com/shop.v1.SoldOut", b"\xff"
        assert await schema.to_json(broken) == {
            "extra": {"@type": "type.googleapis.com/shop.v1.SoldOut", "value": "/w=="}
        }

    run(main)


def test_details_of_errors_are_decoded() -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        get = await schema.method(GET)
        with pytest.raises(wire.RpcError) as caught:
            await get.start(channel, schema.from_json(get.request, {"name": "absent"}))
        assert await schema.error_details(caught.value) == [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": "name", "description": "is absent"}],
            },
            {"@type": "type.googleapis.com/shop.v1.SoldOut", "until": "Monday"},
        ]
        assert await schema.error_details(wire.RpcError(wire.StatusCode.UNKNOWN)) == []

    on_shop(test)


def test_file_sets_can_be_written_and_read_again() -> None:
    async def test(channel: wire.Channel, schema: ReflectedSchema) -> None:
        await schema.load_all()
        again = Schema.of_file_set(schema.file_set())
        assert await again.services() == await schema.services()
        assert (await again.method(GET)).path == "/shop.v1.Shop/Get"

    on_shop(test)


def test_server_without_reflection_is_unimplemented() -> None:
    async def main() -> None:
        async with paired(Probe()) as pair:
            with pytest.raises(wire.RpcError) as caught:
                await ReflectedSchema(pair.channel).services()
            assert caught.value.code is wire.StatusCode.UNIMPLEMENTED

    run(main)


def test_server_that_only_has_v1alpha_is_asked_by_that() -> None:
    async def main() -> None:
        v1, alpha = reflection()
        v1.on_attach([Health()])
        async with paired(alpha) as pair:
            schema = ReflectedSchema(pair.channel)
            assert (await schema.method("grpc.health.v1.Health/Check")).name == "Check"
            assert await schema.services() == ["grpc.health.v1.Health"]

    run(main)


def test_extensions_are_asked_for() -> None:
    files = files_of_set(descriptors("old.proto"))
    method: wire.Method[Any, Any] = wire.UnaryUnary("Get", bytes, bytes)

    class Old(wire.Servicer):
        service = wire.Service("old.Service", (method,), files=files)

    async def main() -> None:
        async with paired(Old(), *reflection()) as pair:
            schema = ReflectedSchema(pair.channel)
            old = await schema.message("old.Old")
            value = {"id": 1, "[old.note]": "n", "[old.Old.inner]": True, "[old.children]": [{"id": 2}]}
            assert await schema.to_json(schema.from_json(old, value)) == value

    run(main)


def test_grpcio_is_asked_by_its_own_reflection() -> None:
    grpc = pytest.importorskip("grpc")
    grpc_reflection = pytest.importorskip("grpc_reflection.v1alpha.reflection")

    async def main() -> None:
        server = grpc.aio.server()
        from google.protobuf import descriptor_pool

        pool = descriptor_pool.DescriptorPool()
        schema = Schema.of_file_set(descriptors("shop.proto"))
        for file in files_of_set(schema.file_set()):
            pool.AddSerializedFile(file)
        grpc_reflection.enable_server_reflection(["shop.v1.Shop"], server, pool)
        port = server.add_insecure_port(LOCAL)
        await server.start()
        async with wire.Channel(f"127.0.0.1:{port}") as channel:
            assert (await ReflectedSchema(channel).method(GET)).path == "/shop.v1.Shop/Get"
            with pytest.raises(UnknownSymbolError, match=r"did you mean shop\.v1\.Shop/Get\?"):
                await ReflectedSchema(channel).method("shop.v1.Shop/Gett")
        await server.stop(None)

    run(main)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "not a FileDescriptorSet"), (b"\xff\xff", "not a FileDescriptorSet"), (b"\n\x02\n\xff", "FileDescriptor")],
)
def test_what_is_no_file_set_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        Schema.of_file_set(data)


def test_descriptors_that_lack_an_import_are_refused() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name="a.proto", dependency=["b.proto"])
    with pytest.raises(SchemaError, match=r"b\.proto is imported, but is not among them"):
        Schema([file.SerializeToString()])
    circle = [FileDescriptorProto(name=a, dependency=[b]).SerializeToString() for a, b in ("xy", "yx")]
    with pytest.raises(SchemaError):
        Schema(circle)


def test_order_of_files_does_not_matter_and_a_file_may_come_twice() -> None:
    files = files_of_set(descriptors("shop.proto"))
    schema = Schema(files[::-1])
    schema.add_files(files)
    assert run(schema.services) == ["shop.v1.Shop"]
