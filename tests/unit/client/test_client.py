"""Both clients against a gateway that says what a test wants."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pulumi_visgate.client import (
    AsyncClient,
    Client,
    GatewayError,
    JobFailedError,
    JobNotDoneError,
    Text2ImgInput,
    UsageError,
    Waiting,
    image_data,
)
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Status

Connect = Callable[..., Any]
SLOW = "too slow"
KEY = "rpa_SECRETSECRETSECRETSECRET"
ACCEPTED = {
    "status": "warm_ready",
    "task_id": "task_1",
    "job_id": "job_1",
    "endpoint_id": "e1",
    "model": "m/x",
    "task": "text2img",
    "links": {"self": "…"},
    "newer": 1,
}


def sse(*texts: str) -> httpx.Response:
    body = "".join(texts).encode()
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)


def message(event: Any) -> str:
    return f"id: {event.data.sequence}\nevent: {event.type}\ndata: {event.body().decode()}\n\n"


def refuse(request: httpx.Request) -> httpx.Response:
    text = "connection refused"
    raise httpx.ConnectError(text, request=request)


def in_turn(*answers: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    left: Iterator[httpx.Response] = iter(answers)
    return lambda _: next(left)


def test_what_is_asked_for_is_sent_with_a_key_for_repeats(connect: Connect) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(202, json=ACCEPTED)

    client = connect(answer, hf_token="hf_x")
    job = client.submit("m/x", Text2ImgInput(prompt="a fox", seed=3), region="EU", start_timeout_s=60)
    assert (job.status, job.job_id, job.expected) == ("warm_ready", "job_1", None)
    client.submit("m/x", {"prompt": "a fox"}, task="image2img", idempotency_key="mine")
    first, second = (json.loads(request.content) for request in asked)
    assert first["input"]["prompt"] == "a fox"
    assert first == {"model": "m/x", "task": "text2img", "region": "EU", "start_timeout_s": 60, "input": first["input"]}
    assert second == {"model": "m/x", "task": "image2img", "input": {"prompt": "a fox"}}
    assert asked[1].headers["idempotency-key"] == "mine"
    assert len(asked[0].headers["idempotency-key"]) == 36
    assert (asked[0].headers["authorization"], asked[0].headers["x-hf-token"]) == (f"Bearer {KEY}", "hf_x")


def test_a_lost_answer_is_asked_for_again_with_the_same_key(connect: Connect, pauses: list[float]) -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout(SLOW, request=request)
        if len(keys) == 2:
            return httpx.Response(409, headers={"retry-after": "1"}, json={"detail": "Still at it."})
        return httpx.Response(202, json=ACCEPTED)

    assert connect(answer).submit("m/x", {"prompt": "x"}).job_id == "job_1"
    assert len(set(keys)) == 1
    assert pauses == [0.2, 1.0]


def test_what_is_not_safe_to_send_twice_is_sent_once(connect: Connect, pauses: list[float]) -> None:
    client = connect(refuse)
    with pytest.raises(GatewayError, match="cannot be reached"):
        client.retry("job_1")
    with pytest.raises(GatewayError, match="cannot be reached"):
        client.deploy("m/x", warm_for_s=60)
    assert pauses == []


@pytest.mark.parametrize(
    ("refusal", "pauses_expected"),
    [
        (httpx.Response(503, json={"detail": "None free.", "code": "no_capacity"}), []),
        (httpx.Response(429, headers={"retry-after": "17"}, json={"detail": "Too many."}), []),
        (httpx.Response(503, json={"detail": "Starting.", "code": "internal"}), [0.2, 0.4, 0.8]),
        (httpx.Response(500, json={"detail": "A fault."}), []),
    ],
)
def test_how_often_a_refusal_is_tried_again(
    connect: Connect, pauses: list[float], refusal: httpx.Response, pauses_expected: list[float]
) -> None:
    with pytest.raises(GatewayError):
        connect(
            lambda _: httpx.Response(refusal.status_code, headers=refusal.headers, content=refusal.content)
        ).models()
    assert pauses == pytest.approx(pauses_expected)


def test_a_problem_document_is_told_in_full(connect: Connect) -> None:
    problem = {
        "status": 422,
        "code": "invalid_request",
        "detail": "input.width: a multiple of 8.",
        "hint": "Correct it.",
        "errors": [{"field": "input.width", "detail": "a multiple of 8"}],
        "request_id": "req_1",
    }
    with pytest.raises(GatewayError, match=r"^input\.width: a multiple of 8\. Correct it\.$") as caught:
        connect(lambda _: httpx.Response(422, json=problem)).submit("m/x", {"prompt": "x"})
    error = caught.value
    assert (error.status, error.code, error.request_id) == (422, ErrorCode.INVALID_REQUEST, "req_1")
    assert error.errors == {"input.width": "a multiple of 8"}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="<html>oops</html>"),
        httpx.Response(500, json=["oops"]),
        httpx.Response(500, json={"errors": "oops", "code": "newer_than_us", "status": "x"}),
        httpx.Response(500, headers={"content-type": "application/json"}, content=b"{broken"),
    ],
)
def test_an_answer_that_is_no_problem_document_is_told_by_its_status(connect: Connect, answer: httpx.Response) -> None:
    with pytest.raises(GatewayError, match="The gateway answered 500"):
        connect(lambda _: answer).submit("m/x", {})


def test_an_answer_that_is_no_job_is_said(connect: Connect) -> None:
    with pytest.raises(GatewayError, match="is it a Visgate gateway"):
        connect(lambda _: httpx.Response(200, text="<html>hello</html>")).submit("m/x", {})


def test_retry_after_is_told(connect: Connect) -> None:
    limited = httpx.Response(429, headers={"retry-after": "17"}, json={"detail": "Too many."})
    with pytest.raises(GatewayError, match=r"Try again in 17 s\.") as caught:
        connect(lambda _: limited).models()
    assert caught.value.retry_after_s == 17


def test_a_job_is_followed_to_what_it_made(connect: Connect, job: list[Any]) -> None:
    waits = 'event: waiting\ndata: {"reason": "starting", "detail": "A worker starts.", "newer": 1}\n\n'
    first, *others = job
    seen: list[Any] = []
    client = connect(in_turn(httpx.Response(202, json=ACCEPTED), sse(message(first), waits, *map(message, others))))
    result = client.subscribe("m/x", {"prompt": "x"}, on_update=seen.append)
    assert result.artifacts == job[-1].data.artifacts
    assert [update.reason if isinstance(update, Waiting) else update.data.status for update in seen] == [
        "provisioning",
        "starting",
        "started",
        "progress",
        "ready",
    ]


def test_a_failed_job_is_an_error_with_the_workers_last_words(connect: Connect, failed_job: list[Any]) -> None:
    with pytest.raises(JobFailedError, match=r"^The worker died\. Try again\.$") as caught:
        connect(lambda _: sse(*map(message, failed_job))).wait("job_1")
    assert (caught.value.code, caught.value.log_tail) == (ErrorCode.WORKER_FATAL, ("Killed",))


def test_faults_that_may_pass_are_waited_out_with_growing_pauses(
    connect: Connect, job: list[Any], pauses: list[float]
) -> None:
    answers = in_turn(
        httpx.Response(502, text="bad gateway"),
        httpx.Response(503, json={"detail": "x"}),
        httpx.Response(429, headers={"retry-after": "3"}, json={"detail": "slow down"}),
        sse(*map(message, job[:2])),
        sse(*map(message, job[2:])),
    )
    events = list(connect(answers).events("job", timeout_s=60))
    assert [event.data.status for event in events][-1] is Status.READY
    assert pauses == pytest.approx([0.2, 0.4, 3.0, 0.2])


def test_a_stream_is_taken_up_after_what_was_seen(connect: Connect, job: list[Any]) -> None:
    resumed: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        resumed.append(request.headers.get("last-event-id"))
        return sse(*map(message, job[:2])) if len(resumed) == 1 else sse(*map(message, job))

    assert [found.data.sequence for found in connect(answer).events("job/ä", timeout_s=60)] == [0, 1, 2, 3]
    assert resumed == [None, "1"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(connect: Connect, status: int) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"detail": "No.", "hint": "Do not."})

    with pytest.raises(GatewayError, match=r"^No\. Do not\.$"):
        list(connect(answer).events("job", timeout_s=60))
    assert len(asked) == 1


def test_an_error_event_is_an_error(connect: Connect) -> None:
    problem = 'event: error\ndata: {"status": 404, "detail": "The endpoint is gone.", "hint": "Ask again."}\n\n'
    with pytest.raises(GatewayError, match="The endpoint is gone") as caught:
        list(connect(lambda _: sse(problem)).events("job", timeout_s=60))
    assert caught.value.status == 404


def test_events_come_once_and_unknown_ones_are_skipped(connect: Connect, job: list[Any]) -> None:
    first, *others = job
    repeated = sse(message(first), message(first), 'event: job.new\ndata: {"new": "kind"}\n\n', *map(message, others))
    events = list(connect(lambda _: repeated).events("job", timeout_s=60))
    assert [event.data.sequence for event in events] == [0, 1, 2, 3]


def test_an_end_that_cannot_be_read_is_said_and_not_waited_for(connect: Connect) -> None:
    with pytest.raises(GatewayError, match="too old"):
        list(connect(lambda _: sse('event: job.ready\ndata: {"new": "kind"}\n\n')).events("job"))


def test_everything_was_seen(connect: Connect) -> None:
    assert list(connect(lambda _: httpx.Response(204)).events("job", after=7)) == []


def test_a_gateway_that_stays_away_is_said(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_visgate.client._follow.RECONNECT_S", 0.0)
    with pytest.raises(GatewayError, match=r"https://gw\.test cannot be reached"):
        list(connect(refuse).events("job", timeout_s=60))


def test_a_page_instead_of_a_stream_is_not_taken_for_one(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_visgate.client._follow.RECONNECT_S", 0.0)
    with pytest.raises(GatewayError, match="text/event-stream"):
        list(connect(lambda _: httpx.Response(200, text="<html>hello</html>")).events("job"))


def test_the_wait_has_an_end_also_when_heartbeats_go_on(connect: Connect, job: list[Any]) -> None:
    with pytest.raises(JobNotDoneError, match="has not ended after 0 s"):
        connect(lambda _: sse(": still here\n")).wait("job_x", timeout_s=0.0)


def test_a_log_is_followed_over_breaks_and_says_what_is_lost(connect: Connect) -> None:
    line = 'id: {id}\nevent: log\ndata: {{"worker_id": "w1", "source": "container", "line": "{text}"}}\n\n'
    resumed: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        resumed.append(request.headers.get("last-event-id"))
        if len(resumed) == 1:
            return sse(line.format(id="a", text="one"))
        gap = 'event: gap\ndata: {"lost": 3}\n\n'
        return sse(gap, line.format(id="b", text="two"), "event: end\ndata: {}\n\n")

    found = list(connect(answer).logs("job_1"))
    assert [(one.line, one.lost) for one in found] == [("one", 0), ("two", 3)]
    assert resumed == [None, "a"]


def test_a_log_that_is_only_read_ends_when_it_is_quiet(connect: Connect) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"]["read"] == 2.0
        raise httpx.ReadTimeout(SLOW, request=request)

    assert list(connect(answer).endpoint_logs("e1", quiet_s=2.0)) == []


def test_a_job_tells_its_result_or_why_there_is_none(connect: Connect, job: list[Any]) -> None:
    view = {"job_id": "job_1", "endpoint_id": "e1", "runpod_status": "COMPLETED"}
    made = [artifact.model_dump() | {"newer": 1} for artifact in job[-1].data.artifacts]
    done = {**view, "status": "ready", "artifacts": made}
    waiting = {"reason": "queued", "detail": "Others are first."}
    waits = {**view, "status": "provisioning", "waiting": waiting}
    failed = {**view, "status": "failed", "error": {"code": "cancelled", "detail": "It was cancelled."}}
    client = connect(in_turn(*(httpx.Response(200, json=body) for body in (done, waits, failed))))
    assert client.result("job_1").artifacts == job[-1].data.artifacts
    with pytest.raises(JobNotDoneError, match="Others are first"):
        client.result("job_1")
    with pytest.raises(JobFailedError, match="It was cancelled"):
        client.result("job_1")


def test_ids_cannot_lead_elsewhere(connect: Connect) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(404, json={"detail": "No such job."})

    client = connect(answer)
    for call in (client.job, client.cancel, client.delete_deployment):
        with pytest.raises(GatewayError):
            call("../v1/models?x=")
    with pytest.raises(GatewayError):
        client.placements("a/b", task="text2img", region="EU&x=1")
    assert asked == [
        "/v1/jobs/..%2Fv1%2Fmodels%3Fx%3D",
        "/v1/jobs/..%2Fv1%2Fmodels%3Fx%3D/cancel",
        "/v1/deployments/..%2Fv1%2Fmodels%3Fx%3D",
        "/v1/placements?model=a%2Fb&task=text2img&region=EU%26x%3D1",
    ]


def test_the_key_is_in_no_error(connect: Connect) -> None:
    client = connect(refuse)
    with pytest.raises(GatewayError) as caught:
        client.models()
    assert "SECRETSECRET" not in repr(caught.value) + str(caught.value) + repr(client)


def test_the_key_goes_to_the_gateway_alone(connect: Connect, artifact: Any, tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert "authorization" not in request.headers
        return httpx.Response(200, content=b"\x89PNG not really" * 100)

    connect(answer).download(artifact, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, content=b"x" * 1501), "size or SHA-256"),
        (httpx.Response(200, content=b"x" * 1500), "size or SHA-256"),
        (httpx.Response(200, content=b"x"), "size or SHA-256"),
        (httpx.Response(404), r"answered 404 for https://cdn\.test/0\.png"),
    ],
)
def test_another_file_than_announced_is_not_kept(
    connect: Connect, artifact: Any, tmp_path: Path, answer: httpx.Response, said: str
) -> None:
    with pytest.raises(GatewayError, match=said):
        connect(lambda _: answer).download(artifact, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_cdn_that_is_away_is_said(connect: Connect, artifact: Any, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"CDN cannot be reached at https://cdn\.test"):
        connect(refuse).download(artifact, tmp_path / "a.png")


@pytest.mark.parametrize("make", [Client, AsyncClient])
@pytest.mark.parametrize(
    "url", ["http://example.com", "ftp://127.0.0.1", "example.com", "http://127.0.0.1.evil.test", "https://a:b@c.test"]
)
def test_the_key_travels_by_https_or_stays_here(make: Callable[..., Any], url: str) -> None:
    with pytest.raises(UsageError, match="must be https"):
        make(url, KEY)


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_what_is_missing_is_named(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISGATE_GATEWAY_URL", raising=False)
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(UsageError, match="VISGATE_GATEWAY_URL is not set"):
        make()
    with pytest.raises(UsageError, match="RUNPOD_API_KEY is not set"):
        make("https://gw.test")


def test_a_picture_is_sent_as_what_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\x89PNG\r\n\x1a\nrest")
    assert image_data(file) == "data:image/png;base64,iVBORw0KGgpyZXN0"
    file.write_bytes(b"GIF89a")
    with pytest.raises(UsageError, match=r"a\.jpg is no PNG, JPEG or WebP"):
        image_data(file)
    file.write_bytes(b"\xff\xd8\xff" + bytes(5_000_000))
    with pytest.raises(UsageError, match=r"5\.0 MB; 4\.5 MB are allowed"):
        image_data(file)
