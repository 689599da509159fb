"""GeoRoutedCache: a network volume in each region, with the models on every one."""

from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field, field_validator

from pulumi_visgate.components._base import Arguments, checked, child_options
from pulumi_visgate.resources.model_cache import ModelCache
from pulumi_visgate.resources.network_volume import NetworkVolume
from visgate_contract.names import model_slug

DEFAULT_SIZE_GB = 50


class CachedModelArgs(TypedDict):
    """One model of the cache."""

    model_id: str
    """Hub id of the model."""
    source: str
    """Folder on this machine with the model in diffusers format."""


class GeoRoutedCacheArgs(TypedDict):
    """Arguments of `GeoRoutedCache`."""

    regions: list[str]
    """Runpod data centers, such as `EU-RO-1`; one volume each."""
    models: list[CachedModelArgs]
    """What lies on every volume."""
    size_gb: NotRequired[int]
    """Size of each volume in GB, 50 by default."""


class _Model(Arguments):
    model_id: str = Field(min_length=1)
    source: str = Field(min_length=1)


class _Checked(Arguments):
    regions: list[str] = Field(min_length=1)
    models: list[_Model] = Field(default_factory=list)
    size_gb: int = Field(default=DEFAULT_SIZE_GB, ge=10, le=4096)

    @field_validator("regions")
    @classmethod
    def _once(cls, regions: list[str]) -> list[str]:
        if len(set(regions)) != len(regions):
            message = "names a data center twice"
            raise ValueError(message)
        return regions


class GeoRoutedCache(pulumi.ComponentResource):
    """A network volume in each region, with the models on every one; a worker loads from the volume next to it."""

    volume_ids: pulumi.Output[list[str]]
    """Ids of the volumes, in the order of the regions; known when the models are on them."""

    def __init__(self, name: str, args: GeoRoutedCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("visgate:index:GeoRoutedCache", name, {}, opts)
        given = checked("GeoRoutedCache", _Checked, args)
        filled: list[pulumi.Output[str]] = []
        for region in given.regions:
            place = f"{name}-{region.lower()}"
            volume = NetworkVolume(place, child_options(self), size_gb=given.size_gb, data_center=region)
            models = [
                ModelCache(
                    f"{place}-{model_slug(model.model_id)}",
                    child_options(self),
                    model_id=model.model_id,
                    source=model.source,
                    volume_id=volume.id,
                    data_center=region,
                ).prefix
                for model in given.models
            ]
            # Who uses the volume waits for the models on it.
            filled.append(pulumi.Output.all(volume.id, *models).apply(lambda known: str(known[0])))
        self.volume_ids = pulumi.Output.all(*filled).apply(list)
        self.register_outputs({"volume_ids": self.volume_ids})
