"""ArtifactCdn: the bucket for generated artifacts, and where the public reads them."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from pulumi_visgate.components import _local
from pulumi_visgate.components._aws_args import AwsCdn, CdnOnAws
from pulumi_visgate.components._base import (
    AWS,
    LOCAL,
    ComponentArguments,
    checked,
    keeps_data,
    needing_aws,
    require_target,
)
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
    cors_origins: NotRequired[list[str]]
    """Web origins whose pages may read artifacts, such as `https://app.acme.example`."""
    url: NotRequired[str]
    """Where a store of your own, such as R2, serves the bucket; then the bucket is made there, and no CDN."""
    signing_key: NotRequired[pulumi.Input[str]]
    """The platform's signing key, from which the key of signed links is derived; only they need it."""
    target: NotRequired[str]
    """Where the platform runs: `local`, the default, or `aws`."""
    aws: NotRequired[AwsCdn]
    """What target `aws` is told besides."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names, such as `bucket`; docs/library.md lists them."""


class _Checked(ComponentArguments):
    expire_after_days: int | None = Field(default=None, ge=1)
    force_destroy: bool = False
    retain_data: bool | None = None
    cors_origins: list[str] = Field(default_factory=list)
    url: str | None = Field(default=None, pattern=r"^https?://")
    signing_key: object = None
    target: str = LOCAL
    aws: CdnOnAws = Field(default_factory=CdnOnAws)

    @model_validator(mode="after")
    def _has_a_key_if_signed(self) -> "_Checked":
        if self.aws.signed_links and self.signing_key is None:
            message = "aws.signed_links needs signing_key"
            raise ValueError(message)
        return self


class ArtifactCdn(pulumi.ComponentResource):
    """A bucket for generated artifacts, and the address at which everyone with a link reads them."""

    bucket: pulumi.Output[str]
    """Name of the bucket."""
    url: pulumi.Output[str]
    """Base of the links."""
    bucket_region: pulumi.Output[str | None]
    """Region of the bucket, where it has one that must be known."""
    link_key_id: pulumi.Output[str | None]
    """CloudFront's id of the key that links are signed with; None where they are not."""
    hourly_floor_usd: pulumi.Output[float | None]
    """What it costs in an hour of idling, in US dollars; objects and traffic are not in it."""

    def __init__(
        self,
        name: str,
        args: ArtifactCdnArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("ArtifactCdn", _Checked, args)
        require_target("ArtifactCdn", given.target)
        super().__init__("visgate:index:ArtifactCdn", name, {}, opts)
        family = Family(self, parts(given.target), args, transform)
        self.bucket_region = pulumi.Output.from_input(None)
        self.link_key_id = pulumi.Output.from_input(None)
        self.hourly_floor_usd = pulumi.Output.from_input(0.0)
        if given.target == AWS and given.url is None:
            self._in_aws(family, name, args, given)
        else:
            self._in_a_store(family, name, given)
        outputs = ("bucket", "url", "bucket_region", "link_key_id", "hourly_floor_usd")
        self.register_outputs({output: getattr(self, output) for output in outputs})

    def _in_a_store(self, family: Family, name: str, given: _Checked) -> None:
        bucket = family.resource(
            "bucket",
            Bucket,
            f"{name}-artifacts",
            {
                "force_destroy": given.force_destroy,
                "expire_after_days": given.expire_after_days,
                "cors_origins": given.cors_origins or None,
            },
            retain_on_delete=keeps_data(given.retain_data, given.force_destroy),
        )
        self.bucket = bucket.name
        if given.url is not None:
            self.url = pulumi.Output.from_input(given.url.rstrip("/"))
        else:
            self.url = _local.cdn(family, f"{name}-cdn", bucket.name)

    def _in_aws(self, family: Family, name: str, args: ArtifactCdnArgs, given: _Checked) -> None:
        from pulumi_visgate.components._aws import artifact_cdn as aws  # noqa: PLC0415, needs pulumi-aws
        from pulumi_visgate.components._aws._children import AwsFamily  # noqa: PLC0415, as above

        made = aws.artifact_cdn(
            AwsFamily(family, args.get("tags")),
            name,
            given.aws,
            expire_after_days=given.expire_after_days,
            cors_origins=given.cors_origins,
            force_destroy=given.force_destroy,
            retain=keeps_data(given.retain_data, given.force_destroy),
            signing_key=args.get("signing_key"),
        )
        self.bucket, self.url = made.bucket, made.url
        self.bucket_region = made.region.apply(_maybe)
        if made.link_key_id is not None:
            self.link_key_id = made.link_key_id.apply(_maybe)
        self.hourly_floor_usd = pulumi.Output.from_input(made.hourly_floor_usd)


def parts(target: str) -> tuple[str, ...]:
    """Return the names of all children.

    Raises:
        ArgumentError: Target `aws` is wanted, and pulumi-aws is not there.
    """
    if target != AWS:
        return PARTS
    with needing_aws("ArtifactCdn"):
        from pulumi_visgate.components._aws.artifact_cdn import PARTS as AWS_PARTS  # noqa: PLC0415, needs pulumi-aws
    return AWS_PARTS


def _maybe(value: str) -> str | None:
    return value
