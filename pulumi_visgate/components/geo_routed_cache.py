"""GeoRoutedCache: a network volume in each region, with the models on every one."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator, model_validator

from pulumi_visgate.components._base import (
    AWS,
    LOCAL,
    Arguments,
    ComponentArguments,
    checked,
    hourly_usd,
    keeps_data,
    needing_aws,
    require_target,
)
from pulumi_visgate.components._family import Family, Transform
from pulumi_visgate.resources.model_cache import ModelCache
from pulumi_visgate.resources.network_volume import NetworkVolume
from visgate_contract.names import model_slug

DEFAULT_SIZE_GB = 50
PARTS = ("volume", "model")


class CachedModel(TypedDict):
    """One model of the cache."""

    model_id: str
    """Hub id of the model."""
    source: NotRequired[str]
    """Folder on this machine with the model in diffusers format; from the hub when left out."""
    revision: NotRequired[str]
    """Branch, tag or commit of the hub; the default branch when left out."""


class GeoRoutedCacheArgs(TypedDict):
    """Arguments of `GeoRoutedCache`."""

    regions: list[str]
    """Runpod data centers, such as `EU-RO-1`; one volume each."""
    models: list[CachedModel]
    """What lies on every volume."""
    size_gb: NotRequired[int]
    """Size of each volume in GB, 50 by default."""
    retain_data: NotRequired[bool]
    """Leave a volume where it is when its region or the component goes, and go on paying for it; on by default."""
    store: NotRequired[bool]
    """Keep the models in a store behind a CDN, too, for workers without a volume near; target `aws` only. Off by
    default."""
    target: NotRequired[str]
    """Where the platform runs: `local`, the default, or `aws`."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names, such as `volume`; docs/library.md lists them."""


class _Model(Arguments):
    model_id: str = Field(min_length=1)
    source: str | None = Field(default=None, min_length=1)
    revision: str | None = Field(default=None, min_length=1)


class _Checked(ComponentArguments):
    regions: list[str] = Field(min_length=1)
    models: list[_Model] = Field(default_factory=list)
    size_gb: int = Field(default=DEFAULT_SIZE_GB, ge=10, le=4096)
    retain_data: bool | None = None
    store: bool = False
    target: str = LOCAL

    @field_validator("regions")
    @classmethod
    def _once(cls, regions: list[str]) -> list[str]:
        if len(set(regions)) != len(regions):
            message = "names a data center twice"
            raise ValueError(message)
        return regions

    @model_validator(mode="after")
    def _has_a_place_for_its_store(self) -> "_Checked":
        if self.store and self.target != AWS:
            message = "store needs target aws"
            raise ValueError(message)
        return self


class GeoRoutedCache(pulumi.ComponentResource):
    """A network volume in each region, with the models on every one; a worker loads from the volume next to it."""

    volume_ids: pulumi.Output[list[str]]
    """Ids of the volumes, in the order of the regions; known when the models are on them."""
    store_url: pulumi.Output[str | None]
    """Base of the model store for workers; None where there is none."""
    store_token: pulumi.Output[str | None]
    """What workers show to the store."""
    hourly_floor_usd: pulumi.Output[float | None]
    """What the volumes cost in an hour, in US dollars."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """The same: storage costs what it costs, used or not."""

    def __init__(
        self,
        name: str,
        args: GeoRoutedCacheArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("GeoRoutedCache", _Checked, args)
        require_target("GeoRoutedCache", given.target)
        super().__init__("visgate:index:GeoRoutedCache", name, {}, opts)
        self._family = Family(self, parts(given.target), args, transform)
        keeps = keeps_data(given.retain_data, force_destroy=False)
        volumes: list[NetworkVolume] = []
        filled: list[pulumi.Output[str]] = []
        for region in given.regions:
            place = f"{name}-{region.lower()}"
            volume = self._family.resource(
                "volume",
                NetworkVolume,
                place,
                {"size_gb": given.size_gb, "data_center": region},
                retain_on_delete=keeps,
            )
            models = [self._model(place, model, volume, region).prefix for model in given.models]
            volumes.append(volume)
            # Who uses the volume waits for the models on it.
            filled.append(pulumi.Output.all(volume.id, *models).apply(lambda known: str(known[0])))
        self.volume_ids = pulumi.Output.all(*filled).apply(list)
        self.store_url = self.store_token = pulumi.Output.from_input(None)
        if given.store:
            self._store(name, args, given, retain=keeps)
        self.hourly_floor_usd = hourly_usd("hourly_floor_usd", volumes)
        self.hourly_ceiling_usd = hourly_usd("hourly_ceiling_usd", volumes)
        outputs = ("volume_ids", "store_url", "store_token", "hourly_floor_usd", "hourly_ceiling_usd")
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _store(self, name: str, args: GeoRoutedCacheArgs, given: _Checked, *, retain: bool) -> None:
        from pulumi_visgate.components._aws._children import AwsFamily  # noqa: PLC0415, needs pulumi-aws
        from pulumi_visgate.components._aws.model_store import model_store  # noqa: PLC0415, as above

        models = [model.model_dump(exclude_none=True) for model in given.models]
        made = model_store(AwsFamily(self._family, args.get("tags")), name, models, retain=retain)
        self.store_url = made.url.apply(_maybe)
        self.store_token = pulumi.Output.secret(made.token.apply(_maybe))

    def _model(self, place: str, model: _Model, volume: NetworkVolume, region: str) -> ModelCache:
        given = model.model_dump(exclude_none=True) | {"volume_id": volume.id, "data_center": region}
        name = f"{place}-{model_slug(model.model_id)}"
        # A volume that goes takes its files along, and one that is left behind keeps them.
        return self._family.resource("model", ModelCache, name, given, deleted_with=volume)


def parts(target: str) -> tuple[str, ...]:
    """Return the names of all children.

    Raises:
        ArgumentError: Target `aws` is wanted, and pulumi-aws is not there.
    """
    if target != AWS:
        return PARTS
    with needing_aws("GeoRoutedCache"):
        from pulumi_visgate.components._aws.model_store import PARTS as STORE_PARTS  # noqa: PLC0415, needs pulumi-aws
    return (*PARTS, *STORE_PARTS)


def _maybe(value: str) -> str | None:
    return value
