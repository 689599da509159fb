"""Gateway: the service that callers talk to."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from pulumi_visgate.components import _local
from pulumi_visgate.components._base import LOCAL, ComponentArguments, checked, require_local
from pulumi_visgate.components._family import Family, Transform

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


class GatewayArgs(TypedDict):
    """Arguments of `Gateway`."""

    signing_key: pulumi.Input[str]
    """The platform's signing key; every user's webhook secret is derived from it."""
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
    target: NotRequired[str]
    """Where the platform runs; `local` is the default."""
    tags: NotRequired[pulumi.Input[dict[str, pulumi.Input[str]]]]
    """What you want to say of every resource in it, such as a cost center."""
    overrides: NotRequired[dict[str, dict[str, Any]]]
    """Arguments of children by their names: `service`."""


class _Checked(ComponentArguments):
    signing_key: object
    image: object
    gpu_pools: list[str]
    models: list[dict[str, Any]]
    bucket: object
    cdn_url: object
    data_center_ids: list[str] = Field(default_factory=list)
    target: str = LOCAL


class Gateway(pulumi.ComponentResource):
    """The service that callers talk to; it keeps nothing, so it can be replaced at any time."""

    url: pulumi.Output[str]
    """Its address."""

    def __init__(
        self,
        name: str,
        args: GatewayArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        transform: Transform | None = None,
    ) -> None:
        given = checked("Gateway", _Checked, args)
        require_local("Gateway", given.target)
        super().__init__("visgate:index:Gateway", name, {}, opts)
        family = Family(self, PARTS, args, transform)
        values: dict[str, pulumi.Input[Any]] = {
            "signing_key": args["signing_key"],
            "image": args["image"],
            "gpu_pools": given.gpu_pools,
            "data_center_ids": given.data_center_ids,
            "models": pulumi.Output.all(*args["models"]),
            "bucket": args["bucket"],
            "cdn_base_url": args["cdn_url"],
        }
        self.url = _local.gateway(family, f"{name}-service", values)
        self.register_outputs({"url": self.url})
