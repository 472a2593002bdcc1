"""Metrics for Prometheus, by the names that gRPC middlewares of other languages use, so that their dashboards fit.

    grpc_server_started_total, grpc_server_handled_total (with grpc_code), grpc_server_handling_seconds
    grpc_client_started_total, grpc_client_handled_total (with grpc_code), grpc_client_handling_seconds

Each has the labels grpc_type, grpc_service and grpc_method. Imports `wire` and prometheus_client (the extra
`prometheus`), which also serves them: `prometheus_client.start_http_server(9090)`.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

import wire

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_KINDS = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


class _Metrics:
    """The three metrics of one side."""

    def __init__(self, side: str, registry: CollectorRegistry) -> None:
        self.started = Counter(f"grpc_{side}_started_total", "Calls begun.", _LABELS, registry=registry)
        self.handled = Counter(
            f"grpc_{side}_handled_total", "Calls ended, by status.", (*_LABELS, "grpc_code"), registry=registry
        )
        self.seconds = Histogram(
            f"grpc_{side}_handling_seconds", "How long calls took.", _LABELS, buckets=_BUCKETS, registry=registry
        )


class _OfMethod:
    """The metrics of one method, looked up once."""

    def __init__(self, metrics: _Metrics, method: wire.Method[Any, Any]) -> None:
        service, _, name = (method.path or "").lstrip("/").rpartition("/")
        labels = (_KINDS[method.streams_requests, method.streams_responses], service, name)
        self._started = metrics.started.labels(*labels)
        self._seconds = metrics.seconds.labels(*labels)
        self._handled = {code: metrics.handled.labels(*labels, _camel(code)) for code in wire.StatusCode}

    def begin(self) -> float:
        self._started.inc()
        return perf_counter()

    def end(self, code: wire.StatusCode | None, begun: float) -> None:
        if code is not None:
            self._handled[code].inc()
        self._seconds.observe(perf_counter() - begun)


def _camel(code: wire.StatusCode) -> str:
    """ "DeadlineExceeded", as Go writes it, and so the dashboards; OK is "OK"."""
    return "OK" if code is wire.StatusCode.OK else code.name.title().replace("_", "")


def server_metrics(registry: CollectorRegistry = REGISTRY) -> wire.ServerInterceptor:
    """Count and time a server's calls in `registry`. Make it once; a second one needs a registry of its own."""
    metrics = _Metrics("server", registry)

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        of_method = _OfMethod(metrics, method)

        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            begun = of_method.begin()
            context.add_done_callback(lambda context: of_method.end(context.code, begun))
            return handler(request, context)

        return intercepted

    return interceptor


def client_metrics(registry: CollectorRegistry = REGISTRY) -> wire.ClientInterceptor:
    """Count and time a channel's calls in `registry`; as `server_metrics`."""
    metrics = _Metrics("client", registry)

    def interceptor(method: wire.Method[Any, Any], start: wire.StartCall) -> wire.StartCall:
        of_method = _OfMethod(metrics, method)

        def intercepted(request: Any = None, **options: Any) -> Any:
            begun = of_method.begin()
            call = start(request, **options)
            call.add_done_callback(lambda call: of_method.end(call.code, begun))
            return call

        return intercepted

    return interceptor
