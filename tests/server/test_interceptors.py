"""Interceptors in front of handlers, and callbacks when a call's status is decided, for all four kinds."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

import wire
from tests.support import Pair, Probe, ProbeStub, end_of, on_pair, run, serving, start
from wire import ServerContext, StatusCode
from wire.config import EngineName

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


def _with_server(
    test: Callable[[wire.Channel, ProbeStub], Any], *interceptors: wire.ServerInterceptor, probe: Probe | None = None
) -> None:
    async def main() -> None:
        async with wire.Server([probe or Probe()], interceptors=interceptors) as server:
            address = await server.listen("127.0.0.1:0")
            async with wire.Channel(address) as channel:
                await test(channel, ProbeStub(channel))
            await server.stop(0)

    run(main)


def test_interceptors_are_asked_once_for_each_method_and_the_first_is_outermost() -> None:
    made: list[str] = []
    called: list[str] = []

    def named(name: str) -> wire.ServerInterceptor:
        def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
            made.append(f"{name} {method.name}")

            def intercepted(request: Any, context: ServerContext) -> Any:
                called.append(name)
                return handler(request, context)

            return intercepted

        return interceptor

    async def test(channel: wire.Channel, stub: ProbeStub) -> None:
        for method in METHODS:
            called.clear()
            assert await end_of(start(stub, method), method) == (StatusCode.OK, "")
            assert called == ["outer", "inner"]

    _with_server(test, named("outer"), named("inner"))
    assert made == [f"{name} {method}" for method in METHODS for name in ("inner", "outer")]


def test_an_interceptor_answers_refuses_and_changes_what_the_handler_gets() -> None:
    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        def intercepted(request: Any, context: ServerContext) -> Any:
            if request == b"refuse":
                raise wire.RpcError(StatusCode.PERMISSION_DENIED, "no")
            if request == b"answer":
                return b"answered"
            return handler(request + b"!", context)

        return intercepted

    async def test(channel: wire.Channel, stub: ProbeStub) -> None:
        assert await stub.unary(b"x") == b"x!"
        assert await stub.unary(b"answer") == b"answered"
        assert await end_of(stub.unary(b"refuse"), "Unary") == (StatusCode.PERMISSION_DENIED, "no")

    _with_server(test, interceptor)


def test_what_is_no_handler_is_refused_when_the_server_is_made() -> None:
    with pytest.raises(wire.ServiceError, match=r"returned no handler for /probe.v1.Probe/Unary"):
        wire.Server([Probe()], interceptors=[lambda method, handler: None])  # type: ignore[list-item, return-value]


class Misspelt(Probe):
    def uanry(self, request: bytes, context: ServerContext) -> bytes:
        return request


def test_a_handler_of_a_name_that_no_method_has_is_refused() -> None:
    with pytest.raises(wire.ServiceError, match=r"Misspelt\.uanry takes .* no method of that name; did you mean unary"):
        wire.Server([Misspelt()])


def _noted(seen: list[Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    def noting(request: Any, context: ServerContext) -> Any:
        assert context.code is None
        context.add_done_callback(lambda context: seen.append((context.code, context.message)))
        return handler(request, context)

    return noting


@pytest.mark.parametrize("method", METHODS)
def test_a_done_callback_is_told_the_status_once(method: str, engine: EngineName) -> None:
    seen: list[Any] = []
    probe = Probe()
    kinds = {"Unary": probe.unary, "ServerStream": probe.server_stream}
    kinds |= {"ClientStream": probe.client_stream, "Bidi": probe.bidi}  # type: ignore[dict-item]

    async def test(pair: Pair) -> None:
        assert await end_of(start(pair.stub, method), method) == (StatusCode.OK, "")

    on_pair(test, Probe(**{method: _noted(seen, kinds[method])}), engine=engine)
    assert seen == [(StatusCode.OK, "")]


def _raises(request: Any, context: ServerContext) -> Any:
    raise wire.RpcError(StatusCode.NOT_FOUND, "gone")


@pytest.mark.parametrize("method", METHODS)
def test_a_done_callback_is_told_why_a_call_failed(method: str) -> None:
    seen: list[Any] = []

    async def test(pair: Pair) -> None:
        assert await end_of(start(pair.stub, method), method) == (StatusCode.NOT_FOUND, "gone")

    on_pair(test, Probe(**{method: _noted(seen, _raises)}))
    assert seen == [(StatusCode.NOT_FOUND, "gone")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_done_callback_is_told_that_nobody_waits_any_more(method: str, how: str) -> None:
    ended: list[Any] = []

    async def test(pair: Pair) -> None:
        call = start(pair.stub, method, timeout=0.2 if how == "deadline" else None)
        with anyio.fail_after(30):
            await entered.wait()
            if how == "cancel":
                call.cancel()
            await told.wait()
        await end_of(call, method)

    async def hang(request: Any, context: ServerContext) -> Any:
        entered.set()
        await anyio.sleep_forever()

    def done(context: ServerContext) -> None:
        ended.append(context.code)
        told.set()

    def handler(request: Any, context: ServerContext) -> Any:
        context.add_done_callback(done)
        return hang(request, context)

    entered, told = anyio.Event(), anyio.Event()
    on_pair(test, Probe(**{method: handler}))
    told_by = {StatusCode.CANCELLED}  # the client, which may be the first to see the deadline pass
    assert ended[0] in (told_by | {StatusCode.DEADLINE_EXCEEDED} if how == "deadline" else told_by)
    assert len(ended) == 1


def test_done_callbacks_come_in_order_what_they_raise_is_logged_and_a_late_one_is_called_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []

    def fail(context: ServerContext) -> None:
        seen.append("first")
        raise ValueError("in a callback")

    async def late(requests: AsyncIterator[bytes], context: ServerContext) -> bytes:
        context.add_done_callback(fail)
        context.add_done_callback(lambda context: seen.append("second"))
        try:
            async for _ in requests:
                entered.set()
        finally:
            context.add_done_callback(lambda context: seen.append("late"))
            context.add_done_callback(lambda context: done.set())
        return b""

    async def test(pair: Pair) -> None:
        call = pair.stub.client_stream()
        await call.send(b"1")
        with anyio.fail_after(30):
            await entered.wait()
            call.cancel()
            await done.wait()

    entered, done = anyio.Event(), anyio.Event()
    with caplog.at_level(logging.ERROR, logger="wire.server"):
        on_pair(test, Probe(ClientStream=late))
    assert seen == ["first", "second", "late"]
    assert "a done callback raised an exception" in caplog.text
    assert "in a callback" in caplog.text


def test_a_channels_interceptors_stand_in_front_of_its_calls() -> None:
    called: list[str] = []

    def named(name: str) -> wire.ClientInterceptor:
        def interceptor(method: wire.Method[Any, Any], begin: wire.StartCall) -> wire.StartCall:
            def intercepted(request: Any = None, **options: Any) -> Any:
                called.append(f"{name} {method.name}")
                return begin(request, **options)

            return intercepted

        return interceptor

    async def main() -> None:
        async with serving() as (_, address):
            interceptors = [named("outer"), named("inner")]
            async with wire.Channel(address, interceptors=interceptors) as channel:
                stub = ProbeStub(channel)
                for method in METHODS:
                    assert await end_of(start(stub, method), method) == (StatusCode.OK, "")
            broken: Any = [lambda method, begin: None]
            async with wire.Channel(address, interceptors=broken) as channel:
                with pytest.raises(wire.ServiceError, match=r"returned nothing to call for /probe.v1.Probe/Unary"):
                    ProbeStub(channel)

    run(main)
    assert called == [f"{name} {method}" for method in METHODS for name in ("outer", "inner")]
