"""Access logs of a distribution, without what a log must not have: query strings, cookies, referrers, addresses."""

from __future__ import annotations

from pulumi_aws import cloudfront, cloudwatch

from pulumi_visgate.components._aws._children import EDGE_REGION, AwsFamily

PARTS = ("log_group", "log_source", "log_destination", "log_delivery")
FIELDS = (
    "date",
    "time",
    "x-edge-location",
    "x-edge-result-type",
    "x-edge-response-result-type",
    "x-edge-detailed-result-type",
    "x-edge-request-id",
    "cs-method",
    "cs(Host)",
    "cs-uri-stem",
    "cs-protocol",
    "cs-bytes",
    "sc-status",
    "sc-bytes",
    "sc-content-type",
    "time-taken",
    "time-to-first-byte",
    "c-country",
    "ssl-protocol",
)
_NAME_LENGTH = 60  # of a delivery's source and destination


def access_logs(aws: AwsFamily, name: str, distribution: cloudfront.Distribution, *, retention_days: int) -> None:
    """Deliver the access logs of a distribution to CloudWatch Logs.

    Args:
        aws: Component that owns them.
        name: Name in the program.
        distribution: What is logged.
        retention_days: Days that they are kept.
    """
    group = aws.make(
        "log_group",
        cloudwatch.LogGroup,
        f"{name}-access",
        cloudwatch.LogGroupArgs(
            # AWS lets deliveries write under this prefix without a policy of one's own.
            name_prefix=f"/aws/vendedlogs/{name}-",
            retention_in_days=retention_days,
            region=EDGE_REGION,
        ),
    )
    source = aws.make(
        "log_source",
        cloudwatch.LogDeliverySource,
        f"{name}-access-source",
        cloudwatch.LogDeliverySourceArgs(
            name=_named(name, distribution), log_type="ACCESS_LOGS", resource_arn=distribution.arn, region=EDGE_REGION
        ),
    )
    destination = aws.make(
        "log_destination",
        cloudwatch.LogDeliveryDestination,
        f"{name}-access-destination",
        cloudwatch.LogDeliveryDestinationArgs(
            name=_named(name, distribution),
            output_format="json",
            delivery_destination_configuration=(
                cloudwatch.LogDeliveryDestinationDeliveryDestinationConfigurationArgs(
                    destination_resource_arn=group.arn
                )
            ),
            region=EDGE_REGION,
        ),
    )
    aws.make(
        "log_delivery",
        cloudwatch.LogDelivery,
        f"{name}-access-delivery",
        cloudwatch.LogDeliveryArgs(
            delivery_source_name=source.name,
            delivery_destination_arn=destination.arn,
            record_fields=list(FIELDS),
            region=EDGE_REGION,
        ),
    )


def _named(name: str, distribution: cloudfront.Distribution):  # type: ignore[no-untyped-def]  # an output of pulumi-aws
    return distribution.id.apply(lambda id_: f"{name[: _NAME_LENGTH - len(id_) - 1]}-{id_}")
