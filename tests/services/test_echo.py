"""Echo returns its payload, and what it logs of it is cut, escaped, and built only when it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from unittest.mock import Mock

import pytest

import wire
from proto.echo.v1 import EchoRequest, EchoResponse
from services.echo import EchoServicer
from wire.transport.contract import Peer

CONTEXT = Mock(spec=wire.ServerContext, method="/echo.v1.EchoService/Echo", peer=Peer("unix:"))


def test_payload_comes_back() -> None:
    assert EchoServicer().echo(EchoRequest(payload=b"\x00hello"), CONTEXT) == EchoResponse(payload=b"\x00hello")


def test_stream_answers_each_request_in_order() -> None:
    async def call() -> list[bytes]:
        async def requests() -> AsyncIterator[EchoRequest]:
            for payload in (b"a", b"", b"c"):
                yield EchoRequest(payload=payload)

        return [reply.payload async for reply in EchoServicer().echo_stream(requests(), CONTEXT)]

    assert asyncio.run(call()) == [b"a", b"", b"c"]


def test_logged_payload_is_escaped_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "services.echo")
    EchoServicer(logged_bytes=8).echo(EchoRequest(payload=b"\r\n\x1b[31m\xffmore"), CONTEXT)
    [record] = caplog.records
    assert record.getMessage() == r"/echo.v1.EchoService/Echo from unix:: 12 bytes: b'\r\n\x1b[31m\xff'..."


def test_nothing_is_built_for_a_log_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.echo")
    payload = Mock(spec=bytes)  # would fail to be sliced
    assert EchoServicer().echo(Mock(payload=payload), CONTEXT).payload is payload
