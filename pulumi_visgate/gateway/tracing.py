"""Spans for OpenTelemetry, when the settings ask for them: requests, calls to Runpod, deliveries.

A span holds templates of routes, names of operations, statuses and times. Paths, queries, headers, bodies and texts of
errors are never in one. Where spans go and how many are kept is told by OpenTelemetry's own variables (`OTEL_…`).
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pulumi_visgate.gateway import logs
from pulumi_visgate.runpod import Attempt

SERVICE = "visgate-gateway"
_SERVER_FAULT = 500


class Tracing:
    """The spans of one application.

    Args:
        exporter: Where they go, at once; the OTLP collector that the environment names, in batches, when None.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._provider = TracerProvider(resource=_resource())
        processor = SimpleSpanProcessor(exporter) if exporter else BatchSpanProcessor(OTLPSpanExporter())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, carrier: Mapping[str, str]) -> Iterator[Span]:
        """Open the span of a request, in the trace that its caller tells of.

        Args:
            method: HTTP method.
            carrier: The headers `traceparent` and `tracestate`, as far as there are any.
        """
        span = self._tracer.start_span(
            method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        )
        logs.traced(trace.format_trace_id(span.get_span_context().trace_id))
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield span

    @staticmethod
    def answered(span: Span, *, method: str, route: str, status: int) -> None:
        """Complete the span of a request.

        Args:
            span: The span.
            method: HTTP method.
            route: Template of the route.
            status: Of the answer; 0 if there was none.
        """
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= _SERVER_FAULT or not status:
            span.set_status(Status(StatusCode.ERROR))

    def runpod_called(self, attempt: Attempt) -> None:
        """Add a call that Runpod has answered, or has not."""
        now = time.time_ns()
        span = self._tracer.start_span(
            f"runpod {attempt.operation_id}", kind=SpanKind.CLIENT, start_time=now - int(attempt.took_s * 1e9)
        )
        if attempt.status is None:
            span.set_attribute("error.type", "unanswered")
            span.set_status(Status(StatusCode.ERROR))
        else:
            span.set_attribute("http.response.status_code", attempt.status)
        span.end(now)

    @staticmethod
    def webhook_sent(what: str, outcome: str) -> None:
        """Note a delivery, and what became of it."""
        trace.get_current_span().add_event("webhook", {"visgate.event": what, "visgate.outcome": outcome})

    def close(self) -> None:
        """Send what is left; waits for the collector for some seconds at most."""
        self._provider.shutdown()


def _resource() -> Resource:
    """Return what the spans are said to come from: what the environment says, else this service."""
    found = Resource.create({"service.version": version("pulumi-visgate")})
    if str(found.attributes["service.name"]).startswith("unknown_service"):
        return found.merge(Resource({"service.name": SERVICE}))
    return found
