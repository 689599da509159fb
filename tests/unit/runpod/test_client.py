"""Both clients over a scripted transport and a clock of their own: nothing here waits."""

import asyncio
import copy
import itertools
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulumi_visgate import runpod
from pulumi_visgate.runpod import AsyncRunpodClient, RetryPolicy, RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, QueueDelayScaling, UpdateEndpoint
from pulumi_visgate.runpod.models.job import JobRequest, JobState, RunSyncQuery
from tests.handled import Handled
from tests.unit.runpod.conftest import Clock

ENDPOINT = {
    "id": "ep",
    "name": "n",
    "workers": {"min": 0, "max": 3},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "dataCenterIds": [],
    "networkVolumes": [],
    "timeout": 1000,
    "flashboot": "OFF",
    "createdAt": "2026-06-01T12:00:00Z",
}
NEW = CreateEndpoint.model_validate(
    {"name": "n", "type": "QUEUE", "image": "i", "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}}
)
LIST = httpx.Response(200, json={"endpoints": [ENDPOINT]})
MADE = httpx.Response(201, json=ENDPOINT)
Problem = Callable[..., httpx.Response]


def test_a_call_sends_key_agent_and_body_and_returns_a_model(caller: Any, script: Any) -> None:
    answers = script(MADE)
    made = caller(answers, "create_endpoint", NEW)
    request = answers.requests[0]
    assert (made.id, made.scaling.queue_delay) == ("ep", 4)
    assert (request.method, str(request.url)) == ("POST", "https://api.runpod.io/v2/serverless")
    assert request.headers["authorization"] == f"Bearer {caller.key}"
    assert request.headers["user-agent"].startswith("pulumi-visgate/")
    assert json.loads(request.content) == {
        "name": "n",
        "type": "QUEUE",
        "image": "i",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4.0},
    }


def test_a_patch_sends_only_what_was_set(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(200, json=ENDPOINT))
    caller(answers, "update_endpoint", "ep", UpdateEndpoint(scaling=QueueDelayScaling(queue_delay=2), registry=None))
    assert json.loads(answers.requests[0].content) == {
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 2.0},
        "registry": None,
    }


def test_addresses_are_used_as_given(caller: Any, script: Any) -> None:
    answers = script(LIST, httpx.Response(200, json={"id": "j", "status": "IN_QUEUE"}))
    options = {"base_url": "http://127.0.0.1:9/", "jobs_url": "http://127.0.0.1:9/jobs/v2/"}
    caller(answers, "list_endpoints", **options)
    caller(answers, "job_status", "ep", "a/b", **options)
    assert [str(request.url) for request in answers.requests] == [
        "http://127.0.0.1:9/v2/serverless",
        "http://127.0.0.1:9/jobs/v2/ep/status/a%2Fb",
    ]


def test_redirects_are_not_followed(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(302, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(runpod.RunpodApiError, match="Found"):
        caller(answers, "list_endpoints")
    assert len(answers.requests) == 1


@pytest.mark.parametrize(
    "hiccup",
    [
        httpx.Response(500),
        httpx.Response(503),
        httpx.ReadTimeout("t"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("gone"),
        httpx.ConnectError("refused"),
    ],
)
@pytest.mark.parametrize(
    ("operation", "args"), [("list_endpoints", ()), ("update_endpoint", ("ep", UpdateEndpoint(name="m")))]
)
def test_a_harmless_call_is_repeated(caller: Any, script: Any, hiccup: Any, operation: str, args: Any) -> None:
    good = LIST if operation == "list_endpoints" else MADE
    answers = script(hiccup, good)
    caller(answers, operation, *args)
    assert len(answers.requests) == 2
    assert caller.clock.slept == [0.25]


@pytest.mark.parametrize(
    ("hiccup", "kind"),
    [
        (httpx.Response(500), runpod.ServerFault),
        (httpx.Response(502), runpod.ServerFault),
        (httpx.Response(503), runpod.ServerFault),
        (httpx.ReadTimeout("t"), runpod.DeadlineExceeded),
        (httpx.WriteError("pipe"), runpod.RunpodUnreachable),
        (httpx.RemoteProtocolError("gone"), runpod.RunpodUnreachable),
        (httpx.DecodingError("gzip"), runpod.RunpodUnreachable),
    ],
)
@pytest.mark.parametrize(
    "call", [("create_endpoint", NEW), ("run_job", "ep", JobRequest(input={})), ("retry_job", "ep", "j")]
)
def test_a_creation_that_may_have_happened_is_sent_once(
    caller: Any, script: Any, hiccup: Any, kind: type[Exception], call: Any
) -> None:
    answers = script(hiccup, MADE)
    with pytest.raises(kind) as caught:
        caller(answers, *call)
    assert len(answers.requests) == 1
    if isinstance(caught.value, runpod.RunpodUnreachable | runpod.DeadlineExceeded):
        assert "may have been carried out" in str(caught.value)


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(429),
        httpx.Response(503, headers={"retry-after": "2"}),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("t"),
        httpx.PoolTimeout("t"),
    ],
)
def test_a_creation_that_did_not_happen_is_repeated(caller: Any, script: Any, refusal: Any) -> None:
    answers = script(refusal, MADE)
    assert caller(answers, "create_endpoint", NEW).id == "ep"
    assert len(answers.requests) == 2


def test_a_refusal_over_quota_waits_as_long_as_told(caller: Any, script: Any, problem: Problem) -> None:
    answers = script(problem(429, headers={"retry-after": "7"}), LIST)
    caller(answers, "list_endpoints")
    assert sum(caller.clock.slept) == pytest.approx(7.25)


def test_a_wait_that_does_not_fit_raises_at_once(caller: Any, script: Any, problem: Problem) -> None:
    answers = script(problem(429, "slow down", headers={"retry-after": "31"}), LIST)
    with pytest.raises(runpod.RateLimited, match="slow down") as caught:
        caller(answers, "list_endpoints")
    assert caught.value.retry_after_s == 31
    assert caller.clock.slept == []


def test_quota_is_waited_for_before_it_is_refused(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(200, json={"endpoints": []}, headers={"RateLimit": '"minute";r=0;t=12'}), LIST)
    caller(answers, "list_endpoints")
    caller(answers, "list_endpoints")
    assert caller.clock.slept == [12]
    assert len(answers.requests) == 2


def test_a_call_that_cannot_get_quota_in_time_is_not_sent(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(200, json={"endpoints": []}, headers={"RateLimit": '"hour";r=0;t=1200'}))
    caller(answers, "list_endpoints")
    with pytest.raises(runpod.RateLimited, match="was not sent") as caught:
        caller(answers, "list_endpoints")
    assert caught.value.retry_after_s == 1200
    assert len(answers.requests) == 1


def test_a_patient_client_waits_for_quota_without_using_up_its_deadline(
    caller: Any, script: Any, problem: Problem
) -> None:
    used_up = httpx.Response(200, json={"endpoints": []}, headers={"RateLimit": '"hour";r=0;t=1200'})
    refused = problem(429, headers={"retry-after": "600"})
    answers = script(used_up, refused, problem(503), LIST)
    caller(answers, "list_endpoints")
    caller(answers, "list_endpoints", retry=runpod.RetryPolicy(quota_wait_s=1801.0))
    assert caller.clock.slept[:2] == [1200, pytest.approx(600.25)]
    assert len(answers.requests) == 4  # there was time left to repeat what failed after the waits


def test_patience_has_an_end(caller: Any, script: Any, problem: Problem) -> None:
    answers = script(problem(429, headers={"retry-after": "600"}), LIST)
    with pytest.raises(runpod.RateLimited):
        caller(answers, "list_endpoints", retry=runpod.RetryPolicy(quota_wait_s=500.0))
    assert caller.clock.slept == []


def test_who_waits_for_quota_is_told_and_other_waits_are_not(problem: Problem, script: Any) -> None:
    clock, told = Clock(), list[float]()
    answers = script(problem(503), problem(429, headers={"retry-after": "7"}), LIST)
    with RunpodClient(
        "rpa_TOLDOFWAITSTOLDOFWAITS",
        transport=httpx.MockTransport(answers),
        clock=clock,
        sleep=clock.sleep,
        jitter=lambda: 0.5,
        on_quota_wait=told.append,
    ) as client:
        client.list_endpoints()
    assert len(clock.slept) >= 2
    assert told == [pytest.approx(7.5)]


def test_the_quota_of_api_v2_does_not_hold_jobs_back(caller: Any, script: Any) -> None:
    answers = script(
        httpx.Response(200, json={"endpoints": []}, headers={"RateLimit": '"hour";r=0;t=1200'}),
        httpx.Response(200, json={"id": "j", "status": "COMPLETED"}),
    )
    caller(answers, "list_endpoints")
    assert caller(answers, "job_status", "ep", "j").done


def test_failed_calls_give_their_place_back(caller: Any, script: Any, problem: Problem) -> None:
    rate = {"RateLimit-Policy": '"minute";q=2;w=60', "RateLimit": '"minute";r=2;t=10'}
    answers = script(httpx.Response(200, json={"endpoints": []}, headers=rate), problem(400), LIST)
    caller(answers, "list_endpoints")
    for _ in range(2):
        with pytest.raises(runpod.BadRequest):
            caller(script(problem(400)), "list_endpoints")
    caller.clock.now += 10
    caller(answers.__class__(LIST), "list_endpoints")
    caller(answers.__class__(LIST), "list_endpoints")
    assert caller.clock.slept == []


def test_the_deadline_ends_repeats(caller: Any, script: Any) -> None:
    def slow(_request: httpx.Request) -> httpx.Response:
        caller.clock.now += 11
        raise timeout

    timeout = httpx.ReadTimeout("t")
    answers = script(slow)
    with pytest.raises(runpod.DeadlineExceeded) as caught:
        caller(answers, "list_endpoints", timeout_s=30.0)
    assert len(answers.requests) == 3
    assert caught.value.sent


def test_a_hang_leaves_time_for_another_attempt(caller: Any, script: Any) -> None:
    answers = script(LIST)
    caller(answers, "list_endpoints", timeout_s=30.0)
    caller(script(MADE), "create_endpoint", NEW)
    assert answers.requests[0].extensions["timeout"]["read"] == 10
    assert answers.requests[0].extensions["timeout"]["connect"] == 5


def test_a_waiting_run_gets_the_time_it_asked_for(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(200, json={"id": "j", "status": "COMPLETED", "output": {"a": 1}}))
    status = caller(answers, "run_job_sync", "ep", JobRequest(input={}), RunSyncQuery(wait=120_000))
    assert (status.status, status.output) == (JobState.COMPLETED, {"a": 1})
    assert str(answers.requests[0].url) == "https://api.runpod.ai/v2/ep/runsync?wait=120000"
    assert answers.requests[0].extensions["timeout"]["read"] == 135


def test_repeats_stop_at_the_policy_of_the_client(caller: Any, script: Any) -> None:
    answers = script(httpx.Response(500))
    with pytest.raises(runpod.ServerFault):
        caller(answers, "list_endpoints", retry=RetryPolicy(attempts=3))
    assert len(answers.requests) == 3


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("t"), httpx.Response(502)])
def test_a_delete_whose_answer_was_lost_is_done_when_it_is_gone(
    caller: Any, script: Any, problem: Problem, lost: Any
) -> None:
    assert caller(script(lost, problem(404)), "delete_endpoint", "ep") is None


def test_a_delete_of_what_was_never_there_is_not_found(caller: Any, script: Any, problem: Problem) -> None:
    for answers in (script(problem(404)), script(httpx.ConnectError("refused"), problem(404))):
        with pytest.raises(runpod.NotFound):
            caller(answers, "delete_endpoint", "ep")


def test_a_body_without_end_is_given_up(caller: Any, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulumi_visgate.runpod._http._MAX_BODY", 100)
    with pytest.raises(runpod.RunpodUnreachable, match="longer than 100 bytes"):
        caller(script(httpx.Response(200, content=b"x" * 101)), "list_endpoints", retry=RetryPolicy(attempts=1))


@pytest.mark.parametrize("key", ["", " ", "rpa_with space", "rpa_line\n", "rpa_ü"])
@pytest.mark.parametrize("kind", [RunpodClient, AsyncRunpodClient])
def test_a_key_that_no_header_can_hold_is_refused_without_being_repeated(kind: Any, key: str) -> None:
    with pytest.raises(runpod.InvalidArgument) as caught:
        kind(key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "runpod.io", "ftp://x", "https://", "https://user:pw@x", "https://x?a=b", "https://x:y", "https://x:99999"],
)
@pytest.mark.parametrize("name", ["base_url", "jobs_url"])
def test_an_odd_address_is_refused(name: str, url: str) -> None:
    with pytest.raises(runpod.InvalidArgument, match=name):
        RunpodClient("rpa_x", **{name: url})  # type: ignore[arg-type]


def test_a_deadline_must_be_in_the_future() -> None:
    with pytest.raises(runpod.InvalidArgument, match="timeout_s"):
        RunpodClient("rpa_x", timeout_s=0)


def test_twins_share_connections_and_leave_them_open(script: Any) -> None:
    answers = script(LIST)
    with RunpodClient("rpa_first", transport=httpx.MockTransport(answers)) as client:
        with client.with_key("rpa_second").with_timeout(3.0) as twin:
            twin.list_endpoints()
        client.list_endpoints()
    assert [request.headers["authorization"] for request in answers.requests] == [
        "Bearer rpa_second",
        "Bearer rpa_first",
    ]
    assert [request.extensions["timeout"]["read"] for request in answers.requests] == [pytest.approx(3, abs=0.1), 10]
    with pytest.raises(RuntimeError, match="closed"):
        client.list_endpoints()


async def test_asynchronous_twins_share_connections_and_leave_them_open(script: Any) -> None:
    async with AsyncRunpodClient("rpa_first", transport=Handled(script(LIST))) as client:
        async with client.with_key("rpa_third") as twin:
            await twin.list_endpoints()
        assert len(await client.list_endpoints()) == 1


@pytest.mark.parametrize("kind", [RunpodClient, AsyncRunpodClient])
def test_a_client_cannot_be_pickled_or_copied_into_state(kind: Any) -> None:
    client = kind("rpa_x")
    for taking in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a key"):
            taking(client)


async def test_a_cancelled_call_gives_its_place_back() -> None:
    begun = asyncio.Event()

    async def hang_once(_request: httpx.Request) -> httpx.Response:
        if next(numbers) == 0:
            begun.set()
            await asyncio.Event().wait()
        return httpx.Response(200, json={"endpoints": []}, headers={"RateLimit": '"minute";r=1;t=50'})

    numbers = itertools.count()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with AsyncRunpodClient("rpa_cancelled", transport=Handled(hang_once), sleep=sleep) as client:
        task = asyncio.create_task(client.list_endpoints())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.list_endpoints()
        await client.list_endpoints()
    assert waits == []


def test_methods_carry_the_documentation_of_their_operation() -> None:
    assert "createEndpoint" in str(RunpodClient.create_endpoint.__doc__)
    with RunpodClient("rpa_x") as client:
        assert client.create_endpoint.__doc__ == RunpodClient.create_endpoint.__doc__
        assert repr(client) == "RunpodClient(base_url='https://api.runpod.io', jobs_url='https://api.runpod.ai/v2')"
