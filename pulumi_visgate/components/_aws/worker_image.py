"""The worker image in ECR: a private repository that Runpod may pull from, without any password."""

from __future__ import annotations

import pulumi

from pulumi_visgate.components._aws import images, repository
from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.resources.ecr_delegation import EcrDelegation

PARTS = (*repository.PARTS, "build", "delegation")


def worker_image(aws: AwsFamily, name: str, *, force_delete: bool) -> pulumi.Output[str]:
    """Make the repository, put the worker of this version into it, and let Runpod pull it.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        force_delete: Delete the images with the repository.

    Returns:
        The image by its digest, known once Runpod may pull it.
    """
    made = repository.repository(aws, name, force_delete=force_delete)
    built = images.worker(aws, f"{name}-build", made)
    delegation = aws.family.resource("delegation", EcrDelegation, f"{name}-delegation", {"repository_arn": made.arn})
    return pulumi.Output.all(built, delegation.id).apply(lambda known: str(known[0]))
