"""Private ECR repositories: scanned, with tags that stay what they are, and old images that go by themselves."""

from __future__ import annotations

import json
from typing import Any

from pulumi_aws import ecr

from pulumi_visgate.components._aws._children import AwsFamily

PARTS = ("repository", "repository_lifecycle")
_KEPT_IMAGES = 20
_UNTAGGED_DAYS = 7


def repository(aws: AwsFamily, name: str, *, force_delete: bool) -> ecr.Repository:
    """Make a repository.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        force_delete: Delete the images with it; they can be built again.
    """
    made = aws.make(
        "repository",
        ecr.Repository,
        name,
        ecr.RepositoryArgs(
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[ecr.RepositoryEncryptionConfigurationArgs(encryption_type="AES256")],
            force_delete=force_delete,
        ),
    )
    aws.make(
        "repository_lifecycle",
        ecr.LifecyclePolicy,
        f"{name}-lifecycle",
        ecr.LifecyclePolicyArgs(repository=made.name, policy=json.dumps({"rules": _rules()}, sort_keys=True)),
    )
    return made


def _rules() -> list[dict[str, Any]]:
    expire = {"type": "expire"}
    untagged: dict[str, Any] = {
        "rulePriority": 1,
        "description": "what no tag leads to",
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": _UNTAGGED_DAYS,
        },
        "action": expire,
    }
    older: dict[str, Any] = {
        "rulePriority": 2,
        "description": "all but the newest",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": _KEPT_IMAGES},
        "action": expire,
    }
    return [untagged, older]
