"""Answers that the tuned engine recognizes as a whole, and what only looks like one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hpack import Encoder

from tests.http2 import frames as f
from tests.http2.rig import REQUEST, Asker, Rig
from wire.http2.codes import ErrorCode


class _Client(Rig):
    """A client whose peer's blocks are indices, as servers' are once their table holds the fields."""

    def __init__(self, **config: Any) -> None:
        super().__init__("tuned", client=True, **config)
        self._encoder = Encoder()

    @property
    def whole(self) -> int:
        """How many answers were taken in one piece."""
        return self.sink.whole

    def ask(self, calls: int = 1) -> list[int]:
        streams = [self.engine.send_request(REQUEST, b"request") for _ in range(calls)]
        for stream in streams:
            Asker(self.sink, stream)
        return [stream.id for stream in streams]

    def parts(
        self,
        stream_id: int,
        message: bytes = b"reply",
        response: f.Fields = f.RESPONSE,
        trailers: f.Fields = f.TRAILERS,
    ) -> list[bytes]:
        return [
            f.headers(stream_id, self._encoder.encode(response)),
            f.data(stream_id, message),
            f.headers(stream_id, self._encoder.encode(trailers), end=True),
        ]

    def answer(self, stream_id: int, message: bytes = b"reply") -> bytes:
        return b"".join(self.parts(stream_id, message))

    def settle(self) -> None:
        """Three answers: the first fills the tables, and the blocks of the others are the same."""
        for stream_id in self.ask(3):
            self.feed(self.answer(stream_id))
        assert not self.whole
        self.calls()


def told(stream_id: int, message: bytes = b"reply") -> list[tuple[object, ...]]:
    return [
        ("headers", stream_id, f.RESPONSE, False),
        ("data", stream_id, message, False),
        ("trailers", stream_id, f.TRAILERS),
    ]


@pytest.mark.parametrize("takes", [True, False])
def test_answers_that_repeat_are_reported_whole_and_otherwise_in_parts(takes: bool) -> None:
    client = _Client()
    client.settle()
    client.sink.takes = takes
    messages = [b"first", b"", b"second" * 1000, b"third"]
    asked = client.ask(4)
    client.feed(*map(client.answer, asked, messages))
    expected = [each for call in map(told, asked, messages) for each in call if each[2:] != (b"", False)]
    assert client.calls() == expected
    assert client.whole == (3 if takes else 0)  # DATA without a message in it is taken in parts
    assert not client.engine.streams
    assert client.engine.can_open


def test_an_answer_in_any_pieces_is_the_same() -> None:
    client = _Client()
    client.settle()
    for size in range(1, 60):
        asked = client.ask(2)
        data = b"".join(map(client.answer, asked))
        for at in range(0, len(data), size):
            client.feed(data[at : at + size])
        assert client.calls() == [*told(asked[0]), *told(asked[1])]


def test_the_window_of_the_connection_is_granted_again_behind_whole_answers() -> None:
    client = _Client(connection_window_bytes=100_000)
    client.settle()
    window = client.engine.windows[1]
    grants = 0
    client.sent()
    for stream_id in client.ask(80):
        client.sent()
        client.feed(client.answer(stream_id, bytes(16_000)))
        granted = [frame.number for frame in client.sent() if not frame.stream_id]
        grants += len(granted)
        window += sum(granted) - 16_000
        assert client.engine.windows[1] == window
    assert grants
    assert client.whole == 80 - grants  # DATA that has the window granted again is read by itself


def test_a_table_that_changes_ends_what_was_known() -> None:
    client = _Client()
    client.settle()
    first, second, third, *rest = client.ask(6)
    client.feed(client.answer(first))
    other = (*f.RESPONSE, (b"date", b"now"))
    client.feed(b"".join(client.parts(second, response=other)))  # enters the table: indices are others
    client.feed(client.answer(third))
    assert client.whole == 1
    client.feed(*map(client.answer, rest))
    assert client.calls() == [
        *told(first),
        ("headers", second, other, False),
        *told(second)[1:],
        *told(third),
        *[each for stream_id in rest for each in told(stream_id)],
    ]
    assert client.whole == 3


def test_answers_that_differ_in_turn_are_read_in_parts() -> None:
    client = _Client()
    client.settle()
    other = (*f.RESPONSE, (b"server", b"other"))
    for stream_id in client.ask(4):
        client.feed(*client.parts(stream_id, response=other))
    whole = client.whole
    for one, two in (client.ask(2), client.ask(2)):
        client.feed(client.answer(one), *client.parts(two, response=other))
    assert client.whole == whole + 2  # those that are as the last ones known


_Spoil = Callable[[_Client, int], bytes]

_SPOILED: dict[str, _Spoil] = {
    "no trailers": lambda client, each: b"".join(client.parts(each)[:2]),
    "two DATA frames": lambda client, each: b"".join([*client.parts(each)[:2], *client.parts(each)[1:]]),
    "another stream's DATA": lambda client, each: b"".join([client.parts(each)[0], *client.parts(each - 2)[1:]]),
    "another status": lambda client, each: b"".join(client.parts(each, trailers=((b"grpc-status", b"5"),))),
    "padding": lambda client, each: client.parts(each)[0] + f.data(each, b"reply", pad=3) + client.parts(each)[2],
    "trailers that do not end": lambda client, each: (
        b"".join(client.parts(each)[:2]) + f.headers(each, client.parts(each)[2][9:])
    ),
}


@pytest.mark.parametrize("spoil", _SPOILED.values(), ids=_SPOILED)
def test_what_only_looks_like_an_answer_is_read_frame_by_frame(spoil: _Spoil) -> None:
    client, careful = _Client(), _Client()
    careful.sink.takes = False
    for each in client, careful:
        each.settle()
        asked = each.ask(2)
        each.feed(spoil(each, asked[1]))
    assert client.calls() == careful.calls()
    assert client.whole == 0
    assert client.sent() == careful.sent()


def test_an_answer_to_a_request_that_goes_on_leaves_its_stream() -> None:
    client = _Client()
    client.settle()
    stream = client.engine.open_stream(REQUEST)
    Asker(client.sink, stream)
    client.feed(client.answer(stream.id))
    assert client.whole == 0
    assert client.calls() == told(stream.id)
    assert not stream.closed


@pytest.mark.parametrize("late", ["reset", "answered"])
def test_an_answer_on_a_closed_stream_is_judged_as_frames_are(late: str) -> None:
    client = _Client()
    client.settle()
    stream = client.engine.send_request(REQUEST, b"request")
    Asker(client.sink, stream)
    if late == "reset":
        client.engine.reset(stream, ErrorCode.CANCEL)
    else:
        client.feed(client.answer(stream.id))
        assert client.whole == 1
    client.sent()
    client.calls()
    client.feed(client.answer(stream.id))
    assert client.calls() == ([] if late == "reset" else [("error", ErrorCode.STREAM_CLOSED)])


def test_a_full_connection_has_room_when_the_answer_is_told() -> None:
    client = _Client()
    client.settle()
    client.feed(f.settings({3: 2}))
    asked = client.ask(2)
    assert not client.engine.can_open
    client.feed(client.answer(asked[0]))
    assert client.whole == 1
    assert client.engine.can_open
    client.sink.takes = False
    client.ask()
    client.feed(client.answer(asked[1])[:-11])
    assert not client.engine.can_open


def test_a_request_with_fields_of_its_own_leaves_whole() -> None:
    client = _Client()
    client.settle()
    client.sent_fields()
    long = (b"x-long", b"v" * 40_000)
    for extra in (((b"grpc-timeout", b"1S"),), (), (long,), ((b"grpc-timeout", b"2S"), (b"x-new", b"v")), ()):
        stream = client.engine.send_request(REQUEST, b"request", extra)
        assert client.sent_fields() == [(stream.id, REQUEST.fields + extra, False)]
        *_, data = client.last
        assert (data.stream_id, data.payload, data.end) == (stream.id, b"request", True)
        assert client.engine.windows[0] == 65_535 - 7 * (stream.id // 2 + 1)
    assert len(client.last) == 2
