"""`wire.http2.limits`, and what both engines do with it: floods and oversize of every kind end in ENHANCE_YOUR_CALM,
and everything below the limits is served."""

from __future__ import annotations

import gc
import sys
from types import FunctionType, ModuleType
from typing import Any

import pytest

from tests.http2 import frames as f
from tests.http2.conftest import MakeRig
from tests.http2.rig import RESPONSE, TRAILERS, Rig
from wire.config import Http2Config
from wire.http2.codes import ErrorCode, FrameType, Setting
from wire.http2.engine import RESETS_REMEMBERED
from wire.http2.limits import EXPLAINING_BYTES, HARD_HEADER_FACTOR, MAX_UPDATES_AHEAD, Budget, Limits

E = ErrorCode
MiB = 1 << 20


def test_a_budget_gives_its_burst_and_then_its_rate() -> None:
    budget = Budget(3, 2.0)
    assert [budget.charge(10.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.charge(10.5) for _ in range(2)] == [True, False]
    assert [budget.charge(10.75) for _ in range(1)] == [False]
    assert [budget.charge(11.0) for _ in range(2)] == [True, False]


def test_a_budget_starts_with_its_burst() -> None:
    budget = Budget(2, 1.0)
    assert [budget.charge(1e9) for _ in range(3)] == [True, True, False]


def test_a_stall_gives_what_its_time_would_have_let_through_one_by_one() -> None:
    budget = Budget(2, 1.0)
    assert [budget.charge(0.0), budget.charge(0.0)] == [True, True]
    budget.stalled(1.0, 4.0)
    assert [budget.charge(4.0) for _ in range(5)] == [True, True, True, True, False]


def test_a_stall_of_more_than_five_seconds_gives_what_five_do() -> None:
    budget = Budget(2, 1.0)
    budget.stalled(1.0, 1e9)
    assert [budget.charge(1e9) for _ in range(8)] == [True] * 7 + [False]


def test_what_came_late_may_take_as_long_again_to_be_read() -> None:
    budget = Budget(2, 1.0)
    budget.stalled(0.0, 4.0)
    assert [budget.charge(4.0) for _ in range(3)] == [True] * 3
    budget.stalled(4.0, 4.02)
    assert [budget.charge(5.0) for _ in range(3)] == [True, True, False]  # that time is over


def test_time_that_was_no_stall_fills_no_more_than_the_burst() -> None:
    budget = Budget(2, 1.0)
    assert [budget.charge(0.0), budget.charge(0.0)] == [True, True]
    for now in range(100):
        budget.stalled(now + 0.98, now + 1.0)
    assert [budget.charge(100.0) for _ in range(3)] == [True, True, False]


def test_several_may_be_spent_at_once_or_none() -> None:
    budget = Budget(5, 1.0)
    assert [budget.charge(0.0, count) for count in (3, 3, 2)] == [True, False, True]


def test_a_budget_without_a_rate_is_never_refilled() -> None:
    budget = Budget(1, 0.0)
    assert [budget.charge(1.0), budget.charge(1e9)] == [True, False]


def test_a_frame_of_ours_explains_two_window_updates() -> None:
    limits = Limits(Http2Config())
    limits.written = 3
    limits.dribbled = 1
    assert [limits.explains_window_update() for _ in range(5)] == [True] * 4 + [False]


def test_what_explains_is_not_saved_up_past_a_burst() -> None:
    limits = Limits(Http2Config())
    limits.written = MiB
    assert [limits.explains_window_update() for _ in range(MAX_UPDATES_AHEAD + 2)].count(True) == MAX_UPDATES_AHEAD
    limits.written += 1
    assert [limits.explains_window_update() for _ in range(3)] == [True, True, False]


def test_each_stream_explains_one_reset_however_late() -> None:
    limits = Limits(Http2Config())
    assert [limits.explains_reset(50_000) for _ in range(50_001)].count(True) == 50_000
    assert limits.explains_reset(50_001)


def test_frames_of_ours_explain_one_ping() -> None:
    limits = Limits(Http2Config())
    assert not limits.explains_ping()
    limits.written = 5
    assert [limits.explains_ping() for _ in range(2)] == [True, False]
    limits.written = 6
    assert limits.explains_ping()


# Floods. Each is a frame that may be repeated `control_burst` times, and no more.

CONTROLS: dict[str, bytes] = {
    "PING": f.ping(),
    "PING acknowledgement": f.ping(ack=True),
    "SETTINGS": f.settings(),
    "SETTINGS acknowledgement": f.settings(ack=True),
    "PRIORITY": f.priority(1),
    "PRIORITY of an idle stream": f.priority(99),
    "GOAWAY": f.goaway(2**31 - 1),
    "unknown frame": f.frame(0xEE, 0, 0, b"x"),
    "empty DATA": f.data(1),
    "DATA that is less than a message's prefix": f.data(1, b"tiny"),
    "DATA that is padding": f.data(1, b"x", pad=200),
    "WINDOW_UPDATE": f.window_update(0, 1),
    "WINDOW_UPDATE of a stream": f.window_update(1, 1),
    "RST_STREAM of a closed stream": f.rst_stream(3),
    "tiny DATA of a stream that was reset": f.data(3, b"tiny"),
    "padding on a stream that was reset": f.data(3, b"x" * 20, pad=20),
    "HEADERS of a stream that was reset": f.headers(3, f.TRAILERS),
}


@pytest.mark.parametrize("client_role", [False, True], ids=["server", "client"])
@pytest.mark.parametrize("name", CONTROLS)
def test_a_flood_of_frames_that_carry_nothing_is_ended(engine_name: str, client_role: bool, name: str) -> None:
    rig = Rig(engine_name, client=client_role, control_burst=50, controls_per_s=1.0)
    rig.open()
    rig.engine.reset(rig.open(), E.CANCEL)
    if client_role:
        rig.feed(f.headers(1, f.RESPONSE))
    for _ in range(5):  # what our own frames and resets explain
        rig.feed(CONTROLS[name])
        rig.engine.take()
    for _ in range(400):  # the burst is whole again, after time that was no stall
        rig.now += 1 / 64
        rig.feed(b"")
    for _ in range(50):
        rig.feed(CONTROLS[name])
        rig.engine.take()
    assert rig.verdict() is None
    rig.now += 1
    rig.feed(CONTROLS[name])
    assert rig.verdict() is None
    rig.feed(CONTROLS[name])
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_a_flood_of_informational_responses_is_ended(client: MakeRig) -> None:
    rig = client(control_burst=50, controls_per_s=0.0)
    rig.now += 1
    rig.open()
    for _ in range(100):
        rig.feed(f.headers(1, ((b":status", b"103"),)))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_data_and_requests_are_no_controls(server: MakeRig) -> None:
    rig = server(control_burst=5, controls_per_s=0.0)
    for at in range(50):
        rig.feed(f.headers(1 + 2 * at), f.data(1 + 2 * at, b"x" * 6), f.data(1 + 2 * at, end=True))
        rig.engine.send_reply(rig.sink.streams[1 + 2 * at], RESPONSE, b"x", TRAILERS)
        rig.sent()
    assert rig.verdict() is None


def test_window_updates_for_our_data_are_no_controls(client: MakeRig) -> None:
    rig = client(control_burst=3, controls_per_s=0.0)
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    for _ in range(100):
        rig.engine.send_data(stream, b"message")
        rig.sent()
        rig.feed(f.window_update(0, 7), f.window_update(1, 7))
    assert rig.verdict() is None


@pytest.mark.parametrize("size_bytes", [1, EXPLAINING_BYTES])
def test_a_peer_that_dribbles_its_window_explains_nothing(client: MakeRig, size_bytes: int) -> None:
    rig = client(control_burst=30, controls_per_s=0.0)
    rig.feed(f.window_update(0, MiB))
    stream = rig.open()
    rig.engine.send_data(stream, bytes(MiB))
    rig.sent()
    for _ in range(100):
        if not rig.sink.calls:
            rig.sent()
            rig.feed(f.window_update(1, size_bytes))
    assert rig.verdict() == (E.ENHANCE_YOUR_CALM if size_bytes == 1 else None)


@pytest.mark.parametrize("client_role", [False, True], ids=["server", "client"])
def test_a_ping_a_round_trip_costs_nothing_while_we_send(engine_name: str, client_role: bool) -> None:
    rig = Rig(engine_name, client=client_role, control_burst=2, controls_per_s=0.0)
    rig.feed(f.window_update(0, MiB))
    rig.calls()
    stream = rig.open()
    if not client_role:
        rig.engine.send_headers(stream, RESPONSE)
    for _ in range(20):
        rig.engine.send_data(stream, b"message")
        rig.feed(f.ping())
        rig.engine.take()
    assert rig.sink.explained == [True] * 20
    rig.feed(f.ping(), f.ping())
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_late_frames_of_a_queued_reply_explain_pings_too(server: MakeRig) -> None:
    rig = server(control_burst=2, controls_per_s=0.0)
    stream = rig.open(end=True)
    rig.engine.send_reply(stream, RESPONSE, bytes(3 * MiB), TRAILERS)
    rig.feed(f.ping())
    for _ in range(20):
        rig.feed(f.window_update(0, 65_535), f.window_update(1, 65_535), f.ping())
        rig.engine.take()
    assert rig.sink.explained == [True] * 21


def test_answers_to_our_pings_cost_nothing(server: MakeRig) -> None:
    rig = server(control_burst=1, controls_per_s=0.0)
    for _ in range(10):
        rig.engine.ping(b"question")
        rig.feed(f.ping(b"question", ack=True))
    assert rig.verdict() is None


@pytest.mark.parametrize("size_bytes", [6, 25])
def test_data_within_the_window_of_a_stream_that_we_reset_costs_nothing(server: MakeRig, size_bytes: int) -> None:
    rig = server(control_burst=1, controls_per_s=0.0, stream_window_bytes=65_535, connection_window_bytes=65_535)
    rig.engine.reset(rig.open(), E.CANCEL)
    for _ in range(65_535 // size_bytes):
        rig.feed(f.data(1, bytes(size_bytes)))
    assert rig.verdict() is None
    granted = sum(int.from_bytes(frame.payload, "big") for frame in rig.sent() if frame.kind == FrameType.WINDOW_UPDATE)
    assert granted >= 65_535 // 4
    rig.feed(f.data(1, bytes(size_bytes)) * 20)
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_data_that_crosses_the_early_end_of_a_call_costs_nothing(server: MakeRig) -> None:
    rig = server(control_burst=1, controls_per_s=0.0)
    rig.engine.send_headers(rig.open(), RESPONSE, end_stream=True)
    rig.feed(f.data(1, bytes(6)) * 10_000)
    assert rig.verdict() is None


def test_a_response_that_crosses_our_reset_costs_nothing(client: MakeRig) -> None:
    rig = client(control_burst=1, controls_per_s=0.0)
    for at in range(50):
        rig.engine.reset(rig.open(), E.CANCEL)
        stream_id = 1 + 2 * at
        rig.feed(f.headers(stream_id, f.RESPONSE), f.data(stream_id, b"response"))
        rig.feed(f.headers(stream_id, f.TRAILERS, end=True), f.rst_stream(stream_id))
    assert rig.verdict() is None


def test_a_reset_that_crosses_the_end_of_its_call_costs_nothing(server: MakeRig) -> None:
    rig = server(control_burst=1, controls_per_s=0.0, reset_burst=1, resets_per_s=0.0)
    for _ in range(50):
        stream = rig.open(end=True)
        rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
        rig.feed(f.rst_stream(stream.id, E.CANCEL))
    assert rig.verdict() is None


def test_ids_that_were_skipped_explain_no_resets(server: MakeRig) -> None:
    rig = server(control_burst=1, controls_per_s=0.0)
    rig.feed(f.headers(2001, end=True))
    rig.feed(f.rst_stream(1) * 3)
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_resets_of_calls_that_reached_a_handler_cost_nothing(server: MakeRig) -> None:
    rig = server(reset_burst=1, resets_per_s=0.0)
    rig.sink.serves = True
    for at in range(100):
        rig.feed(f.headers(1 + 2 * at, end=True), f.rst_stream(1 + 2 * at, E.CANCEL))
    assert rig.verdict() is None


def test_requests_that_a_server_has_no_room_for_count_as_resets(server: MakeRig) -> None:
    rig = server(reset_burst=10, resets_per_s=0.0)
    rig.sink.react["headers"] = rig.engine.refuse
    for at in range(10):
        rig.feed(f.headers(1 + 2 * at, end=True))
        assert rig.resets() == [(1 + 2 * at, E.REFUSED_STREAM)]
    assert rig.verdict() is None
    rig.feed(f.headers(21, end=True), f.headers(23, end=True))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM
    assert 23 not in rig.sink.streams


def test_entries_of_settings_cost_past_a_few(server: MakeRig) -> None:
    rig = server(control_burst=1000, controls_per_s=0.0)
    rig.feed(f.settings([(0xF000 + at, 1) for at in range(500)]))
    assert rig.verdict() is None
    rig.feed(f.settings([(0xF000, 1)] * 600))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_of_settings_only_the_last_of_each_counts(server: MakeRig) -> None:
    rig = server()
    stream = rig.open()
    rig.engine.send_headers(stream, RESPONSE)
    rig.feed(f.settings([(Setting.INITIAL_WINDOW_SIZE, size) for size in (0, 2**31 - 1, 10)]))
    rig.sent()
    rig.engine.send_data(stream, bytes(100))
    assert len(rig.sent_data()) == 10
    rig.feed(f.settings([(Setting.INITIAL_WINDOW_SIZE, 2**31), (Setting.INITIAL_WINDOW_SIZE, 10)]))
    assert rig.verdict() == E.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("updates", [2, 3])
def test_a_block_begins_with_two_changes_of_the_tables_size_at_most(server: MakeRig, updates: int) -> None:
    rig = server()
    rig.feed(f.headers(1, bytes((0x20, 0x3F, 0xE1, 0x1F, 0x20))[: {2: 4, 3: 5}[updates]] + f.block(f.REQUEST)))
    assert rig.verdict() == (None if updates == 2 else E.COMPRESSION_ERROR)


def test_rapid_reset_is_ended(server: MakeRig) -> None:
    rig = server(reset_burst=100, resets_per_s=10.0)
    for at in range(100):
        rig.feed(f.headers(1 + 2 * at), f.rst_stream(1 + 2 * at))
        rig.calls()
    rig.now += 0.1
    rig.feed(f.headers(201), f.rst_stream(201))
    assert rig.verdict() is None
    rig.feed(f.headers(203), f.rst_stream(203))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_a_client_may_be_reset_as_often_as_it_calls(client: MakeRig) -> None:
    rig = client(reset_burst=1, resets_per_s=0.0)
    for at in range(50):
        rig.open()
        rig.feed(f.rst_stream(1 + 2 * at, E.REFUSED_STREAM))
    assert rig.verdict() is None


PROVOKED: dict[str, Any] = {
    "a stream too many": f.headers,
    "a malformed request": lambda stream_id: f.headers(stream_id, f.TRAILERS),
    "a window past the largest": lambda stream_id: f.headers(stream_id) + f.window_update(stream_id, 2**31 - 1),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_resets_that_we_are_made_to_send_count_as_the_peers(server: MakeRig, name: str) -> None:
    rig = server(reset_burst=20, resets_per_s=0.0, max_concurrent_streams=1)
    if name == "a stream too many":
        rig.open()
    for at in range(1, 21):
        rig.feed(PROVOKED[name](1 + 2 * at))
        assert len(rig.resets()) == 1
    assert rig.verdict() is None
    rig.feed(PROVOKED[name](99))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_our_own_resets_and_early_ends_do_not_count(server: MakeRig) -> None:
    rig = server(reset_burst=1, resets_per_s=0.0, max_queued_replies=1)
    for _ in range(20):
        rig.feed(f.headers(max(rig.sink.streams, default=-1) + 2))
        stream = list(rig.sink.streams.values())[-1]
        if stream.id % 4 == 1:
            rig.engine.reset(stream, E.CANCEL)
        else:
            rig.engine.send_headers(stream, RESPONSE, end_stream=True)
    assert rig.engine.queued_replies == 0
    assert rig.verdict() is None


@pytest.mark.parametrize("name", ["PING", "SETTINGS", "refused streams"])
def test_a_peer_that_does_not_read_its_replies_is_closed(server: MakeRig, name: str) -> None:
    rig = server(max_queued_replies=10, max_concurrent_streams=1)
    rig.open()
    replies = {
        "PING": [f.ping()] * 11,
        "SETTINGS": [f.settings()] * 11,
        "refused streams": [f.headers(3 + 2 * at) for at in range(11)],
    }[name]
    rig.feed(*replies[:10])
    assert rig.engine.queued_replies == 10
    assert len(rig.engine.take()) < 1000
    rig.feed(*replies[:10]) if name != "refused streams" else None
    assert rig.verdict() is None
    rig.engine.take()
    rig.feed(*([f.ping()] * 10))
    rig.feed(replies[10])
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


# Field blocks.


def section_of(size_bytes: int) -> f.Fields:
    """A request that counts as exactly so many bytes (RFC 9113 §6.5.2)."""
    base = sum(len(name) + len(value) + 32 for name, value in f.REQUEST) + len(b"filler") + 32
    return (*f.REQUEST, (b"filler", b"x" * (size_bytes - base)))


def test_a_section_past_the_limit_costs_its_stream(server: MakeRig) -> None:
    rig = server()
    limit = rig.config.max_header_list_bytes
    rig.feed(f.headers(1, section_of(limit)), f.headers(3, section_of(limit + 1)))
    assert [call[:2] for call in rig.calls()] == [("headers", 1)]
    assert rig.resets() == [(3, E.ENHANCE_YOUR_CALM)]
    rig.feed(f.headers(5))
    assert rig.calls() == [("headers", 5, f.REQUEST, False)]


def test_fields_past_their_number_cost_the_stream(server: MakeRig) -> None:
    rig = server(max_header_fields=20)
    room = 20 - len(f.REQUEST)
    rig.feed(f.headers(1, f.REQUEST + ((b"a", b""),) * room), f.headers(3, f.REQUEST + ((b"a", b""),) * (room + 1)))
    assert [call[:2] for call in rig.calls()] == [("headers", 1)]
    assert rig.resets() == [(3, E.ENHANCE_YOUR_CALM)]


def test_trailers_and_responses_have_the_same_limits(client: MakeRig) -> None:
    rig = client(max_header_fields=20)
    rig.open()
    rig.open()
    rig.feed(f.headers(1, f.RESPONSE + ((b"a", b""),) * 20))
    rig.feed(f.headers(3, f.RESPONSE), f.headers(3, ((b"a", b""),) * 21, end=True))
    assert [call for call in rig.calls() if call[0] == "reset"] == [
        ("reset", 1, E.ENHANCE_YOUR_CALM, False),
        ("reset", 3, E.ENHANCE_YOUR_CALM, False),
    ]


def test_an_hpack_bomb_costs_the_connection(server: MakeRig) -> None:
    tracemalloc = pytest.importorskip("tracemalloc", reason="memory is counted by tracemalloc, which PyPy lacks")
    rig = server()
    bomb = f.literal(b"bomb", b"x" * 4000, indexing=True) + f.indexed(62) * 4000  # 4 KiB that say 16 MiB
    tracemalloc.start()
    rig.feed(f.headers(1, bomb))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rig.verdict() == E.ENHANCE_YOUR_CALM
    assert peak < MiB


def test_tiny_data_among_much_is_explained_by_it(server: MakeRig) -> None:
    rig = server(control_burst=2, controls_per_s=0.0)  # its SETTINGS
    rig.open()
    for _ in range(50):
        rig.feed(f.data(1, bytes(1024)), f.data(1, b"x"))
    assert rig.verdict() is None
    rig.feed(f.data(1, b"x") * 3)
    assert rig.verdict() == ErrorCode.ENHANCE_YOUR_CALM


def test_many_tiny_fields_cost_the_connection(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.headers(1, f.indexed(2) * 60_000))
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_continuations_are_counted_at_their_headers(server: MakeRig) -> None:
    rig = server(max_continuation_frames=3)
    rig.feed(f.headers(1, end_headers=False), *[f.continuation(1, b"", end_headers=False)] * 2, f.continuation(1))
    assert [call[0] for call in rig.calls()] == ["headers"]
    rig.feed(f.headers(3, end_headers=False), *[f.continuation(3, b"", end_headers=False)] * 3)
    assert rig.verdict() is None
    rig.feed(f.continuation(3, b"x" * 100)[:9])
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_a_block_is_measured_at_its_headers(server: MakeRig) -> None:
    hard_bytes = HARD_HEADER_FACTOR * 1024
    rig = server(max_header_list_bytes=1024)
    rig.feed(f.headers(1, bytes(hard_bytes + 1))[:9])
    assert rig.verdict() == E.ENHANCE_YOUR_CALM
    rig = server(max_header_list_bytes=1024)
    rig.feed(f.headers(1, bytes(hard_bytes - 10), end_headers=False))
    assert rig.verdict() is None
    rig.feed(f.continuation(1, bytes(11))[:9])
    assert rig.verdict() == E.ENHANCE_YOUR_CALM


def test_a_frame_is_measured_at_its_header(server: MakeRig) -> None:
    rig = server(max_frame_bytes=20_000)
    rig.open()
    rig.feed(f.data(1, bytes(20_000)))
    assert rig.verdict() is None
    rig.feed(f.data(1, bytes(20_001))[:9])
    assert rig.verdict() == E.FRAME_SIZE_ERROR


# Memory.


def do_its_worst(rig: Rig, rounds: int) -> int:
    """Have the peer vary whatever it can; the bytes that the engine holds at the end."""
    for _ in range(rounds):
        stream_id = next(iter(rig.sink.streams), -1) + 2
        rig.sink.streams.clear()
        trace = b"%020d" % stream_id
        rig.feed(f.headers(stream_id, f.block(f.REQUEST) + f.literal(b"trace", trace, indexing=True)))
        rig.feed(f.settings([(0x1000 + stream_id % 50_000, 1), (Setting.HEADER_TABLE_SIZE, stream_id % 4096)]))
        stream = rig.sink.streams[stream_id]
        if stream_id % 6 == 1:
            rig.engine.send_reply(stream, RESPONSE, b"x", TRAILERS)
        else:
            rig.engine.reset(stream, E.CANCEL)
        rig.engine.take()
        rig.calls()
        rig.sink.sections.clear()
    seen: set[int] = set()
    waiting: list[object] = [rig.engine]
    size_bytes = 0
    while waiting:
        held = waiting.pop()
        if id(held) not in seen and not isinstance(held, (type, ModuleType, FunctionType)):
            seen.add(id(held))
            size_bytes += sys.getsizeof(held)
            waiting += gc.get_referents(held)
    return size_bytes


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="memory is counted by sys.getsizeof, which PyPy lacks")
def test_memory_does_not_grow_with_what_has_passed(server: MakeRig) -> None:
    rig = server(control_burst=1 << 30, reset_burst=1 << 30)
    before = do_its_worst(rig, 2 * RESETS_REMEMBERED)
    assert do_its_worst(rig, 1000) - before < 64 * 1024
    assert rig.verdict() is None


def test_a_reset_may_be_forgotten_without_harm(server: MakeRig) -> None:
    rig = server(control_burst=1 << 20)
    for _ in range(RESETS_REMEMBERED + 5):
        rig.engine.reset(rig.open(), E.CANCEL)
    rig.feed(f.data(1, b"very late"), f.data(7, b"late"), f.data(2 * RESETS_REMEMBERED + 5, b"late"))
    assert rig.verdict() is None


def test_another_connection_is_unharmed(engine_name: str) -> None:
    attacked, other = (Rig(engine_name, client=False, control_burst=5, controls_per_s=0.0) for _ in range(2))
    stream = other.open()
    attacked.feed(*[f.ping()] * 100)
    assert attacked.verdict() == E.ENHANCE_YOUR_CALM
    other.feed(f.data(stream.id, b"x", end=True))
    assert other.calls() == [("data", 1, b"x", True)]
    assert other.verdict() is None


def test_a_slow_reader_is_queued_no_more_than_was_sent(server: MakeRig) -> None:
    rig = server()
    rig.feed(f.settings([(Setting.INITIAL_WINDOW_SIZE, 0)]))
    stream = rig.open(end=True)
    rig.engine.send_headers(stream, RESPONSE)
    for _ in range(4):
        rig.engine.send_data(stream, bytes(16_384))
    assert stream.queued_bytes == 65_536
    rig.engine.reset(stream, E.CANCEL)
    assert stream.queued_bytes == 0
