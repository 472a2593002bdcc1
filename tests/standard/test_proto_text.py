"""Descriptors as .proto source: protoc reads it and makes the same descriptors of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standard.shop import PROTOS, descriptors
from tests.support import run

pytest.importorskip("google.protobuf")
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from wire.standard.dynamic import Schema
from wire.standard.proto_text import proto_text

KINDS = Path(__file__).parent.parent / "codec" / "protos" / "kinds.proto"


def file_in(data: bytes, name: str) -> FileDescriptorProto:
    [found] = [file for file in FileDescriptorSet.FromString(data).file if file.name == name]
    return found


def without_positions(file: FileDescriptorProto) -> FileDescriptorProto:
    file.ClearField("source_code_info")
    return file


@pytest.mark.parametrize("path", [PROTOS / "shop.proto", PROTOS / "old.proto", KINDS], ids=lambda path: path.name)
def test_protoc_reads_what_is_written(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    from wire.generate.descriptors import descriptor_set

    data = descriptor_set([path])
    file = file_in(data, path.name)
    schema = Schema.of_file_set(data)
    names = [each.name for each in [*file.service, *file.message_type, *file.enum_type, *file.extension]]
    text = f'syntax = "{file.syntax or "proto2"}";\npackage {file.package};\n'
    text += "".join(f'import "{name}";\n' for name in file.dependency)
    text += "".join(proto_text(schema.pool, file, f"{file.package}.{name}") for name in names)
    (tmp_path / path.name).write_text(text)
    again = file_in(descriptor_set([tmp_path / path.name]), path.name)
    # Types are written one after another, so that nested ones may stand in another order.
    assert without_positions(again) == without_positions(file)


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("shop.v1.Item.name", "// What it is called.\nstring name = 1;\n"),
        ("shop.v1.Item.parts", "map<string, shop.v1.Item.Part> parts = 3;\n"),
        ("shop.v1.Item.COLOR_RED", "COLOR_RED = 1;\n"),
        ("shop.v1.role", "extend google.protobuf.MethodOptions {\n  // Who may call it.\n  string role = 50001;\n}\n"),
        ("shop.v1.Item.origin", "oneof origin {\n  string country = 10;\n  shop.v1.Item.Part part_of = 11;\n}\n"),
        ("shop.v1.Item.sold", "optional bool sold = 6;\n"),
    ],
)
def test_each_symbol_is_shown_by_itself(symbol: str, text: str) -> None:
    schema = Schema.of_file_set(descriptors("shop.proto"))
    assert run(schema.describe, symbol) == f"// {symbol} in shop.proto\n{text}"


def test_custom_options_have_their_names() -> None:
    schema = Schema.of_file_set(descriptors("shop.proto"))
    shown = run(schema.describe, "shop.v1.Shop/Get")
    assert '// One item.\nrpc Get(shop.v1.Item) returns (shop.v1.Item) {\n  option (shop.v1.role) = "guest' in shown


def test_a_method_is_shown_with_its_messages() -> None:
    schema = Schema.of_file_set(descriptors("shop.proto"))
    shown = run(schema.describe, "shop.v1.Shop/Follow")
    assert "rpc Follow(stream shop.v1.Item) returns (stream shop.v1.Item);\n" in shown
    assert shown.count("message Item {") == 1
    assert "message Part {" in shown


def test_symbol_of_another_file_is_a_key_error() -> None:
    schema = Schema.of_file_set(descriptors("shop.proto"))
    with pytest.raises(KeyError):
        proto_text(schema.pool, file_in(descriptors("shop.proto"), "shop.proto"), "shop.v1.Absent")
