"""opentelemetry-exporter-otlp-proto-grpc, which sends traces, metrics and logs to a collector: compressed, with
headers, again after what may pass, and over a new channel once the collector was away."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

RESOURCE = Resource({"service.name": "shop"})


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer,
    metrics_service_pb2_grpc.MetricsServiceServicer,
    logs_service_pb2_grpc.LogsServiceServicer,
):
    """Three services that have a method of one name: what is asked for is told by the request."""

    def __init__(self):
        self.answers = []  # codes that the next requests are answered with

    def Export(self, request, context):
        metadata = dict(context.invocation_metadata())
        print(type(request).__name__, metadata.get("tenant"), metadata["user-agent"].partition(" ")[0][:13])
        if self.answers:
            delay = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=1_000_000))
            context.set_trailing_metadata((("google.rpc.retryinfo-bin", delay.SerializeToString()),))
            context.abort(self.answers.pop(0), "not now")
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            spans = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
            print([span.name for span in spans], [a.key for span in spans for a in span.attributes])
            return trace_service_pb2.ExportTraceServiceResponse()
        if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
            found = [m for each in request.resource_metrics for scope in each.scope_metrics for m in scope.metrics]
            print([(metric.name, metric.sum.data_points[0].as_int) for metric in found])
            return metrics_service_pb2.ExportMetricsServiceResponse()
        return logs_service_pb2.ExportLogsServiceResponse()


def serve(collector, port=0):
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(collector, server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(collector, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


class Heard(logging.Handler):
    def emit(self, record):
        text, _, _ = record.getMessage().partition(", retrying")
        print(record.levelname, text.replace(self.target, "it"))


def main():
    collector = Collector()
    server, port = serve(collector)
    target = f"127.0.0.1:{port}"
    heard = Heard()
    heard.target = target
    log = logging.getLogger("opentelemetry.exporter.otlp.proto.grpc.exporter")
    log.addHandler(heard)
    log.propagate = False

    exporter = OTLPSpanExporter(
        endpoint=target, insecure=True, headers={"tenant": "a"}, compression=grpc.Compression.Gzip, timeout=20
    )
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    bought = {"item": "apple" * 10_000}
    with tracer.start_as_current_span("buy", attributes=bought), tracer.start_as_current_span("pay"):
        pass
    collector.answers = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    with tracer.start_as_current_span("retried"):
        pass
    collector.answers = [grpc.StatusCode.INVALID_ARGUMENT]
    with tracer.start_as_current_span("refused"):
        pass

    metrics = OTLPMetricExporter(endpoint=f"http://{target}", headers="tenant=b", timeout=20)
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=3_600_000)
    meters = MeterProvider([reader], resource=RESOURCE)
    meters.get_meter("test").create_counter("sold").add(3)
    print(meters.force_flush())
    meters.shutdown()

    logs = OTLPLogExporter(endpoint=target, insecure=True, timeout=20)
    print(logs.export([]).name)
    logs.shutdown()

    server.stop(None).wait()
    server, _ = serve(collector, port)
    with tracer.start_as_current_span("after"):
        pass
    provider.shutdown()
    print(exporter.export([]).name)
    server.stop(None).wait()


warnings.simplefilter("ignore")
main()
