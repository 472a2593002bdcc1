"""Status codes are numbers that print as names."""

from __future__ import annotations

import json
from typing import Any

import pytest

import wire
from tests.support import Probe, paired, run
from wire.status import RpcError, StatusCode


def test_a_code_prints_as_its_name_and_counts_as_its_number() -> None:
    code = StatusCode.NOT_FOUND
    assert str(code) == f"{code}" == "%s" % code == "NOT_FOUND"  # noqa: UP031 - each way to print is meant
    assert f"{code:>12}|{code:<10s}|" == "   NOT_FOUND|NOT_FOUND |"
    assert int(code) == code == 5
    assert (f"{code:d}", f"{code:03d}", "%d" % code, b"%d" % code) == ("5", "005", "5", b"5")  # noqa: UP031
    assert json.dumps({"code": code}) == '{"code": 5}'
    assert repr(code) == "<StatusCode.NOT_FOUND: 5>"


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [("nonsense", "", ValueError), (99, "", ValueError), (StatusCode.ABORTED, 7, TypeError), (10, b"text", TypeError)],
)
def test_a_status_that_cannot_be_sent_is_refused_where_it_is_made(code: Any, message: Any, error: type) -> None:
    with pytest.raises(error):
        RpcError(code, message)


def test_a_handler_that_makes_no_status_of_one_fails_its_own_call_alone() -> None:
    def fails(request: bytes, context: wire.ServerContext) -> bytes:
        raise RpcError(StatusCode.ABORTED, 7)  # type: ignore[arg-type]

    async def main() -> None:
        async with paired(Probe(Unary=fails)) as pair:
            with pytest.raises(RpcError, match="UNKNOWN"):
                await pair.stub.unary(b"x")
            assert pair.channel.state.name == "READY"  # its connection goes on

    run(main)
