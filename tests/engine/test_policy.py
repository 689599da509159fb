"""The policy pack and `visgate diff` with the real engine."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from tests.engine.conftest import DEADLINE_S, Result, Stack

pytestmark = pytest.mark.engine

PACK = Path(__file__).parents[2] / "policy"
PLAIN_KEY = "rpa_CANARYOFAPLAINKEY0000000000"
LIMITS = {
    "monthly-ceiling": {"maxMonthlyUsd": 1000},
    "allowed-regions": {"allowed": ["EU-*"]},
    "max-workers": {"maxWorkers": 5},
    "private-buckets": "advisory",
}
PROGRAM = f"""
import os
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
from pulumi_visgate import Bucket, NetworkVolume, WarmPool

class Other(ResourceProvider):
    def create(self, props):
        return CreateResult("it", props)

class Thing(Resource, module="other", name="Thing"):
    pass

BAD = os.environ["BAD"] == "1"
key = {PLAIN_KEY!r}
Thing(Other(), "other", {{"env": {{"A": key if BAD else pulumi.Output.secret(key)}}}})
weights = NetworkVolume("weights", size_gb=20, delete_data=True, data_center="US-KS-2" if BAD else "EU-RO-1")
WarmPool(
    "pool", model_id="acme/tiny", image="acme/worker:latest" if BAD else "acme/worker:1", gpu_pools=["ADA_24"],
    policy="always_on" if BAD else "on_demand", min_workers=3 if BAD else 0, max_workers=6 if BAD else 1,
    env={{"HF_TOKEN": key}}, network_volume_ids=[weights.id],
)
Bucket("open", name="engine-policy", public_read=BAD)
"""


def _diff(stack: Stack, *arguments: str, **more: str) -> Result:
    done = subprocess.run(
        ["visgate", "diff", "-s", "dev", *arguments],
        cwd=stack.folder,
        env=stack.environment | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Result(done.returncode, done.stdout)


def test_policies_pass_a_good_stack_and_refuse_a_bad_change(stack: Stack, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.map_image("acme/worker", "true")
    stack.write(PROGRAM)
    limits = stack.folder / "limits.json"
    limits.write_text(json.dumps(LIMITS))
    packed = ("--policy-pack", str(PACK), "--policy-pack-config", str(limits))
    stack.run("up", "--yes", "--skip-preview", *packed, BAD="0")

    refused = _diff(stack, *packed, BAD="1")
    assert refused.code == 1, refused.text
    assert refused.text.startswith(
        "<!-- visgate-diff:engine/dev -->\n\n### `engine/dev`: 3 to update, 1 to replace, **"
    )
    found = re.findall(r"^- (\*\*mandatory\*\*|advisory) `([a-z-]+)` at `([a-z-]+)`: .{20}", refused.text, re.M)
    assert {(policy, name) for level, policy, name in found if level != "advisory"} == {
        ("monthly-ceiling", "engine-dev"),
        ("always-on-workers", "engine-dev"),
        ("allowed-regions", "weights"),
        ("max-workers", "pool"),
        ("no-plain-secrets", "other"),  # the pool's env is secret by itself
    }, refused.text
    assert {(policy, name) for level, policy, name in found if level == "advisory"} == {
        ("pinned-images", "pool"),
        ("private-buckets", "open"),
    }
    assert "> - replace `NetworkVolume` `weights`: the volume is deleted with everything on it" in refused.text
    assert "- image: acme/worker:1\n+ image: acme/worker:latest\n" in refused.text
    assert "| **whole stack** | | | $0.0019 → " in refused.text
    assert PLAIN_KEY not in refused.text
