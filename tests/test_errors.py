"""The tree of errors, and that each can be shown to a user as it is."""

from __future__ import annotations

import inspect

import pytest

import wire
from wire import errors
from wire.errors import TransportError, WireError, is_cancellation
from wire.status import RpcError, StatusCode, status_from_http, status_from_http2_error

ALL = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, WireError)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_public_and_a_wire_error(error: type[WireError]) -> None:
    assert getattr(wire, error.__name__) is error
    assert error.__name__ in wire.__all__
    assert error.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.AddressError, ValueError),
        (errors.MetadataError, ValueError),
        (errors.ServiceError, ValueError),
        (errors.ConfigurationError, ValueError),
        (errors.UsageError, RuntimeError),
        (errors.ConnectError, OSError),
        (errors.ListenError, OSError),
        (errors.TlsError, OSError),
    ],
)
def test_errors_are_also_what_python_calls_them(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)


def test_a_transport_error_reads_as_its_sentence_and_keeps_its_number() -> None:
    error = TransportError("cannot connect", 111)
    assert str(error) == error.message == "cannot connect"
    assert error.errno == 111
    assert TransportError("unknown").errno is None


def test_an_rpc_error_reads_as_its_status() -> None:
    assert str(RpcError(StatusCode.NOT_FOUND, "no such key")) == "NOT_FOUND: no such key"
    assert str(RpcError(StatusCode.ABORTED)) == "ABORTED"
    bare = RpcError(StatusCode.ABORTED)
    assert bare.trailing_metadata is bare.initial_metadata is None


def test_codes_that_are_not_mapped_are_unknown() -> None:
    assert status_from_http(200) is StatusCode.UNKNOWN
    assert status_from_http(999) is StatusCode.UNKNOWN
    assert status_from_http2_error(0xDEAD) is StatusCode.UNKNOWN
    assert status_from_http2_error(7) is StatusCode.UNAVAILABLE


def test_the_public_names_are_all_there() -> None:
    assert sorted(wire.__all__) == list(wire.__all__)
    assert all(hasattr(wire, name) for name in wire.__all__)


def test_a_group_is_a_cancellation_where_it_holds_nothing_else() -> None:
    class Cancelled(BaseException):
        pass

    assert is_cancellation(Cancelled(), Cancelled)
    assert is_cancellation(BaseExceptionGroup("", [BaseExceptionGroup("", [Cancelled()]), Cancelled()]), Cancelled)
    assert not is_cancellation(BaseExceptionGroup("", [Cancelled(), ValueError()]), Cancelled)
    assert not is_cancellation(ValueError(), Cancelled)
