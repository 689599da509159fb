"""What exists already: read without owning it, and taken into a stack, under the real engine."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.engine.conftest import ENV_SECRET, Stack
from tests.s3 import S3_KEY_ID, S3_SECRET
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

pytestmark = pytest.mark.engine

READING = """
import os
import pulumi
from pulumi_visgate import Bucket, EcrDelegation, Endpoint, NetworkVolume, RegistryAuth, Template, WarmPool

ids = {ids!r}
endpoint = Endpoint.get("by-id", ids["plain"])
named = Endpoint.get("by-name", name=pulumi.Output.from_input("plain"))
pool = WarmPool.get("pool", name={pool!r})
volume = NetworkVolume.get("volume", name="models")
template = Template.get("template", name="tool")
registry = RegistryAuth.get("registry", name="ghcr")
delegation = EcrDelegation.get("delegation", name="ecr")
bucket = Bucket.get("bucket", name="pictures")
pulumi.export("ids", [found.id for found in (named, pool, volume, template, registry, delegation, bucket)])
pulumi.export("image", endpoint.image)
pulumi.export("model", [pool.model_id, pool.task, pool.policy])
pulumi.export("volume", [volume.size_gb, volume.effective_tier])
pulumi.export("env", endpoint.env)
if os.environ.get("WRONG"):
    Endpoint.get("wrong", name="nobody")
"""


def endpoint(runpod: RunpodClient, name: str, **more: Any) -> str:
    wanted: dict[str, Any] = {
        "name": name,
        "type": "QUEUE",
        "image": "acme/worker:1",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "gpu": {"pools": ["ADA_24"]},
        "workers": {"min": 0, "max": 1, "idleTimeout": 5},
        "env": {"TOKEN": ENV_SECRET},
    }
    return runpod.create_endpoint(CreateEndpoint.model_validate(wanted | more)).id


def pool_name(key: str, model_id: str, policy: PoolPolicy = PoolPolicy.ON_DEMAND) -> str:
    name = EndpointName.build(
        user_hash=user_hash(key), model_id=model_id, task=Task.TEXT2IMG, policy=policy, spec={"owner": "gateway"}
    )
    return str(name)


def store(url: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=S3_KEY_ID, aws_secret_access_key=S3_SECRET
    )


@pytest.fixture
def account(runpod: RunpodClient, runpod_emulator: RunpodEmulator) -> dict[str, str]:
    """Something of every kind that no stack made; returns the ids."""
    models = runpod.create_network_volume(CreateNetworkVolume(name="models", size=10, data_center="EU-RO-1")).id
    registry = CreateRegistry.model_validate({"name": "ghcr", "username": "u", "password": "canary-of-a-password"})
    arn = "arn:aws:ecr:us-east-2:418399314813:repository/acme/worker"
    tool = CreateTemplate(name="tool", image="acme/tool:1", env={"TOKEN": ENV_SECRET})
    name = pool_name(runpod_emulator.key, "acme/tiny")
    env = {"VISGATE_MODEL_ID": "acme/tiny", "TOKEN": ENV_SECRET}
    return {
        "models": models,
        "ghcr": runpod.create_registry(registry).id,
        "ecr": runpod.create_delegation(CreateDelegation(resource=arn, name="ecr")).id,
        "tool": runpod.create_template(tool).id,
        "plain": endpoint(runpod, "plain"),
        "pool": endpoint(runpod, name, env=env, networkVolumes=[models]),
    }


@pytest.mark.long
def test_what_is_only_read_is_never_touched(
    stack: Stack, runpod_emulator: RunpodEmulator, account: dict[str, str], s3_endpoint: str
) -> None:
    before = runpod_emulator.account()
    pool = pool_name(runpod_emulator.key, "acme/tiny")
    store(s3_endpoint).create_bucket(Bucket="pictures")
    stack.write(READING.format(ids=account, pool=pool))
    stack.up()
    outputs = json.loads(stack.run("stack", "output", "--json", "--show-secrets").text)
    assert outputs == {
        "ids": [account.get(name, name) for name in ("plain", "pool", "models", "tool", "ghcr", "ecr", "pictures")],
        "image": "acme/worker:1",
        "model": ["acme/tiny", "text2img", "on_demand"],
        "volume": [10, "STANDARD"],
        "env": {"TOKEN": ENV_SECRET},
    }
    stack.run("up", "--yes", "--skip-preview", "--expect-no-changes")
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert ENV_SECRET not in stack.exported()
    runpod_emulator.reset_requests()
    wrong = stack.preview(ok=False, WRONG="yes")
    assert "There is no Endpoint called 'nobody'. The account has plain, visgate-" in wrong.text
    assert "Traceback" not in wrong.text
    assert ENV_SECRET not in wrong.text
    assert all(operation.startswith("list") for operation in runpod_emulator.requests())
    stack.run("destroy", "--yes", "--skip-preview")
    assert runpod_emulator.account() == before
    store(s3_endpoint).delete_bucket(Bucket="pictures")


def visgate(stack: Stack, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("visgate"), "import", "-o", str(stack.folder), *arguments],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def full_account(runpod: RunpodClient, account: dict[str, str], key: str) -> None:
    """Every kind with many optional fields."""
    fast = runpod.create_network_volume(
        CreateNetworkVolume.model_validate(
            {"name": "fast models!", "size": 30, "dataCenter": "US-KS-2", "type": "HIGH_PERFORMANCE"}
        )
    )
    arn = "arn:aws:ecr:us-east-2:418399314813:repository/acme/nameless"
    runpod.create_delegation(CreateDelegation(resource=arn))
    runpod.create_template(
        CreateTemplate.model_validate(
            {
                "name": "pod template",
                "image": "acme/pod:1",
                "serverless": False,
                "registry": account["ghcr"],
                "args": "--fast 'yes'",
                "disk": 33,
                "ports": ["8000/http", "22/tcp"],
                "startSsh": False,
                "startJupyter": True,
                "category": "AMD",
                "allowedCudaVersions": ["12.8", "12.9"],
            }
        )
    )
    endpoint(
        runpod,
        "Every Thing",
        registry=account["ghcr"],
        args='--say "hello"',
        disk=44,
        ports=["8000/http"],
        gpu={
            "pools": ["ADA_24", "AMPERE_24"],
            "excludedTypes": ["NVIDIA L4"],
            "count": 2,
            "minCudaVersion": "12.6",
        },
        workers={"min": 1, "max": 7},
        scaling={"type": "REQUEST_COUNT", "requestCount": 3},
        timeout=600000,
        flashboot="FLASHBOOT",
        dataCenterIds=["US-KS-2", "EU-RO-1"],
        networkVolumes=[account["models"], fast.id],
        env={"TOKEN": ENV_SECRET, "QUOTES": "a'b\"c\nd", "N": "5"},
    )
    endpoint(
        runpod,
        "balancer",
        type="LOAD_BALANCER",
        scaling={"type": "REQUEST_COUNT", "requestCount": 2},
        gpu=None,
        cpu=[{"id": "cpu5c", "vcpuCount": 4}, {"id": "cpu3g", "vcpuCount": 2}],
        env={},
    )
    env = {"VISGATE_MODEL_ID": "acme/tiny", "VISGATE_MODEL_REVISION": "main", "TOKEN": ENV_SECRET}
    scheduled = pool_name(key, "acme/tiny", PoolPolicy.SCHEDULED_WARM)
    endpoint(runpod, scheduled, env=env, workers={"min": 2, "max": 3, "idleTimeout": 30}, timeout=900000)


def test_an_account_becomes_a_stack(
    environment: dict[str, str],
    tmp_path: Path,
    runpod: RunpodClient,
    runpod_emulator: RunpodEmulator,
    account: dict[str, str],
) -> None:
    stack = Stack(tmp_path / "infra", environment)
    runpod_emulator.set_quirks("reorder", "nulls", "platform_env", "name_suffix", "additions")
    full_account(runpod, account, runpod_emulator.key)
    before = runpod_emulator.account()
    said = [visgate(stack, "--stack", "dev")]
    taking = ("import", "--file", "import.json", "--yes", "--generate-code=false", "--protect=false")
    runpod_emulator.reset_requests()
    said.append(stack.run(*taking).text)
    assert "10 imported" in said[-1]
    assert "warning" not in said[-1]
    assert "11 unchanged" in stack.run("preview", "--diff", "--expect-no-changes").text
    assert "11 unchanged" in stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").text
    assert runpod_emulator.requests() == {}
    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    said.append(stack.preview().text)
    assert "11 unchanged" in said[-1]
    assert runpod_emulator.account() == before

    files = [file.read_text() for file in stack.folder.iterdir() if file.is_file()]
    state = stack.exported()
    for text in (*said, *files, state):
        assert ENV_SECRET not in text
        assert runpod_emulator.key not in text
    owners = re.findall(r'"owner": "([^"]+)"', state)
    assert {owner.rsplit("/", 1)[0] for owner in owners} == {"infra/dev"}

    stack.run("destroy", "--yes", "--skip-preview")
    [registry] = runpod.list_registries()
    [delegation] = runpod.list_delegations()
    assert (registry.id, delegation.name) == (account["ghcr"], None)
    assert [*runpod.list_endpoints(), *runpod.list_templates(), *runpod.list_network_volumes()] == []
