"""A small network for Fargate: two public subnets, a load balancer that only CloudFront reaches, and who talks to whom.

Tasks have public addresses because they call Runpod, and no NAT gateway, which would cost more than they do; nothing
from outside can open a connection to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pulumi
import pulumi_aws
from pulumi_aws import ec2, vpc

from pulumi_visgate.components._aws._children import AwsFamily

PARTS = (
    "vpc",
    "internet_gateway",
    "route_table",
    "subnet",
    "route",
    "default_security_group",
    "security_group",
    "rule",
)
HTTPS = 443
GATEWAY_PORT = 8080
VALKEY_PORTS = (6379, 6380)
_ZONES = 2
_ANYWHERE = "0.0.0.0/0"
_CLOUDFRONT_PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"


@dataclass(frozen=True, slots=True)
class Network:
    """The network.

    Args:
        vpc: It.
        subnets: One for each availability zone.
        gateway: The internet gateway, without which there is no way in for CloudFront either.
        front: Security group of the load balancer.
        tasks: Security group of the tasks.
        cache: Security group of Valkey.
    """

    vpc: ec2.Vpc
    subnets: list[ec2.Subnet]
    gateway: ec2.InternetGateway
    front: ec2.SecurityGroup
    tasks: ec2.SecurityGroup
    cache: ec2.SecurityGroup


def network(aws: AwsFamily, name: str) -> Network:
    """Make the network.

    Args:
        aws: Component that owns it.
        name: Name in the program.
    """
    made = aws.make(
        "vpc",
        ec2.Vpc,
        name,
        ec2.VpcArgs(cidr_block="10.80.0.0/16", enable_dns_hostnames=True, enable_dns_support=True),
    )
    # Whatever somebody starts here without saying more can talk to nobody.
    aws.make(
        "default_security_group",
        ec2.DefaultSecurityGroup,
        f"{name}-default",
        ec2.DefaultSecurityGroupArgs(vpc_id=made.id, ingress=[], egress=[]),
    )
    gateway = aws.make(
        "internet_gateway", ec2.InternetGateway, f"{name}-internet", ec2.InternetGatewayArgs(vpc_id=made.id)
    )
    table = aws.make(
        "route_table",
        ec2.RouteTable,
        f"{name}-routes",
        ec2.RouteTableArgs(
            vpc_id=made.id, routes=[ec2.RouteTableRouteArgs(cidr_block=_ANYWHERE, gateway_id=gateway.id)]
        ),
    )
    zones = pulumi_aws.get_availability_zones_output(state="available").names
    subnets = [
        _subnet(
            aws,
            f"{name}-{place}",
            made,
            table,
            zone=zones.apply(partial(_nth, place)),
            block=f"10.80.{place * 16}.0/20",
        )
        for place in range(_ZONES)
    ]
    groups = {who: _group(aws, f"{name}-{who}", made, text) for who, text in _GROUPS.items()}
    _connect(aws, name, groups)
    return Network(made, subnets, gateway, groups["front"], groups["tasks"], groups["cache"])


_GROUPS = {
    "front": "Load balancer of the gateway",
    "tasks": "Tasks of the gateway",
    "cache": "Counters of the gateway's limits",
}


def _nth(place: int, names: list[str]) -> str:
    return names[place]


def _subnet(
    aws: AwsFamily, name: str, made: ec2.Vpc, table: ec2.RouteTable, *, zone: pulumi.Output[str], block: str
) -> ec2.Subnet:
    subnet = aws.make(
        "subnet",
        ec2.Subnet,
        name,
        ec2.SubnetArgs(vpc_id=made.id, cidr_block=block, availability_zone=zone, map_public_ip_on_launch=False),
    )
    aws.make(
        "route",
        ec2.RouteTableAssociation,
        f"{name}-route",
        ec2.RouteTableAssociationArgs(route_table_id=table.id, subnet_id=subnet.id),
    )
    return subnet


def _group(aws: AwsFamily, name: str, made: ec2.Vpc, description: str) -> ec2.SecurityGroup:
    return aws.make(
        "security_group", ec2.SecurityGroup, name, ec2.SecurityGroupArgs(vpc_id=made.id, description=description)
    )


def _connect(aws: AwsFamily, name: str, groups: dict[str, ec2.SecurityGroup]) -> None:
    """CloudFront to the load balancer, that to the tasks, and the tasks to Valkey and, by HTTPS, to the world."""
    cloudfront = ec2.get_managed_prefix_list_output(name=_CLOUDFRONT_PREFIX_LIST).id
    _may_come(aws, f"{name}-cloudfront-front", groups["front"], HTTPS, prefix_list_id=cloudfront)
    _both(aws, f"{name}-front-tasks", groups["front"], groups["tasks"], GATEWAY_PORT)
    for port in VALKEY_PORTS:
        _both(aws, f"{name}-tasks-cache-{port}", groups["tasks"], groups["cache"], port)
    out = vpc.SecurityGroupEgressRuleArgs(
        security_group_id=groups["tasks"].id, ip_protocol="tcp", from_port=1, to_port=65535, cidr_ipv4=_ANYWHERE
    )
    aws.make("rule", vpc.SecurityGroupEgressRule, f"{name}-tasks-out", out)


def _may_come(
    aws: AwsFamily,
    name: str,
    to: ec2.SecurityGroup,
    port: int,
    *,
    prefix_list_id: pulumi.Input[str] | None = None,
    group_id: pulumi.Input[str] | None = None,
) -> None:
    args = vpc.SecurityGroupIngressRuleArgs(
        security_group_id=to.id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        prefix_list_id=prefix_list_id,
        referenced_security_group_id=group_id,
    )
    aws.make("rule", vpc.SecurityGroupIngressRule, f"{name}-in", args)


def _both(aws: AwsFamily, name: str, of: ec2.SecurityGroup, to: ec2.SecurityGroup, port: int) -> None:
    _may_come(aws, name, to, port, group_id=of.id)
    args = vpc.SecurityGroupEgressRuleArgs(
        security_group_id=of.id,
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        referenced_security_group_id=to.id,
    )
    aws.make("rule", vpc.SecurityGroupEgressRule, f"{name}-out", args)
