"""Known secrets travel through the whole local stack, errors included; then everything that it said is searched."""

import base64
import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from pulumi_visgate.client import Client
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.receiver import receiving
from pulumi_visgate.runpod.client import RunpodClient
from visgate_contract.events import Event, Status

MODEL = "visgate/tiny-sd"
INPUT = {"prompt": "x", "width": 64, "height": 64, "steps": 1}
JOB = {"model": MODEL, "task": "text2img", "input": INPUT}

# A stack whose endpoint has a secret in its environment; `broken` is an error at every layer that sees it.
PROGRAM = """
import os
import pulumi
from pulumi_visgate import Endpoint

def main():
    broken = os.environ.get("BROKEN")
    endpoint = Endpoint(
        "canary",
        image="local/none:1",
        gpu_pools=["NO_SUCH_POOL" if broken else "ADA_24"],
        max_workers=-1 if broken == "twice" else 1,
        env={"DATABASE_PASSWORD": pulumi.Config("visgate").require_secret("password")},
    )
    return {"env": endpoint.env, "endpoint_id": endpoint.id}
"""


@dataclass
class Evidence:
    """What was seen, by where, and what must not be in it."""

    secrets: dict[str, str] = field(repr=False)
    seen: dict[str, str] = field(default_factory=dict, repr=False)

    def add(self, where: str, text: str) -> None:
        assert text, f"{where} is empty: nothing was searched"
        self.seen[where] = text

    def leaks(self) -> list[str]:
        return [
            f"{name} in {where}"
            for where, text in self.seen.items()
            for name, secret in self.secrets.items()
            if any(form in text for form in forms(secret))
        ]


def forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield secret.encode().hex()
    for skipped in range(3):
        part = secret.encode()[skipped:]
        yield base64.b64encode(part[: len(part) // 3 * 3]).decode()


@pytest.fixture(scope="module")
def evidence(local_stack: tuple[Any, str]) -> Evidence:
    stack, story = local_stack
    found = Evidence(
        {
            "Runpod key": stack.key,
            "another Runpod key": f"rpa_{secrets.token_hex(20)}",
            "HF token": f"hf_{secrets.token_hex(17)}",
            "env secret": f"pass+word/{secrets.token_hex(12)}",
        }
    )
    found.add("make up", story)
    cloud = stack.cloud()
    the_gateway(found, stack)
    the_worker(found, cloud)
    the_engine(found, stack)
    the_disk(found, stack.project, Home(stack.home))
    return found


def the_gateway(found: Evidence, stack: Any) -> None:
    outputs = json.loads(stack.pulumi("stack", "output", "--stack", "local", "--json").stdout)
    hf_token = found.secrets["HF token"]
    # The second key's account is empty: the gateway makes an endpoint there, whose worker gets the token for the hub.
    for which in ("Runpod key", "another Runpod key"):
        key = found.secrets[which]
        with (
            Client(outputs["gateway_url"], key) as gateway,
            receiving(gateway.webhook_secret()) as receiver,
        ):
            headers = {"authorization": f"Bearer {key}", "x-hf-token": hf_token}
            with httpx.Client(base_url=outputs["gateway_url"], headers=headers, trust_env=False, timeout=60) as http:
                for model in (MODEL, "nobody/nothing"):
                    asked = http.post("/v1/preflight", json=JOB | {"model": model})
                    found.add(f"preflight of {model} for {which}", described(asked))
                found.add(f"placements for {which}", described(http.get("/v1/placements", params={"model": MODEL})))
                accepted = http.post("/v1/jobs", json=JOB | {"webhook_url": receiver.url})
                found.add(f"answer to {which}", described(accepted))
                job_id = accepted.json()["job_id"]
                events: list[Event] = []
                for delivery in receiver.deliveries(timeout_s=200):
                    found.add(f"webhook {delivery.message_id}", delivery.body.decode())
                    assert delivery.event is not None
                    events.append(delivery.event)
                    if delivery.event.data.status.is_terminal:
                        break
                found.add(f"job of {which}", described(http.get(f"/v1/jobs/{job_id}")))
                _a_job_that_fails(found, http, which)
                found.add(f"events of {which}", described(http.get(f"/v1/jobs/{job_id}/events")))
                found.add(f"logs through the gateway of {which}", described(http.get(f"/v1/jobs/{job_id}/logs")))
                found.add(f"deployments of {which}", described(http.get("/v1/deployments")))
                found.add(f"wrong body of {which}", described(http.post("/v1/jobs", json={key: hf_token})))
                found.add(f"wrong path of {which}", described(http.get(f"/v1/jobs/{key}")))
                in_fals_way = {"authorization": f"Key {key}"}
                for path, body in ((MODEL, {key: hf_token}), ("nobody/nothing", {"prompt": key})):
                    refused = http.post(f"/fal/{path}", json=body, headers=in_fals_way)
                    found.add(f"fal's {path} of {which}", described(refused))
                status = http.get(f"/fal/{MODEL}/requests/{job_id}/status?logs=1", headers=in_fals_way)
                found.add(f"fal's status of {which}", described(status))
                result = http.get(f"/{MODEL}/requests/{job_id}", headers=in_fals_way)
                found.add(f"fal's result of {which}", described(result))
                found.add(
                    f"key of fal's kind elsewhere of {which}", described(http.get("/v1/jobs/x", headers=in_fals_way))
                )
                wrong = http.post("/v1/images/generations", json={"model": key, "prompt": hf_token, "size": key})
                found.add(f"OpenAI's refusal of {which}", described(wrong))
                forged = http.post(f"/v1/callbacks/runpod/{key}", json={"id": hf_token, "status": "FAILED"})
                found.add(f"forged callback of {which}", described(forged))
                found.add(f"no JSON of {which}", described(http.post("/v1/jobs", content=f"{key} {hf_token}")))
        assert events[-1].data.status is Status.READY, events[-1]


def the_engine(found: Evidence, stack: Any) -> None:
    (stack.project / "stacks" / "canary.py").write_text(PROGRAM)
    name = ("--stack", "canary")
    stack.pulumi("stack", "init", "canary")
    stack.pulumi("config", "set", *name, "--secret", "visgate:password", found.secrets["env secret"])
    found.add("preview", stack.pulumi("preview", *name, "--diff").stdout)
    found.add("up", stack.pulumi("up", *name, "--yes", "--diff").stdout)
    found.add("export", stack.pulumi("stack", "export", *name).stdout)
    found.add("export of the platform", stack.pulumi("stack", "export", "--stack", "local").stdout)
    found.add("outputs", stack.pulumi("stack", "output", *name).stdout)
    found.add("refresh", stack.pulumi("refresh", *name, "--yes", "--diff").stdout)
    for command, how, environment in (
        (("up", "--yes"), "unknown pool", {"BROKEN": "once"}),
        (("preview",), "wrong input", {"BROKEN": "twice"}),
        (("up", "--yes"), "dead API", {"RUNPOD_API_URL": "http://127.0.0.1:9", "BROKEN": "once"}),
        (("refresh", "--yes"), "dead API", {"RUNPOD_API_URL": "http://127.0.0.1:9"}),
    ):
        done = stack.pulumi(*command, *name, check=False, **environment)
        assert done.returncode != 0, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        found.add(f"{command[0]} with {how}", done.stdout)
    found.add("destroy", stack.pulumi("destroy", *name, "--yes").stdout)


def _a_job_that_fails(found: Evidence, http: httpx.Client, which: str) -> None:
    leave = http.post("/v1/uploads", json={"content_type": "image/png", "size_bytes": 9})
    found.add(f"leave to upload of {which}", described(leave))
    lora = {"input": INPUT | {"loras": [{"path": "nobody/nothing"}]}}
    doomed = http.post("/v1/jobs", json=JOB | lora, headers={"Idempotency-Key": secrets.token_hex(8)})
    found.add(f"answer to a job that fails of {which}", described(doomed))
    assert doomed.status_code == httpx.codes.ACCEPTED, doomed.text
    failed = doomed.json()["job_id"]
    found.add(f"events of a job that fails of {which}", described(http.get(f"/v1/jobs/{failed}/events")))
    shown = http.get(f"/v1/jobs/{failed}")
    found.add(f"job that fails of {which}", described(shown))
    assert shown.json()["status"] == "failed", shown.text


def the_worker(found: Evidence, cloud: dict[str, str]) -> None:
    for which in ("Runpod key", "another Runpod key"):
        key = found.secrets[which]
        with RunpodClient(key, base_url=cloud["RUNPOD_API_URL"]) as runpod:
            for endpoint in runpod.list_endpoints():
                for worker in runpod.list_endpoint_workers(endpoint.id).workers:
                    path = f"/v2/serverless/{endpoint.id}/workers/{worker.id}/logs"
                    found.add(f"log of {worker.id} of {which}", log_so_far(cloud["RUNPOD_API_URL"] + path, key))
                if which == "another Runpod key":
                    runpod.delete_endpoint(endpoint.id)
    assert any(where.endswith("of Runpod key") for where in found.seen if where.startswith("log of"))


def log_so_far(url: str, key: str) -> str:
    """What a live stream says until it falls silent."""
    text = ""
    headers = {"authorization": f"Bearer {key}"}
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.Client(headers=headers, timeout=httpx.Timeout(10, read=2), trust_env=False) as http,
        http.stream("GET", url, params={"tail": 500}) as answer,
    ):
        assert answer.status_code == 200
        for part in answer.iter_text():
            text += part
    return text


def the_disk(found: Evidence, project: Path, home: Home) -> None:
    # The emulator's database is Runpod itself, and may know what Runpod knows.
    for file in sorted(project.rglob("*")):
        if file.is_file() and not file.is_relative_to(home.emulator) and file.stat().st_size:
            found.seen[str(file.relative_to(project))] = file.read_bytes().decode("latin-1")
    for name in ("logs/host.log", "logs/pulumi.log", "local/cloud.json", "env"):
        assert f".visgate/{name}" in found.seen
    assert any(name.startswith(".visgate/state/.pulumi/stacks/") for name in found.seen)


def described(answer: httpx.Response) -> str:
    return f"{answer.status_code}\n{answer.headers}\n{answer.text}"


def test_no_secret_is_anywhere(evidence: Evidence) -> None:
    assert evidence.leaks() == []


@pytest.mark.parametrize("where", ["make up", ".visgate/logs/host.log", "export", "answer to Runpod key"])
def test_the_search_would_find_one(evidence: Evidence, where: str) -> None:
    for name, secret in evidence.secrets.items():
        for form in forms(secret):
            planted = Evidence({name: secret}, {where: f"{evidence.seen[where]}\nx={form}"})
            assert planted.leaks() == [f"{name} in {where}"]
