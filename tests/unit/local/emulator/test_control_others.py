from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator


def test_a_template_has_the_defaults_of_the_api(api: httpx.Client) -> None:
    made = api.post("/v2/templates", json={"name": "t", "image": "x"}).json()
    assert made == {
        "id": made["id"], "name": "t", "image": "x", "args": "", "disk": 20, "env": {}, "ports": [], "registry": None,
        "mounts": {}, "serverless": False, "public": False, "category": "NVIDIA", "startSsh": True,
        "startJupyter": True, "allowedCudaVersions": [],
    }  # fmt: skip


def test_template_mounts_stay_when_a_patch_leaves_them_out(api: httpx.Client) -> None:
    mounts = {"persistent": {"size": 20, "path": "/data"}}
    made = api.post("/v2/templates", json={"name": "t", "image": "x", "mounts": mounts}).json()
    bodies: list[dict[str, Any]] = [{"mounts": {}}, {"name": "u"}]
    for body in bodies:
        assert api.patch(f"/v2/templates/{made['id']}", json=body).json()["mounts"] == mounts
    assert api.post("/v2/templates", json={"name": "t", "image": "x", "mounts": {"network": {}}}).status_code == 422
    assert api.delete(f"/v2/templates/{made['id']}").status_code == 204
    assert api.delete(f"/v2/templates/{made['id']}").status_code == 404


def test_public_templates_can_be_read_and_not_changed(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    official = api.get("/v2/catalog/templates").json()["templates"]
    first = official[0]["id"]
    assert api.get(f"/v2/templates/{first}").json() == official[0]
    assert api.patch(f"/v2/templates/{first}", json={"name": "mine"}).status_code == 404
    assert api.delete(f"/v2/templates/{first}").status_code == 404
    shared = api.post("/v2/templates", json={"name": "t", "image": "x", "public": True}).json()
    other = {"Authorization": f"Bearer {runpod_emulator.new_key()}"}
    listed = api.get("/v2/catalog/templates?source=community", headers=other).json()["templates"]
    assert shared["id"] in [template["id"] for template in listed]
    assert api.get("/v2/catalog/templates?source=mine").status_code == 422


def test_a_volume_is_a_folder_that_only_grows(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    made = api.post("/v2/network-volumes", json={"name": "v", "size": 20, "dataCenter": "EU-RO-1"}).json()
    path = f"/v2/network-volumes/{made['id']}"
    folder = runpod_emulator.volumes_dir / made["id"]
    assert folder.is_dir()
    (folder / "weights").write_text("x")
    assert made["type"] == "STANDARD"
    assert api.patch(path, json={"size": 30, "name": "w"}).json() == {**made, "size": 30, "name": "w"}
    shrunk = api.patch(path, json={"size": 20})
    assert shrunk.status_code == 400
    assert "30 GB" in shrunk.json()["detail"]
    for body in ({}, {"dataCenter": "US-KS-2"}, {"type": "HIGH_PERFORMANCE"}, {"size": 5000}):
        assert api.patch(path, json=body).status_code == 422
    assert api.delete(path).status_code == 204
    assert not folder.exists()
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "names"),
    [
        ({"dataCenter": "MOON-1"}, 400, "EU-RO-1"),
        ({"dataCenter": "OC-AU-1"}, 400, "no network volumes"),
        ({"dataCenter": "EU-SE-1", "type": "HIGH_PERFORMANCE"}, 400, "type"),
        ({"size": 5}, 422, "size"),
        ({"size": 10.5}, 422, "size"),
        ({"tier": "STANDARD"}, 422, "tier"),
    ],
)
def test_wrong_volumes_are_refused(api: httpx.Client, change: dict[str, Any], status: int, names: str) -> None:
    answer = api.post("/v2/network-volumes", json={"name": "v", "size": 20, "dataCenter": "EU-RO-1", **change})
    assert answer.status_code == status
    assert names in answer.json()["detail"]


def test_registry_credentials_are_write_only_and_references_are_lost(
    api: httpx.Client, endpoint: Callable[..., dict[str, Any]], runpod_emulator: RunpodEmulator
) -> None:
    # Other tests of the run keep canaries of their own in the same server's database.
    body = {"name": "r", "username": "registry-user-4711", "password": "registry-password-4711"}
    made = api.post("/v2/registries", json=body).json()
    assert made == {"id": made["id"], "name": "r"}
    user = endpoint(registry=made["id"])
    template = api.post("/v2/templates", json={"name": "t", "image": "x", "registry": made["id"]}).json()
    assert api.delete(f"/v2/registries/{made['id']}").status_code == 204
    assert api.get(f"/v2/serverless/{user['id']}").json()["registry"] is None
    assert api.get(f"/v2/templates/{template['id']}").json()["registry"] is None
    stored = b"".join(path.read_bytes() for path in runpod_emulator.server.data.rglob("*") if path.is_file())
    assert b"-4711" not in stored


def test_delegations_come_from_an_arn(api: httpx.Client) -> None:
    arn = "arn:aws:ecr:eu-west-1:123456789012:repository/team/worker:v1"
    made = api.post("/v2/registries/delegations", json={"resource": arn, "name": None}).json()
    assert (made["repository"], made["tag"], made["awsRegion"]) == ("team/worker", "v1", "eu-west-1")
    assert made["dockerRegistryUri"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert [found["id"] for found in api.get("/v2/registries/delegations").json()["delegations"]] == [made["id"]]
    assert api.post("/v2/registries/delegations", json={"resource": "repo"}).status_code == 400
    assert api.delete(f"/v2/registries/delegations/{made['id']}").status_code == 204
    assert api.delete(f"/v2/registries/delegations/{made['id']}").status_code == 404


def test_catalog_shows_stock_when_asked(api: httpx.Client) -> None:
    plain = api.get("/v2/catalog/gpus").json()["gpus"]
    assert all("availability" not in gpu and "dataCenters" not in gpu for gpu in plain)
    query = "include=AVAILABILITY&product=SERVERLESS&countryCodes=JP,AU"
    pacific = api.get(f"/v2/catalog/gpus?{query}").json()["gpus"]
    assert 0 < len(pacific) < len(plain)
    assert {center["id"] for gpu in pacific for center in gpu["dataCenters"]} <= {"AP-JP-1", "OC-AU-1"}
    absent = api.get(f"/v2/catalog/gpus/NVIDIA B200?{query}").json()
    assert absent["availability"] == "NONE"
    assert "dataCenters" not in absent
    exact = api.get("/v2/catalog/gpus/NVIDIA A40?include=AVAILABILITY&product=POD&cudaVersions=12.8").json()
    assert exact["cudaVersions"] == [{"version": "12.8", "available": True}]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("include=AVAILABILITY", 400),
        ("product=POD", 400),
        ("count=2", 400),
        ("countryCodes=FR", 400),
        ("include=AVAILABILITY&product=POD&cudaVersions=12.8&minCudaVersion=12", 400),
        ("include=STOCK", 422),
        ("include=AVAILABILITY&product=BOAT", 422),
        ("include=AVAILABILITY&product=POD&count=0", 422),
        ("include=AVAILABILITY&product=POD&countryCodes=fr", 422),
        ("include=AVAILABILITY&product=POD&cudaVersions=12", 422),
    ],
)
def test_wrong_catalog_queries_are_refused(api: httpx.Client, query: str, status: int) -> None:
    assert api.get(f"/v2/catalog/gpus?{query}").status_code == status


def test_data_centers_are_filtered(api: httpx.Client) -> None:
    def ids(query: str) -> set[str]:
        return {center["id"] for center in api.get(f"/v2/catalog/datacenters?{query}").json()["dataCenters"]}

    assert ids("regions=ASIA,OCEANIA") == {"AP-JP-1", "OC-AU-1"}
    assert ids("networkVolumeTypes=STANDARD,HIGH_PERFORMANCE&regions=EUROPE") == {"EU-RO-1", "EU-CZ-1"}
    assert ids("compliance=HIPAA") == {"US-CA-2"}
    assert ids("globalNetwork=false") == {"OC-AU-1"}
    one = api.get("/v2/catalog/datacenters/EU-RO-1?include=GPU_AVAILABILITY,CPU_AVAILABILITY").json()
    assert {"gpuAvailability", "cpuAvailability"} <= set(one)
    assert api.get("/v2/catalog/datacenters/MOON-1").status_code == 404


def test_cpus_have_sizes_and_stock(api: httpx.Client) -> None:
    (cpu,) = [found for found in api.get("/v2/catalog/cpus").json()["cpus"] if found["id"] == "cpu5c"]
    assert cpu["vcpu"] == {"min": 2, "max": 32}
    big = api.get("/v2/catalog/cpus/cpu5c?include=AVAILABILITY&product=SERVERLESS&vcpuCount=64").json()
    assert big["availability"] == "NONE"
    assert api.get("/v2/catalog/cpus?include=AVAILABILITY&product=POD&vcpuCount=6").status_code == 400


def test_storage_is_billed_by_time_and_tier(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    body = {"name": "v", "size": 1000, "dataCenter": "EU-RO-1"}
    standard = api.post("/v2/network-volumes", json=body).json()["id"]
    fast = api.post("/v2/network-volumes", json={**body, "type": "HIGH_PERFORMANCE"}).json()["id"]
    runpod_emulator.advance(730 * 3600)
    api.patch(f"/v2/network-volumes/{standard}", json={"size": 2000})
    runpod_emulator.advance(73 * 3600)
    api.delete(f"/v2/network-volumes/{fast}")
    runpod_emulator.advance(73 * 3600)
    totals = {}
    for volume in (standard, fast):
        query = f"networkVolumeId={volume}&bucketSize=month&lastN=3"
        report = api.get(f"/v2/billing/network-volumes?{query}").json()
        assert report["metadata"]["uniqueNetworkVolumeCount"] == 1
        totals[volume] = report["metadata"]["totals"]
    assert totals[standard]["standardAmount"] == pytest.approx(70 + 0.2 * 140, rel=0.01)
    assert totals[fast]["highPerformanceAmount"] == pytest.approx(140 * 1.1, rel=0.01)
    account = api.get("/v2/billing?bucketSize=month&lastN=3").json()["metadata"]["totals"]
    assert account["totalAmount"] == pytest.approx(98 + 154, rel=0.01)


def test_billing_windows_follow_buckets(api: httpx.Client) -> None:
    query = "startTime=2026-03-04T10:20:00Z&endTime=2026-03-06T00:00:00Z"
    echo = api.get(f"/v2/billing?{query}").json()["metadata"]["query"]
    assert (echo["startTime"][:10], echo["endTime"][:10], echo["bucketSize"]) == ("2026-03-04", "2026-03-06", "day")
    echo = api.get(f"/v2/billing?{query}&bucketSize=week").json()["metadata"]["query"]
    assert (echo["startTime"][:10], echo["endTime"][:10]) == ("2026-03-02", "2026-03-09")
    last = api.get("/v2/billing/pods?lastN=3&bucketSize=month").json()["metadata"]["query"]
    start, end = (datetime.fromisoformat(last[name]) for name in ("startTime", "endTime"))
    assert (start.day, end.day, (end.year - start.year) * 12 + end.month - start.month) == (1, 1, 3)
    assert end > datetime.now(UTC)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("lastN=0", 422),
        ("bucketSize=decade", 422),
        ("startTime=yesterday", 422),
        ("startTime=2026-03-04T10:20:00Z&lastN=2", 422),
        ("startTime=2026-03-04T10:20:00Z&endTime=2026-03-03T10:20:00Z", 400),
    ],
)
def test_wrong_billing_queries_are_refused(api: httpx.Client, query: str, status: int) -> None:
    for path in ("", "/serverless", "/endpoints", "/network-volumes", "/pods", "/clusters"):
        assert api.get(f"/v2/billing{path}?{query}").status_code == status
