"""Flow control in both directions, held against every engine (RFC 9113 §5.2, §6.9)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http2 import frames as f
from tests.http2.conftest import MakeRig
from tests.http2.rig import REQUEST, RESPONSE, TRAILERS, Rig
from wire.http2.codes import ErrorCode, FrameType, Setting

E = ErrorCode
T = FrameType
MiB = 1 << 20


# Flow control: what we may send.


def test_data_is_framed_as_the_peer_allows(client: MakeRig) -> None:
    rig = client()
    stream = rig.engine.send_request(REQUEST, bytes(40_000))
    assert [len(frame.payload) for frame in rig.sent()[1:]] == [16_384, 16_384, 40_000 - 2 * 16_384]
    assert [frame.end for frame in rig.last[1:]] == [False, False, True]
    assert stream.queued_bytes == 0
    rig.feed(f.settings({Setting.MAX_FRAME_SIZE: 20_000}))
    rig.open()
    rig.engine.send_data(rig.engine.streams[3], bytes(20_000))
    assert [len(frame.payload) for frame in rig.sent()] == [20_000]


def test_data_past_the_window_waits_and_keeps_its_order(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    message = bytes(range(256)) * 300
    rig.engine.send_data(stream, message)
    rig.engine.send_data(stream, b"second")
    assert stream.queued_bytes == len(message) + 6 - 65_535
    received = rig.sent_data()
    assert len(received) == 65_535
    rig.feed(f.window_update(1, 10))
    received += rig.sent_data()
    assert rig.calls() == []
    rig.feed(f.window_update(1, MiB))
    received += rig.sent_data()
    assert received == message + b"second"
    assert rig.calls() == [("writable", 1)]
    assert stream.queued_bytes == 0
    rig.feed(f.window_update(1, 1))
    assert rig.calls() == []


def test_trailers_wait_behind_queued_data(server: MakeRig) -> None:
    rig = server()
    stream = rig.open(end=True)
    rig.engine.send_reply(stream, RESPONSE, bytes(70_000), TRAILERS)
    assert [section for _, section, _ in rig.sent_fields()] == [f.RESPONSE]
    assert not stream.closed
    assert stream.queued_bytes == 70_000 - 65_535
    rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
    assert rig.sent_fields() == [(1, f.TRAILERS, True)]
    assert stream.closed
    assert rig.calls() == [("writable", 1)]


def test_the_reset_after_an_early_end_waits_behind_the_trailers(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_reply(stream, RESPONSE, bytes(70_000), TRAILERS)
    assert T.RST_STREAM not in rig.sent_kinds()
    rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
    assert rig.sent_kinds() == [T.DATA, T.HEADERS, T.RST_STREAM]
    assert stream.closed


def test_an_end_waits_behind_queued_data(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_536))
    rig.engine.send_data(stream, b"", end_stream=True)
    rig.engine.send_data(stream, b"too late")
    assert not rig.sent()[-1].end
    rig.feed(f.window_update(0, 1), f.window_update(1, 1))
    assert [(frame.payload, frame.end) for frame in rig.sent()] in (
        [(b"\0", True)],
        [(b"\0", False), (b"", True)],
    )


def test_an_empty_end_needs_no_window(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_535))
    rig.sent()
    rig.engine.send_data(stream, b"", end_stream=True)
    assert [(frame.payload, frame.end) for frame in rig.sent()] == [(b"", True)]


def test_an_empty_end_needs_no_window_even_below_zero(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(1000))
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 10}))  # §6.9.2
    rig.sent()
    rig.engine.send_data(stream, b"", end_stream=True)
    assert [(frame.payload, frame.end) for frame in rig.sent()] == [(b"", True)]


def test_the_connections_window_is_shared_in_turn(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: MiB}))
    streams = [rig.open() for _ in range(3)]
    for stream in streams:
        rig.engine.send_data(stream, bytes(100_000))
    assert len(rig.sent_data(1)) == 65_535
    rig.feed(f.window_update(0, 6 * 16_384))
    frames = rig.sent()
    assert sum(len(frame.payload) for frame in frames) == 6 * 16_384
    assert {frame.stream_id for frame in frames} == {1, 3, 5}
    rig.feed(f.window_update(0, MiB))
    assert sorted(call[1] for call in rig.calls() if call[0] == "writable") == [1, 3, 5]
    assert all(stream.queued_bytes == 0 for stream in streams)


def test_a_stream_with_a_closed_window_does_not_hold_up_others(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    first, second = rig.open(), rig.open()
    rig.engine.send_data(first, bytes(100_000))
    rig.sent()
    rig.engine.send_data(second, b"through")
    assert rig.sent_data(3) == b"through"


def test_a_new_initial_window_moves_open_streams(client: MakeRig) -> None:
    rig = client()
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_535 + 100))
    rig.sent()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 65_535 + 40}))
    assert len(rig.sent_data()) == 40
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 0}))  # the window is below zero now (§6.9.2)
    rig.feed(f.window_update(1, 65_535 + 40))
    assert rig.sent_data() == b""
    rig.calls()
    rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: 60}))
    assert len(rig.sent_data()) == 60
    assert rig.calls() == [("settings",), ("writable", 1)]


@pytest.mark.parametrize("closed", ["connection", "both"])
def test_a_reset_drops_what_is_queued(engine_name: str, closed: str) -> None:
    for by_peer in (False, True):
        rig = Rig(engine_name, client=True)
        if closed == "connection":
            rig.feed(f.settings({Setting.INITIAL_WINDOW_SIZE: MiB}))
        stream = rig.open()
        rig.engine.send_data(stream, bytes(100_000), end_stream=True)
        rig.sent()
        if by_peer:
            rig.feed(f.rst_stream(1))
        else:
            rig.engine.reset(stream, E.CANCEL)
        assert stream.queued_bytes == 0
        rig.sent()
        rig.feed(f.window_update(0, MiB), f.window_update(1, MiB))
        assert rig.sent() == []
        assert not any(call[0] == "writable" for call in rig.calls())


def test_the_sink_may_send_when_it_is_told_that_it_can(client: MakeRig) -> None:
    rig = client()
    stream = rig.open()
    rig.engine.send_data(stream, bytes(65_536))
    rig.sent()
    rig.sink.react["writable"] = lambda stream: rig.engine.send_data(stream, b"more", end_stream=True)
    rig.feed(f.window_update(0, 100), f.window_update(1, 100))
    assert rig.sent_data() == b"\0more"


# Flow control: what the peer may send.


def granted(rig: Rig, stream_id: int) -> int:
    """Bytes of WINDOW_UPDATE in what was sent last."""
    return sum(frame.number for frame in rig.last if (frame.kind, frame.stream_id) == (T.WINDOW_UPDATE, stream_id))


def pour(rig: Rig, stream_id: int, size_bytes: int, pad: int | None = None) -> tuple[int, int]:
    """Send DATA as a peer does that keeps to a window of 64 KiB; (granted to the connection, to the stream)."""
    connection = stream = 0
    for _ in range(size_bytes // 16_384):
        rig.feed(f.data(stream_id, bytes(16_384 if pad is None else 16_384 - 1 - pad), pad=pad))
        rig.sent()
        connection += granted(rig, 0)
        stream += granted(rig, stream_id)
    return connection, stream


SMALL: dict[str, Any] = {"stream_window_bytes": 65_535, "connection_window_bytes": 65_535, "receive_budget_bytes": 0}


def test_consumed_data_is_granted_again_in_large_steps(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.open()
    rig.feed(f.data(1, bytes(1000)))
    assert rig.sent() == []
    connection, stream = pour(rig, 1, 20 * 65_536)
    assert rig.verdict() is None
    assert connection > 19 * 65_536
    assert stream > 19 * 65_536


def test_what_was_granted_for_a_message_is_another_ones_as_soon_as_it_is_consumed(server: MakeRig) -> None:
    rig = server(stream_window_bytes=65_535, receive_budget_bytes=100_000)
    rig.sink.grant = False
    first, second = rig.open(), rig.open()
    rig.engine.expect(first, 165_535)
    rig.engine.expect(second, 75_535)
    assert [(frame.stream_id, frame.number) for frame in rig.sent()] == [(first.id, 100_000)]
    rig.feed(f.data(first.id, bytes(10_000)))
    rig.engine.consumed(first, 10_000)
    assert [(frame.stream_id, frame.number) for frame in rig.sent()] == [(second.id, 10_000)]


def test_padding_is_granted_again(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.open()
    pour(rig, 1, 20 * 65_536, pad=255)
    assert rig.verdict() is None


def test_unread_data_is_granted_to_the_connection_when_it_comes_and_to_the_stream_when_it_is_consumed(
    server: MakeRig,
) -> None:
    rig = server(**SMALL)
    rig.sink.grant = False
    stream = rig.open()
    rig.feed(f.data(1, bytes(60_000)))
    rig.sent()
    assert (granted(rig, 0), granted(rig, 1)) == (60_000, 0)
    rig.engine.consumed(stream, 60_000)
    rig.sent()
    assert (granted(rig, 0), granted(rig, 1)) == (0, 60_000)


def test_streams_that_nobody_reads_hold_up_no_other(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.sink.grant = False
    window = 65_535
    for _ in range(10):
        stream = rig.open()
        for _ in range(4):
            window -= 16_000
            assert window >= 0
            rig.feed(f.data(stream.id, bytes(16_000)))
            rig.sent()
            window += granted(rig, 0)
    assert rig.verdict() is None


def test_a_stream_that_has_ended_is_granted_nothing(server: MakeRig) -> None:
    rig = server(**SMALL)
    rig.sink.grant = False
    for closed in (False, True):
        stream = rig.open()
        rig.feed(f.data(stream.id, bytes(40_000), end=True))
        if closed:
            rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
            assert stream.closed
        rig.engine.consumed(stream, 40_000)
        rig.sent()
        assert granted(rig, stream.id) == 0


@pytest.mark.parametrize("fault", ["late", "refused", "malformed", "too long"])
def test_the_connections_window_does_not_leak_through_streams_that_fail(server: MakeRig, fault: str) -> None:
    rig = server(**SMALL, max_concurrent_streams=1)
    window = 65_535
    for at in range(40):
        stream_id = 1 + 4 * at
        fields = (*f.REQUEST, (b"content-length", b"1")) if fault == "too long" else f.REQUEST
        rig.feed(f.headers(stream_id, fields))
        if fault == "late":
            rig.engine.reset(rig.sink.streams[stream_id], E.CANCEL)
        elif fault == "malformed":
            rig.feed(f.headers(stream_id, f.TRAILERS))
        elif fault == "refused":
            rig.feed(f.headers(stream_id + 2))
        window -= 8_000
        assert window >= 0
        rig.feed(f.data(stream_id + (2 if fault == "refused" else 0), bytes(8_000)))
        if fault == "refused":
            rig.engine.reset(rig.sink.streams[stream_id], E.CANCEL)
        rig.sent()
        window += granted(rig, 0)
    assert rig.verdict() is None


@pytest.mark.parametrize("whose", ["stream", "connection"])
def test_more_data_than_a_window_is_a_connection_error(server: MakeRig, whose: str) -> None:
    windows = {f"{each}_window_bytes": 65_535 if each == whose else MiB for each in ("stream", "connection")}
    rig = server(**windows, max_frame_bytes=1 << 17)
    size_bytes = 65_535
    rig.sink.grant = False
    rig.open()
    rig.open()
    rig.feed(f.data(1, bytes(size_bytes)))
    assert rig.verdict() is None
    # The connection's window was granted again when the first came; one frame can be too much for it all the same.
    rig.feed(f.data(1, b"x") if whose == "stream" else f.data(3, bytes(size_bytes + 1)))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


def test_data_on_a_closed_stream_counts_against_the_connections_window(server: MakeRig) -> None:
    rig = server(stream_window_bytes=MiB, connection_window_bytes=65_535)
    rig.sink.grant = False
    stream = rig.open()
    rig.feed(f.data(1, bytes(30_000)))
    rig.engine.reset(stream, E.CANCEL)
    rig.feed(f.data(1, bytes(2_000)))
    assert rig.verdict() is None
    rig.feed(f.data(1, bytes(33_536)))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_closed_engine_holds_nothing_and_sends_nothing(engine_name: str, role: str) -> None:
    """What the layers above do with a stream, or ask of the engine, when its transport is gone."""
    rig = Rig(engine_name, client=role == "client")
    stream = rig.open()
    if role == "server":
        rig.engine.send_headers(stream, RESPONSE)
    rig.engine.send_data(stream, bytes(1 << 20))
    assert stream.queued_bytes
    rig.engine.close()
    assert stream.closed
    assert stream.queued_bytes == 0
    assert not rig.engine.streams
    assert not rig.engine.can_open
    rig.engine.send_data(stream, b"late", True)
    rig.engine.send_headers(stream, TRAILERS, True)
    rig.engine.consumed(stream, 100)
    rig.engine.reset(stream, ErrorCode.CANCEL)
    rig.engine.ping(bytes(8))
    rig.engine.goaway()
    assert rig.engine.take() == b""
