"""When calls leave: at once, with the others of their turn, or at its end."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from tests.clocks import ManualRuntime, MemoryTransport
from tests.http2 import frames
from wire.client.dialing import ClientConnection
from wire.config import ChannelConfig, EngineName, KeepaliveConfig
from wire.http2.codes import FrameType
from wire.http2.engine import HeaderList

HEADERS = HeaderList(((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b"te", b"trailers")))


class Rig:
    """A client's connection past the exchange of SETTINGS."""

    def __init__(self, engine: EngineName) -> None:
        self.runtime = ManualRuntime()
        self.transport = MemoryTransport()
        runtime: Any = self.runtime
        runtime.future = Mock
        owner: Any = Mock(keepalive=KeepaliveConfig(time_s=None))
        self.connection = ClientConnection(owner, runtime, ChannelConfig(engine=engine), Mock())
        self.connection.connection_made(self.transport)
        self.connection.data_received(frames.settings() + frames.settings(ack=True))
        self.turn()

    def start(self) -> int:
        """Begin a call; gives its stream."""
        stream = self.connection.engine.send_request(HEADERS, b"\0\0\0\0\0", call=Mock())
        self.connection.call_started(None)
        return stream.id

    def end(self, *streams: int) -> None:
        self.connection.data_received(b"".join(map(frames.rst_stream, streams)))

    def sent(self) -> list[int]:
        """The streams whose requests have left since the last time."""
        return [each.stream_id for each in self.transport.sent() if each.kind == FrameType.HEADERS]

    def turn(self) -> list[int]:
        """What one turn of the loop writes."""
        self.runtime.turn()
        return self.sent()


@pytest.fixture
def rig(engine: EngineName) -> Rig:
    return Rig(engine)


def test_of_many_calls_in_one_turn_the_first_leave_while_the_others_are_made(rig: Rig) -> None:
    sent = []
    for number in range(60):
        rig.start()
        sent += rig.sent()
        assert len(sent) == (number + 1) // 24 * 24
    assert len(rig.turn()) == 12
    assert rig.turn() == []


def test_calls_one_after_the_other_leave_at_once_from_the_second_on(rig: Rig) -> None:
    stream = rig.start()
    assert rig.sent() == []
    assert rig.turn() == [stream]
    for _ in range(3):
        rig.end(stream)
        stream = rig.start()
        assert rig.sent() == [stream]
        assert rig.turn() == []


def test_calls_that_begin_together_leave_together(rig: Rig) -> None:
    for _ in range(3):
        streams = [rig.start(), rig.start()]
        assert rig.sent() == []
        assert rig.turn() == streams
        rig.end(*streams)


def test_one_that_is_joined_by_others_leaves_with_them_from_then_on(rig: Rig) -> None:
    first = rig.start()
    rig.turn()
    rig.end(first)
    pair = [rig.start(), rig.start()]
    assert rig.sent() == pair[:1]
    assert rig.turn() == pair[1:]
    rig.end(*pair)
    pair = [rig.start(), rig.start()]
    assert rig.sent() == []
    assert rig.turn() == pair


def test_one_beside_a_call_that_goes_on_leaves_at_the_end_of_the_turn(rig: Rig) -> None:
    rig.start()
    rig.turn()
    second = rig.start()
    assert rig.sent() == []
    assert rig.turn() == [second]
