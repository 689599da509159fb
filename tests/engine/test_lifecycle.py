"""One stack with every resource, from up to destroy."""

import base64
import json
import pickletools
from pathlib import Path

import boto3
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint
from pulumi_visgate.runpod.models.volume import UpdateNetworkVolume
from tests.engine.conftest import ENV_SECRET, Stack
from tests.s3 import S3_KEY_ID, S3_SECRET
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

pytestmark = pytest.mark.engine

REGISTRY_USER, REGISTRY_PASSWORD = "canary-of-a-registry-user", "canary-of-a-registry-password"
PROGRAM = f"""
import os
import pulumi
from pulumi_visgate import *
from visgate_contract.signing import derive_webhook_secret

secret = {ENV_SECRET!r}
auth = RegistryAuth(
    "ghcr", username={REGISTRY_USER!r}, password=os.environ.get("PASSWORD", {REGISTRY_PASSWORD!r})
)
EcrDelegation("ecr", repository_arn="arn:aws:ecr:us-east-2:418399314813:repository/acme/worker")
template = Template("template", image="acme/worker:1", env={{"TOKEN": secret}}, registry_id=auth.id)
volume = NetworkVolume("cache", size_gb=10, data_center="EU-RO-1")
endpoint = Endpoint(
    "sd", image="acme/worker:1", gpu_pools=["ADA_24", "AMPERE_24"], network_volume_ids=[volume.id],
    env={{"TOKEN": secret, "N": 5}},
)
bucket = Bucket("pictures", force_destroy=True)
model = ModelCache("model", model_id="acme/tiny", source=os.environ["MODEL"], volume_id=volume.id)
key = SigningKey("key")
hooks = pulumi.Output.all(key.value, account_user_hash()).apply(lambda known: derive_webhook_secret(*known))
pool = WarmPool(
    "pool", model_id="acme/tiny", image="acme/worker:1", gpu_pools=["ADA_24"],
    network_volume_ids=[volume.id], env={{"VISGATE_WEBHOOK_SECRET": hooks}},
)
pulumi.export("run_url", endpoint.run_url)
pulumi.export("key", key.value)
"""


def test_a_stack_lives_from_up_to_destroy(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator, model_folder: Path, s3_endpoint: str
) -> None:
    stack.environment["MODEL"] = str(model_folder)
    stack.write(PROGRAM)
    first = stack.preview()
    assert "visgate:Endpoint: (create)" in first.text
    said = [first.text, stack.up().text]
    ids = stack.ids()

    _nothing_to_do(stack, runpod_emulator)
    _endpoints_are_as_declared(stack, runpod, runpod_emulator, ids)
    said += _another_password_comes_before_the_old_one_goes(stack, runpod, ids)
    said += _drift_is_shown_and_repaired(stack, runpod, ids, s3_endpoint)
    _the_state_holds_no_secret(stack, runpod_emulator, said)

    stack.run("destroy", "--yes", "--skip-preview")
    assert runpod_emulator.account()["empty"], runpod_emulator.account()
    assert not [path for path in runpod_emulator.volumes_dir.iterdir() if path.name.startswith("pictures")]


def _nothing_to_do(stack: Stack, emulator: RunpodEmulator) -> None:
    emulator.reset_requests()
    assert "10 unchanged" in stack.run("preview", "--expect-no-changes").text
    assert "10 unchanged" in stack.run("up", "--yes", "--skip-preview", "--expect-no-changes").text
    assert emulator.requests() == {}  # an unchanged stack costs no call of the quota
    assert "10 unchanged" in stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes").text
    lists = ("listEndpoints", "listTemplates", "listNetworkVolumes", "listRegistries", "listDelegations")
    assert emulator.requests() == dict.fromkeys(lists, 1)


def _endpoints_are_as_declared(
    stack: Stack, runpod: RunpodClient, emulator: RunpodEmulator, ids: dict[str, str]
) -> None:
    me = user_hash(emulator.key)
    pool = runpod.get_endpoint(ids["pool"])
    name = EndpointName.parse(pool.name)
    assert name is not None
    assert name.serves(user_hash=me, model_id="acme/tiny", task=Task.TEXT2IMG)
    signing_key = stack.run("stack", "output", "key", "--show-secrets").text.strip()
    assert pool.env == {
        "VISGATE_MODEL_ID": "acme/tiny",
        "VISGATE_WEBHOOK_SECRET": derive_webhook_secret(signing_key, me),
    }
    endpoint = runpod.get_endpoint(ids["sd"])
    assert endpoint.env == {"TOKEN": ENV_SECRET, "N": "5"}
    assert endpoint.network_volumes == [ids["cache"]]
    manifest = emulator.volumes_dir / ids["cache"] / "models/acme/tiny/.visgate-manifest.json"
    assert set(json.loads(manifest.read_text())["files"]) == {"model_index.json", "unet/weights.safetensors"}


def _another_password_comes_before_the_old_one_goes(
    stack: Stack, runpod: RunpodClient, ids: dict[str, str]
) -> list[str]:
    other = "canary-of-another-password"
    preview = stack.preview(PASSWORD=other).text
    assert "RegistryAuth: (replace)" in preview
    assert "fingerprint" in preview
    up = stack.up(PASSWORD=other).text
    [auth] = runpod.list_registries()
    assert auth.id != ids["ghcr"]
    assert runpod.get_template(ids["template"]).registry == auth.id
    back = stack.up().text
    return [preview, up, back]


def _drift_is_shown_and_repaired(
    stack: Stack, runpod: RunpodClient, ids: dict[str, str], s3_endpoint: str
) -> list[str]:
    runpod.update_endpoint(
        ids["sd"], UpdateEndpoint(workers=EndpointWorkers(max=7), env={"TOKEN": "another", "N": "5"})
    )
    runpod.update_network_volume(ids["cache"], UpdateNetworkVolume(name="renamed"))
    runpod.delete_template(ids["template"])
    s3 = boto3.client("s3", endpoint_url=s3_endpoint, aws_access_key_id=S3_KEY_ID, aws_secret_access_key=S3_SECRET)
    [weights] = [item["Key"] for item in s3.list_objects_v2(Bucket=ids["cache"])["Contents"] if "unet/" in item["Key"]]
    s3.delete_object(Bucket=ids["cache"], Key=weights)

    refreshed = stack.run("refresh", "--yes", "--skip-preview", "--diff").text
    for shown in ("max_workers        : 3 => 7", '=> "renamed"', "Template: (delete)", '=> "incomplete"'):
        assert shown in refreshed
    preview = stack.preview().text
    for shown in ("max_workers        : 7 => 3", '"renamed" =>', "Template: (create)", '"incomplete" =>'):
        assert shown in preview
    assert "~ TOKEN: " in preview  # which variable, but not its value
    assert "another" not in refreshed + preview
    assert stack.steps() == {"template": "create", "cache": "update", "sd": "update", "model": "update"}

    repaired = stack.up().text
    endpoint = runpod.get_endpoint(ids["sd"])
    assert (endpoint.workers.max, endpoint.env) == (3, {"TOKEN": ENV_SECRET, "N": "5"})
    assert endpoint.gpu is not None
    assert endpoint.gpu.pools == ["ADA_24", "AMPERE_24"]
    assert [volume.name for volume in runpod.list_network_volumes()] != ["renamed"]
    assert len(runpod.list_templates()) == 1
    assert s3.head_object(Bucket=ids["cache"], Key=weights)["ContentLength"] == 10_000
    assert "10 unchanged" in stack.run("preview", "--expect-no-changes").text
    return [refreshed, preview, repaired]


def _the_state_holds_no_secret(stack: Stack, emulator: RunpodEmulator, said: list[str]) -> None:
    signing_key = stack.run("stack", "output", "key", "--show-secrets").text.strip()
    assert len(signing_key) > 40
    state = stack.exported()
    for secret in (ENV_SECRET, emulator.key, S3_SECRET, signing_key, "another", REGISTRY_USER, REGISTRY_PASSWORD):
        for text in (state, *said):
            assert secret not in text
    resources = json.loads(state)["deployment"]["resources"]
    pickles = [item["inputs"]["__provider"] for item in resources if "__provider" in item.get("inputs", {})]
    assert len(pickles) == 9
    for pickled in pickles:
        strings = [
            argument
            for opcode, argument, _ in pickletools.genops(base64.b64decode(pickled))
            if opcode.name == "SHORT_BINUNICODE"
        ]
        assert strings[0] == "pulumi_visgate.providers"
        assert len(strings) == 2
