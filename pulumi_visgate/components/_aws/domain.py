"""A name of the team's own: its certificate, proven by DNS, and the records that lead to a distribution."""

from __future__ import annotations

import pulumi
from pulumi_aws import acm, route53

from pulumi_visgate.components._aws._children import EDGE_REGION, AwsFamily

PARTS = ("certificate", "certificate_record", "certificate_proof", "dns_record")
_PROOF_TTL_S = 300


def certificate(
    aws: AwsFamily, name: str, *, domain: str, zone_id: str, region: str | None = EDGE_REGION
) -> pulumi.Output[str]:
    """Make a certificate and return its ARN, once AWS has seen the proof.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        domain: Name that it is for.
        zone_id: Route 53 zone in which it is proven.
        region: Where it is used; CloudFront's when left out, the stack's for None.
    """
    made = aws.make(
        "certificate",
        acm.Certificate,
        name,
        acm.CertificateArgs(domain_name=domain, validation_method="DNS", region=region),
        delete_before_replace=False,
    )
    # The name is known before the options are, so that a preview shows one record and not a question.
    proof = made.domain_validation_options.apply(lambda options: options[0])
    record = aws.make(
        "certificate_record",
        route53.Record,
        f"{name}-record",
        route53.RecordArgs(
            zone_id=zone_id,
            name=proof.resource_record_name.apply(str),
            type=proof.resource_record_type.apply(str),
            records=[proof.resource_record_value.apply(str)],
            ttl=_PROOF_TTL_S,
            allow_overwrite=True,  # two regions prove one name by the same record
        ),
    )
    proven = aws.make(
        "certificate_proof",
        acm.CertificateValidation,
        f"{name}-proof",
        acm.CertificateValidationArgs(certificate_arn=made.arn, validation_record_fqdns=[record.fqdn], region=region),
    )
    arn: pulumi.Output[str] = proven.certificate_arn
    return arn


def lead_to(
    aws: AwsFamily,
    name: str,
    *,
    domain: str,
    zone_id: str,
    target: pulumi.Input[str],
    target_zone_id: pulumi.Input[str],
) -> None:
    """Make the address records of a name, for IPv4 and IPv6.

    Args:
        aws: Component that owns them.
        name: Name in the program.
        domain: The name.
        zone_id: Route 53 zone that it is in.
        target: Host name of the distribution.
        target_zone_id: Zone of that host name.
    """
    for kind in ("A", "AAAA"):
        aws.make(
            "dns_record",
            route53.Record,
            f"{name}-{kind.lower()}",
            route53.RecordArgs(
                zone_id=zone_id,
                name=domain,
                type=kind,
                aliases=[route53.RecordAliasArgs(name=target, zone_id=target_zone_id, evaluate_target_health=False)],
            ),
        )
