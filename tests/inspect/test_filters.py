"""The filter syntax: what each term keeps, and what is refused."""

from __future__ import annotations

import pytest

from wire.errors import ConfigurationError
from wire.inspect import CallEnded, ConnectionMade, Frame, RawBytes, Record, To, parse_filter

ECHO, SIGN = "/echo.v1.EchoService/Echo", "/crypto.v1.CryptoService/Sign"


def frame(name: str, stream: int = 0, method: str = "", to: To = To.SERVER, connection: int = 1) -> Frame:
    return Frame(connection=connection, at_s=0, to=to, name=name, stream=stream, method=method)


RECORDS: dict[str, Record] = {
    "made": ConnectionMade(connection=1, at_s=0, client="", server=""),
    "preface": frame("PREFACE"),
    "settings": frame("SETTINGS", to=To.CLIENT),
    "echo headers": frame("HEADERS", 1, ECHO),
    "echo data": frame("DATA", 1, ECHO, To.CLIENT),
    "sign headers": frame("HEADERS", 3, SIGN, connection=2),
    "echo call": CallEnded(
        connection=1,
        at_s=0,
        stream=1,
        method=ECHO,
        status="OK",
        status_message="",
        how="",
        requests=1,
        request_bytes=0,
        responses=1,
        response_bytes=0,
        first_response_s=None,
        took_s=0,
    ),
    "raw": RawBytes(connection=1, at_s=0, to=To.SERVER, size_bytes=1, problem=""),
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", set(RECORDS)),
        ("frame=HEADERS", {"echo headers", "sign headers"}),
        ("frame=headers,DATA", {"echo headers", "echo data", "sign headers"}),
        ("frame=CALL", {"echo call"}),
        ("frame=CONNECTION,RAW,PREFACE", {"made", "raw", "preface"}),
        ("method=Echo", {"echo headers", "echo data", "echo call"}),
        ("method=S*", {"sign headers"}),
        ("method=/crypto.v1.*/*", {"sign headers"}),
        ("method=crypto.v1.CryptoService/Sign", {"sign headers"}),
        ("method!=Echo frame=HEADERS,DATA", {"sign headers"}),
        ("stream=1", {"echo headers", "echo data", "echo call"}),
        ("stream=2-9", {"sign headers"}),
        ("stream=0", {"preface", "settings"}),
        ("connection!=1", {"sign headers"}),
        ("to=client", {"settings", "echo data"}),
        ("frame=DATA,HEADERS stream=1 to=server", {"echo headers"}),
    ],
)
def test_filter_keeps(text: str, shown: set[str]) -> None:
    keeps = parse_filter(text)
    assert {name for name, record in RECORDS.items() if keeps(record)} == shown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("HEADERS", "a term reads KEY=VALUE"),
        ("=x", "a term reads KEY=VALUE"),
        ("fram=DATA", '"fram" is not one of frame, method, stream, connection, to; did you mean frame?'),
        ("frame=HEADER", "did you mean HEADERS?"),
        ("frame=", "a value is missing"),
        ("stream=1,", "a value is missing"),
        ("stream=a", '"a" is neither a number nor a range'),
        ("stream=1-", '"1-" is neither a number nor a range'),
        ("to=me", '"me" is not one of server, client'),
    ],
)
def test_filter_that_cannot_be_read_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_filter(text)
    assert str(caught.value).startswith("cannot use the filter")
    assert reason in str(caught.value)
