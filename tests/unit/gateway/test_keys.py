"""Who can check what was signed, and what a change of the platform's key does."""

import base64
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from pulumi_visgate.gateway.state import Clients

KEY = "rpa_CANARYKEY0000000000000000000001"
OTHER = "rpa_CANARYKEY0000000000000000000002"
FORMER = "signing-key-of-the-tests-0123456789"
NEW = "another-signing-key-of-the-tests-00"
JOB = {"model": "visgate/tiny-sd", "input": {"prompt": "x"}, "webhook_url": "https://hooks.example.com/in"}


def public_keys(jwks: dict[str, Any]) -> list[Ed25519PublicKey]:
    raws = (base64.urlsafe_b64decode(jwk["x"] + "=") for jwk in jwks["keys"])
    return [Ed25519PublicKey.from_public_bytes(raw) for raw in raws]


def verifies(key: Ed25519PublicKey, request: httpx.Request) -> bool:
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.content
    for entry in request.headers["webhook-signature"].split(" "):
        version, _, signature = entry.partition(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), content)
            except InvalidSignature:
                continue
            return True
    return False


class Receiver:
    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async def resolve(self, _: str, __: int) -> list[str]:
        return ["8.8.8.8"]

    def clients(self, runpod: Any) -> Clients:
        webhooks = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        return Clients(runpod=runpod.transport(), webhooks=webhooks, resolver=self.resolve)


async def keys_of(client: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a caller is told, and the key set that this leads to."""
    told = (await client.get("/v1/webhooks/key")).json()
    del client.headers["Authorization"]
    answer = await client.get(told["jwks_url"])
    client.headers["Authorization"] = f"Bearer {KEY}"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    return told, answer.json()


async def test_a_delivery_verifies_with_the_secret_and_with_the_public_key(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        await client.post("/v1/jobs", json=JOB)
        told, jwks = await keys_of(client)
    (request,) = receiver.requests
    Webhook(told["secret"]).verify(request.content, dict(request.headers))
    (key,) = public_keys(jwks)
    assert verifies(key, request)
    assert told["public_key"] == "whpk_" + base64.b64encode(key.public_bytes_raw()).decode()
    assert told["previous_secret"] is None


async def test_the_worker_gets_this_users_keys_and_never_the_platforms(serve: Any, runpod: Any) -> None:
    async with serve() as client:
        await client.post("/v1/jobs", json=JOB | {"webhook_url": None})
        client.headers["Authorization"] = f"Bearer {OTHER}"
        await client.post("/v1/jobs", json=JOB | {"webhook_url": None})
    mine, theirs = (body["env"] for body in runpod.bodies["create_endpoint"])
    assert mine["VISGATE_WEBHOOK_KEY"].startswith("whsk_")
    for name in ("VISGATE_WEBHOOK_KEY", "VISGATE_WEBHOOK_SECRET"):
        assert mine[name] != theirs[name]
    assert FORMER not in str(runpod.bodies)


async def test_one_users_key_does_not_verify_anothers(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5) as client:
        client.headers["Authorization"] = f"Bearer {OTHER}"
        await client.post("/v1/jobs", json=JOB)
        client.headers["Authorization"] = f"Bearer {KEY}"
        _, jwks = await keys_of(client)
    assert not verifies(public_keys(jwks)[0], receiver.requests[0])


async def test_after_a_rotation_old_and_new_keys_verify_and_old_job_ids_are_good(serve: Any, runpod: Any) -> None:
    receiver = Receiver()
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5, signing_key=FORMER) as client:
        before = (await client.post("/v1/jobs", json=JOB)).json()
        old, old_keys = await keys_of(client)
    rotated = {"signing_key": NEW, "previous_signing_key": FORMER}
    async with serve(clients=receiver.clients(runpod), announce_wait_s=5, **rotated) as client:
        assert (await client.get(f"/v1/jobs/{before['job_id']}")).status_code == 200
        after = (await client.post("/v1/jobs", json=JOB)).json()
        new, new_keys = await keys_of(client)
    assert runpod.calls["create_endpoint"] == 1  # whose workers still sign with the former key
    assert after["endpoint_id"] == before["endpoint_id"]
    assert (new["previous_secret"], new["jwks_url"]) == (old["secret"], old["jwks_url"])
    assert new_keys["keys"][1:] == old_keys["keys"]
    last = receiver.requests[-1]
    for secret in (old["secret"], new["secret"]):
        Webhook(secret).verify(last.content, dict(last.headers))
    assert [verifies(key, last) for key in public_keys(new_keys)] == [True, True]
    async with serve(signing_key=NEW) as client:
        assert (await client.get(f"/v1/jobs/{before['job_id']}")).status_code == 404
        assert (await client.get(f"/v1/jobs/{after['job_id']}")).status_code == 200


@pytest.mark.parametrize("tenant", ["0" * 31, "0" * 33, "G" * 32, "..%2f..%2fetc"])
async def test_what_is_no_tenant_has_no_keys(serve: Any, tenant: str) -> None:
    async with serve() as client:
        assert (await client.get(f"/v1/webhooks/{tenant}/jwks.json")).status_code in {404, 422}
