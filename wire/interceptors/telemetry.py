"""OpenTelemetry: a span and a duration for each call, by its semantic conventions for RPC and gRPC.

A server's span continues the trace whose context came in the metadata (`traceparent`, or whatever the global propagator
reads); a client's sends it. Spans are named "package.Service/Method" and carry rpc.system.name, rpc.method and
rpc.response.status_code; durations are rpc.server.call.duration and rpc.client.call.duration, in seconds. Messages and
metadata are not recorded. Imports `wire` and opentelemetry-api (the extra `otel`).
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Span, SpanKind, Status
from opentelemetry.trace import StatusCode as SpanStatus

import wire

_SERVER_FAULTS = frozenset(
    {
        wire.StatusCode.UNKNOWN,
        wire.StatusCode.DEADLINE_EXCEEDED,
        wire.StatusCode.UNIMPLEMENTED,
        wire.StatusCode.INTERNAL,
        wire.StatusCode.UNAVAILABLE,
        wire.StatusCode.DATA_LOSS,
    }
)
"""What the conventions call an error of the server; of a client every status but OK is one."""


class _Side:
    """What all methods of one side share."""

    def __init__(
        self,
        kind: SpanKind,
        tracers: trace.TracerProvider | None,
        meters: metrics.MeterProvider | None,
    ) -> None:
        self.kind = kind
        self.tracer = trace.get_tracer("wire", tracer_provider=tracers)
        side = kind.name.lower()
        self.duration = metrics.get_meter("wire", meter_provider=meters).create_histogram(
            f"rpc.{side}.call.duration", unit="s", description=f"How long the calls of a {side} took."
        )


class _OfMethod:
    """Spans and durations of one method."""

    def __init__(self, side: _Side, method: wire.Method[Any, Any]) -> None:
        self._side = side
        self._name = (method.path or "").lstrip("/")
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": self._name}

    def begin(self, parent: otel_context.Context | None) -> Span:
        return self._side.tracer.start_span(self._name, parent, self._side.kind, self._attributes)

    def end(self, span: Span, code: wire.StatusCode | None, message: str, begun: float) -> None:
        ended = {"rpc.response.status_code": str(code)}
        failed = code in _SERVER_FAULTS if self._side.kind is SpanKind.SERVER else code is not wire.StatusCode.OK
        if failed:
            ended["error.type"] = str(code)
            span.set_status(Status(SpanStatus.ERROR, message))
        span.set_attributes(ended)
        span.end()
        self._side.duration.record(perf_counter() - begun, {**self._attributes, **ended})


def server_telemetry(
    tracers: trace.TracerProvider | None = None, meters: metrics.MeterProvider | None = None
) -> wire.ServerInterceptor:
    """Trace and time a server's calls. The span is the current one in the handler and in what it calls.

    `tracers`, `meters`: the providers to use; None: the global ones.
    """
    side = _Side(SpanKind.SERVER, tracers, meters)

    def interceptor(method: wire.Method[Any, Any], handler: wire.Handler) -> wire.Handler:
        of_method = _OfMethod(side, method)

        def intercepted(request: Any, context: wire.ServerContext) -> Any:
            begun = perf_counter()
            carrier = {key: value for key, value in context.metadata if isinstance(value, str)}
            span = of_method.begin(propagate.extract(carrier))
            host, _, port = context.peer.address.rpartition(":")
            span.set_attribute("network.peer.address", host or context.peer.address)
            if port.isdigit():
                span.set_attribute("network.peer.port", int(port))
            context.add_done_callback(lambda context: of_method.end(span, context.code, context.message, begun))
            # Never detached: handlers run in a context of their own, which ends with the call.
            otel_context.attach(trace.set_span_in_context(span))
            return handler(request, context)

        return intercepted

    return interceptor


def client_telemetry(
    tracers: trace.TracerProvider | None = None, meters: metrics.MeterProvider | None = None
) -> wire.ClientInterceptor:
    """Trace and time a channel's calls, and send the trace's context with them. As `server_telemetry` otherwise."""
    side = _Side(SpanKind.CLIENT, tracers, meters)

    def interceptor(method: wire.Method[Any, Any], start: wire.StartCall) -> wire.StartCall:
        of_method = _OfMethod(side, method)

        def intercepted(request: Any = None, *, metadata: wire.MetadataInput = (), **options: Any) -> Any:
            begun = perf_counter()
            span = of_method.begin(None)
            carrier: dict[str, str] = {}
            propagate.inject(carrier, trace.set_span_in_context(span))
            try:
                call = start(request, metadata=[*wire.Metadata(metadata), *carrier.items()], **options)
            except BaseException:
                span.end()
                raise
            call.add_done_callback(lambda call: of_method.end(span, call.code, call.message, begun))
            return call

        return intercepted

    return interceptor
