"""WorkerImage: the image that GPU workers run."""

from typing import Any, NotRequired, TypedDict

import pulumi

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import AWS, LOCAL, ComponentArguments, checked, needing_aws, require_target
from pulumi_visgate.components._family import Family, Transform

PARTS: tuple[str, ...] = ()


class WorkerImageArgs(TypedDict):
    """Arguments of `WorkerImage`."""

    image: NotRequired[pulumi.Input[str]]
    """An image that is already in a registry; the worker of this version when left out."""
    force_destroy: NotRequired[bool]
    """Delete the images with their repository; off by default."""
    target: NotRequired[str]
    """Where the platform runs: `local`, the default, or `aws`."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names; docs/library.md lists them."""


class _Checked(ComponentArguments):
    image: object = None
    force_destroy: bool = False
    target: str = LOCAL


class WorkerImage(pulumi.ComponentResource):
    """The image that GPU workers run."""

    ref: pulumi.Output[str]
    """Reference of the image."""

    def __init__(
        self,
        name: str,
        args: WorkerImageArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("WorkerImage", _Checked, args)
        require_target("WorkerImage", given.target)
        super().__init__("visgate:index:WorkerImage", name, {}, opts)
        family = Family(self, parts(given.target), args, transform)
        if given.image is not None:
            self.ref = pulumi.Output.from_input(args.get("image", ""))
        elif given.target == AWS:
            from pulumi_visgate.components._aws._children import AwsFamily  # noqa: PLC0415, needs pulumi-aws
            from pulumi_visgate.components._aws.worker_image import worker_image  # noqa: PLC0415, as above

            aws = AwsFamily(family, args.get("tags"))
            self.ref = worker_image(aws, name, force_delete=given.force_destroy)
        else:
            self.ref = pulumi.Output.from_input(_local.worker_image())
        self.register_outputs({"ref": self.ref})


def parts(target: str) -> tuple[str, ...]:
    """Return the names of all children.

    Raises:
        ArgumentError: Target `aws` is wanted, and pulumi-aws is not there.
    """
    if target != AWS:
        return PARTS
    with needing_aws("WorkerImage"):
        from pulumi_visgate.components._aws.worker_image import PARTS as AWS_PARTS  # noqa: PLC0415, needs pulumi-aws
    return AWS_PARTS
