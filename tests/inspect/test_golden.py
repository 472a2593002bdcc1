"""The trace of one unary call and of one cancelled stream, on each engine, as files that can be read.

    UPDATE_GOLDEN=1 pytest tests/inspect/test_golden.py    # writes them anew; read the difference

Times and ports are replaced by what stands for them.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import wire
from proto.echo.v1 import EchoRequest
from proto.echo.v1.echo_wire import EchoServiceStub
from services.echo import EchoServicer
from tests.support import LOCAL, run
from wire.config import EngineName
from wire.inspect import Trace
from wire.rpc.compression import ACCEPT_ENCODING

GOLDEN = Path(__file__).parent / "golden"

pytestmark = pytest.mark.skipif(b"zstd" in ACCEPT_ENCODING, reason="the files are those of Pythons without zstd")


async def unary(stub: EchoServiceStub) -> None:
    await stub.echo(EchoRequest(payload=b"hello"), metadata=[("authorization", "Bearer x"), ("x-trace-bin", b"\0\1")])


async def cancelled(stub: EchoServiceStub) -> None:
    call = stub.echo_stream()
    await call.send(EchoRequest(payload=b"one"))
    async for _ in call:
        call.cancel()
        break


async def trace_of(what: Callable[[EchoServiceStub], Awaitable[None]], engine: EngineName) -> str:
    text = io.StringIO()
    config = wire.ServerConfig(engine=engine)
    async with wire.Server([EchoServicer()], config=config, trace=Trace(file=text)) as server:
        address = await server.listen(LOCAL)
        client_config = wire.ChannelConfig(engine=engine, authority="localhost")
        async with wire.Channel(address, config=client_config) as channel:
            await what(EchoServiceStub(channel))
        await server.stop()
    return text.getvalue()


def normalised(text: str) -> str:
    text = re.sub(r"^ *\d+\.\d{6}", "   0.000000", text, flags=re.MULTILINE)
    text = re.sub(r"\d+\.\d{3} ms", "0.000 ms", text)
    text = text.replace(f"grpc-python-wire/{wire.__version__}", "grpc-python-wire/VERSION")
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


@pytest.mark.parametrize("what", [unary, cancelled])
def test_trace_reads_as_in_the_file(what: Callable[[EchoServiceStub], Awaitable[None]], engine: EngineName) -> None:
    found = normalised(run(trace_of, what, engine))
    path = GOLDEN / f"{what.__name__}-{engine}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
