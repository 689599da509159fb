import asyncio
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Event
from visgate_contract.names import user_hash
from visgate_contract.signing import derive_webhook_secret

KEY = "rpa_CANARYKEY0000000000000000000001"
SIGNING_KEY = "signing-key-of-the-tests-0123456789"
SECRET = derive_webhook_secret(SIGNING_KEY, user_hash(KEY))
URL = "https://hooks.example.com/in"
JOB = {"model": "visgate/tiny-sd", "input": {"prompt": "a red fox"}, "webhook_url": URL}


async def public(_: str, __: int) -> list[str]:
    return ["8.8.8.8"]


class Receiver:
    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[httpx.Request] = []
        self.silent = False
        self.cancelled = asyncio.Event()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return httpx.Response(self.status, stream=httpx.ByteStream(b"ok"))

    def clients(self, runpod: Any, resolver: Any = public) -> Clients:
        webhooks = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        return Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=resolver)


def announced(runpod: Any) -> bool:
    (body,) = runpod.bodies["run"]
    value: bool = body["input"]["announced"]
    return value


async def test_provisioning_is_delivered_signed_and_not_repeated(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        answer = (await client.post("/v1/jobs", json=JOB)).json()
        key = (await client.get("/v1/webhooks/key")).json()["secret"]
    (request,) = receiver.requests
    assert key == SECRET
    Webhook(key).verify(request.content, dict(request.headers))
    event = Event.model_validate_json(request.content)
    assert (event.type, event.data.sequence, event.data.task_id) == ("job.provisioning", 0, answer["task_id"])
    assert request.headers["webhook-id"] == event.id
    assert announced(runpod)
    assert KEY not in request.content.decode()


async def test_a_silent_receiver_is_left_to_the_worker(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    receiver.silent = True
    async with serve(clients=receiver.clients(runpod), announce_wait_s=0.01) as client:
        answer = await client.post("/v1/jobs", json=JOB)
        assert answer.status_code == 202
        async with asyncio.timeout(5):
            await receiver.cancelled.wait()
    assert not announced(runpod)


async def test_a_receiver_that_redirects_or_fails_has_not_acknowledged(serve: Any, runpod: Any) -> None:
    for status in (302, 500):
        receiver = Receiver(status)
        runpod.bodies.pop("run", None)
        async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
            assert (await client.post("/v1/jobs", json=JOB)).status_code == 202
        assert len(receiver.requests) == 1
        assert not announced(runpod)


async def test_a_name_that_leads_inside_is_refused_before_anything_is_made(serve: Any, runpod: Any) -> None:
    async def inside(_: str, __: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod, inside)) as client:
        answer = await client.post("/v1/jobs", json=JOB)
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    assert answer.json()["errors"][0]["field"] == "webhook_url"
    assert receiver.requests == []
    assert runpod.calls["create_endpoint"] == runpod.calls["run"] == 0


async def test_a_url_against_the_policy_is_refused_without_a_call(serve: Any, runpod: Any) -> None:
    async with serve(allow_loopback=False) as client:
        answer = await client.post("/v1/jobs", json={**JOB, "webhook_url": "http://user:hunter2@10.0.0.1/"})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    assert "hunter2" not in answer.text
    assert runpod.calls == {}


async def test_an_unknown_model_is_not_announced(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod)) as client:
        answer = await client.post("/v1/jobs", json={**JOB, "model": "nobody/has-this"})
    assert answer.status_code == 404
    assert receiver.requests == []


async def test_a_deployment_is_announced_too(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    body = {"model": JOB["model"], "webhook_url": URL}
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        answer = (await client.post("/v1/deployments", json=body)).json()
    (request,) = receiver.requests
    assert Event.model_validate_json(request.content).data.task_id == answer["task_id"]
