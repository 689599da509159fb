"""A dynamic resource that does nothing: what is left is the engine's and the Python host's own time."""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider


class NoOpProvider(ResourceProvider):
    """Creates without a call."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Say that it is there."""
        return CreateResult(id_="no-op", outs=props)


class NoOp(Resource, module="bench", name="NoOp"):
    """Takes any inputs."""

    def __init__(self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **props: Any) -> None:
        super().__init__(NoOpProvider(), resource_name, props, opts)
