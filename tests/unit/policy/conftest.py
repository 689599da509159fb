"""Resources as the policies see them."""

from typing import Any

from pulumi_visgate.policies._resources import Resource

OWN = "pulumi-python:dynamic/visgate:"


def resource(kind: str, name: str = "it", **values: Any) -> Resource:
    """One resource."""
    return Resource(f"urn:pulumi:dev::shop::{kind}::{name}", name, kind, values)
