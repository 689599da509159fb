"""What `/metrics` tells, and to whom."""

from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pulumi_visgate.local.hub import testing
from pulumi_visgate.runpod.models.job import JobStatus

KEY = "rpa_CANARYKEY0000000000000000000001"
TOKEN = "metrics-token-canary-0001"
MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "prompt-canary a red fox"}}


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def figure(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, given), value in found.items() if sample == name and wanted <= set(given))


@pytest.mark.parametrize(
    ("settings", "header", "status", "code"),
    [
        ({}, f"Bearer {TOKEN}", 404, "not_found"),
        ({"metrics_token": TOKEN}, None, 401, "unauthorized"),
        ({"metrics_token": TOKEN}, f"Bearer {KEY}", 401, "unauthorized"),
        ({"metrics_token": TOKEN}, f"Bearer {TOKEN}x", 401, "unauthorized"),
        ({"metrics_token": TOKEN}, f"Key {TOKEN}", 401, "unauthorized"),
        ({"metrics_token": TOKEN}, f"Bearer {TOKEN}", 200, None),
    ],
)
async def test_figures_are_for_whoever_has_the_token(
    serve: Any, settings: Any, header: str | None, status: int, code: str | None
) -> None:
    async with serve(**settings) as client:
        client.headers.pop("Authorization")
        answer = await client.get("/metrics", headers={"Authorization": header} if header else {})
    assert answer.status_code == status
    if code is not None:
        assert answer.json()["code"] == code
    if status == 401:
        assert answer.headers["www-authenticate"] == 'Bearer realm="metrics"'


async def test_requests_calls_and_acceptances_are_counted(serve: Any, runpod: Any) -> None:
    async with serve(metrics_token=TOKEN) as client:
        cold = await client.post("/v1/jobs", json=JOB)
        runpod.start_worker(cold.json()["endpoint_id"])
        await client.post("/v1/deployments", json={"model": MODEL})
        await client.post("/v1/jobs", json={"model": MODEL})
        await client.get("/nowhere/at/all")
        await client.request("BREW", "/v1/jobs")
        await client.get(f"/v1/jobs/{cold.json()['job_id']}")
        found = await scraped(client)
    assert figure(found, "visgate_requests_total", route="/v1/jobs", method="POST", status="202") == 1
    assert figure(found, "visgate_requests_total", route="/v1/jobs", status="422") == 1
    assert figure(found, "visgate_requests_total", route="/v1/jobs/{job_id}", status="200") == 1
    assert figure(found, "visgate_requests_total", route="unmatched", status="404") == 1
    assert figure(found, "visgate_requests_total", method="other", status="405") == 1
    assert figure(found, "visgate_response_seconds_count", route="/v1/jobs") == 3
    assert figure(found, "visgate_accepted_total", kind="job", model=MODEL, warmth="accepted_cold") == 1
    assert figure(found, "visgate_accepted_total", kind="deployment", model=MODEL, warmth="warm_ready") == 1
    assert figure(found, "visgate_runpod_calls_total", operation="createEndpoint", outcome="2xx") == 1
    assert figure(found, "visgate_runpod_call_seconds_count") == sum(runpod.calls.values())
    assert figure(found, "visgate_rate_limit_decisions_total", limit="address", outcome="allowed", where="local") >= 7
    assert figure(found, "process_resident_memory_bytes") > 0


async def test_faults_of_runpod_and_its_quota_are_counted(serve: Any, runpod: Any) -> None:
    async with serve(metrics_token=TOKEN) as client:
        runpod.answers["list_endpoints"] = httpx.Response(
            200,
            json={"endpoints": []},
            headers={"RateLimit-Policy": '"minute";q=60;w=60', "RateLimit": '"minute";r=6;t=30'},
        )
        await client.get("/v1/deployments")
        runpod.answers["list_endpoints"] = httpx.Response(429, headers={"Retry-After": "60"})
        await client.get("/v1/deployments")
        found = await scraped(client)
    assert figure(found, "visgate_runpod_calls_total", operation="listEndpoints", outcome="2xx") == 1
    assert figure(found, "visgate_runpod_calls_total", operation="listEndpoints", outcome="throttled") == 1
    assert figure(found, "visgate_runpod_quota_left_ratio_bucket", le="0.1") == 2
    assert figure(found, "visgate_runpod_quota_left_ratio_bucket", le="0.05") == 0


async def test_a_job_is_counted_once_when_it_has_ended(serve: Any, runpod: Any) -> None:
    async with serve(metrics_token=TOKEN) as client:
        accepted = (await client.post("/v1/jobs", json=JOB)).json()
        await client.get(f"/v1/jobs/{accepted['job_id']}")
        (job,) = runpod.jobs.values()
        job.update(status="FAILED", error="out of memory", delayTime=2_500, executionTime=700)
        for _ in range(3):
            await client.get(f"/v1/jobs/{accepted['job_id']}")
        found = await scraped(client)
    assert figure(found, "visgate_jobs_ended_total", status="failed") == 1
    assert figure(found, "visgate_job_queue_seconds_bucket", le="5.0") == 1
    assert figure(found, "visgate_job_queue_seconds_sum") == 2.5
    assert figure(found, "visgate_job_execution_seconds_sum") == 0.7


async def test_nothing_of_a_caller_becomes_a_label(serve: Any, runpod: Any, hub: Any) -> None:
    for n in range(25):
        hub.commit(f"model/canary-{n}", testing.model())
    async with serve(metrics_token=TOKEN, allow_unlisted_models=True) as client:
        before = len(await scraped(client))
        for n in range(15):
            key = {"Authorization": f"Bearer rpa_CANARY{n:030d}"}
            await client.post("/v1/jobs", json={**JOB, "model": f"model/canary-{n}"}, headers=key)
            await client.get(f"/canary/{n}", headers=key)
        first = await scraped(client)
        for n in range(15, 25):
            key = {"Authorization": f"Bearer rpa_CANARY{n:030d}"}
            await client.post("/v1/jobs", json={**JOB, "model": f"model/canary-{n}"}, headers=key)
            await client.get(f"/canary/{n}", headers=key)
        second = await scraped(client)
        text = (await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).text
    assert len(first) == len(second) > before
    assert "canary" not in text.lower()
    assert figure(second, "visgate_accepted_total", model="other") == 25


async def test_figures_can_be_had_as_openmetrics(serve: Any) -> None:
    async with serve(metrics_token=TOKEN) as client:
        accept = "application/openmetrics-text; version=1.0.0"
        answer = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_job_without_a_result_or_times_counts_as_another_family() -> None:
    from pulumi_visgate.gateway.metrics import Metrics

    metrics = Metrics([MODEL])
    metrics.job_seen(JobStatus.model_validate({"id": "a", "status": "IN_QUEUE"}))
    metrics.job_seen(JobStatus.model_validate({"id": "b", "status": "TIMED_OUT"}))
    text = metrics.exposition("")[0].decode()
    assert 'visgate_jobs_ended_total{family="other",status="timed_out"} 1.0' in text
    assert text.count('family="other"') == 1


@pytest.mark.parametrize(("named", "family"), [("stable-diffusion-xl", "stable-diffusion-xl"), ("Canary", "other")])
def test_a_job_counts_for_the_family_that_its_worker_names(named: str, family: str) -> None:
    from pulumi_visgate.gateway.metrics import Metrics

    metrics = Metrics([MODEL])
    runtime = {"name": "eager", "device": "cpu", "family": named}
    output = {"task_id": "task_1", "runtime": runtime}
    given = {"id": "a", "status": "COMPLETED", "output": output, "delayTime": 1_500, "executionTime": 700}
    metrics.job_seen(JobStatus.model_validate(given))
    text = metrics.exposition("")[0].decode()
    assert f'visgate_jobs_ended_total{{family="{family}",status="completed"}} 1.0' in text
    assert f'visgate_job_queue_seconds_sum{{family="{family}"}} 1.5' in text


def test_what_its_worker_says_of_a_job_is_counted_by_family_and_nothing_else_is_a_label() -> None:
    from pulumi_visgate.gateway.metrics import Metrics

    metrics = Metrics([MODEL])
    output = {
        "task_id": "task_1",
        "runtime": {"name": "canary", "device": "canary", "family": "flux", "peak_memory_bytes": 30_000_000_000},
        "load": {"source": "s3", "size_bytes": 24_000_000_000, "seconds": 31.0, "fetched_bytes": 9_000_000_000},
        "timings": {"interpreter_s": 0.2, "load_s": 31.0, "step_s": 0.2, "generate_s": 5.5, "ttft_s": 40.0},
    }
    metrics.job_seen(JobStatus.model_validate({"id": "a", "status": "COMPLETED", "output": output}))
    warm = {**output, "load": {"source": "memory", "size_bytes": 24_000_000_000, "seconds": 0.0}, "timings": {}}
    metrics.job_seen(JobStatus.model_validate({"id": "b", "status": "COMPLETED", "output": warm}))
    text = metrics.exposition("")[0].decode()
    for phase, seconds in {"interpreter": 0.2, "load": 31.0, "step": 0.2, "generate": 5.5, "ttft": 40.0}.items():
        assert f'visgate_worker_phase_seconds_sum{{family="flux",phase="{phase}"}} {seconds}' in text
    assert 'phase="encode"' not in text
    assert 'visgate_worker_peak_memory_bytes_bucket{family="flux",le="2.4e+10"} 0.0' in text
    assert 'visgate_worker_peak_memory_bytes_bucket{family="flux",le="3.2e+10"} 2.0' in text
    assert 'visgate_worker_model_loads_total{family="flux",source="s3"} 1.0' in text
    assert 'visgate_worker_model_loads_total{family="flux",source="memory"} 1.0' in text
    assert 'visgate_worker_model_fetched_bytes_total{family="flux",source="s3"} 9e+09' in text
    assert "canary" not in text
