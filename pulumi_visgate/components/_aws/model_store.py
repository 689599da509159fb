"""The model store: a private bucket with every model, read in ranges through CloudFront.

CloudFront keeps near a data center what its workers load, so nothing is copied to where nobody reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudfront

from pulumi_visgate.components._aws import access_logs, bucket, domain
from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._aws.artifact_cdn import CACHING_OPTIMIZED, distribute, url_of
from pulumi_visgate.components._aws.bucket import guard, private_bucket
from pulumi_visgate.components._aws_args import CdnOnAws
from pulumi_visgate.resources.model_cache import ModelCache
from pulumi_visgate.resources.signing_key import SigningKey
from visgate_contract.caches import MANIFEST_NAME
from visgate_contract.names import model_slug

PARTS = (
    *bucket.PARTS,
    "origin_access",
    "token",
    "viewer_function",
    "stored_model",
    "distribution",
    *access_logs.PARTS,
    *domain.PARTS,
)
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # AWS's managed policy of that name
# The code holds what the token hashes to, not the token.
_GUARD = """\
var crypto = require("crypto");
function handler(event) {
    var request = event.request;
    var header = request.headers.authorization;
    var shown = crypto.createHash("sha256").update(header ? header.value : "").digest("hex");
    if (shown !== "%s") { return { statusCode: 403, statusDescription: "Forbidden" }; }
    delete request.headers.authorization;
    return request;
}
"""


@dataclass(frozen=True, slots=True)
class Store:
    """What workers need of it.

    Args:
        url: Base; `models/<org>/<name>/` is below it. Known when the models are there.
        token: What they show.
    """

    url: pulumi.Output[str]
    token: pulumi.Output[str]


def model_store(aws: AwsFamily, name: str, models: Sequence[dict[str, Any]], *, retain: bool) -> Store:
    """Make the store, with every model in it.

    Args:
        aws: Component that owns it.
        name: Of the component.
        models: Arguments of `ModelCache` that say which.
        retain: Leave the bucket where it is when the component goes.
    """
    place = f"{name}-models"
    made = private_bucket(aws, place, force_destroy=not retain, retain=retain, is_versioned=False, expire_days={})
    token = aws.family.resource("token", SigningKey, f"{name}-token", {}).value
    access = aws.make(
        "origin_access",
        cloudfront.OriginAccessControl,
        f"{name}-access",
        cloudfront.OriginAccessControlArgs(
            origin_access_control_origin_type="s3", signing_behavior="always", signing_protocol="sigv4"
        ),
    )
    keeper = aws.make(
        "viewer_function",
        cloudfront.Function,
        f"{name}-viewer",
        cloudfront.FunctionArgs(
            runtime="cloudfront-js-2.0", code=pulumi.Output.unsecret(token.apply(_guard)), publish=True
        ),
    )
    distribution = distribute(
        aws,
        f"{name}-store",
        CdnOnAws(),
        origin=cloudfront.DistributionOriginArgs(
            origin_id="models", domain_name=made.bucket_regional_domain_name, origin_access_control_id=access.id
        ),
        behavior=_files(keeper),
        others=[_manifests(keeper)],
        comment=f"{name} models",
    )
    reader = {
        "Sid": "OnlyThisDistribution",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": made.arn.apply(lambda arn: f"{arn}/*"),
        "Condition": {"StringEquals": {"AWS:SourceArn": distribution.arn}},
    }
    guard(aws, place, made, reader, retain=retain)
    there = [
        aws.family.resource(
            "stored_model", ModelCache, f"{place}-{model_slug(model['model_id'])}", {**model, "bucket": made.bucket}
        ).prefix
        for model in models
    ]
    url = pulumi.Output.all(url_of(None, distribution), *there).apply(lambda known: str(known[0]))
    return Store(url, token)


def _guard(token: str) -> str:
    return _GUARD % hashlib.sha256(f"Bearer {token}".encode()).hexdigest()


def _files(keeper: cloudfront.Function) -> cloudfront.DistributionDefaultCacheBehaviorArgs:
    """A model's files lie under its commit, so they never change."""
    return cloudfront.DistributionDefaultCacheBehaviorArgs(
        target_origin_id="models",
        viewer_protocol_policy="https-only",
        allowed_methods=["GET", "HEAD"],
        cached_methods=["GET", "HEAD"],
        cache_policy_id=CACHING_OPTIMIZED,
        compress=False,
        function_associations=[
            cloudfront.DistributionDefaultCacheBehaviorFunctionAssociationArgs(
                event_type="viewer-request", function_arn=keeper.arn
            )
        ],
    )


def _manifests(keeper: cloudfront.Function) -> cloudfront.DistributionOrderedCacheBehaviorArgs:
    """A manifest says which commit is the current one, so it is asked for each time."""
    return cloudfront.DistributionOrderedCacheBehaviorArgs(
        path_pattern=f"*/{MANIFEST_NAME}",
        target_origin_id="models",
        viewer_protocol_policy="https-only",
        allowed_methods=["GET", "HEAD"],
        cached_methods=["GET", "HEAD"],
        cache_policy_id=CACHING_DISABLED,
        compress=False,
        function_associations=[
            cloudfront.DistributionOrderedCacheBehaviorFunctionAssociationArgs(
                event_type="viewer-request", function_arn=keeper.arn
            )
        ],
    )
