"""Components under the real engine: what reaches their children, and what a destroy leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

PROGRAM = """\
import os
import pulumi
from pulumi_visgate import Bucket, GeoRoutedCache

def bigger(args, opts):
    args["size_gb"] = 30
    opts.ignore_changes = ["tier"]

def signed(child):
    if child.custom:
        tags = {**child.props["tags"], "by": child.name}
        return pulumi.ResourceTransformResult({**child.props, "tags": tags}, child.opts)

first = Bucket("first", force_destroy=True)
given = {
    "regions": ["EU-RO-1"],
    "models": [{"model_id": "acme/tiny", "source": os.environ["MODEL"]}],
    "tags": {"team": "pictures"},
}
cache = GeoRoutedCache(
    "cache",
    given,
    pulumi.ResourceOptions(depends_on=[first], protect=True, transforms=[signed]),
    transform={"volume": bigger},
)
pulumi.export("volumes", cache.volume_ids)
"""
VOLUME, MODEL = "cache-eu-ro-1", "cache-eu-ro-1-tiny-e7f063"


def children(stack: Stack) -> dict[str, dict[str, Any]]:
    found = json.loads(stack.exported())["deployment"]["resources"]
    return {item["urn"].rsplit("::", 1)[1]: item for item in found}


def test_options_reach_every_child_and_data_outlives_a_destroy(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator, model_folder: Path
) -> None:
    stack.environment["MODEL"] = str(model_folder)
    stack.write(PROGRAM)
    stack.up()
    made = children(stack)
    volume, model = made[VOLUME], made[MODEL]
    for name in (VOLUME, MODEL):
        assert made[name]["protect"]
        assert made[name]["parent"] == made["cache"]["urn"]
        assert made[name]["outputs"]["tags"] == {"team": "pictures", "by": name}
    assert made["cache"]["dependencies"] == [made["first"]["urn"]]
    assert (volume["inputs"]["size_gb"], volume["ignoreChanges"]) == (30, ["tier"])
    assert model["deletedWith"] == volume["urn"]

    stack.run("state", "unprotect", "--all", "--yes")
    destroyed = stack.run("destroy", "--yes", "--skip-preview").text
    assert f"{VOLUME} deleted" in destroyed
    assert "[retain]" in destroyed
    assert [found.id for found in runpod.list_network_volumes()] == [volume["id"]]
    files = runpod_emulator.volumes_dir / volume["id"] / "models" / "acme" / "tiny"
    assert list(files.rglob("weights.safetensors"))
