"""Deadlines that go on from a handler's caller to what the handler calls."""

from __future__ import annotations

from typing import Any

import pytest

import wire
from tests.support import Probe, ProbeStub, collect, end_of, run, start, status_of
from wire import StatusCode
from wire.interceptors.deadlines import keep_deadline, pass_deadline
from wire.testing import channel_for
from wire.transport.runtime import LoopName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


class Left(Probe):
    """Answers with the time that its caller has left, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float | None] = []

    def unary(self, request: bytes, context: wire.ServerContext) -> bytes:
        self.seen.append(context.time_remaining())
        return b""


def _through(
    *calls: tuple[float | None, float | None], method: str = "Unary", margin_s: float = 0.0, loop: LoopName = "asyncio"
) -> list[float | None]:
    """What the second server sees of calls (time-out of the first call, of the one that its handler makes)."""

    async def main() -> list[float | None]:
        behind = Left()
        async with channel_for(behind, channel_interceptors=[pass_deadline(margin_s)]) as second:
            own: float | None = None

            async def pass_on(request: Any, context: wire.ServerContext) -> bytes:
                return await ProbeStub(second).unary(b"", timeout=own)

            async def pass_on_and_stream(request: Any, context: wire.ServerContext) -> Any:
                yield await pass_on(request, context)

            handler = pass_on if method in {"Unary", "ClientStream"} else pass_on_and_stream
            async with channel_for(Probe(**{method: handler}), interceptors=[keep_deadline()]) as first:
                for timeout, own in calls:  # noqa: B007 - the handler's
                    assert (await end_of(start(ProbeStub(first), method, timeout=timeout), method))[0] is StatusCode.OK
        return behind.seen

    return run(main, loop=loop)


@pytest.mark.parametrize("method", METHODS)
def test_a_call_within_a_handler_has_the_time_that_the_caller_has_left(method: str) -> None:
    ((seen,),) = [_through((500, None), method=method)]
    assert seen is not None
    assert 400 < seen <= 500


def test_the_shorter_of_both_times_counts_and_none_is_none(loop: LoopName) -> None:
    shorter, longer, alone, none = _through((500, 100), (100, 500), (None, 100), (None, None), loop=loop)
    for seen in (shorter, longer, alone):
        assert seen is not None
        assert 50 < seen <= 100
    assert none is None


def test_a_margin_is_left_for_the_way_back() -> None:
    (seen,) = _through((500, None), margin_s=300)
    assert seen is not None
    assert 100 < seen <= 200
    with pytest.raises(wire.ConfigurationError, match="a margin is 0 or more seconds, and not -1"):
        pass_deadline(-1)


def test_a_call_without_time_left_is_not_sent() -> None:
    async def main() -> None:
        behind = Left()
        async with channel_for(behind, channel_interceptors=[pass_deadline(margin_s=1000)]) as second:
            ends: list[StatusCode] = []

            async def pass_on(request: bytes, context: wire.ServerContext) -> bytes:
                ends.append((await status_of(ProbeStub(second).unary(b"")))[0])
                return b""

            async with channel_for(Probe(unary=pass_on), interceptors=[keep_deadline()]) as first:
                await ProbeStub(first).unary(b"", timeout=500)
            assert (ends, behind.seen) == ([StatusCode.DEADLINE_EXCEEDED], [])

    run(main)


def test_calls_outside_of_handlers_are_as_they_were() -> None:
    async def main() -> None:
        behind = Left()
        async with channel_for(behind, channel_interceptors=[pass_deadline()]) as channel:
            stub = ProbeStub(channel)
            await stub.unary(b"")
            assert behind.seen == [None]
            assert await collect(stub.bidi([b"x"])) == [b"x"]
            async with stub.bidi() as call:
                await call.send(b"y")
                assert await anext(call) == b"y"
                await call.end()

    run(main)


def test_threads_pass_their_callers_deadline_on() -> None:
    async def main() -> None:
        behind = Left()
        async with wire.Server([behind]) as server:
            address = await server.listen("memory:")

            def pass_on(request: bytes, context: wire.ServerContext) -> bytes:
                with wire.blocking.Channel(address, interceptors=[pass_deadline()]) as second:
                    return ProbeStub(second).unary(b"")

            config = wire.ServerConfig(handler_threads=1)
            async with channel_for(Probe(unary=pass_on), config=config, interceptors=[keep_deadline()]) as first:
                await ProbeStub(first).unary(b"", timeout=500)
        (seen,) = behind.seen
        assert seen is not None
        assert 400 < seen <= 500

    run(main)
