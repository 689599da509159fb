"""InferencePlatform: the whole platform in one component."""

from typing import Any, NotRequired, TypedDict, cast

import pulumi
from pydantic import Field, field_validator, model_validator

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import (
    LOCAL,
    Arguments,
    ComponentArguments,
    checked,
    hourly_usd,
    keeps_data,
    require_local,
)
from pulumi_visgate.components._family import Family, Transform, within
from pulumi_visgate.components.artifact_cdn import PARTS as CDN_PARTS
from pulumi_visgate.components.artifact_cdn import ArtifactCdn
from pulumi_visgate.components.gateway import PARTS as GATEWAY_PARTS
from pulumi_visgate.components.gateway import Gateway, OfferedModel
from pulumi_visgate.components.geo_routed_cache import DEFAULT_SIZE_GB, GeoRoutedCache
from pulumi_visgate.components.geo_routed_cache import PARTS as CACHE_PARTS
from pulumi_visgate.components.worker_image import WorkerImage, WorkerImageArgs
from pulumi_visgate.resources.account import account_user_hash
from pulumi_visgate.resources.signing_key import SigningKey
from pulumi_visgate.resources.warm_pool import WarmPool
from visgate_contract.jobs import WEBHOOK_KEY_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import model_slug
from visgate_contract.pools import PoolPolicy, Window
from visgate_contract.signing import derive_webhook_key, derive_webhook_secret, tenant_of
from visgate_contract.tasks import Task

PARTS = (
    "worker",
    *within("cache", CACHE_PARTS),
    "signing_key",
    "pool",
    "schedule",
    *within("cdn", CDN_PARTS),
    *within("gateway", GATEWAY_PARTS),
)


class PoolWindow(TypedDict):
    """A time of the week in which a pool keeps workers."""

    start: str
    """Wall clock time as `HH:MM` from which they are kept."""
    end: str
    """Wall clock time as `HH:MM` until which they are, or `24:00`; on the next day when it is before `start`."""
    timezone: str
    """IANA name of the time zone, such as `Europe/Berlin`."""
    days: NotRequired[list[str]]
    """Days on which the window begins, `mon` to `sun`; every day when left out."""
    min_workers: NotRequired[int]
    """Workers that are kept, and paid for; 1 by default."""


class PoolRollout(TypedDict):
    """How `pulumi up` waits for a new release of the pools; without any of it, it waits with all defaults."""

    timeout_s: NotRequired[int]
    """Longest wait in seconds, 600 by default."""
    on_failure: NotRequired[str]
    """`fail`, the default: the new release stays and `up` fails; `warn`; `rollback`: the former release comes back."""
    grace_s: NotRequired[int]
    """Seconds for which workers may be unhealthy, with none ready, before that is a failure; 30 by default."""


class PlatformModel(TypedDict):
    """One model of the platform."""

    model_id: str
    """Hub id of the model, such as `stabilityai/sdxl-turbo`."""
    source: NotRequired[str]
    """Folder on this machine with the model in diffusers format; from the hub when left out."""
    revision: NotRequired[str]
    """Branch, tag or commit of the hub, which the pools ask for, too; the default branch when left out."""
    tasks: NotRequired[list[str]]
    """What callers may ask of it; `text2img` when left out. One pool each."""
    policy: NotRequired[str]
    """`on_demand`, the default, `always_on` or `scheduled_warm`."""
    windows: NotRequired[list[PoolWindow]]
    """When `scheduled_warm` pools keep workers."""
    min_workers: NotRequired[int]
    """Workers that are always kept, and paid for; 1 by default for `always_on`, 0 for `scheduled_warm`."""
    max_workers: NotRequired[int]
    """Most workers at once, 3 by default."""
    idle_timeout_s: NotRequired[int]
    """Seconds until an idle worker stops, 60 by default."""
    gpu_pools: NotRequired[list[str]]
    """GPU pools fit for it; the platform's when left out."""


class InferencePlatformArgs(TypedDict):
    """Arguments of `InferencePlatform`."""

    regions: list[str]
    """Runpod data centers with a model cache; workers run there."""
    gpu_pools: list[str]
    """Serverless GPU pools of Runpod's catalog."""
    models: list[PlatformModel]
    """What the platform serves."""
    volume_size_gb: NotRequired[int]
    """Size of each region's volume in GB, 50 by default."""
    image: NotRequired[pulumi.Input[str]]
    """Worker image; this version's own when left out."""
    rollout: NotRequired[PoolRollout]
    """Wait for the new workers when an image or environment changes; `up` does not wait when left out."""
    drain_timeout_s: NotRequired[int]
    """Seconds that a pool's running jobs are given when it goes; none when left out."""
    signing_key: NotRequired[pulumi.Input[str]]
    """Key that webhook secrets are derived from; made once and kept in the state when left out."""
    force_destroy: NotRequired[bool]
    """Delete artifacts with the platform; off by default."""
    retain_data: NotRequired[bool]
    """Leave volumes and bucket where they are when the platform, or a region, goes; on by default, off with
    `force_destroy`."""
    target: NotRequired[str]
    """Where gateway and CDN run; `local` is the default."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names: `cache`, `cache.volume`, `pool` and so on; docs/library.md lists them."""


class _Model(Arguments):
    model_id: str = Field(min_length=1)
    source: str | None = Field(default=None, min_length=1)
    revision: str | None = Field(default=None, min_length=1)
    tasks: list[Task] = Field(default_factory=lambda: [Task.TEXT2IMG], min_length=1)
    policy: PoolPolicy = PoolPolicy.ON_DEMAND
    windows: list[Window] = Field(default_factory=list)
    min_workers: int | None = Field(default=None, ge=0)
    max_workers: int | None = Field(default=None, ge=1)
    idle_timeout_s: int | None = Field(default=None, ge=1, le=3600)
    gpu_pools: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _has_windows_if_scheduled(self) -> "_Model":
        if (self.policy == PoolPolicy.SCHEDULED_WARM) != bool(self.windows):
            message = "windows and policy scheduled_warm need each other"
            raise ValueError(message)
        return self

    def pool_args(self) -> dict[str, Any]:
        """Return what was given of the arguments that a pool has under the same name."""
        given = {"windows", "min_workers", "max_workers", "idle_timeout_s"}
        return self.model_dump(mode="json", include=given, exclude_none=True, exclude_defaults=True)


class _Checked(ComponentArguments):
    regions: list[str] = Field(min_length=1)
    gpu_pools: list[str] = Field(min_length=1)
    models: list[_Model] = Field(min_length=1)
    volume_size_gb: int = Field(default=DEFAULT_SIZE_GB, ge=10, le=4096)
    image: object = None
    rollout: dict[str, Any] | None = None
    drain_timeout_s: int | None = Field(default=None, ge=0)
    signing_key: object = None
    force_destroy: bool = False
    retain_data: bool | None = None
    target: str = LOCAL

    @field_validator("models")
    @classmethod
    def _once(cls, models: list[_Model]) -> list[_Model]:
        ids = [model.model_id for model in models]
        if len(set(ids)) != len(ids):
            message = "names a model twice"
            raise ValueError(message)
        return models

    @model_validator(mode="after")
    def _pools_are_named(self) -> "_Checked":
        for model in self.models:
            model.gpu_pools = model.gpu_pools or self.gpu_pools
        return self


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
    """What the workers that are always kept, and the volumes, cost in an hour, in US dollars."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """What it costs in an hour when every pool has as many workers as it may, in US dollars."""

    def __init__(
        self,
        name: str,
        args: InferencePlatformArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("InferencePlatform", _Checked, args)
        require_local("InferencePlatform", given.target)
        super().__init__("visgate:index:InferencePlatform", name, {}, opts)
        self._family = Family(self, PARTS, args, transform)
        keeps = keeps_data(given.retain_data, given.force_destroy)

        image = self._worker(name, args.get("image"), given.target)
        cached = {"model_id", "source", "revision"}
        models = [model.model_dump(include=cached, exclude_none=True) for model in given.models]
        stored = {"regions": given.regions, "models": models, "size_gb": given.volume_size_gb, "retain_data": keeps}
        cache = self._family.component("cache", GeoRoutedCache, f"{name}-cache", stored)
        signing_key = self._signing_key(name, args.get("signing_key"))
        pools = [
            self._pool(name, model, task, image=image.ref, cache=cache, signing_key=signing_key, given=given)
            for model in given.models
            for task in model.tasks
        ]
        published = {"force_destroy": given.force_destroy, "retain_data": keeps, "target": given.target}
        cdn = self._family.component("cdn", ArtifactCdn, name, published)
        gateway = self._family.component(
            "gateway",
            Gateway,
            f"{name}-gateway",
            {
                "signing_key": signing_key,
                "image": image.ref,
                "gpu_pools": given.gpu_pools,
                "data_center_ids": given.regions,
                "models": [_offer(model, cache.volume_ids) for model in given.models],
                "bucket": cdn.bucket,
                "cdn_url": cdn.url,
                "target": given.target,
            },
        )
        self.gateway_url = gateway.url
        self.cdn_url = cdn.url
        self.bucket = cdn.bucket
        self.pools = pulumi.Output.all(*map(_pool_output, pools)).apply(list)
        self.hourly_floor_usd = hourly_usd("hourly_floor_usd", (cache, *pools))
        self.hourly_ceiling_usd = hourly_usd("hourly_ceiling_usd", (cache, *pools))
        outputs = ("gateway_url", "cdn_url", "bucket", "pools", "hourly_floor_usd", "hourly_ceiling_usd")
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _worker(self, name: str, image: pulumi.Input[str] | None, target: str) -> WorkerImage:
        wanted = {"image": image, "target": target, "tags": None}  # there is nothing in it to tag
        given, opts = self._family.shaped("worker", wanted)
        return WorkerImage(f"{name}-worker", cast("WorkerImageArgs", given), opts)

    def _signing_key(self, name: str, given: pulumi.Input[str] | None) -> pulumi.Output[str]:
        if given:
            return pulumi.Output.secret(given)
        return self._family.resource("signing_key", SigningKey, f"{name}-signing-key", {}).value

    def _pool(
        self,
        name: str,
        model: _Model,
        task: Task,
        *,
        image: pulumi.Output[str],
        cache: GeoRoutedCache,
        signing_key: pulumi.Output[str],
        given: _Checked,
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
            "env": {WEBHOOK_SECRET_ENV: secret, WEBHOOK_KEY_ENV: key},
            **model.pool_args(),
        }
        pool = self._family.resource("pool", WarmPool, pool_name, args)
        if model.windows:
            scheduled = {"windows": model.pool_args()["windows"], "min_workers": model.min_workers or 0}
            _local.schedule(self._family, f"{pool_name}-schedule", {"endpoint_id": pool.id, **scheduled})
        return pool


def _offer(model: _Model, volume_ids: pulumi.Output[list[str]]) -> OfferedModel:
    offered: OfferedModel = {
        "model_id": model.model_id,
        "tasks": [task.value for task in model.tasks],
        "policy": model.policy.value,
        "network_volume_ids": volume_ids,
    }
    if model.revision:
        offered["revision"] = model.revision
    return offered


def _pool_output(pool: WarmPool) -> dict[str, pulumi.Output[str]]:
    return {"endpoint_id": pool.id, "model_id": pool.model_id, "task": pool.task, "policy": pool.policy}
