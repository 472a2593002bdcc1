"""google's own classes (upb) for protos/kinds.proto: made when the tests run, filled at random, and compared with ours.

The exceptions to equivalence, each asserted where it applies:
- Field number 0 is refused by us always, as the encoding's specification asks; upb refuses it in some messages only.
- A Timestamp or Duration shows as a datetime or timedelta: what is below a microsecond and unknown fields inside are
  lost, and values past the range of these types are refused. Unknown fields inside wrappers (Int32Value, …) are lost.
- `[packed = false]` is not in betterproto2's metadata: such a list is sent packed, which every decoder accepts.
- Entries of maps are sent in the order of the dict, upb's in the order of its hash table.
- A signalling NaN in a `float` becomes a quiet one, because Python has doubles only.
"""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import betterproto2
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.internal import api_implementation
from hypothesis import strategies as st

from tests.codec.generated import kinds
from wire.codec import codec_for
from wire.errors import DecodeError

# There are no wheels of these for every interpreter; tests that need them are skipped there.
protoc = pytest.importorskip("grpc_tools.protoc", exc_type=ImportError)
if api_implementation.Type() != "upb":
    pytest.skip("google's protobuf is not upb here", allow_module_level=True)

PROTOS = Path(__file__).parent / "protos"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CLASSES: dict[str, type[betterproto2.Message]] = {
    name: getattr(kinds, name) for name in kinds.__all__ if name != "Color"
}
EXACT = sorted(CLASSES.keys() - {"WellKnown"})
"""The messages in which nothing is lost between bytes and Python."""


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kinds.binpb"
        includes = Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{includes}", "--include_imports", f"--descriptor_set_out={output}"]
        if protoc.main([*arguments, "kinds.proto"]):
            raise RuntimeError("protoc failed on kinds.proto")
        files = descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


@cache
def google_class(name: str) -> Any:
    """google's class for a message of kinds.proto."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"kinds.{name}"))


def field_names(message: betterproto2.Message) -> dict[int, str]:
    """Field number → attribute of a message of ours."""
    names: dict[int, str] = cast(Any, message)._betterproto.field_name_by_number
    return names


def canonical(message: Any) -> bytes:
    """google's bytes with the entries of maps sorted: equal for equal messages, NaN included."""
    encoded: bytes = message.SerializeToString(deterministic=True)
    return encoded


def quieten(message: Any) -> Any:
    """The same message with every NaN in a `float` made quiet, by taking it through a Python float."""
    for field, value in message.ListFields():
        kind = field
        if field.message_type and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_number[2]
            items: list[Any] = list(value.items())
        elif field.is_repeated:
            items = list(enumerate(value))
        else:
            items = []
            if field.type == FieldDescriptor.TYPE_FLOAT:
                setattr(message, field.name, value)
            elif field.message_type:
                quieten(value)
        for key, item in items:
            if kind.type == FieldDescriptor.TYPE_FLOAT:
                value[key] = item
            elif kind.message_type:
                quieten(item)
    return message


# --------------------------------------------------------------------------------------------------- random messages

_EDGES = (0, 1, 127, 128, 16383, 16384, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def _ints(low: int, high: int) -> st.SearchStrategy[int]:
    edges = [edge for value in _EDGES for edge in (value, -value, -value - 1) if low <= edge <= high]
    return st.sampled_from(edges) | st.integers(low, high)


_INT32, _INT64 = _ints(-(1 << 31), (1 << 31) - 1), _ints(-(1 << 63), (1 << 63) - 1)
_UINT32, _UINT64 = _ints(0, (1 << 32) - 1), _ints(0, (1 << 64) - 1)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_ENUM: st.sampled_from([0, 1, 200, -1]) | _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text(max_size=8) | st.just("ü" * 90),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8) | st.just(b"\xff" * 300),
}


@st.composite
def google_messages(draw: st.DrawFn, name: str) -> Any:
    """A message of google's class `name` with some of its fields set."""
    message = google_class(name)()
    _fill(draw, message, depth=3)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.seconds, message.nanos = (
            draw(st.integers(-62135596800, 253402300799)),
            draw(st.integers(0, 999_999_999)),
        )
        return
    if descriptor.full_name == "google.protobuf.Duration":
        sign = draw(st.sampled_from([1, -1]))
        message.seconds, message.nanos = (
            sign * draw(st.integers(0, 315_576_000_000)),
            sign * draw(st.integers(0, 999_999_999)),
        )
        return
    if not descriptor.fields:
        return
    for field in draw(
        st.lists(st.sampled_from(list(descriptor.fields)), max_size=6, unique_by=lambda field: field.number)
    ):
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            key_field, value_field = field.message_type.fields_by_number[1], field.message_type.fields_by_number[2]
            for key in draw(st.lists(_SCALARS[key_field.type], max_size=3)):
                if value_field.type != FieldDescriptor.TYPE_MESSAGE:
                    value[key] = draw(_SCALARS[value_field.type])
                elif depth:
                    _fill(draw, value[key], depth - 1)
        elif field.is_repeated and field.message_type:
            for _ in range(draw(st.integers(0, 3)) if depth else 0):
                _fill(draw, value.add(), depth - 1)
        elif field.is_repeated:
            value.extend(draw(st.lists(_SCALARS[field.type], max_size=4)))
        elif field.message_type:
            if depth:
                value.SetInParent()
                _fill(draw, value, depth - 1)
        else:
            setattr(message, field.name, draw(_SCALARS[field.type]))


# ------------------------------------------------------------------------------------------------------- comparing


def assert_same(ours: Any, google: Any) -> None:
    """Every field of our message has the value of google's, in the Python type that betterproto2 promises."""
    names = field_names(ours)
    assert sorted(names) == sorted(google.DESCRIPTOR.fields_by_number)
    for number, field in google.DESCRIPTOR.fields_by_number.items():
        mine, reference = getattr(ours, names[number]), getattr(google, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            value_field = field.message_type.fields_by_number[2]
            assert mine.keys() == set(reference)
            for key, value in mine.items():
                _assert_same_value(value, reference[key], value_field)
        elif field.is_repeated:
            assert len(mine) == len(reference)
            for my_item, item in zip(mine, reference, strict=True):
                _assert_same_value(my_item, item, field)
        elif field.has_presence and not google.HasField(field.name):
            assert mine is None
        else:
            _assert_same_value(mine, reference, field)


def _assert_same_value(mine: Any, reference: Any, field: Any) -> None:
    if field.message_type is None:
        _assert_same_scalar(mine, reference, field)
    elif field.message_type.full_name == "google.protobuf.Timestamp":
        assert mine == EPOCH + timedelta(seconds=reference.seconds, microseconds=reference.nanos // 1000)
    elif field.message_type.full_name == "google.protobuf.Duration":
        assert mine == timedelta(seconds=reference.seconds, microseconds=math.trunc(reference.nanos / 1000))
    elif field.message_type.full_name.startswith("google.protobuf.") and field.message_type.name.endswith("Value"):
        if field.message_type.name in {"Value", "ListValue"}:
            assert_same(mine, reference)
        else:
            _assert_same_scalar(mine, reference.value, field.message_type.fields_by_name["value"])
    else:
        assert_same(mine, reference)


def _assert_same_scalar(mine: Any, reference: Any, field: Any) -> None:
    if isinstance(reference, float):
        assert type(mine) is float
        assert (
            math.isnan(mine)
            if math.isnan(reference)
            else (mine, math.copysign(1, mine))
            == (
                reference,
                math.copysign(1, reference),
            )
        )
        return
    assert mine == reference
    if field.type == FieldDescriptor.TYPE_ENUM:
        assert isinstance(mine, betterproto2.Enum)
    else:
        assert type(mine) is type(reference)


def assert_agreement(name: str, data: bytes) -> None:
    """upb and our codec both refuse the bytes, or give the same message."""
    codec, google = codec_for(CLASSES[name]), google_class(name)
    try:
        expected = google.FromString(data)
    except Exception:
        expected = None
    try:
        message = codec.decode(data)
    except DecodeError as error:
        text = str(error)
        explained = "field number 0" in text or (name == "WellKnown" and "cannot hold the value" in text)
        assert expected is None or explained, text
        return
    assert expected is not None
    assert_same(message, expected)
    encoded = codec.encode(message)
    if name in EXACT:
        assert canonical(google.FromString(encoded)) == canonical(quieten(expected))
    else:
        assert codec.encode(codec.decode(encoded)) == encoded
