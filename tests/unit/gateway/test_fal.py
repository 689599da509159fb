"""fal's dialect: what it translates, and what its clients never have to see."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.routes import fal as routes
from pulumi_visgate.gateway.services import fal, observe
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.settings import OfferedModel
from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Artifact, EventError, Status
from visgate_contract.jobs import JobError, JobResult
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
MODEL = "visgate/tiny-sd"
QUEUE = f"/fal/{MODEL}"
FAL_AUTH = {"Authorization": f"Key {KEY}"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "HOLD_S", 0.01)


def picture(content_type: str = "image/png") -> Artifact:
    return Artifact(
        url="https://cdn.test/u/t/0.png",
        content_type=content_type,
        width=512,
        height=256,
        size_bytes=9,
        sha256="0" * 64,
        seed=7,
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"prompt": "x", "num_inference_steps": 4}, {"prompt": "x", "steps": 4}),
        ({"prompt": "x", "image_size": "portrait_16_9"}, {"prompt": "x", "width": 576, "height": 1024}),
        ({"prompt": "x", "image_size": {"width": 64, "height": 128}}, {"prompt": "x", "width": 64, "height": 128}),
        ({"prompt": "x", "image_size": {"width": 64}}, {"prompt": "x", "width": 64}),
        ({"prompt": "x", "seed": None, "image_size": None}, {"prompt": "x"}),
        ({"prompt": "x", "sync_mode": False, "loras": []}, {"prompt": "x", "loras": []}),
        ({"prompt": "x", "task": "image2img"}, {"prompt": "x"}),
    ],
)
def test_arguments(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert fal.input_of(Task.TEXT2IMG, theirs) == ours


def test_a_clip() -> None:
    given: Any = {"prompt": "x", "num_frames": 17, "frames_per_second": 8, "num_images": 2}
    assert fal.input_of(Task.TEXT2VIDEO, given) == {"prompt": "x", "num_frames": 17, "fps": 8}


def test_an_image_to_begin_from() -> None:
    given: Any = {"prompt": "x", "image_url": "https://example.com/fox.png", "strength": 0.5}
    assert fal.input_of(Task.IMAGE2IMG, given)["image"] == "https://example.com/fox.png"
    assert "image" not in fal.input_of(Task.TEXT2IMG, given)


@pytest.mark.parametrize("size", ["huge", 7, [], True])
def test_a_size_that_is_none(size: Any) -> None:
    with pytest.raises(InvalidField) as refused:
        fal.input_of(Task.TEXT2IMG, {"prompt": "x", "image_size": size})
    assert refused.value.field == "image_size"


@pytest.mark.parametrize(
    ("path", "arguments", "tasks", "expected"),
    [
        ("", {}, (Task.TEXT2IMG,), Task.TEXT2IMG),
        ("", {}, None, Task.TEXT2IMG),
        ("", {}, (Task.IMAGE2IMG, Task.TEXT2VIDEO), Task.TEXT2VIDEO),
        ("", {"image_url": "https://example.com/x.png"}, (Task.TEXT2IMG,), Task.IMAGE2IMG),
        ("image-to-image", {}, (Task.TEXT2IMG,), Task.IMAGE2IMG),
        ("text2img", {"image_url": "x"}, None, Task.TEXT2IMG),
    ],
)
def test_the_task(path: str, arguments: Any, tasks: Any, expected: Task) -> None:
    offered = OfferedModel(model_id=MODEL, tasks=tasks) if tasks else None
    assert fal.task_of(path, arguments, offered) is expected


def test_a_path_that_names_no_task() -> None:
    with pytest.raises(Refused) as refused:
        fal.task_of("upscale", {}, None)
    assert refused.value.status == 404


def test_results_of_pictures_and_clips() -> None:
    view = JobView(job_id="j", task_id="t", endpoint_id="e", status=Status.READY, runpod_status="COMPLETED")
    shown = fal.result_of(view.model_copy(update={"artifacts": (picture(),)}), prompt="a fox")
    assert shown["images"] == [
        {
            "url": "https://cdn.test/u/t/0.png",
            "content_type": "image/png",
            "file_name": "0.png",
            "file_size": 9,
            "width": 512,
            "height": 256,
        }
    ]
    assert (shown["seed"], shown["prompt"]) == (7, "a fox")
    clip = fal.result_of(view.model_copy(update={"artifacts": (picture("video/mp4"),)}))
    assert clip["video"]["content_type"] == "video/mp4"
    assert "images" not in clip


def test_webhooks_of_success_and_failure() -> None:
    view = JobView(job_id="j", task_id="t", endpoint_id="e", status=Status.READY, runpod_status="COMPLETED")
    good = fal.webhook_of(view, prompt="a fox")
    assert (good["request_id"], good["status"], good["payload"]["prompt"]) == ("j", "OK", "a fox")
    error = EventError(code="upload_failed", detail="the store was down")
    bad = fal.webhook_of(view.model_copy(update={"error": error}))
    assert (bad["status"], bad["error"], "images" in bad["payload"]) == ("ERROR", "the store was down", False)


def test_signatures_verify_with_the_published_key() -> None:
    signer = fal.FalSigner("signing-key-of-the-tests-0123456789")
    now, body = datetime(2026, 11, 23, tzinfo=UTC), b'{"a": 1}'
    headers = signer.headers(body, request_id="r", user_id="u", timestamp=now)
    jwk = signer.jwk()
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    message = f"r\nu\n{int(now.timestamp())}\n{hashlib.sha256(body).hexdigest()}"
    public.verify(bytes.fromhex(headers["x-fal-webhook-signature"]), message.encode())
    assert (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519")
    assert "d" not in jwk
    assert "signing-key" not in repr(signer)
    assert fal.FalSigner("another-signing-key-0123456789").jwk() != jwk


@pytest.mark.parametrize("prefix", ["/fal", ""])
async def test_from_submission_to_result(serve: Any, runpod: Any, prefix: str) -> None:
    async with serve() as client:
        client.headers["Authorization"] = f"Key {KEY}"
        submitted = await client.post(f"{prefix}/{MODEL}", json={"prompt": "a red fox"})
        assert submitted.status_code == 200, submitted.text
        request_id = submitted.json()["request_id"]
        base = f"{prefix}/{MODEL}/requests/{request_id}"
        assert submitted.json()["status_url"] == f"http://gateway.test{QUEUE}/requests/{request_id}/status"
        (job,) = runpod.jobs.values()
        queued = await client.get(f"{base}/status")
        assert (queued.status_code, queued.json()["status"], queued.json()["queue_position"]) == (202, "IN_QUEUE", 0)
        early = await client.get(base)
        assert (early.status_code, early.json()["detail"]) == (400, "Request is still in progress")

        job.update(status="IN_PROGRESS", workerId="w1")
        running = await client.get(f"{base}/status", params={"logs": "1"})
        assert (running.status_code, running.json()["status"], running.json()["logs"]) == (202, "IN_PROGRESS", [])

        result = JobResult(task_id=job["input"]["task_id"], artifacts=(picture(),))
        job.update(status="COMPLETED", output=result.to_runpod())
        done = await client.get(f"{base}/status")
        assert (done.status_code, done.json()["status"], done.json()["logs"]) == (200, "COMPLETED", None)
        made = await client.get(base)
        assert made.json()["images"][0]["url"] == "https://cdn.test/u/t/0.png"
        over = await client.put(f"{base}/cancel")
        assert (over.status_code, over.json()) == (400, {"status": "ALREADY_COMPLETED"})
        answers = [submitted, queued, running, done, made, over]
    assert {answer.headers["x-fal-request-id"] for answer in answers} == {request_id}
    assert early.headers["x-fal-request-id"]


async def test_the_queue_position_is_what_runpod_counts(
    serve: Any, runpod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runpod.answers["health"] = httpx.Response(200, json={"jobs": {"inQueue": 4}, "workers": {}})
    monkeypatch.setattr(observe, "COUNTS_S", -1.0)
    async with serve() as client:
        status = (await client.post(QUEUE, json={"prompt": "x"}, headers=FAL_AUTH)).json()["status_url"]
        counted = (await client.get(status, headers=FAL_AUTH)).json()["queue_position"]
        runpod.answers["health"] = httpx.Response(500)
        unknown = (await client.get(status, headers=FAL_AUTH)).json()["queue_position"]
    assert (counted, unknown) == (3, 0)


@pytest.mark.parametrize(
    ("code", "status"),
    [("generation_failed", 500), ("invalid_request", 422), ("cancelled", 400), ("deadline_exceeded", 504)],
)
async def test_a_failed_job(serve: Any, runpod: Any, code: Any, status: int) -> None:
    async with serve() as client:
        links = (await client.post(QUEUE, json={"prompt": "x"}, headers=FAL_AUTH)).json()
        (job,) = runpod.jobs.values()
        error = JobError(code=code, detail=f"no luck with {KEY}")
        answer = JobResult(task_id=job["input"]["task_id"], error=error).to_runpod()
        job.update(status="FAILED", error=answer.pop("error"), output=answer)
        told = await client.get(links["status_url"], headers=FAL_AUTH)
        result = await client.get(links["response_url"], headers=FAL_AUTH)
    assert (told.status_code, told.json()["status"], told.json()["error_type"]) == (200, "COMPLETED", code)
    assert (result.status_code, result.headers["x-fal-error-type"]) == (status, code)
    assert result.headers["x-fal-request-id"] == links["request_id"]
    assert result.headers.get("x-fal-request-timeout-type") == ("user" if status == 504 else None)
    assert KEY not in told.text + result.text


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "x", "num_inference_steps": "many"}, "num_inference_steps"),
        ({"prompt": "x", "image_size": {"width": 63}}, "width"),
        ({"prompt": "x", "image_url": "ftp://example.com/x"}, "image_url"),
        ({"prompt": f"{KEY}", "num_images": 99}, "num_images"),
    ],
)
async def test_a_wrong_argument_is_named_as_fal_names_it(
    serve: Any, runpod: Any, arguments: dict[str, Any], field: str
) -> None:
    async with serve() as client:
        answer = await client.post(QUEUE, json=arguments, headers=FAL_AUTH)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert KEY not in answer.text
    assert runpod.calls == {}


@pytest.mark.parametrize("header", [None, "Basic dTpw", "Key", "Key x"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("GET", "/requests/j/status"), ("GET", "/requests/j"), ("PUT", "/requests/j/cancel")],
)
async def test_no_key_no_answer(serve: Any, runpod: Any, method: str, path: str, header: str | None) -> None:
    async with serve() as client:
        del client.headers["Authorization"]
        headers = {"Authorization": header} if header else {}
        answer = await client.request(method, QUEUE + path, json={"prompt": "x"}, headers=headers)
    assert answer.status_code == 401
    assert "Key" in answer.json()["hint"]
    assert runpod.calls == {}


async def test_another_keys_request_does_not_exist(serve: Any, runpod: Any) -> None:
    other = {"Authorization": "Key rpa_SOMEBODYELSE00000000000000000"}
    async with serve() as client:
        links = (await client.post(QUEUE, json={"prompt": "x"}, headers=FAL_AUTH)).json()
        before = runpod.calls.copy()
        answers = [
            await client.get(links["status_url"], headers=other),
            await client.get(links["response_url"], headers=other),
            await client.put(links["cancel_url"], headers=other),
        ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert runpod.calls == before


async def test_a_key_works_at_our_own_routes_as_a_bearer_only(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        answer = await client.post("/v1/jobs", json={"model": MODEL, "input": {"prompt": "x"}}, headers=FAL_AUTH)
        unknown = await client.get("/nothing/here", headers={"Authorization": f"Bearer {KEY}"})
    assert (answer.status_code, unknown.status_code) == (401, 404)
    assert KEY not in answer.text


async def test_a_webhook_is_checked_and_gets_fals_form_only(serve: Any, runpod: Any) -> None:
    seen: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async def public(_: str, __: int) -> list[str]:
        return ["8.8.8.8"]

    webhooks = httpx.AsyncClient(transport=httpx.MockTransport(receive))
    clients = Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=public)
    hook = {"fal_webhook": "https://hooks.example.com/in"}
    async with serve(clients=clients) as client:
        refused = await client.post(
            QUEUE, json={"prompt": "x"}, params={"fal_webhook": "https://10.0.0.1/x"}, headers=FAL_AUTH
        )
        accepted = await client.post(QUEUE, json={"prompt": "a fox"}, params=hook, headers=FAL_AUTH)
        (sent,) = runpod.bodies["run"]
        result = JobResult(task_id=sent["input"]["task_id"], artifacts=(picture(),)).to_runpod()
        (job,) = runpod.jobs.values()
        ended = {"id": job["id"], "input": sent["input"], "status": "COMPLETED", "output": result}
        answer = await client.post(httpx.URL(sent["webhook"]).path, json=ended)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "fal_webhook")
    assert refused.json()["code"] == "webhook_url_refused"
    assert "webhook_url" not in sent["input"]
    assert answer.json() == {"outcome": "delivered"}
    (request,) = seen
    told = json.loads(request.content)
    assert (told["request_id"], told["status"]) == (accepted.json()["request_id"], "OK")
    assert told["payload"]["prompt"] == "a fox"
    assert request.headers["x-fal-webhook-request-id"] == told["request_id"]


async def test_a_webhook_that_could_never_be_called_is_refused(serve: Any, runpod: Any) -> None:
    async with serve(public_url="http://127.0.0.1:8080") as client:
        answer = await client.post(
            QUEUE, json={"prompt": "x"}, params={"fal_webhook": "https://example.com/x"}, headers=FAL_AUTH
        )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "fal_webhook")
    assert runpod.calls["run"] == 0


async def test_a_request_sent_twice_runs_once(serve: Any, runpod: Any) -> None:
    headers = {**FAL_AUTH, "Idempotency-Key": "one"}
    async with serve() as client:
        ids = {(await client.post(QUEUE, json={"prompt": "x"}, headers=headers)).json()["request_id"] for _ in range(2)}
    assert len(ids) == 1
    assert runpod.calls["run"] == 1


@pytest.mark.parametrize(
    ("headers", "start_s", "is_low"),
    [
        ({}, None, None),
        ({"X-Fal-Request-Timeout": "120.5", "X-Fal-Queue-Priority": "normal"}, 121, None),
        ({"X-Fal-Request-Timeout": "2"}, 10, None),
        ({"X-Fal-Queue-Priority": "low"}, None, True),
    ],
)
async def test_what_fals_client_says_of_time_and_priority(
    serve: Any, runpod: Any, headers: dict[str, str], start_s: int | None, is_low: bool | None
) -> None:
    async with serve() as client:
        answer = await client.post(QUEUE, json={"prompt": "x"}, headers=FAL_AUTH | headers)
    assert answer.status_code == 200, answer.text
    (sent,) = runpod.bodies["run"]
    assert (sent["input"].get("start_timeout_s"), sent["policy"].get("lowPriority")) == (start_s, is_low)


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-Fal-Request-Timeout", "soon"), ("X-Fal-Request-Timeout", "0"), ("X-Fal-Queue-Priority", "x")],
)
async def test_a_time_or_priority_that_is_none(serve: Any, runpod: Any, header: str, value: str) -> None:
    async with serve() as client:
        answer = await client.post(QUEUE, json={"prompt": "x"}, headers=FAL_AUTH | {header: value})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, header)
    assert runpod.calls == {}


async def test_a_key_of_fals_kind_counts_against_its_limit(serve: Any, runpod: Any) -> None:
    async with serve(rate_per_user="2/hour burst 2") as client:
        answers = [await client.get(f"{QUEUE}/requests/j", headers=FAL_AUTH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[-1].headers["x-fal-request-id"]
