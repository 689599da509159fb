"""Arguments of the components, and how their parts fit together, with Pulumi's own mocks."""

import json
from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from pulumi_visgate import ArtifactCdn, GeoRoutedCache, InferencePlatform, VisgateError, WorkerImage
from pulumi_visgate.gateway.settings import Settings as GatewaySettings
from tests.unit.components.conftest import KEY, MODEL, PLATFORM, SIGNING_KEY, Recorder, run
from visgate_contract.names import user_hash
from visgate_contract.signing import derive_webhook_key, derive_webhook_secret, tenant_of

LISTS = ("gpu_pools", "data_center_ids", "network_volumes")


def test_the_platform_fits_together(recorder: Recorder) -> None:
    def program() -> None:
        InferencePlatform("p", {**PLATFORM, "models": [{**MODEL, "policy": "always_on"}]})  # type: ignore[typeddict-item]  # built above

    run(program)
    kinds = sorted(typ.rsplit(":", 1)[1] for typ, _ in recorder.made.values())
    assert kinds.count("NetworkVolume") == kinds.count("ModelCache") == 2
    assert kinds.count("WarmPool") == kinds.count("LocalService") == kinds.count("LocalCdn") == 1
    _, pool = next(made for made in recorder.made.values() if made[0].endswith("WarmPool"))
    user = user_hash(KEY)
    assert _revealed(pool["env"]) == {
        "VISGATE_WEBHOOK_SECRET": derive_webhook_secret(SIGNING_KEY, user),
        "VISGATE_WEBHOOK_KEY": derive_webhook_key(SIGNING_KEY, tenant_of(user)),
    }
    assert pool["network_volume_ids"] == ["id-of-p-cache-eu-ro-1", "id-of-p-cache-us-ks-2"]
    assert pool["image"].startswith("local/visgate-worker:")
    _, service = recorder.made["p-gateway-service"]
    env = _revealed(service["env"])
    assert json.loads(env["VISGATE_GATEWAY_MODELS"]) == [
        {
            "model_id": "acme/tiny",
            "tasks": ["text2img"],
            "policy": "always_on",
            "network_volume_ids": pool["network_volume_ids"],
            "gpu_pools": PLATFORM["gpu_pools"],
        }
    ]
    places = zip(pool["network_volume_ids"], PLATFORM["regions"], strict=True)
    assert json.loads(env["VISGATE_GATEWAY_NETWORK_VOLUMES"]) == [
        {"id": volume, "data_center_id": region} for volume, region in places
    ]
    assert env["VISGATE_GATEWAY_SIGNING_KEY"] == SIGNING_KEY
    assert env["VISGATE_GATEWAY_RUNPOD_JOBS_URL"] == "http://127.0.0.1:1/jobs/v2"
    assert env["VISGATE_GATEWAY_CDN_BASE_URL"] == "http://127.0.0.1/p-cdn"
    assert json.loads(env["VISGATE_GATEWAY_DATA_CENTER_IDS"]) == PLATFORM["regions"]


def test_the_gateway_is_told_limits_and_pools(recorder: Recorder) -> None:
    window = {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin", "min_workers": 2}
    model = {**MODEL, "policy": "scheduled_warm", "windows": [window], "max_workers": 5, "gpu_pools": ["AMPERE_48"]}
    limits = {"allow_unlisted_models": True, "max_job_usd": 0.5, "max_key_usd_per_day": 20.0}
    run(lambda: InferencePlatform("p", {**PLATFORM, "models": [model], "limits": limits}))  # type: ignore[typeddict-item]  # built above
    env = _revealed(recorder.made["p-gateway-service"][1]["env"])
    [offer] = json.loads(env["VISGATE_GATEWAY_MODELS"])
    assert (offer["max_workers"], offer["gpu_pools"]) == (5, ["AMPERE_48"])
    assert offer["windows"][0]["timezone"] == "Europe/Berlin"
    assert env["VISGATE_GATEWAY_ALLOW_UNLISTED_MODELS"] == "true"
    assert (env["VISGATE_GATEWAY_MAX_JOB_USD"], env["VISGATE_GATEWAY_MAX_KEY_USD_PER_DAY"]) == ("0.5", "20.0")
    assert "VISGATE_GATEWAY_ALLOW_PICKLES" not in env
    read = GatewaySettings.model_validate(
        {name.removeprefix("VISGATE_GATEWAY_").lower(): value for name, value in env.items() if "KEY" not in name}
        | {"signing_key": SIGNING_KEY, "models": json.loads(env["VISGATE_GATEWAY_MODELS"])}
        | {name: json.loads(env[f"VISGATE_GATEWAY_{name.upper()}"]) for name in LISTS}
    )
    assert read.models[0].windows[0].min_workers == 2


def test_a_negative_budget_is_refused(recorder: Recorder) -> None:
    with pytest.raises(VisgateError, match=r"limits\.max_job_usd"):
        run(lambda: InferencePlatform("p", {**PLATFORM, "limits": {"max_job_usd": -1}}))  # type: ignore[typeddict-item]  # wrong on purpose


def test_a_scheduled_model_has_a_schedule_beside_its_pool(recorder: Recorder) -> None:
    window = {"start": "09:00", "end": "18:00", "timezone": "Europe/Berlin", "min_workers": 2}
    model = {**MODEL, "policy": "scheduled_warm", "windows": [window], "min_workers": 1}
    run(lambda: InferencePlatform("p", {**PLATFORM, "models": [model]}))  # type: ignore[typeddict-item]  # built above
    [name] = [name for name, (typ, _) in recorder.made.items() if typ.endswith("WarmPool")]
    _, pool = recorder.made[name]
    _, schedule = recorder.made[f"{name}-schedule"]
    assert pool["windows"] == schedule["windows"] == [window]
    assert (pool["min_workers"], schedule["min_workers"]) == (1, 1)
    assert schedule["endpoint_id"] == f"id-of-{name}"


def _revealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return what is inside a secret; anything else is not one."""
    assert value[rpc._special_sig_key] == rpc._special_secret_sig
    return dict(value["value"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"regions": []}, "InferencePlatform: regions: "),
        ({"models": [{**MODEL, "policy": "sometimes"}]}, "models.0.policy: "),
        ({"models": [{**MODEL, "policy": "scheduled_warm"}]}, "models.0: "),
        ({"models": [{**MODEL, "windows": [{"start": "9"}]}]}, "models.0.windows.0.start: "),
        ({"models": [MODEL, MODEL]}, "names a model twice"),
        ({"models": [{**MODEL, "tasks": ["text2speech"]}]}, "models.0.tasks.0: "),
        ({"volume_size_gb": -1}, "volume_size_gb: "),
        ({"gpu_pool": ["ADA_24"]}, "gpu_pool: "),
        ({"target": "aws", "aws": {"gateway": {"memory_mb": 1}}}, "InferencePlatform: aws.gateway.memory_mb: "),
        ({"previous_signing_key": "k" * 40}, "previous_signing_key goes with signing_key"),
        ({"target": "moon"}, "target 'moon' is unknown"),
        ({"regions": ["EU-RO-1", "EU-RO-1"]}, "regions: "),
    ],
)
def test_a_wrong_argument_is_named(recorder: Recorder, args: dict[str, Any], said: str) -> None:
    with pytest.raises(VisgateError, match=said.replace(".", r"\.")):
        run(lambda: InferencePlatform("p", {**PLATFORM, **args}))  # type: ignore[typeddict-item]  # wrong on purpose


@pytest.mark.parametrize("name", ["regions", "models.0.model_id"])
def test_what_decides_how_many_children_there_are_cannot_be_an_output(recorder: Recorder, name: str) -> None:
    known = pulumi.Output.from_input("EU-RO-1")
    args: dict[str, Any] = {"regions": [known]} if name == "regions" else {"models": [{**MODEL, "model_id": known}]}
    with pytest.raises(VisgateError, match=rf"{name}.*: Must be known when the program runs"):
        run(lambda: InferencePlatform("p", {**PLATFORM, **args}))  # type: ignore[typeddict-item]  # wrong on purpose


def test_rollouts_and_draining_are_those_of_every_pool(recorder: Recorder) -> None:
    model = {**MODEL, "tasks": ["text2img", "image2img"]}
    run(lambda: InferencePlatform("p", {**PLATFORM, "models": [model], "rollout": {}, "drain_timeout_s": 60}))  # type: ignore[typeddict-item]  # built above
    pools = [inputs for typ, inputs in recorder.made.values() if typ.endswith("WarmPool")]
    assert [(pool["rollout"], pool["drain_timeout_s"]) for pool in pools] == [({}, 60)] * 2


def test_the_local_target_refuses_a_real_account(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_URL", "https://api.runpod.io")
    with pytest.raises(VisgateError, match="visgate local up"):
        run(lambda: InferencePlatform("p", PLATFORM))  # type: ignore[arg-type]  # built above


def test_each_part_is_usable_alone(recorder: Recorder) -> None:
    def program() -> pulumi.Output[Any]:
        cache = GeoRoutedCache("c", {"regions": ["EU-RO-1"], "models": []})
        cdn = ArtifactCdn("a", {"expire_after_days": 7})
        given = WorkerImage("w", {"image": "ghcr.io/acme/worker:1"})
        own = WorkerImage("o", {})
        return pulumi.Output.all(cache.volume_ids, cdn.bucket, given.ref, own.ref)

    run(program)
    assert recorder.made["a-artifacts"][1]["expire_after_days"] == 7
    assert "id-of-c-eu-ro-1" not in recorder.made
