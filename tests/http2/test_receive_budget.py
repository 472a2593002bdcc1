"""The budget of what a connection's peer may send: bounded, fair, and given back."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wire.http2.engine import Stream
from wire.http2.receive_budget import ReceiveBudget

WINDOW, MAX_WINDOW, BUDGET = 100, 800, 2000


class Peer(Stream):
    """A stream, its peer that sends messages one after another, and their reader."""

    def __init__(self, stream_id: int) -> None:
        super().__init__(stream_id)
        self.receive_window = WINDOW
        self.credit_bytes = 0
        self.held = 0
        self.message = 0  # length of the one that is being sent
        self.sent = 0


class Connection:
    def __init__(self) -> None:
        self.budget = ReceiveBudget(WINDOW, MAX_WINDOW, BUDGET)
        self.peers = {stream_id: Peer(stream_id) for stream_id in range(6)}
        self.longest = 0

    def send(self, peer: Peer, length: int, waits: bool) -> None:
        """So much of the message as the window allows; its reader may wait for it."""
        if not peer.message:
            peer.message, peer.sent = length, 0
        size = min(peer.message - peer.sent, peer.receive_window)
        peer.receive_window -= size
        peer.held += size
        peer.sent += size
        if waits and peer.sent < peer.message:
            self.longest = max(self.longest, peer.message)
            self.budget.expect(peer, peer.message - peer.sent)

    def take(self, peer: Peer) -> None:
        if peer.message and peer.sent == peer.message:
            peer.held -= peer.message
            self.budget.consumed(peer, peer.message)
            peer.message = 0

    def close(self, peer: Peer) -> None:
        self.budget.forget(peer.id)
        self.peers[peer.id] = Peer(peer.id)

    def check(self) -> None:
        reserved = self.budget.reserved_bytes
        assert 0 <= reserved <= max(BUDGET, BUDGET // 2 + self.longest)
        held = sum(peer.held + peer.receive_window + peer.credit_bytes for peer in self.peers.values())
        assert held == WINDOW * len(self.peers) + reserved


steps = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3000), st.sampled_from(["wait", "send", "take", "close"])))


@settings(max_examples=300)
@example([(0, 416, "send"), (1, 50, "wait"), (2, 816, "send"), (3, 50, "wait"), (4, 869, "wait")])
@given(steps)
def test_what_is_held_and_under_way_is_bounded_and_every_message_that_is_waited_for_comes(
    steps: list[tuple[int, int, str]],
) -> None:
    connection = Connection()
    for stream_id, length, what in steps:
        peer = connection.peers[stream_id]
        if what == "close":
            connection.close(peer)
        elif what == "take":
            connection.take(peer)
        else:
            connection.send(peer, length, waits=what == "wait")
        connection.check()
    for _ in range(20):  # everybody reads on: nobody is left behind
        for peer in connection.peers.values():
            if peer.message:
                connection.send(peer, 0, waits=True)
                connection.take(peer)
                connection.check()
    assert not any(peer.message for peer in connection.peers.values())
    for peer in list(connection.peers.values()):
        connection.close(peer)
    assert connection.budget.reserved_bytes == 0
    assert not connection.budget.shares


def test_a_message_gets_exactly_what_it_lacks_in_one_grant() -> None:
    connection = Connection()
    peer = connection.peers[1]
    connection.send(peer, 1000, waits=False)
    assert connection.budget.expect(peer, 900) == [(1, 900)]
    assert connection.budget.expect(peer, 900) == ()
    assert peer.receive_window == 900


def test_messages_that_do_not_fit_wait_in_order() -> None:
    connection = Connection()
    first, second, third, fourth = list(connection.peers.values())[:4]
    for peer, length in ((first, 1900), (second, 1000), (third, 150)):
        connection.send(peer, length, waits=True)
    assert (second.receive_window, third.receive_window) == (0, 0)
    connection.send(first, 0, waits=True)
    connection.take(first)
    assert second.receive_window == 900
    assert third.receive_window == 50
    connection.send(fourth, 5000, waits=True)  # more than there is: when it is the only one
    assert fourth.receive_window == 0
    connection.close(second)
    assert fourth.receive_window == 0
    connection.close(third)
    assert fourth.receive_window == 4900


def test_a_stream_that_is_read_widens_and_leaves_something_for_the_next() -> None:
    connection = Connection()
    widths = []
    for peer in connection.peers.values():
        for _ in range(50):
            connection.send(peer, 50, waits=True)
            connection.take(peer)
        widths.append(peer.receive_window + peer.credit_bytes)
    assert widths[0] == 400
    assert widths == sorted(widths, reverse=True)
    assert widths[1] > WINDOW
    assert connection.budget.reserved_bytes <= BUDGET // 2
