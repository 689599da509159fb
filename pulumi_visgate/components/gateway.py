"""Gateway: the service that callers talk to."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from pulumi_visgate.components import _local
from pulumi_visgate.components._aws_args import AwsGateway, GatewayOnAws
from pulumi_visgate.components._base import (
    AWS,
    LOCAL,
    ArgumentError,
    Arguments,
    ComponentArguments,
    checked,
    needing_aws,
    require_target,
)
from pulumi_visgate.components._family import Family, Transform
from pulumi_visgate.components._gateway_env import endpoints
from pulumi_visgate.resources.account import stack_settings

PARTS = ("service",)


class OfferedModel(TypedDict):
    """One model that callers may ask for."""

    model_id: str
    """Hub id of the model."""
    tasks: list[str]
    """What callers may ask of it, such as `text2img`."""
    policy: str
    """Pool policy it runs under."""
    network_volume_ids: pulumi.Input[list[str]]
    """Volumes that hold it."""
    revision: NotRequired[str]
    """Revision of the model."""
    gpu_pools: NotRequired[list[str]]
    """GPU pools fit for it; the gateway's when left out."""
    windows: NotRequired[list[dict[str, Any]]]
    """When its `scheduled_warm` pool keeps workers, as the pool's own windows."""
    min_workers: NotRequired[int]
    """Workers that its pool always keeps."""
    max_workers: NotRequired[int]
    """Most workers of its pool."""
    idle_timeout_s: NotRequired[int]
    """Seconds until an idle worker of its pool stops."""


class VolumePlace(TypedDict):
    """Where a network volume is."""

    id: str
    """Id of the volume."""
    data_center_id: str
    """Its data center."""


class GatewayLimits(TypedDict):
    """What callers may ask of a gateway, and what it may cost."""

    allow_unlisted_models: NotRequired[bool]
    """Make endpoints for any model of the hub, not only for those that are offered; off by default."""
    allow_pickles: NotRequired[bool]
    """Take weights that can run code when they are read, where there are no safetensors; off by default."""
    container_disk_gb: NotRequired[int]
    """Container disk of endpoints that the gateway makes, in GB, 40 by default; a model has to fit that is not on a
    volume."""
    max_job_usd: NotRequired[float]
    """Most that one job may cost, in US dollars: its longest run on the dearest GPU that it may get."""
    max_key_usd_per_day: NotRequired[float]
    """Most that the account behind a key may spend on serverless endpoints in a day (UTC), in US dollars."""


class ObjectStore(TypedDict):
    """An S3-compatible store of your own, such as R2 or MinIO."""

    endpoint: str
    """URL of its S3 service."""
    region: NotRequired[str]
    """Region that signatures name, `auto` by default."""
    access_key_id: pulumi.Input[str]
    """Key that signs uploads."""
    secret_access_key: pulumi.Input[str]
    """Its secret."""


class GatewayArgs(TypedDict):
    """Arguments of `Gateway`."""

    signing_key: pulumi.Input[str]
    """The platform's signing key; every user's webhook secret is derived from it."""
    previous_signing_key: NotRequired[pulumi.Input[str | None]]
    """The one before a rotation, while what it has signed is still to be good."""
    image: pulumi.Input[str]
    """Worker image of endpoints that the gateway creates."""
    gpu_pools: list[str]
    """GPU pools of such endpoints."""
    models: list[OfferedModel]
    """What callers may ask for."""
    bucket: pulumi.Input[str]
    """Bucket for artifacts."""
    cdn_url: pulumi.Input[str]
    """Base of the links to artifacts."""
    data_center_ids: NotRequired[list[str]]
    """Where such endpoints may run; anywhere when left out."""
    network_volumes: NotRequired[pulumi.Input[list[VolumePlace]]]
    """Where the volumes of the models are; those that are not told are asked for with each new endpoint."""
    limits: NotRequired[GatewayLimits]
    """What callers may ask for, and what it may cost."""
    bucket_region: NotRequired[pulumi.Input[str | None]]
    """Region of the bucket; target `aws` needs it, without a `store`."""
    store: NotRequired[ObjectStore]
    """Store that the bucket is in, where that is neither the local cloud's nor S3 of the same account."""
    link_key_id: NotRequired[pulumi.Input[str | None]]
    """CloudFront's id of the key that links are signed with; they are not signed when left out."""
    force_destroy: NotRequired[bool]
    """Delete the gateway's images with their repository; off by default."""
    target: NotRequired[str]
    """Where the platform runs: `local`, the default, or `aws`."""
    aws: NotRequired[AwsGateway]
    """What target `aws` is told besides."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names, such as `service`; docs/library.md lists them."""


class Limits(Arguments):
    """What `GatewayLimits` has to be."""

    allow_unlisted_models: bool | None = None
    allow_pickles: bool | None = None
    container_disk_gb: int | None = Field(default=None, ge=1)
    max_job_usd: float | None = Field(default=None, gt=0)
    max_key_usd_per_day: float | None = Field(default=None, gt=0)


class _Checked(ComponentArguments):
    signing_key: object
    previous_signing_key: object = None
    image: object
    gpu_pools: list[str]
    models: list[dict[str, Any]]
    bucket: object
    cdn_url: object
    data_center_ids: list[str] = Field(default_factory=list)
    network_volumes: object = None
    limits: Limits = Field(default_factory=Limits)
    bucket_region: object = None
    store: dict[str, Any] | None = None
    link_key_id: object = None
    force_destroy: bool = False
    target: str = LOCAL
    aws: GatewayOnAws = Field(default_factory=GatewayOnAws)

    @model_validator(mode="after")
    def _knows_its_store(self) -> "_Checked":
        if self.target == AWS and self.store is None and self.bucket_region is None:
            message = "target aws needs bucket_region or store"
            raise ValueError(message)
        return self


class Gateway(pulumi.ComponentResource):
    """The service that callers talk to; it keeps nothing, so it can be replaced at any time."""

    url: pulumi.Output[str]
    """Its address."""
    hourly_floor_usd: pulumi.Output[float | None]
    """What it costs in an hour of idling, in US dollars."""

    def __init__(
        self,
        name: str,
        args: GatewayArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("Gateway", _Checked, args)
        require_target("Gateway", given.target)
        super().__init__("visgate:index:Gateway", name, {}, opts)
        family = Family(self, parts(given.target), args, transform)
        values: dict[str, pulumi.Input[Any]] = {
            "signing_key": args["signing_key"],
            **_former_key(args.get("previous_signing_key")),
            "image": args["image"],
            "gpu_pools": given.gpu_pools,
            "data_center_ids": given.data_center_ids,
            "models": pulumi.Output.all(*args["models"]),
            "bucket": args["bucket"],
            "cdn_base_url": args["cdn_url"],
            "network_volumes": args.get("network_volumes", []),
            **given.limits.model_dump(exclude_none=True),
            **_store_settings(args.get("store")),
        }
        self.hourly_floor_usd = pulumi.Output.from_input(0.0)
        if given.target == AWS:
            self._in_aws(family, name, args, given, values)
        else:
            self.url = _local.gateway(family, f"{name}-service", values)
        self.register_outputs({"url": self.url, "hourly_floor_usd": self.hourly_floor_usd})

    def _in_aws(
        self,
        family: Family,
        name: str,
        args: GatewayArgs,
        given: _Checked,
        values: dict[str, pulumi.Input[Any]],
    ) -> None:
        from pulumi_visgate.components._aws import gateway as aws  # noqa: PLC0415, needs pulumi-aws
        from pulumi_visgate.components._aws._children import AwsFamily  # noqa: PLC0415, as above

        values |= endpoints(stack_settings())
        if given.store is None:
            values["s3_region"] = args.get("bucket_region")
        if given.link_key_id is not None:
            values["link_key_id"] = args.get("link_key_id")
        self._made = aws.gateway(
            AwsFamily(family, args.get("tags")),
            name,
            given.aws,
            values,
            bucket=None if given.store else args["bucket"],
            force_delete=given.force_destroy,
        )
        self.url = self._made.url
        self.hourly_floor_usd = pulumi.Output.from_input(self._made.hourly_floor_usd)

    @property
    def in_aws(self) -> Any:
        """What target `aws` has made, for the components that go with it."""
        return self._made


def own_store() -> ObjectStore:
    """Return the store of the stack's settings (`visgate:s3Endpoint` and its keys).

    Raises:
        ArgumentError: It is not named there, or its keys are not.
    """
    store = stack_settings().store
    if store.endpoint is None or store.access_key_id is None or store.secret_access_key is None:
        detail = "Gateway: artifacts go to a store of your own, but the stack does not name it."
        raise ArgumentError(detail, hint="Set visgate:s3Endpoint, s3AccessKeyId and s3SecretAccessKey.")
    return {
        "endpoint": store.endpoint,
        "region": store.region,
        "access_key_id": pulumi.Output.secret(store.access_key_id),
        "secret_access_key": pulumi.Output.secret(store.secret_access_key.get_secret_value()),
    }


def _former_key(given: pulumi.Input[str | None] | None) -> dict[str, pulumi.Input[Any]]:
    """Return the setting of the former key; it is empty while there is none."""
    if given is None:
        return {}
    known: pulumi.Output[str | None] = pulumi.Output.from_input(given)
    return {"previous_signing_key": known.apply(lambda key: key or "")}


def _store_settings(store: ObjectStore | None) -> dict[str, pulumi.Input[Any]]:
    if store is None:
        return {}
    return {
        "s3_endpoint": store["endpoint"],
        "s3_region": store.get("region", "auto"),
        "s3_access_key_id": store["access_key_id"],
        "s3_secret_access_key": store["secret_access_key"],
    }


def parts(target: str) -> tuple[str, ...]:
    """Return the names of all children.

    Raises:
        ArgumentError: Target `aws` is wanted, and pulumi-aws is not there.
    """
    if target != AWS:
        return PARTS
    with needing_aws("Gateway"):
        from pulumi_visgate.components._aws.gateway import PARTS as AWS_PARTS  # noqa: PLC0415, needs pulumi-aws
    return AWS_PARTS
