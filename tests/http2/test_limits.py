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
from wire.http2.codes import ErrorCode, Setting
from wire.http2.engine import RESETS_REMEMBERED
from wire.http2.limits import EXPLAINING_BYTES, HARD_HEADER_FACTOR, Budget, Limits

E = ErrorCode
MiB = 1 << 20


def test_a_budget_gives_its_burst_and_then_its_rate() -> None:
    budget = Budget(3, 2.0)
    assert [budget.spend(10.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(10.5) for _ in range(2)] == [True, False]
    assert [budget.spend(10.75) for _ in range(1)] == [False]
    assert [budget.spend(11.0) for _ in range(2)] == [True, False]


def test_a_budget_holds_no_more_than_its_burst() -> None:
    budget = Budget(2, 1.0)
    assert [budget.spend(1e9) for _ in range(3)] == [True, True, False]
    assert [budget.spend(2e9) for _ in range(3)] == [True, True, False]


def test_a_budget_without_a_rate_is_never_refilled() -> None:
    budget = Budget(1, 0.0)
    assert [budget.spend(1.0), budget.spend(1e9)] == [True, False]


def test_explained_window_updates_cost_nothing() -> None:
    limits = Limits(Http2Config(control_burst=1, controls_per_s=0.0))
    limits.explained += 2
    assert [limits.window_update(0.0) for _ in range(4)] == [True, True, True, False]


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
    "DATA that is padding": f.data(1, b"x", pad=200),
    "WINDOW_UPDATE": f.window_update(0, 1),
    "WINDOW_UPDATE of a stream": f.window_update(1, 1),
    "RST_STREAM of a closed stream": f.rst_stream(3),
    "DATA of a stream that was reset": f.data(3, b"late"),
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
    rig.now += 1000
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
        rig.feed(f.headers(1 + 2 * at), f.data(1 + 2 * at, b"x"), f.data(1 + 2 * at, end=True))
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
