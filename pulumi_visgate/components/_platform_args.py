"""Arguments of `InferencePlatform`: the TypedDicts of programs, and the models that check them."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator, model_validator

from pulumi_visgate.components._aws_args import AwsPlatform, PlatformOnAws
from pulumi_visgate.components._base import AWS, LOCAL, Arguments, ComponentArguments
from pulumi_visgate.components.gateway import GatewayLimits, Limits
from pulumi_visgate.components.geo_routed_cache import DEFAULT_SIZE_GB
from visgate_contract.pools import PoolPolicy, Window
from visgate_contract.tasks import Task


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
    previous_signing_key: NotRequired[pulumi.Input[str]]
    """The one before, while what it has signed is still to be good; goes with `signing_key`."""
    force_destroy: NotRequired[bool]
    """Delete artifacts with the platform; off by default."""
    retain_data: NotRequired[bool]
    """Leave volumes and bucket where they are when the platform, or a region, goes; on by default, off with
    `force_destroy`."""
    limits: NotRequired[GatewayLimits]
    """What callers may ask of the gateway, and what it may cost."""
    cdn_url: NotRequired[str]
    """Where a store of your own, such as R2, serves the artifacts; then the bucket is made there, see docs/aws.md."""
    cors_origins: NotRequired[list[str]]
    """Web origins whose pages may read artifacts."""
    expire_after_days: NotRequired[int]
    """Days after which the store deletes an artifact; never when left out."""
    target: NotRequired[str]
    """Where gateway and CDN run: `local`, the default, or `aws`."""
    aws: NotRequired[AwsPlatform]
    """What target `aws` is told besides."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names: `cache`, `cache.volume`, `pool` and so on; docs/library.md lists them."""


class Model(Arguments):
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
    def _has_windows_if_scheduled(self) -> "Model":
        if (self.policy == PoolPolicy.SCHEDULED_WARM) != bool(self.windows):
            message = "windows and policy scheduled_warm need each other"
            raise ValueError(message)
        return self

    def pool_args(self) -> dict[str, Any]:
        """Return what was given of the arguments that a pool has under the same name."""
        given = {"windows", "min_workers", "max_workers", "idle_timeout_s"}
        return self.model_dump(mode="json", include=given, exclude_none=True, exclude_defaults=True)


class CheckedPlatform(ComponentArguments):
    regions: list[str] = Field(min_length=1)
    gpu_pools: list[str] = Field(min_length=1)
    models: list[Model] = Field(min_length=1)
    volume_size_gb: int = Field(default=DEFAULT_SIZE_GB, ge=10, le=4096)
    image: object = None
    rollout: dict[str, Any] | None = None
    drain_timeout_s: int | None = Field(default=None, ge=0)
    signing_key: object = None
    previous_signing_key: object = None
    force_destroy: bool = False
    retain_data: bool | None = None
    limits: Limits = Field(default_factory=Limits)
    cdn_url: str | None = None
    cors_origins: list[str] = Field(default_factory=list)
    expire_after_days: int | None = None
    target: str = LOCAL
    aws: PlatformOnAws = Field(default_factory=PlatformOnAws)

    @field_validator("models")
    @classmethod
    def _once(cls, models: list[Model]) -> list[Model]:
        ids = [model.model_id for model in models]
        if len(set(ids)) != len(ids):
            message = "names a model twice"
            raise ValueError(message)
        return models

    @model_validator(mode="after")
    def _former_key_goes_with_a_key(self) -> "CheckedPlatform":
        if self.previous_signing_key is not None and self.signing_key is None:
            message = "previous_signing_key goes with signing_key; a key that is made here keeps its former one itself"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _schedules_have_a_key(self) -> "CheckedPlatform":
        scheduled = any(model.windows for model in self.models)
        if self.target == AWS and scheduled and self.aws.runpod_key_secret_arn is None:
            message = "aws.runpod_key_secret_arn is needed for scheduled_warm models"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _pools_are_named(self) -> "CheckedPlatform":
        for model in self.models:
            model.gpu_pools = model.gpu_pools or self.gpu_pools
        return self
