"""The emulator against Runpod's OpenAPI document, both ways.

Every answer of every operation in scope, good or bad, has a documented status, headers and body. Requests that the
document allows are never refused as malformed, and those that it forbids always are.
"""

import copy
import functools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from httpx_sse import connect_sse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tenacity import Retrying, stop_after_delay, wait_fixed

from pulumi_visgate.local.emulator.app import CONTROL
from pulumi_visgate.local.emulator.testing import RunpodEmulator
from tests.contract.openapi import IN_SCOPE, resolved, spec

pytestmark = pytest.mark.contract

FORMATS = jsonschema.FormatChecker(("date-time",))  # not uri: the document's own URLs hold {job_id}
QUICK = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
METHODS = {"get", "post", "patch", "delete", "put"}


@pytest.fixture(autouse=True)
def _document() -> None:
    spec()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in spec()["paths"].items():
        for method, operation in item.items():
            if method in METHODS and IN_SCOPE & set(operation.get("tags", ())):
                yield method.upper(), path, operation


def operation_of(method: str, path: str) -> dict[str, Any]:
    found = [
        (template.count("{"), operation)
        for known, template, operation in operations()
        if known == method and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
    ]
    assert found, f"{method} {path} is not in the document"
    return min(found, key=lambda pair: pair[0])[1]


@functools.cache
def validator(schema: str) -> jsonschema.Draft202012Validator:
    whole = {**json.loads(schema), "components": spec()["components"]}
    return jsonschema.Draft202012Validator(whole, format_checker=FORMATS)


def validate(instance: object, schema: dict[str, Any]) -> list[str]:
    found = validator(json.dumps(schema)).iter_errors(instance)
    return [f"{error.json_path}: {error.message}" for error in found]


def check(response: httpx.Response) -> None:
    """Assert that an answer is one that the document allows."""
    request = response.request
    operation = operation_of(request.method, request.url.path)
    responses = operation["responses"]
    documented = resolved(responses.get(str(response.status_code), responses["default"]))
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == "text/event-stream":
        assert kind in documented["content"]
        return
    response.read()
    content = documented.get("content")
    if content is None:
        assert response.content == b""
    else:
        assert kind in content, f"{operation['operationId']} {response.status_code}: {kind}"
        assert validate(response.json(), content[kind]["schema"]) == [], operation["operationId"]
    if response.status_code != 401:
        for name in ("RateLimit", "RateLimit-Policy"):
            assert re.fullmatch(r'"minute";[rq]=\d+;[tw]=\d+, "hour";[rq]=\d+;[tw]=\d+', response.headers[name])
    if response.status_code == 429:
        assert response.headers["retry-after"].isdecimal()


@pytest.fixture
def api(runpod_emulator: RunpodEmulator) -> Iterator[httpx.Client]:
    """A client whose every answer is checked."""
    headers = {"Authorization": f"Bearer {runpod_emulator.key}"}
    hooks = {"response": [check]}
    with httpx.Client(
        base_url=runpod_emulator.api_url, headers=headers, timeout=60, trust_env=False, verify=False, event_hooks=hooks
    ) as client:
        yield client


QUEUE: dict[str, Any] = {
    "name": "painter",
    "image": "example/worker:1",
    "type": "QUEUE",
    "gpu": {"pools": ["ADA_24"], "count": 1, "excludedTypes": [], "allowedCudaVersions": ["12.8"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "workers": {"min": 0, "max": 1, "idleTimeout": 5},
    "env": {"A": "1"},
    "ports": ["80/http"],
    "disk": 5,
    "args": "-v",
    "flashboot": "FLASHBOOT",
    "dataCenterIds": ["EU-RO-1"],
    "timeout": 60_000,
}
CPU: dict[str, Any] = {
    "name": "clerk",
    "image": "example/worker:1",
    "type": "LOAD_BALANCER",
    "cpu": [{"id": "cpu5c", "vcpuCount": 4}],
    "scaling": {"type": "REQUEST_COUNT", "requestCount": 1},
}
TEMPLATE: dict[str, Any] = {
    "name": "t",
    "image": "example/worker:1",
    "serverless": True,
    "mounts": {"persistent": {"size": 10, "path": "/data"}},
    "category": "CPU",
    "allowedCudaVersions": ["12.8"],
    "env": {"A": "1"},
}
VOLUME: dict[str, Any] = {"name": "v", "size": 10, "dataCenter": "EU-RO-1", "type": "HIGH_PERFORMANCE"}
REGISTRY: dict[str, Any] = {"name": "r", "username": "u", "password": "p"}
DELEGATION: dict[str, Any] = {"resource": "arn:aws:ecr:eu-west-1:123456789012:repository/team/worker:v1"}
BODIES: dict[str, dict[str, Any]] = {
    "createEndpoint": QUEUE,
    "createTemplate": TEMPLATE,
    "createNetworkVolume": VOLUME,
    "createRegistry": REGISTRY,
    "createDelegation": DELEGATION,
    "updateEndpoint": {name: value for name, value in QUEUE.items() if name != "type"},
    "updateTemplate": TEMPLATE,
    "updateNetworkVolume": {"name": "w", "size": 4096},
}


def test_every_operation_in_scope_is_served_under_its_id() -> None:
    documented = {(operation["operationId"], method, path) for method, path, operation in operations()}
    served = {(name, method, path) for name, method, path, _ in CONTROL}
    assert documented == served


def test_every_operation_refuses_without_a_key(api: httpx.Client) -> None:
    for method, path, operation in operations():
        del operation
        answer = api.request(method, re.sub(r"\{[^}]+\}", "x", path), headers={"Authorization": ""}, json={})
        assert answer.status_code == 401


def test_every_operation_says_what_it_does_not_know(api: httpx.Client) -> None:
    for method, path, operation in operations():
        if "{" not in path:
            continue
        body = BODIES.get(operation["operationId"])
        answer = api.request(method, re.sub(r"\{[^}]+\}", "unknown", path), json=body)
        assert answer.status_code == 404, operation["operationId"]


def test_every_operation_reports_a_spent_quota(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.set_quota(per_minute=1)
    api.get("/v2/serverless")
    for method, path, _ in operations():
        assert api.request(method, re.sub(r"\{[^}]+\}", "x", path), json={}).status_code == 429


def test_the_catalog_is_valid_at_every_stock(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    for level in ("NONE", "LOW", "MEDIUM", "HIGH"):
        for name in ("NVIDIA L4", "ADA_24", "cpu5c"):
            runpod_emulator.set_stock(name, "EU-RO-1", level)
            runpod_emulator.set_stock(name, None, level)
        for path in ("gpus", "gpus/NVIDIA L4", "cpus", "cpus/cpu5c"):
            asked = {"include": "AVAILABILITY", "product": "SERVERLESS"}
            assert api.get(f"/v2/catalog/{path}", params=asked).is_success
        for path in ("datacenters", "datacenters/EU-RO-1"):
            assert api.get(f"/v2/catalog/{path}", params={"include": "GPU_AVAILABILITY,CPU_AVAILABILITY"}).is_success


def test_a_life_of_every_resource(api: httpx.Client, runpod_emulator: RunpodEmulator, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text("print('hello', flush=True)\nimport time\ntime.sleep(600)\n")
    runpod_emulator.map_image("example/worker", [sys.executable, str(script)])
    registry = api.post("/v2/registries", json=REGISTRY).json()["id"]
    volume = api.post("/v2/network-volumes", json=VOLUME).json()["id"]
    template = api.post("/v2/templates", json={**TEMPLATE, "registry": registry}).json()["id"]
    runpod_emulator.bind_templates()
    endpoint = api.post(
        "/v2/serverless",
        json={**QUEUE, "templateId": template, "networkVolumes": [volume], "workers": {"min": 1, "max": 2}},
    ).json()["id"]
    balancer = api.post("/v2/serverless", json=CPU).json()["id"]
    delegation = api.post("/v2/registries/delegations", json=DELEGATION).json()["id"]
    for path in ("serverless", "templates", "network-volumes", "registries", "registries/delegations"):
        assert api.get(f"/v2/{path}").status_code == 200
    for path in (
        f"serverless/{balancer}",
        f"templates/{template}",
        f"network-volumes/{volume}",
        f"registries/{registry}",
    ):
        assert api.get(f"/v2/{path}").status_code == 200
    assert api.patch(f"/v2/serverless/{endpoint}", json={"env": {"B": "2"}, "gpu": {"minCudaVersion": ""}}).is_success
    assert api.patch(f"/v2/templates/{template}", json={"public": True}).is_success
    assert api.patch(f"/v2/network-volumes/{volume}", json={"size": 20}).is_success
    assert api.get(f"/v2/serverless/{endpoint}/releases").is_success
    worker = _worker(api, endpoint)
    with connect_sse(api, "GET", f"/v2/serverless/{endpoint}/workers/{worker}/logs") as source:
        for event in source.iter_sse():
            data = event.json()
            assert set(data) == {"ts", "source", "line"}
            assert re.fullmatch(re.escape(data["ts"]) + r"/\d{12}", event.id)
            if data["line"] == "hello":
                break
    runpod_emulator.advance(3600)
    for path in ("", "/serverless", "/endpoints", "/network-volumes", "/pods", "/clusters"):
        assert api.get(f"/v2/billing{path}?bucketSize=hour&lastN=3").is_success
    refusals = [
        api.delete(f"/v2/templates/{template}"),
        api.delete(f"/v2/network-volumes/{volume}"),
        api.delete(f"/v2/registries/{registry}"),
        api.patch(f"/v2/network-volumes/{volume}", json={"size": 10}),
    ]
    assert [refusal.status_code for refusal in refusals] == [400] * 4
    for path in ("serverless/" + endpoint, "serverless/" + balancer, "network-volumes/" + volume):
        assert api.delete(f"/v2/{path}").status_code == 204
    assert api.delete(f"/v2/registries/{registry}").status_code == 204
    assert api.delete(f"/v2/registries/delegations/{delegation}").status_code == 204
    for attempt in Retrying(stop=stop_after_delay(30), wait=wait_fixed(0.05), reraise=True):
        with attempt:  # a deleted endpoint's workers need a moment to end
            assert runpod_emulator.account()["empty"]


def _worker(api: httpx.Client, endpoint: str) -> str:
    for _ in range(600):
        workers = api.get(f"/v2/serverless/{endpoint}/workers").json()["workers"]
        if workers and workers[0]["startedAt"] and not workers[0]["isStale"]:
            return str(workers[0]["id"])
        time.sleep(0.05)
    pytest.fail("no worker has started")


VALUES: list[object] = [
    None, "", " ", "x", "-x", "12.8", "QUEUE", "REQUEST_COUNT", 0, 1, -1, 2, 2.5, 5000, True, [], {}, ["x"], [1],
    ["x", "x"], {"x": 1}, {"type": "REQUEST_COUNT", "requestCount": 1}, {"pools": []}, {"min": 1, "more": 2},
]  # fmt: skip
REMOVED = object()


def places(node: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    if isinstance(node, dict):
        yield (*at, "unknownField")
        for name, value in node.items():
            yield from places(value, (*at, name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from places(value, (*at, index))


def changed(body: dict[str, Any], place: tuple[str | int, ...], value: object) -> Any:
    if not place:
        return {} if value is REMOVED else value
    body = copy.deepcopy(body)
    node: Any = body
    for step in place[:-1]:
        node = node[step]
    if value is not REMOVED:
        node[place[-1]] = copy.deepcopy(value)
    elif isinstance(node, list):
        node.pop(int(place[-1]))
    else:
        node.pop(place[-1], None)
    return body


def mutations(name: str) -> st.SearchStrategy[Any]:
    body = BODIES[name]
    one = st.tuples(st.sampled_from(list(places(body))), st.sampled_from([*VALUES, REMOVED]))
    return one.map(lambda pair: changed(body, *pair))


@pytest.fixture
def target(api: httpx.Client) -> Callable[[str], tuple[str, str]]:
    """Return method and path for the body of an operation, on an existing resource."""

    def find(name: str) -> tuple[str, str]:
        method, path = next((m, p) for m, p, operation in operations() if operation["operationId"] == name)
        if method == "PATCH":
            collection = path.removesuffix("/{id}")
            kept = next(found for m, p, found in operations() if (m, p) == ("POST", collection))
            made = api.post(collection, json=BODIES[kept["operationId"]])
            path = f"{collection}/{made.json()['id']}"
        return method, path

    return find


@pytest.mark.parametrize("name", sorted(BODIES))
def test_bodies_are_refused_as_malformed_exactly_when_the_schema_forbids_them(
    name: str, api: httpx.Client, target: Callable[[str], tuple[str, str]]
) -> None:
    method, path = target(name)
    schema = operation_of(method, path)["requestBody"]["content"]["application/json"]["schema"]
    assert validate(BODIES[name], schema) == []
    assert api.request(method, path, json=BODIES[name]).is_success

    @QUICK
    @given(mutations(name))
    def run(body: Any) -> None:
        answer = api.request(method, path, json=body)
        wrong = validate(body, schema)
        if wrong:
            assert answer.status_code in {400, 422}, wrong
        else:
            assert answer.status_code != 422, answer.text

    run()


TEXTS = [
    "", "x", "0", "1", "2", "3", "-1", "2.5", "true", "POD", "SERVERLESS,POD", "AVAILABILITY", "SECURE", "FR", "FR,DE",
    "fr", "12", "12.8", "12.8,12.4", "GPU_AVAILABILITY", "EUROPE", "EUROPE,ASIA", "STANDARD", "GDPR", "official", "day",
    "2026-03-01T00:00:00Z", "2026-03-01T00:00:00+02:00", "2026-03-01", "1700000000", "container", "100", "6000",
]  # fmt: skip


def text_is_valid(text: str, schema: dict[str, Any]) -> bool:
    schema = resolved(schema)
    value: object = text
    if schema.get("type") == "array":
        value = text.split(",")
    elif schema.get("type") == "integer":
        value = int(text) if re.fullmatch(r"-?\d+", text) else text
    elif schema.get("type") == "boolean":
        value = {"true": True, "false": False}.get(text, text)
    return not validate(value, schema)


def queries() -> Iterator[tuple[str, dict[str, Any]]]:
    for method, path, operation in operations():
        if method == "GET" and not path.endswith("/logs"):
            for parameter in map(resolved, operation.get("parameters", ())):
                if parameter["in"] == "query":
                    yield path, parameter


def test_queries_are_refused_as_malformed_exactly_when_the_schema_forbids_them(api: httpx.Client) -> None:
    known = {"gpus": "NVIDIA A40", "cpus": "cpu5c", "datacenters": "EU-RO-1"}
    for path, parameter in queries():
        real = path.replace("{id}", known.get(path.split("/")[3], "x")) if "{" in path else path
        for text in TEXTS:
            answer = api.get(real, params={parameter["name"]: text})
            if text_is_valid(text, parameter["schema"]):
                assert answer.status_code in {200, 400}, f"{path} {parameter['name']}={text}: {answer.text}"
            else:
                assert answer.status_code in {400, 422}, f"{path} {parameter['name']}={text}: {answer.text}"
