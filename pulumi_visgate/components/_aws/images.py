"""Images that are built with the stack, when what they are made of has changed, and pushed to ECR."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi_aws import ecr

from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._contexts import gateway_context, worker_context
from pulumi_visgate.resources.container_image import ContainerImage


def worker(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the worker of this version and return its reference.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        into: Where it is pushed to.

    Raises:
        ArgumentError: It is not installed.
    """
    return _built(aws, name, into, worker_context())


def gateway(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the gateway of this version and return its reference.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        into: Where it is pushed to.
    """
    return _built(aws, name, into, gateway_context())


def _built(aws: AwsFamily, name: str, into: ecr.Repository, context: Path) -> pulumi.Output[str]:
    """Build and push; ECR gives the token for that, so no password is anywhere."""
    wanted = {"repository": into.repository_url, "context": str(context)}
    return aws.family.resource("build", ContainerImage, name, wanted).ref
