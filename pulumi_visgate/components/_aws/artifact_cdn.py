"""The artifact CDN: a private bucket that CloudFront alone reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudfront

from pulumi_visgate.components._aws import access_logs, bucket, domain
from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._aws.bucket import allow_origins, guard, private_bucket
from pulumi_visgate.components._aws_args import CdnOnAws
from pulumi_visgate.link_signing import link_public_key
from visgate_contract.ledger import PREFIX as LEDGERS

PARTS = (
    *bucket.PARTS,
    "origin_access",
    "response_headers",
    "link_key",
    "link_key_group",
    "distribution",
    *access_logs.PARTS,
    *domain.PARTS,
)
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"  # AWS's managed policy of that name
_TLS = "TLSv1.2_2021"
_HSTS_S = 31_536_000


@dataclass(frozen=True, slots=True)
class Published:
    """What the rest of the platform needs of it.

    Args:
        bucket: Name of the bucket.
        bucket_arn: Its ARN.
        region: Its region.
        url: Base of the links.
        link_key_id: Key that signs links; None when they are not signed.
        hourly_floor_usd: What it costs in an hour of idling, in US dollars.
    """

    bucket: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    region: pulumi.Output[str]
    url: pulumi.Output[str]
    link_key_id: pulumi.Output[str] | None
    hourly_floor_usd: float


def artifact_cdn(
    aws: AwsFamily,
    name: str,
    wanted: CdnOnAws,
    *,
    expire_after_days: int | None,
    cors_origins: Sequence[str],
    force_destroy: bool,
    retain: bool,
    signing_key: pulumi.Input[str] | None,
) -> Published:
    """Make the bucket and its distribution.

    Args:
        aws: Component that owns them.
        name: Of the component.
        wanted: What the program asks for.
        expire_after_days: Days after which every object goes; never when None.
        cors_origins: Origins whose pages may read objects.
        force_destroy: Delete the objects with the bucket.
        retain: Leave the bucket where it is when the component goes.
        signing_key: The platform's key, from which that of the links is derived.
    """
    expiry = dict(wanted.expire_prefix_days) | ({"": expire_after_days} if expire_after_days else {})
    store_name = f"{name}-artifacts"
    store = private_bucket(
        aws,
        store_name,
        force_destroy=force_destroy,
        retain=retain,
        is_versioned=wanted.versioning,
        expire_days=expiry,
    )
    allow_origins(aws, store_name, store, cors_origins, retain=retain)
    access = aws.make(
        "origin_access",
        cloudfront.OriginAccessControl,
        f"{name}-access",
        cloudfront.OriginAccessControlArgs(
            origin_access_control_origin_type="s3", signing_behavior="always", signing_protocol="sigv4"
        ),
    )
    link_key = _link_key(aws, name, signing_key) if wanted.signed_links else None
    origin = cloudfront.DistributionOriginArgs(
        origin_id="artifacts", domain_name=store.bucket_regional_domain_name, origin_access_control_id=access.id
    )
    behavior = cloudfront.DistributionDefaultCacheBehaviorArgs(
        target_origin_id="artifacts",
        viewer_protocol_policy="redirect-to-https",
        allowed_methods=["GET", "HEAD", "OPTIONS"],
        cached_methods=["GET", "HEAD"],
        cache_policy_id=CACHING_OPTIMIZED,
        response_headers_policy_id=_response_headers(aws, name, cors_origins).id,
        compress=True,
        trusted_key_groups=[_key_group(aws, name, link_key).id] if link_key else None,
    )
    distribution = distribute(aws, f"{name}-cdn", wanted, origin=origin, behavior=behavior, comment=f"{name} artifacts")
    reader = {
        "Sid": "OnlyThisDistribution",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": store.arn.apply(lambda arn: f"{arn}/*"),
        "Condition": {"StringEquals": {"AWS:SourceArn": distribution.arn}},
    }
    nobody = {
        "Sid": "NoLedgers",
        "Effect": "Deny",
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Action": "s3:GetObject",
        "Resource": store.arn.apply(lambda arn: f"{arn}/{LEDGERS}/*"),
    }
    guard(aws, store_name, store, reader, nobody, retain=retain)
    if wanted.log_retention_days:
        access_logs.access_logs(aws, f"{name}-cdn", distribution, retention_days=wanted.log_retention_days)
    return Published(
        bucket=store.bucket,
        bucket_arn=store.arn,
        region=store.region,
        url=url_of(wanted.domain, distribution),
        link_key_id=link_key.id if link_key else None,
        hourly_floor_usd=aws.hourly_floor_usd,
    )


def distribute(
    aws: AwsFamily,
    name: str,
    wanted: CdnOnAws,
    *,
    origin: cloudfront.DistributionOriginArgs,
    behavior: cloudfront.DistributionDefaultCacheBehaviorArgs,
    comment: str,
    others: Sequence[cloudfront.DistributionOrderedCacheBehaviorArgs] = (),
    web_acl_arn: pulumi.Input[str] | None = None,
) -> cloudfront.Distribution:
    """Make a distribution with one origin, TLS 1.2 at least, and a name of the team's own if one is wanted.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        wanted: Domain and price class.
        origin: Where it reads.
        behavior: How.
        comment: What the console shows.
        others: How paths are read that match a pattern, in this order.
        web_acl_arn: Web ACL in front of it.
    """
    viewer = cloudfront.DistributionViewerCertificateArgs(cloudfront_default_certificate=True)
    if wanted.domain and wanted.zone_id:
        arn = domain.certificate(aws, f"{name}-certificate", domain=wanted.domain, zone_id=wanted.zone_id)
        viewer = cloudfront.DistributionViewerCertificateArgs(
            acm_certificate_arn=arn, ssl_support_method="sni-only", minimum_protocol_version=_TLS
        )
    distribution = aws.make(
        "distribution",
        cloudfront.Distribution,
        name,
        cloudfront.DistributionArgs(
            enabled=True,
            comment=comment,
            origins=[origin],
            default_cache_behavior=behavior,
            ordered_cache_behaviors=list(others) or None,
            viewer_certificate=viewer,
            aliases=[wanted.domain] if wanted.domain else None,
            restrictions=cloudfront.DistributionRestrictionsArgs(
                geo_restriction=cloudfront.DistributionRestrictionsGeoRestrictionArgs(restriction_type="none")
            ),
            http_version="http2and3",
            is_ipv6_enabled=True,
            price_class=wanted.price_class,
            web_acl_id=web_acl_arn,
        ),
    )
    if wanted.domain and wanted.zone_id:
        domain.lead_to(
            aws,
            f"{name}-name",
            domain=wanted.domain,
            zone_id=wanted.zone_id,
            target=distribution.domain_name,
            target_zone_id=distribution.hosted_zone_id,
        )
    return distribution


def url_of(domain_name: str | None, distribution: cloudfront.Distribution) -> pulumi.Output[str]:
    """Return the base URL of a distribution."""
    host = pulumi.Output.from_input(domain_name) if domain_name else distribution.domain_name
    return host.apply(lambda known: f"https://{known}")


def _response_headers(aws: AwsFamily, name: str, origins: Sequence[str]) -> cloudfront.ResponseHeadersPolicy:
    """An artifact is data: whatever it holds, a browser must not run it, nor guess what it is."""
    security = cloudfront.ResponseHeadersPolicySecurityHeadersConfigArgs(
        content_security_policy=cloudfront.ResponseHeadersPolicySecurityHeadersConfigContentSecurityPolicyArgs(
            content_security_policy="default-src 'none'; sandbox", override=True
        ),
        content_type_options=cloudfront.ResponseHeadersPolicySecurityHeadersConfigContentTypeOptionsArgs(override=True),
        referrer_policy=cloudfront.ResponseHeadersPolicySecurityHeadersConfigReferrerPolicyArgs(
            referrer_policy="no-referrer", override=True
        ),
        strict_transport_security=cloudfront.ResponseHeadersPolicySecurityHeadersConfigStrictTransportSecurityArgs(
            access_control_max_age_sec=_HSTS_S, override=True
        ),
    )
    cors = (
        cloudfront.ResponseHeadersPolicyCorsConfigArgs(
            access_control_allow_credentials=False,
            access_control_allow_headers=cloudfront.ResponseHeadersPolicyCorsConfigAccessControlAllowHeadersArgs(
                items=["*"]
            ),
            access_control_allow_methods=cloudfront.ResponseHeadersPolicyCorsConfigAccessControlAllowMethodsArgs(
                items=["GET", "HEAD", "OPTIONS"]
            ),
            access_control_allow_origins=cloudfront.ResponseHeadersPolicyCorsConfigAccessControlAllowOriginsArgs(
                items=list(origins)
            ),
            origin_override=True,
        )
        if origins
        else None
    )
    return aws.make(
        "response_headers",
        cloudfront.ResponseHeadersPolicy,
        f"{name}-headers",
        cloudfront.ResponseHeadersPolicyArgs(security_headers_config=security, cors_config=cors),
    )


def _link_key(aws: AwsFamily, name: str, signing_key: pulumi.Input[str] | None) -> cloudfront.PublicKey:
    public = pulumi.Output.from_input(signing_key or "").apply(link_public_key)
    return aws.make(
        "link_key",
        cloudfront.PublicKey,
        f"{name}-link-key",
        cloudfront.PublicKeyArgs(encoded_key=pulumi.Output.unsecret(public)),
    )


def _key_group(aws: AwsFamily, name: str, key: cloudfront.PublicKey) -> cloudfront.KeyGroup:
    return aws.make("link_key_group", cloudfront.KeyGroup, f"{name}-link-keys", cloudfront.KeyGroupArgs(items=[key.id]))
