"""Messages by field: with a type, without one, and malformed."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, struct_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from proto.crypto.v1 import Algorithm, KeyType, SignRequest, SignResponse
from proto.crypto.v1.crypto_wire import CryptoServiceStub
from tests.codec.generated.kinds import Maps
from wire.errors import ConfigurationError
from wire.inspect import Value
from wire.inspect.message_types import MessageType
from wire.inspect.protobuf import MAX_FIELDS, read_message
from wire.inspect.schemas import Schemas

SIGN = "/crypto.v1.CryptoService/Sign"


def plain(values: tuple[Value, ...]) -> list[tuple[str | int, object]]:
    """Names (or numbers) and contents."""
    return [
        (each.name or each.number, plain(each.content) if isinstance(each.content, tuple) else each.content)
        for each in values
    ]


def read(data: bytes, message_type: MessageType | None = None, *, hide: bool = False) -> list[tuple[str | int, object]]:
    values, problem = read_message(data, message_type, hide=hide)
    assert problem == ""
    return plain(values)


def by_class(message_class: type, other: type = SignResponse) -> MessageType:
    schemas = Schemas()
    schemas.add_method("/x.X/X", message_class, other)
    found = schemas.of("/x.X/X")[0]
    assert found is not None
    return found


REQUEST = bytes(
    SignRequest(key_type=KeyType.P256, algorithm=Algorithm.ED25519, data=b"hello", prehashed=True, rsa_bits=4096)
)


def test_names_come_from_descriptors_or_from_classes() -> None:
    schemas = Schemas()
    schemas.add_files(CryptoServiceStub.service.files)
    described = schemas.of(SIGN)[0]
    assert described is not None
    assert described.name == "crypto.v1.SignRequest"
    assert read(REQUEST, described) == [
        ("key_type", "KEY_TYPE_P256"),
        ("algorithm", "ALGORITHM_ED25519"),
        ("data", b"hello"),
        ("prehashed", True),
        ("rsa_bits", 4096),
    ]
    assert [name for name, _ in read(REQUEST, by_class(SignRequest))] == [name for name, _ in read(REQUEST, described)]


def test_classes_of_google_protobuf_are_known_too() -> None:
    message = struct_pb2.Struct(
        fields={"a": struct_pb2.Value(number_value=1.5), "b": struct_pb2.Value(bool_value=True)}
    )
    assert sorted(read(message.SerializeToString(), by_class(struct_pb2.Struct)), key=str) == [
        ("fields", [("key", "a"), ("value", [("number_value", 1.5)])]),
        ("fields", [("key", "b"), ("value", [("bool_value", True)])]),
    ]


def test_maps_and_nested_messages_of_betterproto_classes_have_types() -> None:
    known = by_class(Maps)
    for field in known.fields.values():
        assert field.message is not None
        assert [each.name for each in field.message.fields.values()] == ["key", "value"]


def test_negative_and_zigzag_numbers() -> None:
    file = descriptor_pb2.FieldDescriptorProto(number=-5, type=descriptor_pb2.FieldDescriptorProto.TYPE_SINT32)
    known = by_class(descriptor_pb2.FieldDescriptorProto)
    assert dict(read(file.SerializeToString(), known)) == {"number": -5, "type": "TYPE_SINT32"}
    stamp = timestamp_pb2.Timestamp(seconds=-7, nanos=3)
    assert dict(read(stamp.SerializeToString(), by_class(timestamp_pb2.Timestamp))) == {"seconds": -7, "nanos": 3}


def test_packed_fields_are_told_one_by_one() -> None:
    path = descriptor_pb2.SourceCodeInfo.Location(path=[4, 0, 300])
    known = by_class(descriptor_pb2.SourceCodeInfo.Location)
    assert read(path.SerializeToString(), known) == [("path", 4), ("path", 0), ("path", 300)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x0a\x05hello", [(1, "hello")]),
        (b"\x0a\x02\x08\x07", [(1, [(1, 7)])]),
        (b"\x0a\x03\xff\xfe\xfd", [(1, b"\xff\xfe\xfd")]),
        (b"\x0a\x07two\nrow", [(1, "two\nrow")]),
        (b"\x08\xac\x02\x15\x01\x00\x00\x00\x19\x02\0\0\0\0\0\0\0", [(1, 300), (2, 1), (3, 2)]),
        (b"\x0b\x10\x01\x0c", [(1, [(2, 1)])]),
        (b"", []),
    ],
)
def test_without_a_type_bytes_are_told_as_what_they_look_like(data: bytes, expected: object) -> None:
    assert read(data) == expected


def test_unknown_field_of_a_known_message_keeps_its_number() -> None:
    schemas = Schemas()
    schemas.add_files(CryptoServiceStub.service.files)
    assert read(REQUEST + b"\x98\x06\x01", schemas.of(SIGN)[0])[-1] == (99, 1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x08", "at byte 1: a varint is cut short"),
        (b"\x08" + b"\xff" * 11, "at byte 1: a varint is too long"),
        (b"\x0a\x05he", "at byte 0: field 1 has 5 bytes, and 2 are left"),
        (b"\x0d\x01", "at byte 0: field 1 is cut short"),
        (b"\x00\x01", "at byte 0: there is no field number 0"),
        (b"\x0f", "at byte 0: there is no wire type 7"),
        (b"\x0c", "at byte 0: the end of a group that was not begun"),
        (b"\x0b\x10\x01", "group 1 has no end"),
        (b"\x0b" * 100, "at byte 40: groups nest deeper than 40"),
    ],
)
def test_malformed_message_is_told_as_far_as_it_goes(data: bytes, problem: str) -> None:
    values, found = read_message(data, None, hide=False)
    assert found == problem
    values, found = read_message(b"\x10\x01" + data, None, hide=False)
    assert values[0].content == 1
    assert found.partition(": ")[2] == problem.partition(": ")[2]


def test_message_of_very_many_fields_is_cut() -> None:
    values, problem = read_message(b"\x08\x01" * (MAX_FIELDS + 5), None, hide=False)
    assert len(values) == MAX_FIELDS
    assert problem == f"only the first {MAX_FIELDS} fields are shown"


def test_hidden_texts_and_bytes_leave_their_length() -> None:
    schemas = Schemas()
    schemas.add_files(CryptoServiceStub.service.files)
    for known in (schemas.of(SIGN)[0], None):
        values, _ = read_message(REQUEST, known, hide=True)
        assert b"hello" not in repr(values).encode()
        assert [(each.kind, each.content) for each in values if each.number == 3] == [("masked", 5)]


def test_fields_that_their_proto_file_redacts_are_masked() -> None:
    field = descriptor_pb2.FieldDescriptorProto(
        name="pin", number=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING, options={"debug_redact": True}
    )
    file = descriptor_pb2.FileDescriptorProto(
        package="p",
        message_type=[descriptor_pb2.DescriptorProto(name="M", field=[field])],
        service=[
            descriptor_pb2.ServiceDescriptorProto(
                name="S",
                method=[descriptor_pb2.MethodDescriptorProto(name="Go", input_type=".p.M", output_type=".p.M")],
            )
        ],
    )
    schemas = Schemas()
    schemas.add_file_set(descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    known = schemas.of("/p.S/Go")[0]
    assert known is not None
    assert known.name == "p.M"
    assert read_message(b"\x0a\x041234", known, hide=False)[0] == (Value(1, "pin", "masked", 4),)


@pytest.mark.parametrize("data", [b"", b"\xff\xff", b"not descriptors"])
def test_what_describes_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        Schemas().add_file_set(data)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_it_raise(data: bytes, hide: bool) -> None:
    for known in (None, by_class(SignRequest), by_class(struct_pb2.Struct)):
        read_message(data, known, hide=hide)
