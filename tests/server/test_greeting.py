"""What a server writes before its client has greeted it: nothing, so that HTTP/1 gets a whole answer of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import wire
from tests.http2 import frames
from tests.memory import End, World, no_socket, world
from tests.support import Probe, run
from wire.config import EngineName
from wire.http2.codes import PREFACE, ErrorCode, FrameType
from wire.http2.preface import HTTP1_ANSWER
from wire.transport.runtime import LoopName


def played(test: Callable[[World, wire.Server, End], None], engine: EngineName, loop: LoopName = "asyncio") -> None:
    """A server, and a peer that has said nothing."""

    async def main() -> None:
        with world() as outside:
            async with wire.Server([Probe()], config=wire.ServerConfig(engine=engine)) as server:
                server.serve(no_socket())
                end = outside.connect(greet=False)
                test(outside, server, end)
                await outside.settle()
                end.lose()
                await outside.settle()

    run(main, loop=loop)


def test_a_request_of_http_1_that_comes_by_the_byte_has_a_whole_answer(engine: EngineName, loop: LoopName) -> None:
    def test(outside: World, server: wire.Server, end: End) -> None:
        for byte in b"POST / HTTP/1.1\r\n\r\n":
            end.receive(bytes((byte,)))
        assert b"".join(end.written) == HTTP1_ANSWER

    played(test, engine, loop)


def test_settings_are_written_when_those_of_the_client_have_come(engine: EngineName) -> None:
    def test(outside: World, server: wire.Server, end: End) -> None:
        for byte in PREFACE:
            end.receive(bytes((byte,)))
            assert not end.written
        end.receive(frames.settings())
        settings = [each.flags & frames.ACK for each in end.sent() if each.kind == FrameType.SETTINGS]
        assert settings == [0, frames.ACK]

    played(test, engine)


def test_garbage_is_told_of_by_goaway(engine: EngineName) -> None:
    def test(outside: World, server: wire.Server, end: End) -> None:
        end.receive(PREFACE + frames.ping())
        assert [each.kind for each in end.sent()][-1] == FrameType.GOAWAY

    played(test, engine)


@pytest.mark.parametrize("greets", [True, False])
def test_a_server_that_stops_tells_a_client_that_comes_meanwhile(greets: bool, engine: EngineName) -> None:
    async def main() -> None:
        with world() as outside:
            async with wire.Server([Probe()], config=wire.ServerConfig(engine=engine)) as server:
                server.serve(no_socket())
                end = outside.connect(greet=False)
                (connection,) = server.connections
                connection.drain()
                await outside.settle()
                assert not end.written
                if greets:
                    end.receive(PREFACE + frames.settings())
                    await outside.settle()
                    kinds = [each.kind for each in end.sent()]
                    assert {FrameType.GOAWAY, FrameType.SETTINGS} <= set(kinds)
                else:
                    connection.end()
                    await outside.settle()
                    assert [each.code for each in end.sent() if each.kind == FrameType.GOAWAY][-1] == ErrorCode.NO_ERROR
                    assert end.closed
                end.lose()
                await outside.settle()

    run(main)
