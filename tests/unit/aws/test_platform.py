"""What target aws makes of a platform, and what it refuses."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_visgate import VisgateError
from pulumi_visgate.components import artifact_cdn, gateway, geo_routed_cache, worker_image
from pulumi_visgate.components._aws.model_store import CACHING_DISABLED
from pulumi_visgate.components._gateway_env import SECRET_SETTINGS
from pulumi_visgate.gateway.settings import Settings
from tests.unit.aws.conftest import (
    GATEWAY,
    KEY_SECRET,
    MODEL,
    NAMED,
    REGISTRY,
    SIGNING_KEY,
    WINDOW,
    Build,
    Graph,
    platform,
)


def variables(graph: Graph, name: str) -> dict[str, str]:
    found: dict[str, str] = graph.one("lambda.Function", name)["environment"]["variables"]
    return found


def test_the_function_streams_and_is_bounded(on_lambda: Graph) -> None:
    [function] = [found for found in on_lambda.of("lambda.Function") if found.name == "p-gateway"]
    assert function["packageType"] == "Image"
    assert function["imageConfig"] == {"commands": ["python", "-m", "pulumi_visgate.gateway"]}
    assert (function["memorySize"], function["timeout"], function["reservedConcurrentExecutions"]) == (1024, 900, 50)
    assert function["loggingConfig"]["logFormat"] == "JSON"
    url = on_lambda.one("lambda.FunctionUrl")
    assert (url["authorizationType"], url["invokeMode"]) == ("NONE", "RESPONSE_STREAM")
    assert function["environment"]["variables"]["AWS_LWA_INVOKE_MODE"] == "response_stream"


def test_the_gateway_is_told_what_the_local_one_is(on_lambda: Graph) -> None:
    told = {name: value for name, value in _gateway(on_lambda).items() if name.startswith("VISGATE_GATEWAY_")}
    assert json.loads(told["VISGATE_GATEWAY_GPU_POOLS"]) == ["ADA_24"]
    assert json.loads(told["VISGATE_GATEWAY_MODELS"])[0]["network_volume_ids"] == ["id-of-p-cache-eu-ro-1"]
    assert told["VISGATE_GATEWAY_BUCKET"] == "p-artifacts"
    assert told["VISGATE_GATEWAY_S3_REGION"] == "eu-central-1"
    assert told["VISGATE_GATEWAY_KEY_PREFIX"] == "artifacts/"
    assert told["VISGATE_GATEWAY_CDN_BASE_URL"] == "https://p-cdn.cloudfront.net"
    assert told["VISGATE_GATEWAY_LINK_KEY_ID"] == "id-of-p-link-key"
    assert told["VISGATE_GATEWAY_S3_ROLE_ARN"].endswith(":p-gateway-uploader")
    assert told["VISGATE_GATEWAY_SIGNING_KEY"].endswith("#signing_key@v1")
    assert int(told["VISGATE_GATEWAY_JOB_TTL_S"]) <= int(told["VISGATE_GATEWAY_UPLOAD_TTL_S"]) < 3600


def _gateway(graph: Graph) -> dict[str, str]:
    [function] = [found for found in graph.of("lambda.Function") if found.name == "p-gateway"]
    found: dict[str, str] = function["environment"]["variables"]
    return found


def test_without_a_name_the_gateway_reads_its_address_from_a_parameter(on_lambda: Graph) -> None:
    parameter = on_lambda.one("ssm.Parameter")
    assert parameter["value"] == "https://p-gateway-edge.cloudfront.net"
    assert _gateway(on_lambda)["VISGATE_GATEWAY_PUBLIC_URL"].endswith(f":parameter{parameter['name']}")


def test_with_a_name_it_knows_its_address(graph_of: Callable[[str], Graph]) -> None:
    graph = graph_of("lambda with a name")
    assert graph.of("ssm.Parameter") == []
    assert _gateway(graph)["VISGATE_GATEWAY_PUBLIC_URL"] == "https://api.acme.example"
    assert {tuple(found["aliases"]) for found in graph.of("cloudfront.Distribution")} == {
        ("api.acme.example",),
        ("cdn.acme.example",),
    }
    names = {(found["name"], found["type"]) for found in graph.of("route53.Record") if found["aliases"]}
    assert names == {(f"{who}.acme.example", kind) for who in ("api", "cdn") for kind in ("A", "AAAA")}


def test_fargate_scales_and_shares_its_counters(on_fargate: Graph) -> None:
    target = on_fargate.one("appautoscaling.Target")
    assert (target["minCapacity"], target["maxCapacity"]) == (2, 10)
    [container] = json.loads(on_fargate.one("ecs.TaskDefinition")["containerDefinitions"])
    assert container["readonlyRootFilesystem"] is True
    told = {pair["name"]: pair["value"] for pair in container["environment"]}
    assert told["VISGATE_GATEWAY_VALKEY_URL"].endswith("#valkey_url@v1")
    held = json.loads(on_fargate.one("secretsmanager.SecretVersion")["secretString"])
    assert held["valkey_url"] == "valkeys://cache.internal:6379"
    assert on_fargate.of("lambda.FunctionUrl") == []


def test_both_images_are_built_into_repositories_of_their_own_and_run_by_digest(on_own_images: Graph) -> None:
    built = {one.name: one for one in on_own_images.made if one.kind.endswith(":ContainerImage")}
    worker, gateway = built["p-worker-build"], built["p-gateway-build"]
    assert (worker["repository"], gateway["repository"]) == (f"{REGISTRY}/p-worker", f"{REGISTRY}/p-gateway-image")
    assert (Path(worker["context"]) / "src" / "visgate_worker").is_dir()
    assert (Path(gateway["context"]) / "app" / "pulumi_visgate" / "gateway").is_dir()
    ran = {found["imageUri"] for found in on_own_images.of("lambda.Function")}
    assert ran == {f"{REGISTRY}/p-gateway-build@sha256:1"}
    [pool] = [one for one in on_own_images.made if one.kind.endswith(":WarmPool")]
    assert pool["image"] == f"{REGISTRY}/p-worker-build@sha256:1"
    assert _gateway(on_own_images)["VISGATE_GATEWAY_IMAGE"] == pool["image"]


def test_schedules_say_everything_that_upkeep_needs_but_the_key(on_lambda: Graph) -> None:
    pools = on_lambda.one("scheduler.Schedule", "pools")
    assert pools["scheduleExpression"] == "rate(1 minute)"
    work = json.loads(pools["target"]["input"])
    pool = "id-of-p-tiny-e7f063-text2img"
    assert work == {"do": "reconcile", "pools": [{"endpoint_id": pool, "windows": [WINDOW], "min_workers": 0}]}
    reaper = json.loads(on_lambda.one("scheduler.Schedule", "reaper")["target"]["input"])
    assert reaper == {"do": "reap", "keep": [pool], "min_age_hours": 24, "delete": False}
    assert variables(on_lambda, "upkeep")["VISGATE_UPKEEP_RUNPOD_API_KEY"] == KEY_SECRET


def test_alarms_tell_of_errors_latency_throttles_and_spend(on_lambda: Graph) -> None:
    [topic] = on_lambda.of("sns.Topic")
    alarms = {alarm["metricName"]: alarm for alarm in on_lambda.of("cloudwatch.MetricAlarm")}
    submissions = "SubmissionSeconds-p-s"
    assert {"Url5xxCount", "Errors", submissions, "Throttles", "RunpodUsdPerHour"} <= set(alarms)
    assert all(alarm["alarmActions"][0].endswith(topic.name) for alarm in alarms.values())
    assert (alarms[submissions]["extendedStatistic"], alarms[submissions]["threshold"]) == ("p50", 2)
    assert on_lambda.one("cloudwatch.LogMetricFilter")["metricTransformation"]["value"] == "$.seconds"
    budget = on_lambda.one("budgets.Budget")
    assert (budget["limitAmount"], budget["limitUnit"]) == ("200.00", "USD")
    shown = json.loads(on_lambda.one("cloudwatch.Dashboard")["dashboardBody"])["widgets"]
    assert [widget["type"] for widget in shown] == ["alarm", *["metric"] * 4]


def test_a_bucket_with_data_outlives_the_platform_unless_the_program_says_otherwise(build: Build) -> None:
    kept = build(platform())
    assert kept.one("s3.Bucket").request.retainOnDelete
    assert kept.one("s3.BucketPublicAccessBlock").request.retainOnDelete
    gone = build(platform(force_destroy=True))
    assert not gone.one("s3.Bucket").request.retainOnDelete
    assert gone.one("s3.Bucket")["forceDestroy"] is True
    assert gone.one("ecr.Repository")["forceDelete"] is True


def test_what_idling_costs_is_summed_up(build: Build) -> None:
    told: list[Any] = []

    def program() -> Any:
        made = platform()()
        return pulumi.Output.all(made.hourly_floor_usd, made.monthly_floor_usd).apply(told.append)

    build(program)
    hourly, monthly = told[-1]
    # A secret, a web ACL with four rules, a dashboard and six alarms, at the list prices of a month of 730 hours.
    assert hourly * 730 == pytest.approx(0.40 + 5 + 4 + 3 + 6 * 0.10, abs=0.01)
    assert monthly == pytest.approx(hourly * 730 + 803.0, abs=0.01)  # and what the pool's windows cost


def test_models_can_lie_behind_a_cdn_for_pools_without_a_volume_near(build: Build) -> None:
    aws = {"gateway": {"image": GATEWAY["image"]}, "model_store": True, "runpod_key_secret_arn": KEY_SECRET}
    graph = build(platform(aws=aws))
    store = graph.one("cloudfront.Distribution", "store")
    [manifests] = store["orderedCacheBehaviors"]
    assert (manifests["pathPattern"], manifests["cachePolicyId"]) == ("*/.visgate-manifest.json", CACHING_DISABLED)
    keeper = graph.one("cloudfront.Function", "p-cache-viewer")
    for behavior in (manifests, store["defaultCacheBehavior"]):
        assert [one["functionArn"].endswith(keeper.name) for one in behavior["functionAssociations"]] == [True]
    assert hashlib.sha256(f"Bearer {SIGNING_KEY}".encode()).hexdigest() in keeper["code"]
    assert SIGNING_KEY not in keeper["code"]
    caches = [one for one in graph.made if one.kind.endswith(":ModelCache") and one["bucket"]]
    assert [(one["model_id"], one["bucket"]) for one in caches] == [("acme/tiny", "p-cache-models")]
    [pool] = [one for one in graph.made if one.kind.endswith(":WarmPool")]
    assert pool.holds_secret("env")
    assert pool["env"]["VISGATE_MODELS_URL"] == "https://p-cache-store.cloudfront.net"
    assert pool["env"]["VISGATE_MODELS_TOKEN"] == SIGNING_KEY
    assert len(graph.of("s3.BucketPublicAccessBlock")) == len(graph.of("s3.Bucket")) == 2


def test_a_store_of_ones_own_takes_the_place_of_bucket_and_cdn(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    store = {"ENDPOINT": "https://acc.r2.cloudflarestorage.com", "REGION": "auto"}
    keys = {"ACCESS_KEY_ID": "r2-key-id", "SECRET_ACCESS_KEY": "r2-secret-value"}
    for name, value in (store | keys).items():
        monkeypatch.setenv(f"VISGATE_S3_{name}", value)
    graph = build(platform(cdn_url="https://pictures.acme.example", cdn={"signed_links": False}))
    assert graph.of("s3.Bucket") == []
    assert [one.name for one in graph.made if one.kind.endswith("visgate:Bucket")] == ["p-artifacts"]
    told = _gateway(graph)
    assert told["VISGATE_GATEWAY_S3_ENDPOINT"] == store["ENDPOINT"]
    assert told["VISGATE_GATEWAY_CDN_BASE_URL"] == "https://pictures.acme.example"
    assert "VISGATE_GATEWAY_S3_ROLE_ARN" not in told
    held = json.loads(graph.one("secretsmanager.SecretVersion")["secretString"])
    assert (held["s3_access_key_id"], held["s3_secret_access_key"]) == tuple(keys.values())
    assert all("r2-secret-value" not in json.dumps(one.inputs) for one in graph.of("lambda.Function"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gateway": {"compute": "fargate"}}, "needs domain and zone_id"),
        ({"gateway": {"shared_limits": True}}, "shared_limits need compute fargate"),
        ({"gateway": {"domain": "api.acme.example"}}, "domain and zone_id go together"),
        ({"gateway": {"log_retention_days": 31}}, "log_retention_days must be one of 1, 3"),
        ({"gateway": {"min_tasks": 3, "max_tasks": 2, **NAMED}}, "min_tasks must not be more"),
        ({"gateway": {"colour": "red"}}, r"aws\.gateway\.colour"),
        ({"cdn": {"expire_prefix_days": {"/artifacts": 3}}}, "expire_prefix_days maps prefixes"),
    ],
)
def test_a_wrong_argument_is_named(build: Build, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(VisgateError, match=said):
        build(platform(**changes))


def test_a_gateway_image_outside_of_ecr_is_refused(build: Build) -> None:
    with pytest.raises(VisgateError, match=r"ghcr.io/acme/gateway:1 is not in ECR"):
        build(platform(gateway={"image": "ghcr.io/acme/gateway:1"}))


def test_nothing_is_reserved_where_a_new_account_allows_none(build: Build) -> None:
    graph = build(platform(gateway={"reserved_concurrency": 0}))
    assert {one["reservedConcurrentExecutions"] for one in graph.of("lambda.Function")} == {None}


def test_schedules_need_the_key_by_reference(build: Build) -> None:
    with pytest.raises(VisgateError, match=r"runpod_key_secret_arn is needed for scheduled_warm"):
        build(platform(aws={"gateway": {"image": GATEWAY["image"]}}))
    plain = {**MODEL, "policy": "on_demand"}
    plain.pop("windows")
    graph = build(platform(models=[plain], aws={"gateway": {"image": GATEWAY["image"]}}))
    assert graph.of("scheduler.Schedule") == []


def test_every_secret_setting_of_the_gateway_is_one_for_its_environment() -> None:
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret == SECRET_SETTINGS


def test_the_guide_names_every_child() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "aws.md").read_text(encoding="utf-8")
    for component, module in (
        ("WorkerImage", worker_image),
        ("GeoRoutedCache", geo_routed_cache),
        ("ArtifactCdn", artifact_cdn),
        ("Gateway", gateway),
    ):
        assert f"| `{component}` | {', '.join(f'`{part}`' for part in module.parts('aws'))} |" in guide
    for text in re.findall(r"```json\n(.*?)```", guide, re.DOTALL):
        assert {statement["Effect"] for statement in json.loads(text)["Statement"]} == {"Allow"}
