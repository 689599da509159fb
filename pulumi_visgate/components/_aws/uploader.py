"""Who signs uploads: a role that can put objects under the artifacts' prefix, and nothing else."""

import pulumi
from pulumi_aws import iam

from pulumi_visgate.components._aws._children import AwsFamily, policy

PARTS = ("uploader", "uploader_policy")
SESSION_S = 3600
"""Longest session of a role that another role has taken, which AWS limits; signatures end with it."""


def uploader(aws: AwsFamily, name: str, *, bucket_arn: pulumi.Input[str], prefix: str, trusted: iam.Role) -> iam.Role:
    """Make the role.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        bucket_arn: Bucket of the artifacts.
        prefix: Where they are in it, with a slash at its end.
        trusted: Role of the gateway, the only one that can take it.
    """
    may_take = {"Principal": {"AWS": trusted.arn}, "Action": "sts:AssumeRole"}
    role = aws.make(
        "uploader",
        iam.Role,
        name,
        iam.RoleArgs(
            description="Signs uploads of artifacts",
            assume_role_policy=policy(may_take),
            max_session_duration=SESSION_S,
        ),
    )
    put = {
        "Sid": "PutArtifacts",
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": pulumi.Output.from_input(bucket_arn).apply(lambda arn: f"{arn}/{prefix}*"),
    }
    aws.make("uploader_policy", iam.RolePolicy, f"{name}-policy", iam.RolePolicyArgs(role=role.id, policy=policy(put)))
    return role


def may_take(role: iam.Role) -> dict[str, object]:
    """Return the statement that lets somebody take the role."""
    return {"Sid": "SignUploads", "Action": "sts:AssumeRole", "Resource": role.arn}
