"""Status codes are numbers that print as names."""

from __future__ import annotations

import json

from wire.status import StatusCode


def test_a_code_prints_as_its_name_and_counts_as_its_number() -> None:
    code = StatusCode.NOT_FOUND
    assert str(code) == f"{code}" == "%s" % code == "NOT_FOUND"  # noqa: UP031 - each way to print is meant
    assert f"{code:>12}|{code:<10s}|" == "   NOT_FOUND|NOT_FOUND |"
    assert int(code) == code == 5
    assert (f"{code:d}", f"{code:03d}", "%d" % code, b"%d" % code) == ("5", "005", "5", b"5")  # noqa: UP031
    assert json.dumps({"code": code}) == '{"code": 5}'
    assert repr(code) == "<StatusCode.NOT_FOUND: 5>"
