"""The gateway's distribution: the only way in, which shows who it is by a secret header, and caches nothing."""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudfront

from pulumi_visgate.components._aws import access_logs, domain, web_acl
from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._aws.artifact_cdn import distribute
from pulumi_visgate.components._aws_args import CdnOnAws, GatewayOnAws

PARTS = (
    "cache_policy",
    "origin_request_policy",
    "viewer_function",
    "distribution",
    *access_logs.PARTS,
    *domain.PARTS,
    *web_acl.PARTS,
)
ORIGIN_HEADER = "x-visgate-origin"
READ_TIMEOUT_S = 60  # the longest that CloudFront waits for a byte without a quota of one's own
_KEEPALIVE_S = 60
_CONNECT_TIMEOUT_S = 5
_METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
# Named in the cache key, so that even an answer that forgot its `no-store` would never reach another caller.
_KEY_HEADERS = [
    "Authorization",
    "X-HF-Token",
    # Where the caller is, for placement; CloudFront tells it where a policy names it.
    "CloudFront-Viewer-Country",
    "CloudFront-Viewer-Latitude",
    "CloudFront-Viewer-Longitude",
]
# What a caller writes into this header itself is overwritten here.
_VIEWER_CODE = """\
function handler(event) {
    var request = event.request;
    request.headers["x-visgate-client"] = { value: event.viewer.ip };
    return request;
}
"""


def edge(
    aws: AwsFamily,
    name: str,
    wanted: GatewayOnAws,
    *,
    host: pulumi.Input[str],
    origin_secret: pulumi.Input[str],
    vpc_origin: cloudfront.VpcOrigin | None = None,
) -> cloudfront.Distribution:
    """Make the distribution with its web ACL and access logs.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        wanted: What the program asks for.
        host: Host name of the gateway.
        origin_secret: What the distribution shows to the gateway.
        vpc_origin: Way into the VPC, where the gateway is in one.
    """
    acl = (
        web_acl.web_acl(
            aws,
            f"{name}-acl",
            requests_per_ip=wanted.waf_requests_per_ip,
            log_retention_days=wanted.log_retention_days,
        )
        if wanted.waf
        else None
    )
    shown = cloudfront.DistributionOriginCustomHeaderArgs(name=ORIGIN_HEADER, value=pulumi.Output.secret(origin_secret))
    origin = cloudfront.DistributionOriginArgs(
        origin_id="gateway",
        domain_name=host,
        connection_timeout=_CONNECT_TIMEOUT_S,
        custom_headers=[shown],
        custom_origin_config=None if vpc_origin else _by_the_internet(),
        vpc_origin_config=_into_the_network(vpc_origin) if vpc_origin else None,
    )
    behavior = cloudfront.DistributionDefaultCacheBehaviorArgs(
        target_origin_id="gateway",
        viewer_protocol_policy="https-only",  # a redirect would come after the key has travelled in the clear
        allowed_methods=_METHODS,
        cached_methods=["GET", "HEAD"],
        cache_policy_id=_no_cache(aws, name).id,
        origin_request_policy_id=_everything(aws, name, keep_host=vpc_origin is not None).id,
        function_associations=[_who_calls(aws, name)],
        compress=False,  # events are not held back until there is enough to compress
    )
    place = CdnOnAws(domain=wanted.domain, zone_id=wanted.zone_id, price_class=wanted.price_class)
    distribution = distribute(
        aws,
        f"{name}-edge",
        place,
        origin=origin,
        behavior=behavior,
        comment=f"{name}",
        web_acl_arn=acl.arn if acl else None,
    )
    access_logs.access_logs(aws, f"{name}-edge", distribution, retention_days=wanted.log_retention_days)
    return distribution


def _into_the_network(vpc_origin: cloudfront.VpcOrigin) -> cloudfront.DistributionOriginVpcOriginConfigArgs:
    return cloudfront.DistributionOriginVpcOriginConfigArgs(
        vpc_origin_id=vpc_origin.id, origin_read_timeout=READ_TIMEOUT_S, origin_keepalive_timeout=_KEEPALIVE_S
    )


def _by_the_internet() -> cloudfront.DistributionOriginCustomOriginConfigArgs:
    return cloudfront.DistributionOriginCustomOriginConfigArgs(
        http_port=80,
        https_port=443,
        origin_protocol_policy="https-only",
        origin_ssl_protocols=["TLSv1.2"],
        origin_read_timeout=READ_TIMEOUT_S,
        origin_keepalive_timeout=_KEEPALIVE_S,
    )


def _who_calls(aws: AwsFamily, name: str) -> cloudfront.DistributionDefaultCacheBehaviorFunctionAssociationArgs:
    """Tell the gateway the caller's address, which its limits count by."""
    made = aws.make(
        "viewer_function",
        cloudfront.Function,
        f"{name}-viewer",
        cloudfront.FunctionArgs(runtime="cloudfront-js-2.0", code=_VIEWER_CODE, publish=True),
    )
    return cloudfront.DistributionDefaultCacheBehaviorFunctionAssociationArgs(
        event_type="viewer-request", function_arn=made.arn
    )


def _no_cache(aws: AwsFamily, name: str) -> cloudfront.CachePolicy:
    """Answers say `no-store`; the second of `max_ttl` is there because a policy without it may name no headers."""
    headers = cloudfront.CachePolicyParametersInCacheKeyAndForwardedToOriginHeadersConfigArgs(
        header_behavior="whitelist",
        headers=cloudfront.CachePolicyParametersInCacheKeyAndForwardedToOriginHeadersConfigHeadersArgs(
            items=_KEY_HEADERS
        ),
    )
    key = cloudfront.CachePolicyParametersInCacheKeyAndForwardedToOriginArgs(
        headers_config=headers,
        cookies_config=cloudfront.CachePolicyParametersInCacheKeyAndForwardedToOriginCookiesConfigArgs(
            cookie_behavior="none"
        ),
        query_strings_config=cloudfront.CachePolicyParametersInCacheKeyAndForwardedToOriginQueryStringsConfigArgs(
            query_string_behavior="all"
        ),
    )
    return aws.make(
        "cache_policy",
        cloudfront.CachePolicy,
        f"{name}-no-cache",
        cloudfront.CachePolicyArgs(
            min_ttl=0, default_ttl=0, max_ttl=1, parameters_in_cache_key_and_forwarded_to_origin=key
        ),
    )


def _everything(aws: AwsFamily, name: str, *, keep_host: bool) -> cloudfront.OriginRequestPolicy:
    """A function URL answers to its own host name only; a load balancer's certificate is for the caller's."""
    but_host = cloudfront.OriginRequestPolicyHeadersConfigHeadersArgs(items=["Host"])
    return aws.make(
        "origin_request_policy",
        cloudfront.OriginRequestPolicy,
        f"{name}-request",
        cloudfront.OriginRequestPolicyArgs(
            headers_config=cloudfront.OriginRequestPolicyHeadersConfigArgs(
                header_behavior="allViewer" if keep_host else "allExcept",
                headers=None if keep_host else but_host,
            ),
            cookies_config=cloudfront.OriginRequestPolicyCookiesConfigArgs(cookie_behavior="none"),
            query_strings_config=cloudfront.OriginRequestPolicyQueryStringsConfigArgs(query_string_behavior="all"),
        ),
    )
