"""Messages of 4 MiB that want more than their bytes: of depth, of fields, of objects."""

from __future__ import annotations

from functools import cache

from tests.hostile.rig import ALL_LOOPS, MIB, Rig, hostile, message_mib, unread_mib
from tests.http2 import frames as f
from wire.config import ServerConfig
from wire.rpc.framing import frame
from wire.status import StatusCode

STAYS_MIB = 80.0
"""Holes in the memory of the thread that decodes: what one message took at most, and the next one uses."""


def _held(config: ServerConfig) -> float:
    """What objects may take (`max_decoded_bytes`), and text, bytes and numbers beside them, at 20 times their bytes."""
    objects = (config.calls.max_decoded_bytes or 64 * MIB) / MIB
    return unread_mib(config) + message_mib(config) + max(objects, 20 * message_mib(config) / 2)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _within(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


@cache
def _nested(number: int, depth: int, size: int) -> bytes:
    """A payload inside `depth` messages."""
    body = _within(1, b"x" * size)
    for _ in range(depth):
        body = _within(number, body)
    return body


def _send(rig: Rig, method: str, message: bytes, count: int = 1) -> set[int]:
    """The statuses of as many calls, one after the other."""
    peer = rig.connect()
    for _ in range(count):
        stream_id = peer.request(method, end=False)
        body = frame(message)
        sent = peer.push_body(stream_id, body)
        if sent == len(body):
            peer.send(f.data(stream_id, end=True))
        assert peer.wait_ended(stream_id), f"no end of the call: {peer.goaways}"
    return {*peer.statuses.values(), *peer.resets.values()}


_FULL = 4 * MIB - 4096


@hostile(_held, stays_mib=STAYS_MIB, loops=ALL_LOOPS)
def test_a_hundred_levels_around_4_mib(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseTree", _nested(2, 99, _FULL))


@hostile(_held, stays_mib=STAYS_MIB)
def test_more_levels_than_are_allowed(rig: Rig) -> None:
    for _ in rig.rounds():
        assert _send(rig, "ParseTree", _nested(2, 5000, 10)) == {StatusCode.INTERNAL}
        assert _send(rig, "ParseChoice", _nested(4, 100_000, 10)) == {StatusCode.INTERNAL}


@hostile(_held, stays_mib=STAYS_MIB)
def test_levels_of_groups(rig: Rig) -> None:
    """Unknown fields, which are skipped: without end, and with."""
    for _ in rig.rounds():
        start, end = _varint(99 << 3 | 3), _varint(99 << 3 | 4)
        assert _send(rig, "ParseTree", start * (MIB // 2)) == {StatusCode.INTERNAL}
        _send(rig, "ParseTree", start * (MIB // 2) + end * (MIB // 2))


@hostile(_held, stays_mib=STAYS_MIB, loops=ALL_LOOPS)
def test_2_million_empty_messages(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseTree", b"\x1a\x00" * (_FULL // 2))


@hostile(_held, stays_mib=STAYS_MIB)
def test_empty_messages_within_empty_messages(rig: Rig) -> None:
    """Wide and deep."""
    body = b"\x1a\x00" * 1000
    for _ in range(50):
        body = _within(2, body + b"\x1a\x00" * 1000)
    for _ in rig.rounds():
        _send(rig, "ParseTree", body)


@hostile(_held, stays_mib=STAYS_MIB)
def test_fields_that_are_unknown(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseTree", (_varint(500 << 3) + b"\1") * (_FULL // 3))


@hostile(_held, stays_mib=STAYS_MIB)
def test_unknown_fields_in_many_messages(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseTree", _within(3, _varint(500 << 3) + b"\1") * (_FULL // 5))


@hostile(_held, stays_mib=STAYS_MIB)
def test_4_million_packed_numbers(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseLists", _within(3, b"\1" * _FULL))


@hostile(_held, stays_mib=STAYS_MIB)
def test_large_packed_numbers(rig: Rig) -> None:
    """Each an object of its own."""
    for _ in rig.rounds():
        _send(rig, "ParseLists", _within(4, _varint(1 << 20) * (_FULL // 3)))


@hostile(_held, stays_mib=STAYS_MIB)
def test_numbers_in_fields_of_their_own(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseLists", b"\x18\1" * (_FULL // 2))


@hostile(_held, stays_mib=STAYS_MIB)
def test_empty_strings_and_bytes(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseLists", b"\x72\0\x7a\0" * (_FULL // 4))


@hostile(_held, stays_mib=STAYS_MIB)
def test_small_strings(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseLists", b"\x72\2ab" * (_FULL // 4))


@hostile(_held, stays_mib=STAYS_MIB)
def test_entries_of_a_map(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseMaps", b"".join(_within(1, b"\x08" + _varint(number)) for number in range(_FULL // 6)))


@hostile(_held, stays_mib=STAYS_MIB)
def test_empty_entries_of_a_map(rig: Rig) -> None:
    for _ in rig.rounds():
        _send(rig, "ParseMaps", b"\x0a\0" * (_FULL // 2))


@hostile(_held, stays_mib=STAYS_MIB)
def test_messages_in_a_map(rig: Rig) -> None:
    entries = b"".join(_within(5, b"\x08" + _varint(number) + b"\x12\0") for number in range(_FULL // 8))
    for _ in rig.rounds():
        _send(rig, "ParseTree", entries)


@hostile(_held, stays_mib=STAYS_MIB)
def test_a_field_that_is_given_again_and_again(rig: Rig) -> None:
    """The last one counts, but for messages, which are merged."""
    for _ in rig.rounds():
        _send(rig, "ParseTree", _within(2, b"\x0a\0") * (_FULL // 4))


@hostile(_held, stays_mib=STAYS_MIB)
def test_many_calls_of_100_kib_at_once(rig: Rig) -> None:
    body = frame(b"\x1a\x00" * 50_000)
    for _ in rig.rounds():
        peer = rig.connect()
        streams = []
        for _ in range(40 if rig.full else 10):
            stream_id = peer.request("ParseTree", end=False)
            streams.append(stream_id)
            if peer.push_body(stream_id, body) == len(body):
                peer.send(f.data(stream_id, end=True))
        assert peer.wait_ended(*streams)
