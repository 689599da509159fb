"""OpenAI's dialect: one request that waits."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.services import follow
from pulumi_visgate.gateway.services.follow import Pace
from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Artifact
from visgate_contract.jobs import JobError, JobResult

KEY = "rpa_CANARYKEY0000000000000000000001"
PATH = "/v1/images/generations"
BODY = {"model": "visgate/tiny-sd", "prompt": "a red fox"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "Pace", lambda: Pace(wait_s=0.001))
    monkeypatch.setattr(follow, "LONGEST_WAIT_S", 0.002)


def picture(number: int) -> Artifact:
    url = f"https://cdn.test/{number}.png"
    return Artifact(url=url, content_type="image/png", width=64, height=64, size_bytes=9, sha256="0" * 64, seed=number)


def ready(job: dict[str, Any]) -> None:
    made = tuple(picture(n) for n in range(job["input"]["params"]["num_images"]))
    job.update(status="COMPLETED", output=JobResult(task_id=job["input"]["task_id"], artifacts=made).to_runpod())


def failed(job: dict[str, Any]) -> None:
    error = JobError(code="generation_failed", detail=f"CUDA went away, key {KEY}")
    answer = JobResult(task_id=job["input"]["task_id"], error=error).to_runpod()
    job.update(status="FAILED", error=answer.pop("error"), output=answer)


def soon(runpod: Any, act: Callable[[dict[str, Any]], None]) -> None:
    """Let something happen to the job after its second question."""

    def before(operation: str) -> None:
        if operation == "status" and runpod.calls["status"] == 2:
            (job,) = runpod.jobs.values()
            act(job)

    runpod.before = before


async def test_pictures_come_with_the_answer(serve: Any, runpod: Any) -> None:
    soon(runpod, ready)
    async with serve() as client:
        answer = await client.post(PATH, json={**BODY, "n": 2, "size": "64x128", "quality": "high", "user": "u"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == [{"url": f"https://cdn.test/{n}.png"} for n in range(2)]
    assert answer.json()["created"] > 0
    assert answer.headers["X-Visgate-Job-Id"].startswith("job_")
    (sent,) = runpod.bodies["run"]
    params = sent["input"]["params"]
    assert (params["width"], params["height"], params["num_images"], params["task"]) == (64, 128, 2, "text2img")


async def test_a_failure_is_told_in_openais_form(serve: Any, runpod: Any) -> None:
    soon(runpod, failed)
    async with serve() as client:
        answer = await client.post(PATH, json=BODY)
    error = answer.json()["error"]
    assert (answer.status_code, answer.headers["X-Should-Retry"]) == (500, "false")
    assert (error["code"], error["type"]) == ("generation_failed", "server_error")
    assert KEY not in answer.text


async def test_what_is_not_ready_in_time_goes_on(serve: Any, runpod: Any) -> None:
    async with serve(images_wait_s=0.05) as client:
        answer = await client.post(PATH, json=BODY)
        job_id = answer.headers["X-Visgate-Job-Id"]
        shown = await client.get(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.headers["X-Should-Retry"]) == (504, "false")
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert job_id in answer.json()["error"]["message"]
    assert shown.json()["runpod_status"] == "IN_QUEUE"
    assert runpod.calls["cancel"] == 0


async def test_whoever_hangs_up_cancels_the_job(runpod: Any, new_settings: Any) -> None:
    app = create_app(new_settings(), clients=Clients(runpod=runpod.transport()))
    asked, sent = (
        asyncio.Event(),
        iter([{"type": "http.request", "body": httpx.Request("POST", "/", json=BODY).content}]),
    )

    def before(operation: str) -> None:
        if operation == "status":
            asked.set()

    async def receive() -> Any:
        for message in sent:
            return message
        await asked.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        return

    runpod.before = before
    headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers, "query_string": b"", "client": None}
    async with asyncio.timeout(20), app.router.lifespan_context(app):
        await app({**scope, "raw_path": PATH.encode(), "scheme": "http", "root_path": ""}, receive, send)
    (job,) = runpod.jobs.values()
    assert job["status"] == "CANCELLED"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"model": None}, "model"),
        ({"size": "huge"}, "size"),
        ({"size": "63x64"}, "size"),
        ({"n": 9}, "n"),
        ({"response_format": "b64_json"}, "response_format"),
        ({"output_format": "bmp"}, "output_format"),
    ],
)
async def test_a_wrong_field_is_named(serve: Any, runpod: Any, changes: dict[str, Any], param: str) -> None:
    async with serve() as client:
        answer = await client.post(PATH, json={**BODY, **changes})
    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert runpod.calls == {}


async def test_every_refusal_has_openais_form(serve: Any, runpod: Any) -> None:
    async with serve(max_body_bytes=1024, rate_per_user="3/hour burst 3") as client:
        answers = [
            await client.post(PATH, json=BODY, headers={"Authorization": "Basic dTpw"}),
            await client.get(PATH),
            await client.post(PATH, json={**BODY, "prompt": "x" * 2000}),
            await client.post(PATH, content=b"{", headers={"Content-Type": "application/json"}),
            await client.post(PATH, json=BODY),
        ]
    assert [answer.status_code for answer in answers] == [401, 405, 413, 400, 429]
    for answer in answers:
        error = answer.json()["error"]
        assert error["message"]
        assert error["request_id"] == answer.headers["X-Request-Id"]
        assert KEY not in answer.text
    assert answers[0].json()["error"]["type"] == "authentication_error"
    assert answers[-1].json()["error"]["type"] == "rate_limit_error"


async def test_a_fault_of_our_own_has_it_too(serve: Any, runpod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        message = f"broken with {KEY}"
        raise RuntimeError(message)

    runpod.before = broken
    async with serve() as client:
        answer = await client.post(PATH, json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert KEY not in answer.text


async def test_a_repeat_waits_for_the_same_job(serve: Any, runpod: Any) -> None:
    soon(runpod, ready)
    async with serve() as client:
        answers = [await client.post(PATH, json=BODY, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.headers["X-Visgate-Job-Id"] for answer in answers}) == 1
    assert runpod.calls["run"] == 1
