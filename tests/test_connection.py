"""A connection between a transport and an engine: when it writes, when it pings, and when it gives a peer up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clocks import ManualRuntime, MemoryTransport
from tests.http2 import frames
from tests.http2.frames import Frame
from wire.config import CallConfig, EngineName, Http2Config, KeepaliveConfig
from wire.connection import Connection
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.http2.engine import HeaderList, Stream

OFF = KeepaliveConfig()


class Recorder(Connection):
    """A connection whose requests wait for ever."""

    def __init__(self, runtime: Any, *, client: bool, engine: EngineName, keepalive: KeepaliveConfig) -> None:
        super().__init__(
            runtime, client=client, engine=engine, http2=Http2Config(), calls=CallConfig(), keepalive=keepalive
        )
        self.opened: list[Stream] = []
        self.ends: list[str] = []

    reply: tuple[HeaderList, HeaderList] | None = None

    def on_request(self, stream: Stream, headers: HeaderList, data: bytes, start: int, stop: int) -> bytes | None:
        return None

    def on_headers(self, stream: Stream, headers: HeaderList, end_stream: bool) -> None:
        self.opened.append(stream)

    def on_lost(self, reason: str, calls: list[Any]) -> None:
        self.ends.append(reason)


class Rig:
    """A connection past the exchange of SETTINGS, on a clock set by hand."""

    def __init__(
        self, engine: EngineName, *, client: bool = False, keepalive: KeepaliveConfig = OFF, settled: bool = True
    ) -> None:
        self.runtime = ManualRuntime()
        self.clock = self.runtime.clock
        self.transport = MemoryTransport()
        self.connection = Recorder(self.runtime, client=client, engine=engine, keepalive=keepalive)
        self.connection.connection_made(self.transport)
        self.receive(
            b"" if client else frames.PREFACE, frames.settings(), frames.settings(ack=True) if settled else b""
        )
        self.transport.sent()

    def receive(self, *what: bytes) -> None:
        self.connection.data_received(b"".join(what))

    def turn(self) -> list[Frame]:
        """What one turn of the loop writes."""
        self.runtime.turn()
        return self.transport.sent()


@pytest.fixture
def server(engine: EngineName) -> Rig:
    return Rig(engine)


def test_what_a_read_asks_for_is_answered_in_one_write(server: Rig) -> None:
    server.receive(frames.ping(b"1" * 8), frames.ping(b"2" * 8))
    assert len(server.transport.written) == 1
    assert [each.payload for each in server.transport.sent()] == [b"1" * 8, b"2" * 8]
    assert server.turn() == []


def test_sends_at_other_times_leave_together_after_the_turn(server: Rig) -> None:
    for number in range(3):
        server.connection.engine.ping(b"%08d" % number)
        server.connection.wake()
    assert server.transport.written == []
    server.runtime.turn()
    assert len(server.transport.written) == 1
    assert len(server.transport.sent()) == 3


def send(connection: Connection, size_bytes: int) -> bool:
    """As a stream that sends a message does; True when it shall let others run."""
    connection.turn_room -= size_bytes
    return connection.turn_room <= 0 and connection.turn_over()


def test_a_sender_that_never_waits_is_written_out_on_its_way(server: Rig) -> None:
    written = []
    for number in range(30):
        server.connection.engine.ping(b"%08d" % number)
        send(server.connection, 10_000)
        written.append(len(server.transport.written))
    assert written == [0] * 13 + [1] * 7 + [2] * 7 + [3] * 3


def test_what_is_long_is_written_in_pieces() -> None:
    rig = Rig("tuned")
    engine, transport = rig.connection.engine, rig.transport
    wide = frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 21})
    rig.receive(wide, frames.window_update(0, (1 << 20) + 320_000), frames.headers(1), frames.headers(3))
    rig.turn()
    first, second = rig.connection.opened
    engine.send_headers(first, HeaderList(frames.RESPONSE))
    engine.send_data(first, b"a" * 300_000)
    rig.connection.flush()
    assert transport.in_pieces[0][1:] == [9, 16_384] * 18 + [9, 300_000 - 18 * 16_384]
    assert b"".join(each.payload for each in transport.sent()[1:]) == b"a" * 300_000
    assert engine.held_bytes == 0
    for _ in range(20):
        engine.send_data(first, bytes(16_000))
    rig.connection.flush()
    assert transport.in_pieces.pop() == [9, 16_000] * 20
    engine.send_data(first, b"next")  # not behind what has left
    rig.connection.flush()
    assert [each.payload for each in transport.sent()[20:]] == [b"next"]
    for _ in range(150):
        engine.send_data(first, bytes(2000))  # a frame each, which are joined
    rig.connection.flush()
    assert transport.in_pieces[1:] == [[150 * (9 + 2000)]]
    assert len(transport.sent()) == 150
    engine.send_data(first, b"short")
    engine.send_headers(second, HeaderList(frames.RESPONSE))
    engine.send_data(second, b"b" * 1_000_000)  # most of it waits for the connection's window
    rig.connection.flush()
    assert [each.payload for each in transport.sent()[:1]] == [b"short"]
    rig.receive(frames.window_update(0, 1000))
    assert sum(len(each.payload) for each in transport.sent()) == 1000
    assert len(transport.in_pieces) == 3


def test_senders_let_others_run_until_the_turn_is_over(server: Rig) -> None:
    connection = server.connection
    assert not any(send(connection, 256) for _ in range(255))
    assert send(connection, 256)
    assert send(connection, 1 << 17)  # and written out, which begins no new share
    assert send(connection, 6)
    server.runtime.turn()
    assert not send(connection, 6)


def test_senders_look_at_a_transport_that_takes_no_more(server: Rig) -> None:
    connection = server.connection
    assert not send(connection, 1)
    connection.pause_writing()
    assert send(connection, 1)
    server.runtime.turn()
    assert [send(connection, 1), send(connection, 1)] == [True, True]
    connection.resume_writing()
    server.runtime.turn()
    assert not send(connection, 1)


def test_whoever_sees_its_transport_sees_its_engine(engine: EngineName) -> None:
    """`wire.live` may be asked in another thread at any moment."""
    connection = Recorder(ManualRuntime(), client=True, engine=engine, keepalive=OFF)
    make, seen = connection._make_engine, []

    def make_engine(sink: Any) -> Any:
        seen.append(connection.transport)
        return make(sink)

    connection._make_engine = make_engine
    connection.connection_made(MemoryTransport())
    assert seen == [None]


def test_the_end_of_the_transport_is_told_with_its_reason(server: Rig) -> None:
    server.connection.connection_lost(None)
    assert server.connection.ends == ["the peer closed the connection"]
    assert server.connection.lost
    assert server.clock.pending == []
    server.connection.engine.ping(bytes(8))
    server.connection.wake()
    assert server.turn() == []


def test_what_broke_the_transport_is_part_of_the_reason(server: Rig) -> None:
    server.connection.connection_lost(OSError("reset by peer"))
    assert server.connection.ends == ["the connection broke: reset by peer"]


def test_the_peers_end_of_file_closes_the_transport(server: Rig) -> None:
    server.connection.eof_received()
    assert server.transport.closed


def test_a_breach_of_http2_is_answered_with_goaway_and_named(server: Rig) -> None:
    server.receive(frames.data(0, b"x"))
    (goaway,) = server.transport.sent()
    assert (goaway.kind, goaway.code) == (FrameType.GOAWAY, ErrorCode.PROTOCOL_ERROR)
    server.turn()
    assert server.transport.closed
    server.receive(frames.ping())
    assert server.turn() == []
    server.connection.connection_lost(None)
    assert "PROTOCOL_ERROR" in server.connection.ends[0]


def test_breaking_off_says_why_once(server: Rig) -> None:
    server.connection.break_off(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")
    server.connection.break_off(ErrorCode.INTERNAL_ERROR, "another reason")
    (goaway,) = server.transport.sent()
    assert goaway.code is ErrorCode.ENHANCE_YOUR_CALM
    assert goaway.payload[8:] == b"too_many_pings"
    assert server.transport.closed
    server.connection.connection_lost(None)
    assert server.connection.ends == ["too_many_pings"]


def test_a_closing_connection_closes_with_its_last_stream(server: Rig) -> None:
    server.receive(frames.headers(1))
    server.connection.closing = True
    server.connection.flush()
    assert not server.transport.closed
    server.receive(frames.rst_stream(1))
    assert server.transport.closed


# A peer that does not read.


def test_a_peer_that_takes_nothing_is_given_up_in_time(server: Rig) -> None:
    server.connection.pause_writing()
    assert server.connection.congested
    server.clock.advance(19.9)
    assert not server.transport.closed
    server.clock.advance(0.2)
    assert server.transport.aborted
    server.connection.connection_lost(None)
    assert server.connection.ends == ["the peer stopped reading"]


def test_a_peer_that_reads_again_is_kept(server: Rig) -> None:
    server.connection.pause_writing()
    server.clock.advance(19)
    server.connection.resume_writing()
    assert not server.connection.congested
    server.clock.advance(100)
    server.connection.pause_writing()
    server.clock.advance(19)
    assert not server.transport.closed


def test_a_transport_that_is_closed_does_not_wait_for_ever_for_its_peer_to_read(server: Rig) -> None:
    server.connection.eof_received()
    assert not server.transport.aborted
    server.clock.advance(20.1)
    assert server.transport.aborted


# Keepalive (gRPC proposals A8 and A18).

KEEPALIVE = KeepaliveConfig(time_s=60, timeout_s=10)


def pings(rig: Rig) -> list[bytes]:
    return [each.payload for each in rig.turn() if each.kind == FrameType.PING]


def test_there_is_no_ping_unless_asked_for(server: Rig) -> None:
    assert server.clock.pending == []


@pytest.fixture(params=[False, True], ids=["server", "client"])
def watchful(request: pytest.FixtureRequest, engine: EngineName) -> Rig:
    """Either end, with a call open."""
    rig = Rig(engine, client=request.param, keepalive=KEEPALIVE)
    if request.param:
        rig.connection.engine.open_stream(HeaderList(frames.REQUEST))
    else:
        rig.receive(frames.headers(1))
    rig.connection.flush()
    rig.transport.sent()
    return rig


def test_a_silent_peer_is_pinged_and_kept_as_long_as_it_answers(watchful: Rig) -> None:
    for _ in range(3):
        watchful.clock.advance(59.9)
        assert pings(watchful) == []
        watchful.clock.advance(0.2)
        (payload,) = pings(watchful)
        watchful.receive(frames.ping(payload, ack=True))
    watchful.clock.advance(30)
    assert not watchful.transport.closed


def test_a_peer_that_does_not_answer_is_given_up(watchful: Rig) -> None:
    watchful.clock.advance(60)
    assert len(pings(watchful)) == 1
    watchful.clock.advance(9.9)
    assert not watchful.transport.closed
    watchful.clock.advance(0.2)
    assert watchful.transport.aborted
    watchful.connection.connection_lost(None)
    assert watchful.connection.ends == ["the peer did not answer a keepalive ping"]
    assert watchful.clock.pending == []


def test_a_peer_whose_answer_waits_behind_what_it_sends_is_kept(watchful: Rig) -> None:
    watchful.clock.advance(60)
    assert len(pings(watchful)) == 1
    watchful.clock.advance(5)
    watchful.receive(frames.settings())
    watchful.clock.advance(30)
    assert not watchful.transport.closed


def test_whatever_comes_postpones_the_ping(watchful: Rig) -> None:
    for _ in range(5):
        watchful.clock.advance(59)
        watchful.receive(frames.settings())
        assert pings(watchful) == []


def test_a_server_pings_idle_clients_too(engine: EngineName) -> None:
    rig = Rig(engine, keepalive=KEEPALIVE)
    rig.clock.advance(60)
    assert len(pings(rig)) == 1


@pytest.mark.parametrize("without_calls", [False, True])
def test_a_client_pings_without_calls_only_where_told_to(engine: EngineName, without_calls: bool) -> None:
    keepalive = KeepaliveConfig(time_s=60, timeout_s=10, without_calls=without_calls)
    rig = Rig(engine, client=True, keepalive=keepalive)
    rig.clock.advance(600 if not without_calls else 60)
    assert len(pings(rig)) == without_calls


# SETTINGS that are not acknowledged.


@pytest.mark.parametrize("client", [False, True], ids=["server", "client"])
def test_a_peer_that_does_not_acknowledge_our_settings_is_closed(engine: EngineName, client: bool) -> None:
    rig = Rig(engine, client=client, settled=False)
    rig.clock.advance(29.9)
    assert not rig.transport.closed
    rig.clock.advance(0.2)
    assert rig.transport.closed
    assert rig.transport.sent()[-1].code is ErrorCode.SETTINGS_TIMEOUT
    rig.connection.connection_lost(None)
    assert rig.clock.pending == []


# Turns of the loop.


@pytest.fixture
def hurried(server: Rig) -> Rig:
    """A server's connection whose turns are over at once."""
    server.connection._max_turn_s = 0.0
    return server


FLOOD = b"".join(frames.headers(stream_id) for stream_id in range(1, 1801, 2))
"""More than a slice."""


def test_a_long_read_is_handled_in_turns_between_which_the_transport_is_not_read(hurried: Rig) -> None:
    hurried.receive(FLOOD)
    counts = [len(hurried.connection.opened)]
    assert not hurried.transport.reading
    while not hurried.transport.reading:
        hurried.turn()
        counts.append(len(hurried.connection.opened))
    assert counts[-1] == 900
    assert 2 < len(counts) < 400
    assert counts == sorted(set(counts))


def test_a_turn_goes_on_while_it_has_time(server: Rig) -> None:
    server.connection._max_turn_s = 3600.0
    server.receive(FLOOD)
    assert len(server.connection.opened) == 900
    assert server.transport.reading


def test_reads_of_one_turn_share_its_time(server: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on uvloop, which reads up to 32 times in a turn."""
    seconds = iter(range(1000))
    monkeypatch.setattr("wire.connection.perf_counter", lambda: next(seconds))
    server.connection._max_turn_s = 600.0
    server.receive(FLOOD)
    assert server.transport.reading
    server.connection._turn_ends_at = 0.0
    server.receive(frames.priority(1) * 3000)
    assert not server.transport.reading


def test_a_read_that_comes_all_the_same_is_handled_in_order(hurried: Rig) -> None:
    hurried.receive(FLOOD)
    hurried.receive(frames.headers(1801))
    while not hurried.transport.reading:
        hurried.turn()
    assert [stream.id for stream in hurried.connection.opened] == list(range(1, 1803, 2))


def test_the_peers_end_of_file_waits_for_what_came_before_it(hurried: Rig) -> None:
    hurried.receive(FLOOD)
    hurried.connection.eof_received()
    while not hurried.transport.closed:
        hurried.turn()
    assert len(hurried.connection.opened) == 900


def test_reading_goes_on_only_when_nothing_else_holds_it(hurried: Rig) -> None:
    hurried.receive(FLOOD)
    hurried.connection._reading_held = True
    for _ in range(400):
        hurried.turn()
    assert len(hurried.connection.opened) == 900
    assert not hurried.transport.reading


def test_a_client_takes_what_came_before_the_transport_was_lost(engine: EngineName) -> None:
    rig = Rig(engine, client=True)
    rig.connection._max_turn_s = 0.0
    for _ in range(900):
        rig.connection.engine.open_stream(HeaderList(frames.REQUEST), (), True)
    rig.receive(*[frames.headers(stream_id, frames.RESPONSE) for stream_id in range(1, 1801, 2)])
    assert len(rig.connection.opened) < 900
    rig.connection.connection_lost(None)
    assert len(rig.connection.opened) == 900


def test_nothing_is_handled_once_the_connection_is_broken_off(hurried: Rig) -> None:
    hurried.receive(FLOOD)
    handled = len(hurried.connection.opened)
    hurried.connection.break_off(ErrorCode.ENHANCE_YOUR_CALM, "enough")
    for _ in range(400):
        hurried.turn()
    assert len(hurried.connection.opened) == handled
