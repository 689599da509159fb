"""WorkerImage: the image that GPU workers run."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field, ValidationInfo, field_validator, model_validator

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import AWS, LOCAL, ComponentArguments, checked, needing_aws, require_target
from pulumi_visgate.components._contexts import worker_context
from pulumi_visgate.components._family import Family, Transform
from pulumi_visgate.resources.container_image import ContainerImage

PARTS = ("build",)
_OF_BUILD = ("username", "password", "builder", "buildx_builder", "build_args", "secrets", "rebuild")


class WorkerImageArgs(TypedDict):
    """Arguments of `WorkerImage`."""

    image: NotRequired[pulumi.Input[str]]
    """An image that is already in a registry; the worker of this version when left out."""
    repository: NotRequired[pulumi.Input[str]]
    """Where the worker of this version is pushed to, such as `ghcr.io/acme/visgate-worker`; it is built here."""
    username: NotRequired[pulumi.Input[str]]
    """User at that registry; what `docker login` left on this machine is used when left out."""
    password: NotRequired[pulumi.Input[str]]
    """Password or token."""
    builder: NotRequired[str]
    """`docker` or `buildah`; the one that is there when left out."""
    buildx_builder: NotRequired[str]
    """Name of a builder of `docker buildx`, which may be on another machine."""
    build_args: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """`PYTHON` is the base image, `SYSTEM_PACKAGES` what Debian adds to it."""
    secrets: NotRequired[dict[str, str]]
    """Files of this machine that the build may read and that are in no layer: `pip.conf`, `ca.pem`."""
    rebuild: NotRequired[str]
    """Any text, such as a date; another one builds anew, with what the base image is by then."""
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
    repository: object = None
    username: object = None
    password: object = None
    builder: str | None = None
    buildx_builder: str | None = None
    build_args: object = None
    secrets: dict[str, str] = Field(default_factory=dict)
    rebuild: str | None = None
    force_destroy: bool = False
    target: str = LOCAL

    @field_validator("repository")
    @classmethod
    def _is_not_built_already(cls, repository: object, others: ValidationInfo) -> object:
        if others.data.get("image") is not None:
            message = "is where a new image goes, and image names one that is there; leave either out"
            raise ValueError(message)
        return repository

    @model_validator(mode="after")
    def _is_built_into_a_repository(self) -> "_Checked":
        unused = [name for name in _OF_BUILD if name in self.model_fields_set and self.repository is None]
        if unused:
            message = f"{', '.join(unused)}: only goes with repository, where the image is pushed to"
            raise ValueError(message)
        return self


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
        elif given.repository is not None:
            wanted = {"context": str(worker_context()), **{key: args.get(key) for key in ("repository", *_OF_BUILD)}}
            self.ref = family.resource("build", ContainerImage, f"{name}-build", wanted).ref
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
