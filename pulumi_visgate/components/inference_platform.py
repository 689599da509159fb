"""InferencePlatform: the whole platform in one component."""

from dataclasses import dataclass
from typing import Any, TypedDict, cast

import pulumi

from pulumi_visgate.aws_prices import HOURS_A_MONTH
from pulumi_visgate.components import _local
from pulumi_visgate.components._base import (
    AWS,
    checked,
    hourly_usd,
    keeps_data,
    needing_aws,
    plus,
    require_target,
)
from pulumi_visgate.components._family import Family, Transform, within
from pulumi_visgate.components._platform_args import CheckedPlatform, InferencePlatformArgs, Model
from pulumi_visgate.components.artifact_cdn import PARTS as CDN_PARTS
from pulumi_visgate.components.artifact_cdn import ArtifactCdn
from pulumi_visgate.components.artifact_cdn import parts as cdn_parts
from pulumi_visgate.components.gateway import PARTS as GATEWAY_PARTS
from pulumi_visgate.components.gateway import Gateway, OfferedModel, own_store
from pulumi_visgate.components.gateway import parts as gateway_parts
from pulumi_visgate.components.geo_routed_cache import PARTS as CACHE_PARTS
from pulumi_visgate.components.geo_routed_cache import GeoRoutedCache
from pulumi_visgate.components.geo_routed_cache import parts as cache_parts
from pulumi_visgate.components.worker_image import WorkerImage
from pulumi_visgate.components.worker_image import parts as worker_parts
from pulumi_visgate.resources.account import account_user_hash, stack_settings
from pulumi_visgate.resources.signing_key import SigningKey
from pulumi_visgate.resources.warm_pool import WarmPool
from visgate_contract.jobs import WEBHOOK_KEY_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import model_slug
from visgate_contract.signing import derive_webhook_key, derive_webhook_secret, tenant_of
from visgate_contract.tasks import Task

MODELS_URL_ENV = "VISGATE_MODELS_URL"
MODELS_TOKEN_ENV = "VISGATE_MODELS_TOKEN"  # noqa: S105, the name of a variable, not a secret
POOL_PARTS = ("signing_key", "pool")
PARTS = (
    "worker",
    *within("cache", CACHE_PARTS),
    *POOL_PARTS,
    "schedule",
    *within("cdn", CDN_PARTS),
    *within("gateway", GATEWAY_PARTS),
)


class PoolOutput(TypedDict):
    """One pool of the platform."""

    endpoint_id: str
    """Runpod endpoint."""
    model_id: str
    """Model that it serves."""
    task: str
    """Task that it serves."""
    policy: str
    """Its policy."""


class InferencePlatform(pulumi.ComponentResource):
    """Gateway, artifact CDN, model caches and worker pools, as one thing."""

    gateway_url: pulumi.Output[str]
    """Where callers send jobs."""
    cdn_url: pulumi.Output[str]
    """Base of the links to artifacts."""
    bucket: pulumi.Output[str]
    """Bucket of the artifacts."""
    pools: pulumi.Output[list[PoolOutput]]
    """The worker pools."""
    hourly_floor_usd: pulumi.Output[float | None]
    """What an hour of idling costs in US dollars: workers that are always kept, volumes, what AWS charges anyway."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """What it costs in an hour when every pool has as many workers as it may, in US dollars."""
    monthly_floor_usd: pulumi.Output[float | None]
    """What a month of 730 hours of idling costs in US dollars, with the windows of scheduled pools."""

    def __init__(
        self,
        name: str,
        args: InferencePlatformArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("InferencePlatform", CheckedPlatform, args)
        require_target("InferencePlatform", given.target)
        super().__init__("visgate:index:InferencePlatform", name, {}, opts)
        self._family = Family(self, parts(given.target), args, transform)
        self._scheduled: list[dict[str, Any]] = []
        keeps = keeps_data(given.retain_data, given.force_destroy)

        image = self._worker(name, given, args.get("image"))
        cached = {"model_id", "source", "revision"}
        models = [model.model_dump(include=cached, exclude_none=True) for model in given.models]
        stored = {
            "regions": given.regions,
            "models": models,
            "size_gb": given.volume_size_gb,
            "retain_data": keeps,
            "store": given.aws.model_store or None,
            "target": given.target if given.target == AWS else None,
        }
        cache = self._family.component("cache", GeoRoutedCache, f"{name}-cache", stored)
        keys = self._signing_keys(name, args)
        pools = [
            self._pool(name, model, task, image=image.ref, cache=cache, signing_key=keys.value, given=given)
            for model in given.models
            for task in model.tasks
        ]
        cdn = self._cdn(name, args, given, keeps=keeps, signing_key=keys.value)
        gateway = self._gateway(name, args, given, image=image.ref, cache=cache, cdn=cdn, keys=keys)
        upkeep_usd = self._upkeep(name, args, given, pools, gateway) if given.target == AWS else 0.0
        self.gateway_url = gateway.url
        self.cdn_url = cdn.url
        self.bucket = cdn.bucket
        self.pools = pulumi.Output.all(*map(_pool_output, pools)).apply(list)
        running = pulumi.Output.all(cdn.hourly_floor_usd, gateway.hourly_floor_usd, upkeep_usd)
        self.hourly_floor_usd = plus(hourly_usd("hourly_floor_usd", (cache, *pools)), running)
        self.hourly_ceiling_usd = plus(hourly_usd("hourly_ceiling_usd", (cache, *pools)), running)
        around_the_clock = plus(hourly_usd("hourly_floor_usd", (cache,)), running)
        monthly = pulumi.Output.all(*(pool.monthly_floor_usd for pool in pools))
        self.monthly_floor_usd = plus(around_the_clock.apply(_month), monthly)
        costs = ("hourly_floor_usd", "hourly_ceiling_usd", "monthly_floor_usd")
        outputs = ("gateway_url", "cdn_url", "bucket", "pools", *costs)
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _worker(self, name: str, given: CheckedPlatform, image: pulumi.Input[str] | None) -> WorkerImage:
        wanted = {"image": image, "force_destroy": given.force_destroy, "target": given.target}
        return self._family.component("worker", WorkerImage, f"{name}-worker", wanted)

    def _cdn(
        self,
        name: str,
        args: InferencePlatformArgs,
        given: CheckedPlatform,
        *,
        keeps: bool,
        signing_key: pulumi.Output[str],
    ) -> ArtifactCdn:
        wanted = {
            "force_destroy": given.force_destroy,
            "retain_data": keeps,
            "cors_origins": given.cors_origins or None,
            "expire_after_days": given.expire_after_days,
            "url": given.cdn_url,
            "signing_key": signing_key if given.aws.cdn.signed_links else None,
            "target": given.target,
            "aws": args.get("aws", {}).get("cdn"),
        }
        return self._family.component("cdn", ArtifactCdn, name, wanted)

    def _gateway(
        self,
        name: str,
        args: InferencePlatformArgs,
        given: CheckedPlatform,
        *,
        image: pulumi.Output[str],
        cache: GeoRoutedCache,
        cdn: ArtifactCdn,
        keys: "_SigningKeys",
    ) -> Gateway:
        in_aws = given.target == AWS
        wanted = {
            "signing_key": keys.value,
            "previous_signing_key": keys.previous,
            "image": image,
            "gpu_pools": given.gpu_pools,
            "data_center_ids": given.regions,
            "models": [_offer(model, cache.volume_ids) for model in given.models],
            "network_volumes": cache.volume_ids.apply(lambda ids: _places(ids, given.regions)),
            "limits": args.get("limits"),
            "bucket": cdn.bucket,
            "cdn_url": cdn.url,
            "bucket_region": cdn.bucket_region if in_aws and not given.cdn_url else None,
            "store": own_store() if given.cdn_url else None,
            "link_key_id": cdn.link_key_id if given.aws.cdn.signed_links else None,
            "force_destroy": given.force_destroy if in_aws else None,
            "target": given.target,
            "aws": args.get("aws", {}).get("gateway"),
        }
        return self._family.component("gateway", Gateway, f"{name}-gateway", wanted)

    def _upkeep(
        self, name: str, args: InferencePlatformArgs, given: CheckedPlatform, pools: list[WarmPool], gateway: Gateway
    ) -> float:
        """Make the schedules in AWS, if there is anything to do, and return what they cost in an hour."""
        key_arn = given.aws.runpod_key_secret_arn
        if key_arn is None or not (self._scheduled or given.aws.reaper):
            return 0.0
        from pulumi_visgate.components._aws._children import AwsFamily  # noqa: PLC0415, needs pulumi-aws
        from pulumi_visgate.components._aws.upkeep import upkeep  # noqa: PLC0415, as above

        aws = AwsFamily(self._family, args.get("tags"))
        upkeep(
            aws,
            f"{name}-upkeep",
            runpod_key_secret_arn=key_arn,
            runpod_api_url=stack_settings().runpod_api_url,
            pools=self._scheduled,
            keep=[pool.id for pool in pools],
            reaper=given.aws.reaper,
            gateway=gateway.in_aws,
        )
        return aws.hourly_floor_usd

    def _signing_keys(self, name: str, args: InferencePlatformArgs) -> "_SigningKeys":
        given, previous = args.get("signing_key"), args.get("previous_signing_key")
        if given:
            return _SigningKeys(
                pulumi.Output.secret(given), None if previous is None else pulumi.Output.secret(previous)
            )
        made = self._family.resource("signing_key", SigningKey, f"{name}-signing-key", {})
        return _SigningKeys(made.value, made.previous)

    def _pool(
        self,
        name: str,
        model: Model,
        task: Task,
        *,
        image: pulumi.Output[str],
        cache: GeoRoutedCache,
        signing_key: pulumi.Output[str],
        given: CheckedPlatform,
    ) -> WarmPool:
        user = account_user_hash()
        known = pulumi.Output.all(signing_key, user)
        secret = known.apply(lambda both: derive_webhook_secret(both[0], both[1]))
        key = known.apply(lambda both: derive_webhook_key(both[0], tenant_of(both[1])))
        pool_name = f"{name}-{model_slug(model.model_id)}-{task}"
        args = {
            "model_id": model.model_id,
            "model_revision": model.revision,
            "task": task.value,
            "policy": model.policy.value,
            "image": image,
            "gpu_pools": model.gpu_pools,
            "data_center_ids": given.regions,
            "network_volume_ids": cache.volume_ids,
            "rollout": given.rollout,
            "drain_timeout_s": given.drain_timeout_s,
            "env": {WEBHOOK_SECRET_ENV: secret, WEBHOOK_KEY_ENV: key, **_store_env(cache, given)},
            **model.pool_args(),
        }
        pool = self._family.resource("pool", WarmPool, pool_name, args)
        if model.windows:
            windows = model.pool_args()["windows"]
            scheduled = {"endpoint_id": pool.id, "windows": windows, "min_workers": model.min_workers or 0}
            if given.target == AWS:
                self._scheduled.append(scheduled)
            else:
                _local.schedule(self._family, f"{pool_name}-schedule", scheduled)
        return pool


def _store_env(cache: GeoRoutedCache, given: CheckedPlatform) -> dict[str, pulumi.Output[str | None]]:
    """Return the variables by which workers find the model store."""
    if not given.aws.model_store:
        return {}
    return {MODELS_URL_ENV: cache.store_url, MODELS_TOKEN_ENV: cache.store_token}


def parts(target: str) -> tuple[str, ...]:
    """Return the names of all children.

    Raises:
        ArgumentError: Target `aws` is wanted, and pulumi-aws is not there.
    """
    if target != AWS:
        return PARTS
    with needing_aws("InferencePlatform"):
        from pulumi_visgate.components._aws.upkeep import PARTS as UPKEEP_PARTS  # noqa: PLC0415, needs pulumi-aws
    return (
        *within("worker", worker_parts(target)),
        *within("cache", cache_parts(target)),
        *POOL_PARTS,
        *within("cdn", cdn_parts(target)),
        *within("gateway", gateway_parts(target)),
        *UPKEEP_PARTS,
    )


def _month(hourly: float | None) -> float | None:
    return None if hourly is None else hourly * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class _SigningKeys:
    """The platform's signing key, and the one before a rotation."""

    value: pulumi.Output[str]
    previous: pulumi.Output[str | None] | None


def _offer(model: Model, volume_ids: pulumi.Output[list[str]]) -> OfferedModel:
    offered: OfferedModel = {
        "model_id": model.model_id,
        "tasks": [task.value for task in model.tasks],
        "policy": model.policy.value,
        "network_volume_ids": volume_ids,
    }
    if model.revision:
        offered["revision"] = model.revision
    told = {"gpu_pools", "windows", "min_workers", "max_workers", "idle_timeout_s"}
    pool = model.model_dump(mode="json", include=told, exclude_none=True, exclude_defaults=True)
    return cast("OfferedModel", {**offered, **pool})


def _places(volume_ids: list[str], regions: list[str]) -> list[dict[str, str]]:
    return [{"id": volume, "data_center_id": region} for volume, region in zip(volume_ids, regions, strict=True)]


def _pool_output(pool: WarmPool) -> dict[str, pulumi.Output[str]]:
    return {"endpoint_id": pool.id, "model_id": pool.model_id, "task": pool.task, "policy": pool.policy}
