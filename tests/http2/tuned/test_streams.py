from __future__ import annotations

from wire.http2.tuned.streams import Flow


def test_a_send_window_may_go_below_zero_but_not_past_the_largest() -> None:
    flow = Flow(1, 100, 100)
    assert flow.widen(-300)
    assert flow.send_window == -200
    assert flow.widen(2**31 + 199)
    assert not flow.widen(1)


def test_data_past_the_receive_window_is_seen() -> None:
    flow = Flow(1, 0, 10)
    assert flow.take_in(10)
    assert not flow.take_in(1)
