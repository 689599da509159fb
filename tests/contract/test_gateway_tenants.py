"""Two tenants on every route: the matrix is made of the OpenAPI document, so that a new route is in it by itself.

Alice has a job that has ended, one in the queue, an endpoint, webhooks. Bob sends, to every route, all that the route
takes with Alice's ids in it. Nothing of hers is in his answers, and nothing at her Runpod account is asked or changed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

import httpx
import pytest

from pulumi_visgate.gateway.routes import examples
from tests.contract.conftest import MODEL
from visgate_contract.names import user_hash
from visgate_contract.signing import JobRef, tenant_of

pytestmark = pytest.mark.contract

SECRET_PROMPT = "the unpublished logo of alice"
IDEMPOTENCY_KEY = "alices-own-idempotency-key"
HERS = {"model": MODEL, "input": {"prompt": SECRET_PROMPT, "seed": 7}}
OPEN = {"webhook_keys", "models", "jwks", "healthz", "readyz"}  # the same for everybody, and public
GATEWAYS_OWN = {"metrics", "completed"}  # by a token of the platform's own
NEEDS_A_TENANT_OF_ITS_OWN = {
    "submit",
    "deploy",
    "fal_submit",
    "fal_submit_to",
    "generate_images",
    "preflight",
    "upload",
}
FALS_OWN = {"X-Fal-Request-Timeout", "X-Fal-Queue-Priority"}  # name nothing
LISTS = {"list_deployments", "placements", "webhook_key"}


@dataclass
class Tenant:
    """Whose ids are tried."""

    key: str = field(repr=False)
    ids: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def secrets(self) -> set[str]:
        """Everything of theirs that nobody else may be told."""
        identity = user_hash(self.key)
        return {self.key, identity, identity[:16], tenant_of(identity), SECRET_PROMPT, *self.ids.values(), *self.seen}


@dataclass
class Matrix:
    """The two, and the gateway between them."""

    http: httpx.Client
    emulator: Any
    alice: Tenant
    bob: Tenant
    document: dict[str, Any]
    received: Queue[Any]

    def cases(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Each operation with its method, its path with Alice's ids in it, and what else it takes."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                names = re.findall(r"{(\w+)}", path)
                unknown = set(names) - set(self.alice.ids) - {"owner", "alias", "task"}
                assert not unknown, f"whose is {unknown} of {path}? Tell this matrix."
                owner, alias = MODEL.split("/")
                values = {"owner": owner, "alias": alias, "task": "text-to-image", **self.alice.ids}
                sent = {"headers": self._headers(operation)}
                if "requestBody" in operation:
                    sent["json"] = self._body(operation)
                yield operation["operationId"], method, path.format(**{name: values[name] for name in names}), sent

    def _headers(self, operation: dict[str, Any]) -> dict[str, str]:
        own = "" if operation["operationId"] == "submit" else operation["operationId"]
        known = {"Idempotency-Key": IDEMPOTENCY_KEY + own, "Last-Event-ID": "0"}
        asked = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
        assert asked <= {*known, "accept", *FALS_OWN}, f"what does {asked} do? Tell this matrix."
        return {name: known[name] for name in asked & set(known)}

    def _body(self, operation: dict[str, Any]) -> Any:
        text = json.dumps(examples.BODIES[operation["operationId"]])
        body = json.loads(text.replace(examples.MODEL, MODEL))
        body.pop("webhook_url", None)
        if "prompt" in body.get("input", {}):
            body["input"] = HERS["input"]
        return body

    def ask(self, tenant: Tenant | None, method: str, path: str, sent: dict[str, Any]) -> httpx.Response:
        headers = dict(sent["headers"])
        if tenant is not None:
            scheme = "Key" if path.startswith("/fal/") else "Bearer"
            headers["Authorization"] = f"{scheme} {tenant.key}"
        request = self.http.build_request(method.upper(), path, headers=headers, json=sent.get("json"))
        answer = self.http.send(request, stream=True)
        try:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                pytest.fail(f"{method} {path} gives a stream")
            answer.read()
        finally:
            answer.close()
        return answer


@pytest.fixture
def matrix(
    start_gateway: Any, runpod_emulator: Any, s3_store: str, receiver: tuple[str, Queue[Any]]
) -> Iterator[Matrix]:
    url, received = receiver
    gateway = start_gateway(S3_ENDPOINT=s3_store)
    alice, bob = Tenant(runpod_emulator.key), Tenant(runpod_emulator.new_key())
    with gateway.client(alice.key) as hers, httpx.Client(base_url=gateway.url, timeout=60, trust_env=False) as http:
        wished = {**HERS, "webhook_url": url}
        accepted = hers.post("/v1/jobs", json=wished, headers={"Idempotency-Key": IDEMPOTENCY_KEY}).json()
        gateway.follow(hers, accepted["job_id"])
        shown = hers.get(f"/v1/jobs/{accepted['job_id']}").json()
        assert shown["status"] == "ready"
        job_id, endpoint_id = accepted["job_id"], accepted["endpoint_id"]
        key = hers.get("/v1/webhooks/key").json()
        alice.ids = {
            "job_id": job_id,
            "request_id": job_id,
            "endpoint_id": endpoint_id,
            "deployment_id": endpoint_id,
            "tenant": key["jwks_url"].split("/")[-2],
            "token": job_id.rpartition("_")[2],
        }
        ref = JobRef.parse(job_id, key["secret"])
        alice.seen = [
            accepted["task_id"],
            ref.runpod_job_id,
            key["secret"],
            *(made["url"] for made in shown["artifacts"]),
        ]
        hers.get("/v1/deployments")  # whatever is remembered of her is remembered now
        document = hers.get("/openapi.json").json()
        while not received.empty():
            received.get()
        yield Matrix(http, runpod_emulator, alice, bob, document, received)


def test_no_route_gives_one_tenant_anything_of_another(matrix: Matrix) -> None:
    alice, bob, emulator = matrix.alice, matrix.bob, matrix.emulator
    before = emulator.requests(alice.key), emulator.account(alice.key)
    statuses: dict[str, int] = {}
    for name, method, path, sent in matrix.cases():
        answer = matrix.ask(bob, method, path, sent)
        statuses[name] = answer.status_code
        told = f"{answer.text} {answer.headers}"
        given = f"{path} {sent}"  # what he sent himself is no news to him
        assert {secret for secret in alice.secrets() if secret in told and secret not in given} == set(), name
        if name in OPEN:
            assert answer.status_code == 200, name
        elif name in NEEDS_A_TENANT_OF_ITS_OWN | LISTS:
            assert answer.status_code < 300, (name, answer.text)
            assert "idempotent-replayed" not in answer.headers, name
        elif name in GATEWAYS_OWN:
            assert answer.status_code in {401, 404}, name
        else:
            assert answer.status_code == 404, (name, answer.text)
    assert (emulator.requests(alice.key), emulator.account(alice.key)) == before
    assert matrix.received.empty()
    named = OPEN | GATEWAYS_OWN | NEEDS_A_TENANT_OF_ITS_OWN | LISTS
    assert named <= set(statuses), "a route of these sets is gone"

    # An endpoint of hers cannot be named in a body either.
    there = {**HERS, "deployment_id": alice.ids["endpoint_id"]}
    answer = matrix.ask(bob, "POST", "/v1/jobs", {"headers": {}, "json": there})
    assert answer.status_code == 404, answer.text
    assert emulator.requests(alice.key) == before[0]


def test_no_route_but_the_public_ones_answers_without_a_key(matrix: Matrix) -> None:
    asked = matrix.emulator.requests()
    for name, method, path, sent in matrix.cases():
        answer = matrix.ask(None, method, path, sent)
        if name in OPEN:
            assert answer.status_code == 200, name
        else:
            assert answer.status_code in ({401, 404} if name in GATEWAYS_OWN else {401}), (name, answer.text)
        assert not [secret for secret in matrix.alice.secrets() if secret in answer.text and secret not in path], name
    assert matrix.emulator.requests() == asked
