"""What changes in place, what makes a new resource, and in which order."""

import json

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

PROGRAM = """
import json
import os
import pulumi_visgate
for name, (kind, args) in json.loads(os.environ["SPEC"]).items():
    getattr(pulumi_visgate, kind)(name, **args)
"""
GPU: dict[str, object] = {"image": "acme/worker:1", "gpu_pools": ["ADA_24", "AMPERE_24"]}
VOLUME: dict[str, object] = {"size_gb": 20, "data_center": "EU-RO-1"}
SCRATCH: dict[str, object] = {**VOLUME, "delete_data": True}
WINDOW = {"start": "00:00", "end": "24:00", "timezone": "Europe/Berlin"}
POOL: dict[str, object] = {"model_id": "acme/tiny", **GPU}

# name: kind, before, after, operation
TABLE: dict[str, tuple[str, dict[str, object], dict[str, object], str | None]] = {
    "renamed-volume": ("NetworkVolume", {**VOLUME, "name": "one"}, {**VOLUME, "name": "two"}, "update"),
    "grown-volume": ("NetworkVolume", SCRATCH, {**SCRATCH, "size_gb": 30}, "update"),
    "shrunk-volume": ("NetworkVolume", SCRATCH, {**SCRATCH, "size_gb": 10}, "replace"),
    "moved-volume": ("NetworkVolume", SCRATCH, {**SCRATCH, "data_center": "US-KS-2"}, "replace"),
    "tiered-volume": ("NetworkVolume", VOLUME, {**VOLUME, "tier": "STANDARD"}, None),
    "more-pools": ("Endpoint", GPU, {**GPU, "gpu_pools": ["ADA_24"]}, "update"),
    "same-pools": ("Endpoint", GPU, {**GPU, "gpu_pools": ["AMPERE_24", "ADA_24"]}, None),
    "to-cpu": ("Endpoint", GPU, {"image": "acme/worker:1", "cpus": [{"id": "cpu5c", "vcpus": 4}]}, "replace"),
    "balanced": ("Endpoint", GPU, {**GPU, "routing": "LOAD_BALANCER", "request_count": 4}, "replace"),
    "by-requests": ("Endpoint", GPU, {**GPU, "request_count": 4}, "update"),
    "new-env": ("Endpoint", GPU, {**GPU, "env": {"A": "1"}}, "update"),
    "template": ("Template", {"image": "acme/worker:1"}, {"image": "acme/worker:2"}, "update"),
    "public": ("Bucket", {}, {"public_read": True}, "update"),
    "bucket": ("Bucket", {"name": "engine-one"}, {"name": "engine-two"}, "replace"),
    "model": ("WarmPool", POOL, {**POOL, "model_id": "acme/other"}, "replace"),
    "policy": ("WarmPool", POOL, {**POOL, "policy": "always_on", "max_workers": 2}, "update"),
    "scheduled": ("WarmPool", POOL, {**POOL, "policy": "scheduled_warm", "windows": [WINDOW]}, "update"),
    "rotated": ("SigningKey", {}, {"rotation": "2"}, "update"),
}


def _spec(column: int) -> str:
    return json.dumps({name: (row[0], row[column]) for name, row in TABLE.items()})


def test_every_change_is_an_update_or_a_replacement_as_the_api_allows(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator
) -> None:
    runpod_emulator.map_image("acme/worker", "true")
    stack.write(PROGRAM)
    stack.up(SPEC=_spec(1))
    before = stack.ids()

    planned = stack.steps(SPEC=_spec(2))
    expected = {name: operation for name, (_, _, _, operation) in TABLE.items() if operation}
    assert {name: "replace" if "replace" in step else step for name, step in planned.items()} == expected

    stack.up(SPEC=_spec(2))
    after = stack.ids()
    for name, (_, _, _, operation) in TABLE.items():
        assert (before[name] != after[name]) == (operation == "replace"), name
    stack.run("preview", "--expect-no-changes", SPEC=_spec(2))
    assert runpod.get_endpoint(after["scheduled"]).workers.min == 1
    runpod.update_endpoint(after["scheduled"], UpdateEndpoint(workers=EndpointWorkers(min=0)))  # as a scheduler does
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes", SPEC=_spec(2))

    stack.up(SPEC=_spec(1))  # and back
    stack.run("preview", "--expect-no-changes", SPEC=_spec(1))
    names = [endpoint.name for endpoint in runpod.list_endpoints()]
    names += [volume.name for volume in runpod.list_network_volumes()]
    assert len(names) == len(set(names)) == 14

    _a_forced_replacement_makes_a_new_one(stack, runpod)
    stack.run("destroy", "--yes", "--skip-preview", SPEC=_spec(1))
    assert runpod_emulator.account()["empty"], runpod_emulator.account()


def _a_forced_replacement_makes_a_new_one(stack: Stack, runpod: RunpodClient) -> None:
    before = stack.ids()
    forced = ("--target-replace", "**new-env", "--target-replace", "**grown-volume")
    stack.run("up", "--yes", "--skip-preview", *forced, SPEC=_spec(1))
    after = stack.ids()
    assert before["new-env"] != after["new-env"]
    assert after["new-env"] in {endpoint.id for endpoint in runpod.list_endpoints()}
    # A volume has data, so the engine's "new one first" finds the old one, and keeps it.
    assert before["grown-volume"] == after["grown-volume"]
    assert after["grown-volume"] in {volume.id for volume in runpod.list_network_volumes()}


def test_names_in_use_are_refused_until_the_program_says_adopt(stack: Stack, runpod: RunpodClient) -> None:
    stack.write(PROGRAM)
    mine = runpod.create_network_volume(CreateNetworkVolume(name="weights", size=15, data_center="EU-RO-1"))
    wanted = {**VOLUME, "name": "weights"}
    refused = stack.up(ok=False, SPEC=json.dumps({"v": ("NetworkVolume", wanted)}))
    assert "is called 'weights' already" in refused.text
    assert "adopt=True" in refused.text
    assert "Traceback" not in refused.text

    stack.up(SPEC=json.dumps({"v": ("NetworkVolume", {**wanted, "adopt": True})}))
    assert stack.ids()["v"] == mine.id
    assert [(volume.id, volume.size) for volume in runpod.list_network_volumes()] == [(mine.id, 20)]
    destroyed = stack.run("destroy", "--yes", "--skip-preview", SPEC="{}")
    assert f"weights ({mine.id}) was there before this stack, so it is kept with its data" in destroyed.text
    assert [volume.id for volume in runpod.list_network_volumes()] == [mine.id]


def test_what_is_in_use_or_has_data_is_not_deleted(stack: Stack, runpod: RunpodClient) -> None:
    stack.write(PROGRAM)
    stack.up(SPEC=json.dumps({"v": ("NetworkVolume", VOLUME), "b": ("Bucket", {"name": "engine-kept"})}))
    ids = stack.ids()
    endpoint = {**GPU, "network_volume_ids": [ids["v"]]}
    both = {"v": ("NetworkVolume", VOLUME), "e": ("Endpoint", endpoint)}
    stack.up(SPEC=json.dumps(both))
    name = next(found.name for found in runpod.list_endpoints())

    refused = stack.up(ok=False, SPEC=json.dumps({"e": ("Endpoint", endpoint)}))
    assert f"({ids['v']}) is used by endpoint {name}" in refused.text
    assert [volume.id for volume in runpod.list_network_volumes()] == [ids["v"]]
    stack.up(SPEC=json.dumps({"v": ("NetworkVolume", VOLUME)}))
    stack.up(SPEC="{}")
    assert runpod.list_network_volumes() == []


def test_what_others_own_is_read_and_never_touched(stack: Stack, runpod: RunpodClient) -> None:
    theirs = runpod.create_network_volume(CreateNetworkVolume(name="theirs", size=15, data_center="EU-RO-1"))
    stack.write(
        "import pulumi\nfrom pulumi_visgate import NetworkVolume\n"
        f"volume = NetworkVolume.get('theirs', {theirs.id!r})\n"
        "pulumi.export('size', volume.size_gb)\npulumi.export('name', volume.name)\n"
    )
    stack.up()
    assert json.loads(stack.run("stack", "output", "--json").text) == {"size": 15, "name": "theirs"}
    stack.run("preview", "--expect-no-changes")
    stack.run("destroy", "--yes", "--skip-preview")
    assert [volume.id for volume in runpod.list_network_volumes()] == [theirs.id]
