"""A private bucket: nothing public, encrypted, only by TLS, and objects that go in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi_aws import s3

from pulumi_visgate.components._aws._children import AwsFamily, Statement, only_tls, policy

PARTS = ("bucket", "ownership", "public_access", "encryption", "versioning", "lifecycle", "cors", "bucket_policy")
_KEPT_VERSIONS_DAYS = 7
_UNFINISHED_DAYS = 1


def private_bucket(
    aws: AwsFamily, name: str, *, force_destroy: bool, retain: bool, is_versioned: bool, expire_days: Mapping[str, int]
) -> s3.Bucket:
    """Make a bucket that nobody can make public by accident.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        force_destroy: Delete the objects with it.
        retain: Leave it where it is when the component goes.
        is_versioned: Keep deleted and overwritten objects for a week.
        expire_days: Days after which objects go, by prefix; `""` is every object.
    """
    bucket = aws.make("bucket", s3.Bucket, name, s3.BucketArgs(force_destroy=force_destroy), retain_on_delete=retain)
    aws.make(
        "ownership",
        s3.BucketOwnershipControls,
        f"{name}-ownership",
        s3.BucketOwnershipControlsArgs(
            bucket=bucket.id, rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced")
        ),
        retain_on_delete=retain,
    )
    aws.make(
        "public_access",
        s3.BucketPublicAccessBlock,
        f"{name}-public-access",
        s3.BucketPublicAccessBlockArgs(
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
        retain_on_delete=retain,
    )
    by_default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="AES256"
    )
    aws.make(
        "encryption",
        s3.BucketServerSideEncryptionConfiguration,
        f"{name}-encryption",
        s3.BucketServerSideEncryptionConfigurationInitArgs(
            bucket=bucket.id,
            rules=[
                s3.BucketServerSideEncryptionConfigurationRuleArgs(apply_server_side_encryption_by_default=by_default)
            ],
        ),
        retain_on_delete=retain,
    )
    if is_versioned:
        aws.make(
            "versioning",
            s3.BucketVersioning,
            f"{name}-versioning",
            s3.BucketVersioningInitArgs(
                bucket=bucket.id,
                versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            ),
            retain_on_delete=retain,
        )
    aws.make(
        "lifecycle",
        s3.BucketLifecycleConfiguration,
        f"{name}-lifecycle",
        s3.BucketLifecycleConfigurationArgs(bucket=bucket.id, rules=_rules(expire_days, is_versioned=is_versioned)),
        retain_on_delete=retain,
    )
    return bucket


def _rules(expire_days: Mapping[str, int], *, is_versioned: bool) -> Sequence[s3.BucketLifecycleConfigurationRuleArgs]:
    everything = s3.BucketLifecycleConfigurationRuleArgs(
        id="unfinished",
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=_UNFINISHED_DAYS
        ),
        noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=_KEPT_VERSIONS_DAYS
        )
        if is_versioned
        else None,
    )
    return [
        everything,
        *(
            s3.BucketLifecycleConfigurationRuleArgs(
                id=f"expire-{prefix.strip('/').replace('/', '-') or 'all'}",
                status="Enabled",
                filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
                expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
            )
            for prefix, days in sorted(expire_days.items())
        ),
    ]


def allow_origins(aws: AwsFamily, name: str, bucket: s3.Bucket, origins: Sequence[str], *, retain: bool) -> None:
    """Let pages of these origins read objects.

    Args:
        aws: Component that owns the bucket.
        name: Name of the bucket in the program.
        bucket: The bucket.
        origins: Such as `https://app.acme.example`; none for no rule.
        retain: Leave the rule where it is when the component goes.
    """
    if not origins:
        return
    rule = s3.BucketCorsConfigurationCorsRuleArgs(
        allowed_methods=["GET", "HEAD"], allowed_origins=list(origins), allowed_headers=["*"], max_age_seconds=3600
    )
    aws.make(
        "cors",
        s3.BucketCorsConfiguration,
        f"{name}-cors",
        s3.BucketCorsConfigurationArgs(bucket=bucket.id, cors_rules=[rule]),
        retain_on_delete=retain,
    )


def guard(aws: AwsFamily, name: str, bucket: s3.Bucket, *statements: Statement, retain: bool) -> None:
    """Write the bucket's policy: TLS alone, and what else is allowed.

    Args:
        aws: Component that owns the bucket.
        name: Name of the bucket in the program.
        bucket: The bucket.
        statements: What is allowed.
        retain: Leave the policy where it is when the component goes.
    """
    aws.make(
        "bucket_policy",
        s3.BucketPolicy,
        f"{name}-policy",
        s3.BucketPolicyArgs(bucket=bucket.id, policy=policy(only_tls(bucket.arn), *statements)),
        retain_on_delete=retain,
    )
