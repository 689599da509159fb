"""WorkerImage: the image that GPU workers run."""

from typing import NotRequired, TypedDict

import pulumi

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import LOCAL, Arguments, checked, require_local


class WorkerImageArgs(TypedDict):
    """Arguments of `WorkerImage`."""

    image: NotRequired[pulumi.Input[str]]
    """An image that is already in a registry; the worker of this version when left out."""
    target: NotRequired[str]
    """Where the platform runs; `local` is the default."""


class _Checked(Arguments):
    image: object = None
    target: str = LOCAL


class WorkerImage(pulumi.ComponentResource):
    """The image that GPU workers run."""

    ref: pulumi.Output[str]
    """Reference of the image."""

    def __init__(self, name: str, args: WorkerImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("visgate:index:WorkerImage", name, {}, opts)
        given = checked("WorkerImage", _Checked, args)
        if given.image is not None:
            self.ref = pulumi.Output.from_input(args.get("image", ""))
        else:
            require_local("WorkerImage", given.target)
            self.ref = pulumi.Output.from_input(_local.worker_image())
        self.register_outputs({"ref": self.ref})
