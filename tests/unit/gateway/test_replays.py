import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services import replays
from pulumi_visgate.gateway.services.replays import Replays
from visgate_contract.jobs import JobInput
from visgate_contract.signing import task_time

USER = "a" * 64
MODEL = "visgate/tiny-sd"
BODY: dict[str, Any] = {"model": MODEL, "input": {"prompt": "a red fox"}}


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def remembering(clock: Clock | None = None, key: str = "signing-key-of-the-tests-0123456789") -> Replays[str]:
    return Replays(SecretStr(key), clock=clock or Clock())


async def echo(task_id: str) -> str:
    return task_id


async def test_a_repeat_gets_the_first_answer() -> None:
    known = remembering()
    first = await known.once(USER, "k", "body", echo)
    assert first[1] is False
    assert await known.once(USER, "k", "body", echo) == (first[0], True)
    assert await known.once("b" * 64, "k", "body", echo) != (first[0], True)


async def test_another_request_under_the_same_key_is_refused() -> None:
    known = remembering()
    await known.once(USER, "k", "body", echo)
    with pytest.raises(InvalidField, match="another request") as refused:
        await known.once(USER, "k", "other body", echo)
    assert refused.value.field == "Idempotency-Key"


async def test_a_repeat_of_a_running_request_is_asked_to_wait() -> None:
    known, go = remembering(), asyncio.Event()

    async def slow(task_id: str) -> str:
        await go.wait()
        return task_id

    first = asyncio.create_task(known.once(USER, "k", "body", slow))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await known.once(USER, "k", "body", echo)
    go.set()
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (409, "1")
    assert (await first)[1] is False
    assert (await known.once(USER, "k", "body", echo))[1] is True


async def test_a_failure_is_forgotten() -> None:
    known = remembering()

    async def broken(_: str) -> str:
        raise Refused(502, "no", code="runpod_unreachable")  # type: ignore[arg-type]

    with pytest.raises(Refused):
        await known.once(USER, "k", "body", broken)
    assert (await known.once(USER, "k", "body", echo))[1] is False


async def test_memory_ends_with_time_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_KEYS_OF_A_USER", 3)
    monkeypatch.setattr(replays, "MAX_USERS", 2)
    clock = Clock()
    known = remembering(clock)
    for key in "abcd":
        await known.once(USER, key, "body", echo)
    assert [(await known.once(USER, key, "body", echo))[1] for key in "da"] == [True, False]
    clock.now += replays.REMEMBER_S + 1
    assert (await known.once(USER, "d", "body", echo))[1] is False
    for user in ("b" * 64, "c" * 64):
        await known.once(user, "d", "body", echo)
    assert (await known.once(USER, "d", "body", echo))[1] is False


@given(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=255), st.text(max_size=50))
async def test_every_process_makes_the_same_task_id(key: str, body: str) -> None:
    clock, later = Clock(), Clock()
    later.now += 30
    first, _ = await remembering(clock).once(USER, key, body, echo)
    again, _ = await remembering(later).once(USER, key, body, echo)
    foreign, _ = await remembering(clock, "another-signing-key-0123456789").once(USER, key, body, echo)
    assert first == again != foreign
    JobInput.model_validate({**JOB_INPUT, "task_id": first})
    assert 0 <= clock.now - task_time(first).timestamp() < replays.WINDOW_S


JOB_INPUT = {
    "model_id": MODEL,
    "params": {"task": "text2img", "prompt": "x"},
    "uploads": [{"put_url": "http://s3.test/x", "cdn_url": "http://cdn.test/x"}],
}


async def test_a_job_sent_twice_runs_once(serve: Any, runpod: Any) -> None:
    headers = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    async with serve() as client:
        first = await client.post("/v1/jobs", json=BODY, headers=headers)
        second = await client.post("/v1/jobs", json=dict(reversed(BODY.items())), headers=headers)
        other = await client.post("/v1/jobs", json={**BODY, "input": {"prompt": "a fox"}}, headers=headers)
        without = await client.post("/v1/jobs", json=BODY)
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert without.json()["job_id"] != first.json()["job_id"]
    assert runpod.calls["run"] == 2


async def test_two_at_once_run_once(serve: Any, runpod: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    async with serve() as client:
        answers = await asyncio.gather(*(client.post("/v1/jobs", json=BODY, headers=headers) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert runpod.calls["run"] == 1


async def test_another_user_may_use_the_same_key(serve: Any, runpod: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    other = {**headers, "Authorization": "Bearer rpa_SOMEBODYELSE00000000000000000"}
    async with serve() as client:
        first = (await client.post("/v1/jobs", json=BODY, headers=headers)).json()
        second = (await client.post("/v1/jobs", json=BODY, headers=other)).json()
    assert first["task_id"] != second["task_id"]
    assert runpod.calls["run"] == 2


async def test_what_failed_can_be_sent_again_under_its_task_id(serve: Any, runpod: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    async with serve() as client:
        runpod.answers["run"] = httpx.Response(401, json={"title": "Error", "status": 401, "detail": "no"})
        refused = await client.post("/v1/jobs", json=BODY, headers=headers)
        runpod.answers.clear()
        accepted = await client.post("/v1/jobs", json=BODY, headers=headers)
    assert (refused.status_code, accepted.status_code) == (401, 202)
    sent = [body["input"]["task_id"] for body in runpod.bodies["run"]]
    assert sent[-1] == accepted.json()["task_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "tab\there"])
async def test_a_key_that_is_none_is_refused(serve: Any, runpod: Any, key: str) -> None:
    async with serve() as client:
        answer = await client.post("/v1/jobs", content=json.dumps(BODY), headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert runpod.calls == {}
