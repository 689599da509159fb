"""Mistakes: one clear message that names the field and the fix, before anything is made."""

import json

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tests.engine.conftest import ENV_SECRET, Stack

pytestmark = pytest.mark.engine

PROGRAM = """
import json
import os
import pulumi_visgate
kind, args = json.loads(os.environ["SPEC"])
getattr(pulumi_visgate, kind)("thing", **args)
"""
GPU: dict[str, object] = {"image": "acme/worker:1", "gpu_pools": ["ADA_24"]}
VOLUME: dict[str, object] = {"size_gb": 20, "data_center": "EU-RO-1"}

CASES: list[tuple[str, dict[str, object], list[str]]] = [
    ("NetworkVolume", {**VOLUME, "data_center": "EU-XX-9"}, ["property data_center", "choose of", "EU-RO-1"]),
    ("NetworkVolume", {**VOLUME, "size_gb": -5}, ["property size_gb value {-5}", "greater than or equal to 10"]),
    ("Endpoint", {**GPU, "gpu_pools": ["RTX_9000"]}, ["gpu_pools", "RTX_9000 is no serverless GPU pool", "ADA_24"]),
    ("Endpoint", {**GPU, "max_worker": 3}, ["max_worker", "Did you mean max_workers?"]),
    ("Endpoint", {**GPU, "env": {"BAD NAME": ENV_SECRET}}, ["env: ", "pattern"]),
    (
        "WarmPool",
        {
            **GPU,
            "model_id": "a/b",
            "policy": "scheduled_warm",
            "windows": [{"start": "09:00", "end": "18:00", "timezone": "Mars/Olympus"}],
        },
        ["property windows", "0.timezone: ", "no IANA time zone"],
    ),
    ("ModelCache", {"model_id": "a/b", "source": "nowhere", "bucket": "b"}, ["property source", "model_index.json"]),
]


@pytest.mark.parametrize(("kind", "args", "shown"), CASES, ids=[f"{kind}-{list(args)[-1]}" for kind, args, _ in CASES])
def test_a_wrong_input_is_named(
    stack: Stack, runpod_emulator: RunpodEmulator, kind: str, args: dict[str, object], shown: list[str]
) -> None:
    stack.write(PROGRAM)
    result = stack.preview(ok=False, SPEC=json.dumps((kind, args)))
    assert result.code != 0
    _is_clear(result.text, *shown)
    assert runpod_emulator.account()["empty"]


def test_a_missing_key_and_a_dead_api_are_named(stack: Stack) -> None:
    stack.write(PROGRAM)
    spec = json.dumps(("NetworkVolume", VOLUME))
    without_key = stack.preview(ok=False, SPEC=spec, RUNPOD_API_KEY="")
    _is_clear(without_key.text, "There is no Runpod API key", "pulumi config set --secret visgate:runpodApiKey")
    plain_http = stack.preview(ok=False, SPEC=spec, RUNPOD_API_URL="http://runpod.example")
    _is_clear(plain_http.text, "visgate:runpodApiUrl must be an https URL")
    dead = stack.preview(ok=False, SPEC=spec, RUNPOD_API_URL="http://127.0.0.1:9")
    _is_clear(
        dead.text, "NetworkVolume", "http://127.0.0.1:9 (visgate:runpodApiUrl or RUNPOD_API_URL)", "visgate local up"
    )


def test_a_name_that_somebody_has_is_named_in_the_preview(stack: Stack, runpod_emulator: RunpodEmulator) -> None:
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as runpod:
        theirs = runpod.create_network_volume(CreateNetworkVolume(name="models", size=20, data_center="EU-RO-1"))
        stack.write(PROGRAM)
        taken = stack.preview(ok=False, SPEC=json.dumps(("NetworkVolume", {**VOLUME, "name": "models"})))
        _is_clear(
            taken.text,
            "property name value {models}",
            f"NetworkVolume {theirs.id} is called 'models' already",
            "adopt=True",
        )
        adopting = {**VOLUME, "name": "models", "size_gb": 30, "adopt": True}
        adopted = stack.preview(SPEC=json.dumps(("NetworkVolume", adopting)))
        assert f"`up` takes over {theirs.id}, as adopt says, and changes size_gb." in adopted.text
        runpod.delete_network_volume(theirs.id)


def test_a_refusal_of_the_api_is_one_line(stack: Stack, runpod_emulator: RunpodEmulator) -> None:
    stack.write(PROGRAM)
    runpod_emulator.fault("status", operation="createTemplate", status=400, times=5)
    spec = json.dumps(("Template", {"image": "acme/worker:1", "env": {"TOKEN": ENV_SECRET}}))
    result = stack.up(ok=False, SPEC=spec)
    _is_clear(result.text, "Creating Template failed: ")


def _is_clear(text: str, *shown: str) -> None:
    for part in shown:
        assert part in text, text
    for noise in ("Traceback", 'File "', ENV_SECRET):
        assert noise not in text, text
