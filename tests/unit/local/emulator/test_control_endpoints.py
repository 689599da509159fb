from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator

Create = Callable[..., dict[str, Any]]

VALID: dict[str, Any] = {
    "name": "painter",
    "image": "example/worker:1",
    "type": "QUEUE",
    "gpu": {"pools": ["ADA_24"]},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
}


def detail(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    return str(body["detail"])


def test_server_defaults(endpoint: Create) -> None:
    made = endpoint()
    assert made["workers"] == {"min": 0, "max": 3, "idleTimeout": 10}
    assert (made["timeout"], made["flashboot"], made["disk"]) == (300_000, "OFF", 20)
    assert made["gpu"] == {
        "pools": ["ADA_24"], "excludedTypes": [], "count": 1, "allowedCudaVersions": [], "minCudaVersion": None
    }  # fmt: skip
    assert made["requestUrls"]["run"].endswith(f"/jobs/v2/{made['id']}/run")


def test_names_are_not_unique_and_lists_are_in_order(api: httpx.Client, endpoint: Create) -> None:
    ids = [endpoint()["id"] for _ in range(3)]
    assert [found["id"] for found in api.get("/v2/serverless").json()["endpoints"]] == ids


def test_other_accounts_see_nothing(api: httpx.Client, endpoint: Create, runpod_emulator: RunpodEmulator) -> None:
    made = endpoint()
    other = {"Authorization": f"Bearer {runpod_emulator.new_key()}"}
    assert api.get("/v2/serverless", headers=other).json() == {"endpoints": []}
    for method in ("GET", "DELETE"):
        detail(api.request(method, f"/v2/serverless/{made['id']}", headers=other), 404)
    assert api.get(f"/v2/serverless/{made['id']}").status_code == 200


def test_no_key_is_401(runpod_emulator: RunpodEmulator) -> None:
    answer = httpx.get(f"{runpod_emulator.api_url}/v2/serverless", trust_env=False)
    assert detail(answer, 401) == "missing bearer token"


@pytest.mark.parametrize(
    ("change", "status", "names"),
    [
        ({"colour": 1}, 422, "colour"),
        ({"idle_timeout": 1}, 422, "idle_timeout"),
        ({"gpu": {"pool": ["ADA_24"]}}, 422, "gpu.pool"),
        ({"workers": {"idle_timeout": 5}}, 422, "workers.idle_timeout"),
        ({"workers": {"idleTimeout": 0}}, 422, "workers.idleTimeout"),
        ({"workers": {"max": "3"}}, 422, "workers.max"),
        ({"name": ""}, 422, "name"),
        ({"name": None}, 422, "name"),
        ({"image": None}, 422, "image"),
        ({"type": "STREAM"}, 422, "type"),
        ({"scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.1}}, 422, "scaling.queueDelay"),
        ({"type": "LOAD_BALANCER"}, 422, "REQUEST_COUNT"),
        ({"gpu": {"pools": ["ADA_24"], "minCudaVersion": "12"}}, 422, "gpu.minCudaVersion"),
        ({"cpu": [{"id": "cpu5c", "vcpuCount": 4}]}, 400, "exactly one of gpu and cpu"),
        ({"gpu": {"pools": ["ADA_25"]}}, 400, "ADA_25"),
        ({"gpu": {"pools": ["ADA_24"], "excludedTypes": ["NVIDIA L40S"]}}, 400, "NVIDIA L40S"),
        ({"gpu": {"pools": ["ADA_24"], "excludedTypes": [" NVIDIA GeForce RTX 4090 "]}}, 400, "nothing is left"),
        ({"gpu": {"pools": ["ADA_24"], "count": 64}}, 400, "gpu.count"),
        ({"gpu": {"pools": ["ADA_24"], "allowedCudaVersions": ["12.8"], "minCudaVersion": "12.4"}}, 400, "exclude"),
        ({"dataCenterIds": ["EU-XX-1"]}, 400, "EU-XX-1"),
        ({"networkVolumes": ["nope"]}, 400, "nope"),
        ({"registry": "nope"}, 400, "nope"),
        ({"templateId": "nope"}, 404, "nope"),
        ({"workers": {"min": 4}}, 400, "workers.min"),
        ({"scaling": {"type": "REQUEST_COUNT", "requestCount": 1}, "workers": {"idleTimeout": 5}}, 400, "idleTimeout"),
    ],
)
def test_wrong_input_is_refused_by_name(api: httpx.Client, change: dict[str, Any], status: int, names: str) -> None:
    assert names in detail(api.post("/v2/serverless", json={**VALID, **change}), status)
    assert api.get("/v2/serverless").json() == {"endpoints": []}


def test_neither_gpu_nor_cpu_is_refused(api: httpx.Client) -> None:
    assert "exactly one" in detail(api.post("/v2/serverless", json={k: v for k, v in VALID.items() if k != "gpu"}), 400)


@pytest.mark.parametrize("body", ["", "{", "null", "[]", '"x"'])
def test_what_is_no_object_is_refused(api: httpx.Client, body: str) -> None:
    assert api.post("/v2/serverless", content=body).status_code in {400, 422}


def test_pools_without_exclusions_clear_the_exclusions(api: httpx.Client, endpoint: Create) -> None:
    made = endpoint(gpu={"pools": ["AMPERE_24"], "excludedTypes": ["NVIDIA L4"]})
    path = f"/v2/serverless/{made['id']}"
    kept = api.patch(path, json={"gpu": {"minCudaVersion": "12.4"}}).json()
    assert kept["gpu"]["excludedTypes"] == ["NVIDIA L4"]
    assert kept["gpu"]["minCudaVersion"] == "12.4"
    cleared = api.patch(path, json={"gpu": {"pools": ["AMPERE_24"], "minCudaVersion": ""}}).json()
    assert cleared["gpu"]["excludedTypes"] == []
    assert cleared["gpu"]["minCudaVersion"] is None
    assert "pools" in detail(api.patch(path, json={"gpu": {"excludedTypes": ["NVIDIA L4"]}}), 422)


def test_compute_family_is_immutable(api: httpx.Client, endpoint: Create) -> None:
    cpu = endpoint(gpu=None, cpu=[{"id": "cpu5g", "vcpuCount": 4}])
    assert cpu["cpu"] == [{"id": "cpu5g", "vcpuCount": 4, "memory": 16}]
    assert "cpu endpoint" in detail(api.patch(f"/v2/serverless/{cpu['id']}", json={"gpu": {"pools": ["ADA_24"]}}), 400)
    gpu = endpoint()
    assert "gpu endpoint" in detail(
        api.patch(f"/v2/serverless/{gpu['id']}", json={"cpu": [{"id": "cpu5g", "vcpuCount": 4}]}), 400
    )
    assert "power of two" in detail(
        api.patch(f"/v2/serverless/{cpu['id']}", json={"cpu": [{"id": "cpu5g", "vcpuCount": 6}]}), 400
    )


def test_a_patch_changes_what_it_names_only(api: httpx.Client, endpoint: Create) -> None:
    made = endpoint(env={"A": "1"}, workers={"min": 0, "max": 5, "idleTimeout": 60})
    changed = api.patch(f"/v2/serverless/{made['id']}", json={"workers": {"max": 2}}).json()
    assert changed == {**made, "workers": {"min": 0, "max": 2, "idleTimeout": 60}}
    assert api.get(f"/v2/serverless/{made['id']}").json() == changed


def test_idle_timeout_follows_the_scaler(api: httpx.Client, endpoint: Create) -> None:
    made = endpoint(workers={"idleTimeout": 30})
    path = f"/v2/serverless/{made['id']}"
    counted = api.patch(path, json={"scaling": {"type": "REQUEST_COUNT", "requestCount": 2}}).json()
    assert "idleTimeout" not in counted["workers"]
    assert "idleTimeout" in detail(api.patch(path, json={"workers": {"idleTimeout": 5}}), 400)
    delayed = api.patch(path, json={"scaling": {"type": "QUEUE_DELAY", "queueDelay": 2}}).json()
    assert delayed["workers"]["idleTimeout"] == 10


def test_a_load_balancer_keeps_its_scaler_and_has_other_urls(api: httpx.Client, endpoint: Create) -> None:
    made = endpoint(type="LOAD_BALANCER", scaling={"type": "REQUEST_COUNT", "requestCount": 4})
    assert set(made["requestUrls"]) == {"base", "health"}
    assert made["workers"]["idleTimeout"] == 10
    patch = {"scaling": {"type": "QUEUE_DELAY", "queueDelay": 2}}
    assert "LOAD_BALANCER" in detail(api.patch(f"/v2/serverless/{made['id']}", json=patch), 400)


def test_releases_tell_what_changed(api: httpx.Client, endpoint: Create) -> None:
    made = endpoint(env={"A": "1"})
    path = f"/v2/serverless/{made['id']}"
    api.patch(path, json={"workers": {"max": 1}, "timeout": 1000, "name": "other"})
    assert api.get(f"{path}/releases").json()["endpointVersion"] == 1
    api.patch(path, json={"image": "example/worker:2", "env": {"A": "2"}, "gpu": {"count": 2}})
    listed = api.get(f"{path}/releases").json()
    assert listed["endpointVersion"] == 2
    assert [release["version"] for release in listed["releases"]] == [2, 1]
    assert {entry["field"]: (entry["old"], entry["new"]) for entry in listed["releases"][0]["diff"]} == {
        "template.imageName": ("example/worker:1", "example/worker:2"),
        "template.env": ({"A": "1"}, {"A": "2"}),
        "gpuCount": (1, 2),
    }
    assert listed["rollout"] == {
        "inProgress": False, "workersOnLatest": 0, "workersTotal": 0, "percentOnLatest": 0
    }  # fmt: skip


def test_a_template_is_copied_once(api: httpx.Client, endpoint: Create) -> None:
    body = {"name": "t", "image": "example/worker:9", "serverless": True, "env": {"A": "1", "B": "1"}, "disk": 33}
    template = api.post("/v2/templates", json={**body, "allowedCudaVersions": ["12.8"]}).json()
    made = endpoint(image=None, templateId=template["id"], env={"B": "2"})
    assert (made["image"], made["disk"], made["env"]) == ("example/worker:9", 33, {"A": "1", "B": "2"})
    assert made["gpu"]["allowedCudaVersions"] == ["12.8"]
    api.patch(f"/v2/templates/{template['id']}", json={"image": "example/worker:10"})
    assert api.get(f"/v2/serverless/{made['id']}").json()["image"] == "example/worker:9"
    floor = endpoint(image=None, templateId=template["id"], gpu={"pools": ["ADA_24"], "minCudaVersion": "12.4"})
    assert floor["gpu"]["allowedCudaVersions"] == []
    assert api.delete(f"/v2/serverless/{made['id']}").status_code == 204
    assert api.get(f"/v2/templates/{template['id']}").status_code == 200


def test_a_pod_template_is_refused(api: httpx.Client) -> None:
    template = api.post("/v2/templates", json={"name": "t", "image": "x"}).json()
    body = {**VALID, "templateId": template["id"]}
    assert "not a serverless template" in detail(api.post("/v2/serverless", json=body), 422)


def test_a_bound_template_goes_with_its_endpoint(
    api: httpx.Client, endpoint: Create, runpod_emulator: RunpodEmulator
) -> None:
    runpod_emulator.bind_templates()
    template = api.post("/v2/templates", json={"name": "t", "image": "x", "serverless": True}).json()
    made = endpoint(image=None, templateId=template["id"])
    assert made["id"] in detail(api.delete(f"/v2/templates/{template['id']}"), 400)
    api.delete(f"/v2/serverless/{made['id']}")
    assert api.get(f"/v2/templates/{template['id']}").status_code == 404


def test_deleting_cancels_jobs_and_is_final(api: httpx.Client, jobs: httpx.Client, endpoint: Create) -> None:
    made = endpoint(workers={"max": 0})
    jobs.post(f"{made['id']}/run", json={"input": {}})
    assert api.delete(f"/v2/serverless/{made['id']}").status_code == 204
    for answer in (api.delete(f"/v2/serverless/{made['id']}"), api.get(f"/v2/serverless/{made['id']}/workers")):
        detail(answer, 404)
    assert jobs.get(f"{made['id']}/health").status_code == 404


def test_volumes_and_data_centers_must_fit(api: httpx.Client, endpoint: Create) -> None:
    def volume(center: str) -> str:
        body = {"name": "v", "size": 10, "dataCenter": center}
        return str(api.post("/v2/network-volumes", json=body).json()["id"])

    first, second, third = volume("EU-RO-1"), volume("EU-RO-1"), volume("US-KS-2")
    refused = api.post("/v2/serverless", json={**VALID, "networkVolumes": [first, second]})
    assert "both in EU-RO-1" in detail(refused, 400)
    refused = api.post("/v2/serverless", json={**VALID, "networkVolumes": [third], "dataCenterIds": ["EU-RO-1"]})
    assert "not one of dataCenterIds" in detail(refused, 400)
    made = endpoint(networkVolumes=[first, third])
    assert made["networkVolumes"] == [first, third]
    assert made["id"] in detail(api.delete(f"/v2/network-volumes/{first}"), 400)


def test_paths_and_methods_that_do_not_exist(api: httpx.Client) -> None:
    detail(api.get("/v2/nothing"), 404)
    answer = api.put("/v2/serverless", json={})
    detail(answer, 405)
    assert {method.strip() for method in answer.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
