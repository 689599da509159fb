"""ArtifactCdn: the bucket for generated artifacts, and where the public reads them."""

from typing import NotRequired, TypedDict

import pulumi
from pydantic import Field

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import LOCAL, Arguments, checked, child_options, require_local
from pulumi_visgate.resources.bucket import Bucket, BucketArgs


class ArtifactCdnArgs(TypedDict):
    """Arguments of `ArtifactCdn`."""

    expire_after_days: NotRequired[int]
    """Days after which the store deletes an artifact; not every store can. Never when left out."""
    force_destroy: NotRequired[bool]
    """Delete the artifacts with the bucket; off by default."""
    target: NotRequired[str]
    """Where the platform runs; `local` is the default."""


class _Checked(Arguments):
    expire_after_days: int | None = Field(default=None, ge=1)
    force_destroy: bool = False
    target: str = LOCAL


class ArtifactCdn(pulumi.ComponentResource):
    """A bucket for generated artifacts, and the address at which everyone with a link reads them."""

    bucket: pulumi.Output[str]
    """Name of the bucket."""
    url: pulumi.Output[str]
    """Base of the links."""

    def __init__(self, name: str, args: ArtifactCdnArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("visgate:index:ArtifactCdn", name, {}, opts)
        given = checked("ArtifactCdn", _Checked, args)
        require_local("ArtifactCdn", given.target)
        options: BucketArgs = {"force_destroy": given.force_destroy}
        if given.expire_after_days:
            options["expire_after_days"] = given.expire_after_days
        bucket = Bucket(f"{name}-artifacts", child_options(self), **options)
        self.bucket = bucket.name
        self.url = _local.cdn(self, f"{name}-cdn", bucket.name)
        self.register_outputs({"bucket": self.bucket, "url": self.url})
