"""Endpoints that are kept as their policy says, warmed up ahead of need, and what a caller can expect of them."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.history import Expectation, History
from pulumi_visgate.gateway.services.upkeep import Upkeep
from pulumi_visgate.gateway.settings import OfferedModel
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers
from pulumi_visgate.runpod.models.job import EndpointHealth, JobStatus
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy, Window
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
MODEL = "visgate/tiny-sd"
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}
NOW = datetime(2026, 11, 30, 10, 0, tzinfo=UTC)  # a Monday
OFFICE = Window(start="09:00", end="18:00", timezone="UTC", min_workers=2)


def candidate(
    *, made_here: bool = True, policy: PoolPolicy = PoolPolicy.ON_DEMAND, model_id: str = MODEL, **workers: Any
) -> Candidate:
    spec = {"x": 1}
    name = EndpointName.build(user_hash=user_hash(KEY), model_id=model_id, task=Task.TEXT2IMG, policy=policy, spec=spec)
    return Candidate(
        id="ep1",
        label=str(name),
        name=name,
        model_id=model_id,
        signs=None,
        generation="g1" if made_here else None,
        workers=EndpointWorkers(**{"min": 0, "max": 5, "idle_timeout": 60, **workers}),
        pools=("ADA_24",),
        data_center_ids=(),
        created_at=NOW,
    )


@pytest.mark.parametrize(
    ("found", "offered", "due"),
    [
        (candidate(), {}, None),
        (candidate(max=0), {}, (0, 5)),
        (candidate(max=2), {}, (0, 5)),  # after three quiet days
        (candidate(max=1), {}, None),  # somebody's own wish
        (candidate(made_here=False, max=2), {}, None),  # a pool whose maximum nobody told
        (candidate(made_here=False, max=2), {"max_workers": 4}, (0, 4)),
        (candidate(made_here=False, max=0), {"max_workers": 4}, (0, 4)),
        (candidate(made_here=False, max=0), {}, (0, 5)),
        (candidate(made_here=False, model_id="acme/other", max=0), {}, (0, 5)),
        (
            candidate(made_here=False, policy=PoolPolicy.ALWAYS_ON, max=0),
            {"policy": "always_on", "min_workers": 2, "max_workers": 3},
            (2, 3),
        ),
        (
            candidate(made_here=False, policy=PoolPolicy.SCHEDULED_WARM, max=0),
            {"policy": "scheduled_warm", "windows": (OFFICE,), "max_workers": 3},
            (2, 3),
        ),
        (
            candidate(made_here=False, policy=PoolPolicy.ALWAYS_ON, max=0),
            {"max_workers": 3},
            (0, 5),
        ),  # another policy's
    ],
)
def test_limits_are_put_back_to_what_the_policy_wants_now(
    new_settings: Any, found: Candidate, offered: dict[str, Any], due: tuple[int, int] | None
) -> None:
    settings = new_settings(models=(OfferedModel(model_id=MODEL, **offered),), workers_max=5)
    workers = Upkeep(settings, Directory(ttl_s=5), now=lambda: NOW).due(found)
    assert (workers and (workers.min, workers.max)) == due
    assert workers is None or workers.idle_timeout == 60


async def test_a_warm_up_starts_a_worker_that_stays(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        answer = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 600})
        shown = await client.get(f"/v1/jobs/{answer.json()['job_id']}")
    (endpoint,) = runpod.endpoints.values()
    assert answer.status_code == 202, answer.text
    assert endpoint["workers"] == {"min": 0, "max": 3, "idleTimeout": 600}
    assert runpod.bodies["run"][0]["input"] == {
        "task_id": answer.json()["task_id"],
        "model_id": MODEL,
        "warm_for_s": 600,
        "idle_timeout_s": 60,
    }
    assert shown.json()["runpod_status"] == "IN_QUEUE"


async def test_a_second_warm_up_still_knows_the_former_timeout(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        made = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 600})
        runpod.start_worker(made.json()["endpoint_id"])
        await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 300})
    assert [body["input"]["idle_timeout_s"] for body in runpod.bodies["run"]] == [60, 60]
    assert runpod.calls["update_endpoint"] == 1  # it is long enough already


async def test_a_pool_of_another_program_is_only_touched(serve: Any, runpod: Any) -> None:
    spec = {"owner": "other"}
    name = EndpointName.build(
        user_hash=user_hash(KEY), model_id=MODEL, task=Task.TEXT2IMG, policy=PoolPolicy.ALWAYS_ON, spec=spec
    )
    runpod.add(
        {
            "name": str(name),
            "type": "QUEUE",
            "env": {"VISGATE_MODEL_ID": MODEL},
            "workers": {"min": 1, "max": 2, "idleTimeout": 90},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
            "gpu": {"pools": ["ADA_24"]},
        }
    )
    async with serve() as client:
        await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 600})
    assert runpod.calls["update_endpoint"] == runpod.calls["create_endpoint"] == 0
    assert runpod.bodies["run"][0]["input"]["idle_timeout_s"] is None


@pytest.mark.parametrize("seconds", [0, 3601, "long"])
async def test_a_warm_up_has_bounds(serve: Any, runpod: Any, seconds: Any) -> None:
    async with serve() as client:
        answer = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": seconds})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "warm_for_s"
    assert not runpod.calls


async def test_a_warm_up_counts_against_the_budget(serve: Any, runpod: Any) -> None:
    runpod.offer_gpu("ADA_24", 24, 1.0, EU_RO_1="HIGH")
    runpod.offer_gpu("AMPERE_48", 48, 1.0, EU_RO_1="HIGH")
    async with serve(max_job_usd=0.5) as client:
        refused = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 3600})
        allowed = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 600})
        later = await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 3600})
    assert [answer.status_code for answer in (refused, allowed, later)] == [402, 202, 402]
    assert runpod.calls["create_endpoint"] == runpod.calls["run"] == 1


async def test_what_a_warm_up_left_behind_is_put_back_when_nobody_is_there(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        endpoint = (await client.post("/v1/deployments", json={"model": MODEL, "warm_for_s": 600})).json()[
            "endpoint_id"
        ]
    runpod.start_worker(endpoint)
    async with serve() as client:
        await client.post("/v1/jobs", json=JOB)
        assert runpod.endpoints[endpoint]["workers"]["idleTimeout"] == 600  # it may be meant still
    runpod.workers.clear()
    async with serve() as client:
        await client.post("/v1/jobs", json=JOB)
    assert runpod.endpoints[endpoint]["workers"] == {"min": 0, "max": 3, "idleTimeout": 60}


def finished(job_id: str, *, delay_ms: int, ran_ms: int, cold: bool = False, endpoint: str = "ep1") -> JobStatus:
    event = {
        "type": "job.started",
        "timestamp": "2026-11-30T10:00:00Z",
        "data": {
            "task_id": "task_" + "0" * 26,
            "sequence": 1,
            "status": "started",
            "model_id": MODEL,
            "task": "text2img",
            "endpoint_id": endpoint,
        },
    }
    timings = {"interpreter_s": 0.1, "load_s": 4.0} if cold else {}
    output = {"task_id": "task_" + "0" * 26, "events": [event], "timings": timings}
    given = {"id": job_id, "status": "COMPLETED", "delayTime": delay_ms, "executionTime": ran_ms, "output": output}
    return JobStatus.model_validate(given)


def health(*, idle: int = 0, running: int = 0, queued: int = 0, in_progress: int = 0) -> EndpointHealth:
    given = {
        "jobs": {"inQueue": queued, "inProgress": in_progress},
        "workers": {"idle": idle, "running": running, "ready": idle},
    }
    return EndpointHealth.model_validate(given)


def seen(*jobs: JobStatus) -> History:
    history = History()
    for job in jobs:
        history.job_seen(job)
    return history


WARM = tuple(finished(f"w{n}", delay_ms=20, ran_ms=ran) for n, ran in enumerate((2_000, 3_000, 10_000)))
COLD = tuple(finished(f"c{n}", delay_ms=delay, ran_ms=9_000, cold=True) for n, delay in enumerate((20_000, 30_000)))


def test_a_warm_endpoint_begins_at_once_or_after_its_queue() -> None:
    history = seen(*WARM)
    assert history.expect(["ep1"], health(idle=1), is_warm=True) == Expectation(0.0, 3.0, 3)
    assert history.expect(["ep1"], None, is_warm=True) == Expectation(0.0, 3.0, 3)
    busy = health(running=2, queued=3, in_progress=2)
    assert history.expect(["ep1"], busy, is_warm=True) == Expectation(7.5, 10.5, 3)


def test_a_cold_endpoint_begins_as_late_as_its_first_jobs_did() -> None:
    assert seen(*WARM, *COLD).expect(["ep1"], None, is_warm=False) == Expectation(31.0, 34.0, 5)
    assert seen(*COLD).expect(["ep1"], None, is_warm=False) == Expectation(34.0, 34.0, 2)


def test_an_endpoint_of_the_same_model_tells_what_a_new_one_does_not() -> None:
    history = seen(*WARM, *COLD)
    assert history.expect(["new", "ep1"], None, is_warm=False) == Expectation(31.0, 34.0, 5)
    assert history.expect(["new", "other"], None, is_warm=False) is None


def test_nothing_is_made_up() -> None:
    assert History().expect(["ep1"], health(idle=1), is_warm=True) is None
    assert seen(*WARM).expect(["ep1"], None, is_warm=False) is None
    assert seen(*COLD).expect(["ep1"], None, is_warm=True) is None
    failed = WARM[0].model_copy(update={"status": "FAILED"})
    foreign = JobStatus.model_validate({"id": "j", "status": "COMPLETED", "executionTime": 5, "output": "hello"})
    assert seen(failed, foreign).expect(["ep1"], None, is_warm=True) is None


def test_each_job_counts_once_and_old_ones_do_not() -> None:
    clock = [0.0]
    history = History(clock=lambda: clock[0])
    for _ in range(3):
        history.job_seen(WARM[0])
    assert history.expect(["ep1"], None, is_warm=True) == Expectation(0.0, 2.0, 1)
    clock[0] = 7 * 3600.0
    assert history.expect(["ep1"], None, is_warm=True) is None


async def test_answers_say_what_to_expect(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        first = (await client.post("/v1/jobs", json=JOB)).json()
        endpoint = first["endpoint_id"]
        (job_id,) = runpod.jobs
        runpod.jobs[job_id] |= finished(job_id, delay_ms=9_000, ran_ms=5_000, cold=True, endpoint=endpoint).model_dump(
            by_alias=True
        )
        await client.get(f"/v1/jobs/{first['job_id']}")
        cold = (await client.post("/v1/jobs", json=JOB)).json()
        other_key = {"Authorization": "Bearer rpa_CANARYKEY0000000000000000000002"}
        stranger = (await client.post("/v1/jobs", json=JOB, headers=other_key)).json()
    assert first["expected"] is stranger["expected"] is None
    assert cold["expected"] == {"start_s": 14.0, "done_s": 14.0, "samples": 1}


async def test_a_silent_health_check_makes_nothing_slower_or_different(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        await client.post("/v1/jobs", json=JOB)
        runpod.answers["health"] = httpx.Response(500)
        answer = await client.post("/v1/jobs", json=JOB)
    assert (answer.json()["status"], answer.json()["expected"]) == ("accepted_cold", None)


async def test_a_job_that_waits_says_how_long_it_may_be(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        first = (await client.post("/v1/jobs", json=JOB)).json()
        (job_id,) = runpod.jobs
        done = finished(job_id, delay_ms=500_000, ran_ms=5_000, cold=True, endpoint=first["endpoint_id"])
        runpod.jobs[job_id] |= done.model_dump(by_alias=True)
        await client.get(f"/v1/jobs/{first['job_id']}")
        second = (await client.post("/v1/jobs", json=JOB)).json()
        waiting = (await client.get(f"/v1/jobs/{second['job_id']}")).json()["waiting"]
    assert waiting["reason"] == "starting"
    assert 400 < waiting["estimated_s"] <= 505
