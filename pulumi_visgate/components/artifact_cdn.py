"""ArtifactCdn: the bucket for generated artifacts, and where the public reads them."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import LOCAL, ComponentArguments, checked, keeps_data, require_local
from pulumi_visgate.components._family import Family, Transform
from pulumi_visgate.resources.bucket import Bucket

PARTS = ("bucket", "route")


class ArtifactCdnArgs(TypedDict):
    """Arguments of `ArtifactCdn`."""

    expire_after_days: NotRequired[int]
    """Days after which the store deletes an artifact; not every store can. Never when left out."""
    force_destroy: NotRequired[bool]
    """Delete the artifacts with the bucket; off by default."""
    retain_data: NotRequired[bool]
    """Leave the bucket where it is when the component goes; on by default, off with `force_destroy`."""
    target: NotRequired[str]
    """Where the platform runs; `local` is the default."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names: `bucket` and `route`."""


class _Checked(ComponentArguments):
    expire_after_days: int | None = Field(default=None, ge=1)
    force_destroy: bool = False
    retain_data: bool | None = None
    target: str = LOCAL


class ArtifactCdn(pulumi.ComponentResource):
    """A bucket for generated artifacts, and the address at which everyone with a link reads them."""

    bucket: pulumi.Output[str]
    """Name of the bucket."""
    url: pulumi.Output[str]
    """Base of the links."""

    def __init__(
        self,
        name: str,
        args: ArtifactCdnArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("ArtifactCdn", _Checked, args)
        require_local("ArtifactCdn", given.target)
        super().__init__("visgate:index:ArtifactCdn", name, {}, opts)
        family = Family(self, PARTS, args, transform)
        bucket = family.resource(
            "bucket",
            Bucket,
            f"{name}-artifacts",
            {"force_destroy": given.force_destroy, "expire_after_days": given.expire_after_days},
            retain_on_delete=keeps_data(given.retain_data, given.force_destroy),
        )
        self.bucket = bucket.name
        self.url = _local.cdn(family, f"{name}-cdn", bucket.name)
        self.register_outputs({"bucket": self.bucket, "url": self.url})
