"""Idempotency keys in gateways that are processes of their own, over the bucket of a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services.claims import MARGIN_S, Claim, Claims
from pulumi_visgate.gateway.services.orders import Accepted, Warmth
from pulumi_visgate.gateway.services.store import ArtifactStore
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from tests.contract.conftest import IMAGE, MODEL, SIGNING_KEY
from tests.s3 import S3_KEY_ID, S3_SECRET

pytestmark = pytest.mark.contract

JOB = {"model": MODEL, "input": {"prompt": "a red fox", "seed": 7}}
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
USER = "a" * 64
TASK, LATER = "task_" + "0" * 26, "task_" + "1" * 26
AT_ONCE = 8


def test_two_gateways_accept_one_job(start_gateway: Any, runpod_emulator: Any, s3_store: str) -> None:
    given = {"S3_ENDPOINT": s3_store, "PUBLIC_URL": "https://gateway.example.com"}
    gateways = [start_gateway(**given), start_gateway(**given)]
    key = runpod_emulator.key
    with gateways[0].client(key) as one, gateways[1].client(key) as other, ThreadPoolExecutor(AT_ONCE) as threads:

        def post(n: int) -> httpx.Response:
            answer: httpx.Response = (one, other)[n % 2].post("/v1/jobs", json=JOB, headers=KEY)
            return answer

        answers = list(threads.map(post, range(AT_ONCE)))
        repeats = [client.post("/v1/jobs", json=JOB, headers=KEY) for client in (one, other)]
        changed = [client.post("/v1/jobs", json={**JOB, "region": "EU"}, headers=KEY) for client in (one, other)]
    assert {answer.status_code for answer in answers} <= {202, 409}
    (first,) = (each for each in answers if each.status_code == 202 and "idempotent-replayed" not in each.headers)
    for each in repeats:
        assert (each.status_code, each.headers["idempotent-replayed"], each.text) == (202, "true", first.text)
    assert [(each.status_code, each.json()["errors"][0]["field"]) for each in changed] == [(422, "Idempotency-Key")] * 2
    sent = runpod_emulator.requests(key)
    assert (sent["run"], sent["createEndpoint"]) == (1, 1), sent


async def test_the_store_lets_one_of_several_go_on(s3_store: str) -> None:
    given = Settings(
        signing_key=SIGNING_KEY,
        image=IMAGE,
        gpu_pools=("ADA_24",),
        models=(OfferedModel(model_id=MODEL),),
        bucket="artifacts",
        s3_endpoint=s3_store,
        s3_access_key_id=S3_KEY_ID,
        s3_secret_access_key=S3_SECRET,
        cdn_base_url="http://127.0.0.1:9/artifacts",
    )
    now = 1_800_000_000.0

    async with httpx.AsyncClient(trust_env=False) as client:
        claims = Claims(ArtifactStore(given, client), request_s=30, clock=lambda: now)

        async def rivals(task_id: str) -> list[Claim]:
            found = [await claims.open(USER, "k", "body", task_id) for _ in range(3)]
            return [claim for claim in found if isinstance(claim, Claim)]

        dead = await _winner(await rivals(TASK))
        now += 30 + MARGIN_S
        heirs = await rivals(LATER)
        assert [claim.repeats for claim in heirs] == [TASK] * 3
        heir = await _winner(heirs)
        await dead.settle(Accepted(Warmth.WARM_READY, TASK, "late", MODEL))  # it was only slow, and is not heard
        answer = Accepted(Warmth.ACCEPTED_COLD, LATER, "ep1", MODEL, "job_ep1_x_y")
        await heir.settle(answer)
        known = await claims.open(USER, "k", "body", TASK)
    assert isinstance(known, Accepted)
    assert (known.endpoint_id, known.task_id, known.replayed) == ("ep1", LATER, True)


async def _winner(claims: list[Claim]) -> Claim:
    first, *others = claims
    await first.take()
    for other in others:
        with pytest.raises(Refused) as refused:
            await other.take()
        assert refused.value.status == 409
    return first
