"""Spans, as a collector would get them."""

from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError

from pulumi_visgate.gateway import settings
from pulumi_visgate.gateway.state import Clients

KEY = "rpa_CANARYKEY0000000000000000000001"
TRACE = "0af7651916cd43dd8448eb211c80319c"
MODEL = "visgate/tiny-sd"
JOB = {
    "model": MODEL,
    "input": {"prompt": "canary-prompt"},
    "webhook_url": "http://user:canary-password@127.0.0.1:9/canary",
}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def traced(serve: Any, runpod: Any, spans: InMemorySpanExporter, **changes: Any) -> Any:
    return serve(clients=Clients(runpod=runpod.transport(), spans=spans), tracing=True, **changes)


async def test_a_request_is_one_trace_with_its_calls(serve: Any, runpod: Any, spans: InMemorySpanExporter) -> None:
    async with traced(serve, runpod, spans) as client:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        await client.post("/v1/jobs", json={"model": MODEL, "input": JOB["input"]}, headers=headers)
    found = {span.name: span for span in spans.get_finished_spans()}
    request = found["POST /v1/jobs"]
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/jobs",
        "http.response.status_code": 202,
    }
    assert f"{request.context.trace_id:032x}" == TRACE
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    calls = {name: span for name, span in found.items() if name.startswith("runpod ")}
    assert set(calls) >= {"runpod listEndpoints", "runpod createEndpoint", "runpod runJob"}
    for span in calls.values():
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert (span.end_time or 0) >= (span.start_time or 0) >= (request.start_time or 0) - 5_000_000
    assert request.resource.attributes["service.name"] == "visgate-gateway"


async def test_faults_are_marked(serve: Any, runpod: Any, spans: InMemorySpanExporter) -> None:
    runpod.answers["list_endpoints"] = OSError("reset by canary")
    async with traced(serve, runpod, spans) as client:
        assert (await client.get("/v1/deployments")).status_code >= 500
    found = {span.name: span for span in spans.get_finished_spans()}
    assert found["GET /v1/deployments"].status.status_code is StatusCode.ERROR
    assert "canary" not in str([span.to_json() for span in found.values()])


async def test_no_span_holds_anything_of_the_caller(serve: Any, runpod: Any, spans: InMemorySpanExporter) -> None:
    async with traced(serve, runpod, spans, webhook_ports=(9,)) as client:
        job = (await client.post("/v1/jobs?canary=1", json=JOB)).json()
        await client.get(f"/v1/jobs/{job.get('job_id')}")
        await client.get("/canary?canary=1", headers={"X-HF-Token": "hf_CANARYTOKEN000000"})
        await client.post("/v1/callbacks/runpod/canary-ticket", json={"id": "x", "status": "COMPLETED"})
    finished = spans.get_finished_spans()
    assert len(finished) >= 4
    text = "".join(span.to_json() for span in finished)
    assert "canary" not in text.lower()
    assert KEY not in text


async def test_no_layer_is_there_when_tracing_is_off(serve: Any, spans: InMemorySpanExporter, runpod: Any) -> None:
    async with serve(clients=Clients(runpod=runpod.transport(), spans=spans)) as client:
        await client.get("/v1/models")
    assert not spans.get_finished_spans()


def test_what_is_missing_is_said_at_the_start(new_settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_is_installed", lambda _module: False)
    with pytest.raises(ValidationError, match=r"gateway,tracing"):
        new_settings(tracing=True)


def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi_visgate.gateway.tracing import _resource

    monkeypatch.setenv("OTEL_SERVICE_NAME", "pictures")
    assert _resource().attributes["service.name"] == "pictures"
