"""Images that are built with the stack and pushed to ECR."""

import pulumi
from pulumi_aws import ecr

from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._base import ArgumentError


def worker(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the worker of this version and return its reference."""
    return _not_yet("WorkerImage", aws, name, into)


def gateway(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the gateway of this version and return its reference."""
    return _not_yet("Gateway", aws, name, into)


def _not_yet(component: str, _aws: AwsFamily, _name: str, _into: ecr.Repository) -> pulumi.Output[str]:
    detail = f"{component}: image is needed for target aws."
    raise ArgumentError(detail, hint="Build and push it, and name it here.")
