"""Who signs uploads: a role that can put and check artifacts, keep the ledgers of jobs, and do nothing else."""

from __future__ import annotations

import pulumi
from pulumi_aws import iam

from pulumi_visgate.components._aws._children import AwsFamily, policy
from visgate_contract.ledger import PREFIX as LEDGERS

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
    arn = pulumi.Output.from_input(bucket_arn)
    put = {
        "Sid": "PutArtifacts",
        # What was put is asked for once, by HEAD, before it is called ready.
        "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
        "Resource": arn.apply(lambda known: f"{known}/{prefix}*"),
    }
    keep = {
        "Sid": "KeepLedgers",
        "Action": ["s3:PutObject", "s3:GetObject"],
        "Resource": arn.apply(lambda known: f"{known}/{LEDGERS}/*"),
    }
    document = iam.RolePolicyArgs(role=role.id, policy=policy(put, keep))
    aws.make("uploader_policy", iam.RolePolicy, f"{name}-policy", document)
    return role


def may_take(role: iam.Role) -> dict[str, object]:
    """Return the statement that lets somebody take the role."""
    return {"Sid": "SignUploads", "Action": "sts:AssumeRole", "Resource": role.arn}
