"""The interceptors that wire ships, in front of a real server and in a real channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
import pytest

import wire
from tests.support import Probe, ProbeStub, end_of, run, start
from wire import StatusCode
from wire.interceptors.auth import CALLER, bearer_auth, bearer_token
from wire.interceptors.limits import concurrency_limit, rate_limit
from wire.interceptors.logs import access_log, call_log

METHODS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


def serve(
    test: Callable[[ProbeStub], Any],
    servers: Sequence[wire.ServerInterceptor] = (),
    clients: Sequence[wire.ClientInterceptor] = (),
    probe: Probe | None = None,
) -> None:
    async def main() -> None:
        async with wire.Server([probe or Probe()], interceptors=servers) as server:
            address = await server.listen("127.0.0.1:0")
            async with wire.Channel(address, interceptors=clients) as channel:
                await test(ProbeStub(channel))
            await server.stop(0)

    run(main)


def _fail(request: Any, context: wire.ServerContext) -> Any:
    raise wire.RpcError(StatusCode.NOT_FOUND, "secret text")


def _break(request: Any, context: wire.ServerContext) -> Any:
    raise ValueError("a bug")


@pytest.mark.parametrize("method", METHODS)
def test_both_logs_have_a_line_for_each_call(method: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test(stub: ProbeStub) -> None:
        await end_of(start(stub, method), method)

    with caplog.at_level(logging.INFO):
        serve(test, [access_log()], [call_log()])
    for name in ("wire.access", "wire.calls"):
        (record,) = [record for record in caplog.records if record.name == name]
        assert f"/probe.v1.Probe/{method} OK " in record.getMessage()
        assert record.levelno == logging.INFO
        assert record.__dict__["code"] == "OK"
        assert 0 <= record.__dict__["duration_s"] < 5


def test_faults_are_errors_in_the_log_and_texts_are_not_in_it(caplog: pytest.LogCaptureFixture) -> None:
    async def test(stub: ProbeStub) -> None:
        await end_of(stub.unary(b"x"), "Unary")
        await end_of(stub.server_stream(b"x"), "ServerStream")

    with caplog.at_level(logging.INFO, logger="wire.access"):
        serve(test, [access_log()], probe=Probe(Unary=_fail, ServerStream=_break))
    records = [record for record in caplog.records if record.name == "wire.access"]
    assert [(record.levelno, record.__dict__["code"]) for record in records] == [
        (logging.INFO, "NOT_FOUND"),
        (logging.ERROR, "UNKNOWN"),
    ]
    assert not any("secret" in record.getMessage() for record in records)


def _who(request: Any, context: wire.ServerContext) -> bytes:
    return str(CALLER.get()).encode()


def _each_who(request: Any, context: wire.ServerContext) -> Iterator[bytes]:
    yield str(CALLER.get()).encode()


async def _async_who(request: Any, context: wire.ServerContext) -> bytes:
    return str(CALLER.get()).encode()


async def _each_async_who(request: Any, context: wire.ServerContext) -> AsyncIterator[bytes]:
    yield str(CALLER.get()).encode()


def _check(token: str, context: wire.ServerContext) -> str | None:
    return f"user of {token}" if token.startswith("good") else None


async def _async_check(token: str, context: wire.ServerContext) -> str | None:
    await anyio.lowlevel.checkpoint()
    return _check(token, context)


PROBES: dict[str, dict[str, Callable[..., Any]]] = {
    "plain": {"Unary": _who, "ServerStream": _each_who, "ClientStream": _who, "Bidi": _each_who},
    "async": {
        "Unary": _async_who,
        "ServerStream": _each_async_who,
        "ClientStream": _async_who,
        "Bidi": _each_async_who,
    },
}


@pytest.mark.parametrize("check", [_check, _async_check])
@pytest.mark.parametrize("handlers", ["plain", "async"])
@pytest.mark.parametrize("method", METHODS)
def test_a_bearer_token_says_who_calls(check: Any, handlers: str, method: str) -> None:
    async def test(stub: ProbeStub) -> None:
        call = start(stub, method)
        if method in {"Unary", "ClientStream"}:
            assert await call == b"user of good one"
        else:
            assert [each async for each in call] == [b"user of good one"]

    serve(test, [bearer_auth(check)], [bearer_token(lambda: "good one")], Probe(**PROBES[handlers]))


@pytest.mark.parametrize("check", [_check, _async_check])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ([], "the call has no bearer token"),
        ([("authorization", "Basic Zm9v")], "the call has no bearer token"),
        ([("authorization", "bearer bad")], "the bearer token is not accepted"),
    ],
)
def test_calls_without_a_good_token_are_refused(check: Any, method: str, metadata: Any, text: str) -> None:
    async def test(stub: ProbeStub) -> None:
        call = start(stub, method, metadata=metadata)
        assert await end_of(call, method) == (StatusCode.UNAUTHENTICATED, text)

    serve(test, [bearer_auth(check)])


@pytest.mark.parametrize("opened", ["/probe.v1.Probe/Unary", "/probe.v1.Probe/"])
def test_open_methods_need_no_token(opened: str) -> None:
    async def test(stub: ProbeStub) -> None:
        assert await stub.unary(b"x") == b"x"
        code, _ = await end_of(stub.server_stream(b"x"), "ServerStream")
        assert (code is StatusCode.OK) == opened.endswith("/")

    serve(test, [bearer_auth(_check, open_methods=[opened])])


def test_calls_past_the_concurrency_limit_are_refused_until_one_has_ended() -> None:
    async def test(stub: ProbeStub) -> None:
        first = stub.bidi()
        await first.send(b"1")
        assert await anext(first) == b"1"
        code, text = await end_of(stub.unary(b"x"), "Unary")
        assert (code, text) == (StatusCode.RESOURCE_EXHAUSTED, "1 calls are running already")
        await first.end()
        assert [each async for each in first] == []
        assert await stub.unary(b"x") == b"x"

    serve(test, [concurrency_limit(1)])


def test_calls_past_the_rate_are_refused_and_told_when_to_come_again() -> None:
    now = 0.0

    async def test(stub: ProbeStub) -> None:
        nonlocal now
        for _ in range(2):
            assert await stub.unary(b"x") == b"x"
        with pytest.raises(wire.RpcError, match="more than 4 calls a second") as caught:
            await stub.unary(b"x")
        assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
        now = 0.25
        assert await stub.unary(b"x") == b"x"

    serve(test, [rate_limit(4, 2, clock=lambda: now)])


@pytest.mark.parametrize("make", [lambda: concurrency_limit(0), lambda: rate_limit(0), lambda: rate_limit(1, 0)])
def test_limits_that_let_nothing_through_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(wire.ConfigurationError):
        make()


@pytest.mark.parametrize("method", METHODS)
def test_prometheus_counts_and_times_both_sides(method: str) -> None:
    prometheus = pytest.importorskip("prometheus_client")
    from wire.interceptors.prometheus import client_metrics, server_metrics

    registry = prometheus.CollectorRegistry()

    async def test(stub: ProbeStub) -> None:
        await end_of(start(stub, method), method)
        await end_of(start(stub, method, timeout=0.0), method)

    serve(test, [server_metrics(registry)], [client_metrics(registry)])
    kinds = dict(zip(METHODS, ["unary", "server_stream", "client_stream", "bidi_stream"], strict=True))
    labels = {"grpc_type": kinds[method], "grpc_service": "probe.v1.Probe", "grpc_method": method}

    def value(name: str, **more: str) -> float | None:
        found: float | None = registry.get_sample_value(name, {**labels, **more})
        return found

    assert value("grpc_client_started_total") == 2
    assert value("grpc_client_handled_total", grpc_code="OK") == 1
    assert value("grpc_client_handled_total", grpc_code="DeadlineExceeded") == 1
    assert value("grpc_client_handling_seconds_count") == 2
    assert value("grpc_server_handled_total", grpc_code="OK") in (1, 2)  # the late one may come before its reset
    started = value("grpc_server_started_total")
    assert started == value("grpc_server_handling_seconds_count")


@pytest.mark.parametrize("method", METHODS)
def test_opentelemetry_traces_and_times_a_call_through_both_sides(method: str) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from wire.interceptors.telemetry import client_telemetry, server_telemetry

    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    current: list[int] = []

    def handler(request: Any, context: wire.ServerContext) -> Any:
        current.append(trace.get_current_span().get_span_context().span_id)
        raise wire.RpcError(StatusCode.INTERNAL, "broken")

    async def test(stub: ProbeStub) -> None:
        await end_of(start(stub, method), method)

    serve(test, [server_telemetry(tracers, meters)], [client_telemetry(tracers, meters)], Probe(**{method: handler}))
    server, client = exporter.get_finished_spans()
    if server.kind is not trace.SpanKind.SERVER:
        server, client = client, server
    assert server.context is not None
    assert client.context is not None
    assert server.parent is not None
    assert (server.parent.span_id, server.context.trace_id) == (client.context.span_id, client.context.trace_id)
    assert current == [server.context.span_id]
    for span in (server, client):
        assert span.name == f"probe.v1.Probe/{method}"
        assert span.attributes is not None
        assert span.attributes["rpc.system.name"] == "grpc"
        assert span.attributes["rpc.method"] == f"probe.v1.Probe/{method}"
        assert span.attributes["rpc.response.status_code"] == "INTERNAL"
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.status.description == "broken"
    data = reader.get_metrics_data()
    assert data is not None
    names = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert names.keys() == {"rpc.server.call.duration", "rpc.client.call.duration"}
    assert {metric.unit for metric in names.values()} == {"s"}


def test_the_context_of_one_call_is_not_the_next_ones() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from wire.interceptors.telemetry import server_telemetry

    seen: list[int] = []

    def handler(request: Any, context: wire.ServerContext) -> bytes:
        seen.append(trace.get_current_span().get_span_context().trace_id)
        return b""

    async def test(stub: ProbeStub) -> None:
        await stub.unary(b"")
        await stub.unary(b"")

    serve(test, [server_telemetry(TracerProvider())], probe=Probe(Unary=handler))
    assert len(set(seen)) == 2
    assert not trace.get_current_span().get_span_context().is_valid
