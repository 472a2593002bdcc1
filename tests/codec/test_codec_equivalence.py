"""Our codec, google's (upb) and betterproto2's own agree, in both directions, on valid and on damaged bytes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.codec.reference import (
    CLASSES,
    EXACT,
    assert_agreement,
    assert_same,
    canonical,
    field_names,
    google_class,
    google_messages,
)
from wire.codec import codec_for

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # betterproto2 in `Old`

quick = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
thorough = settings(quick, max_examples=40)


@pytest.mark.parametrize("name", sorted(CLASSES))
@given(data=st.data())
@quick
def test_what_google_encodes_is_decoded_to_the_same_message(name: str, data: st.DataObject) -> None:
    google = data.draw(google_messages(name))
    assert_same(codec_for(CLASSES[name]).decode(google.SerializeToString()), google)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
@quick
def test_what_we_encode_google_decodes_to_the_same_message(name: str, data: st.DataObject) -> None:
    google = data.draw(google_messages(name))
    codec = codec_for(CLASSES[name])
    decoded = codec.decode(google.SerializeToString())
    fields = {field: getattr(decoded, field) for field in field_names(decoded).values()}
    constructed = CLASSES[name](**fields)
    assert canonical(google_class(name).FromString(codec.encode(constructed))) == canonical(google)


@pytest.mark.parametrize("name", sorted(CLASSES))
@given(data=st.data())
@quick
def test_encoding_is_stable_once_decoded(name: str, data: st.DataObject) -> None:
    codec = codec_for(CLASSES[name])
    once = codec.encode(codec.decode(data.draw(google_messages(name)).SerializeToString()))
    assert codec.encode(codec.decode(once)) == once


@pytest.mark.parametrize("name", sorted({"Scalars", "Optionals", "Choice", "OneBytes", "Nothing", "Newer"}))
@given(data=st.data())
@quick
def test_bytes_are_those_of_google(name: str, data: st.DataObject) -> None:
    google = data.draw(google_messages(name))
    codec = codec_for(CLASSES[name])
    assert codec.encode(codec.decode(google.SerializeToString())) == google.SerializeToString()


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
@quick
def test_betterproto2_and_we_read_what_the_other_writes(name: str, data: st.DataObject) -> None:
    codec = codec_for(CLASSES[name])
    message = codec.decode(data.draw(google_messages(name)).SerializeToString())
    # Compared as text because lists of NaN are not equal to themselves; betterproto2 leaves out -0.0, which we send.
    assert repr(CLASSES[name].parse(codec.encode(message))) == repr(message)
    assert repr(codec.decode(bytes(message))).replace("-0.0", "0.0") == repr(message).replace("-0.0", "0.0")


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - {"Old"}))
@given(data=st.data())
@quick
def test_a_decoded_message_is_like_one_that_was_constructed(name: str, data: st.DataObject) -> None:
    message = codec_for(CLASSES[name]).decode(data.draw(google_messages(name)).SerializeToString())
    fields = {field: getattr(message, field) for field in field_names(message).values()}
    constructed = CLASSES[name](**fields)
    assert list(vars(message)) == list(vars(constructed))
    assert vars(message) == vars(constructed)
    assert bool(message) is bool(constructed)
    assert repr(message) == repr(constructed)
    assert repr(copy.copy(message)) == repr(constructed)
    assert bytes(message) == bytes(constructed)
    if hasattr(Enum, "__deepcopy__"):  # without (Python 3.11.2), enums cannot copy a number that they have no name for
        assert repr(copy.deepcopy(message)) == repr(constructed)
        assert repr(pickle.loads(pickle.dumps(message))) == repr(pickle.loads(pickle.dumps(constructed)))


# ---------------------------------------------------------------------------------------------------- damaged bytes


def _mutate(draw: Callable[[st.SearchStrategy[Any]], Any], data: bytes) -> bytes:
    """Changes, drops, repeats and inserts bytes, tags and lengths before all."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(damaged)))
        end = min(len(damaged), at + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["change", "flip", "drop", "repeat", "insert", "cut", "length", "overlong"])):
            case "change" if at < len(damaged):
                damaged[at] = draw(st.integers(0, 255))
            case "flip" if at < len(damaged):
                damaged[at] ^= 1 << draw(st.integers(0, 7))
            case "drop":
                del damaged[at:end]
            case "repeat":
                damaged[at:at] = damaged[at:end]
            case "insert":
                damaged[at:at] = draw(st.binary(max_size=12))
            case "cut":
                del damaged[at:]
            case "length" if at < len(damaged):
                damaged[at] = max(0, min(255, damaged[at] + draw(st.integers(-3, 3))))
            case "overlong" if at < len(damaged) and damaged[at] < 128:
                damaged[at : at + 1] = bytes((damaged[at] | 128,)) + b"\x80" * draw(st.integers(0, 9)) + b"\0"
    return bytes(damaged)


@pytest.mark.parametrize("name", sorted(CLASSES))
@given(data=st.data())
@thorough
def test_damaged_bytes_are_judged_as_google_judges_them(name: str, data: st.DataObject) -> None:
    valid = b"".join(
        google.SerializeToString() for google in data.draw(st.lists(google_messages(name), min_size=1, max_size=2))
    )
    assert_agreement(name, _mutate(data.draw, valid))


@pytest.mark.parametrize("name", sorted(CLASSES))
@given(data=st.binary(max_size=40))
@thorough
def test_random_bytes_are_judged_as_google_judges_them(name: str, data: bytes) -> None:
    assert_agreement(name, data)


@pytest.mark.parametrize("name", sorted(CLASSES))
@given(data=st.data())
@quick
def test_bytes_of_another_message_are_judged_as_google_judges_them(name: str, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from(sorted(CLASSES)))
    assert_agreement(name, data.draw(google_messages(other)).SerializeToString())
