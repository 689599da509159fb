"""What all children in AWS have in common: typed arguments, tags of the stack, and policies written once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pulumi

from pulumi_visgate.aws_prices import hourly_floor_usd
from pulumi_visgate.components._family import Family

ChildT = TypeVar("ChildT", bound=pulumi.Resource)
Statement = Mapping[str, Any]

STACK_TAG = "visgate:stack"
EDGE_REGION = "us-east-1"
"""CloudFront takes certificates, web ACLs and log deliveries of this region alone."""


class AwsFamily:
    """Makes the children of a component that are resources of pulumi-aws.

    Args:
        family: Of the component.
        tags: What the program says of every resource.
    """

    def __init__(self, family: Family, tags: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None) -> None:
        self.family = family
        stack = {STACK_TAG: f"{pulumi.get_project()}/{pulumi.get_stack()}"}
        self._tags = pulumi.Output.from_input(tags or {}).apply(lambda given: {**given, **stack})
        self._floors: list[float] = []

    def make(
        self, part: str, kind: Callable[..., ChildT], name: str, args: object, *, price: float = 0.0, **options: Any
    ) -> ChildT:
        """Make one resource.

        Args:
            part: What it is known by.
            kind: Its class.
            name: Its name in the program; starts with the component's.
            args: Its arguments, of the class that pulumi-aws has for them.
            price: US dollars an hour of idling, where its own arguments do not tell.
            options: Its options.
        """
        given = {key: value for key, value in vars(args).items() if value is not None}
        given["tags"] = self._tags if hasattr(type(args), "tags") else None
        self._floors.append(price + hourly_floor_usd(kind.__name__, given))
        return self.family.resource(part, kind, name, given, **options)

    @property
    def hourly_floor_usd(self) -> float:
        """List price of an hour in which nobody asks for anything, in US dollars."""
        return round(sum(self._floors), 6)


def policy(*statements: Statement) -> pulumi.Output[str]:
    """Return an IAM policy document.

    Args:
        statements: Its statements; values may be outputs, `Effect` is `Allow` when left out.
    """
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}
    return pulumi.Output.json_dumps(document, sort_keys=True)


def trust(service: str, **condition: Any) -> str:
    """Return the policy that lets a service of AWS take a role.

    Args:
        service: Such as `lambda.amazonaws.com`.
        condition: Operators of the condition, such as `StringEquals={"aws:SourceAccount": "123456789012"}`.
    """
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        **({"Condition": condition} if condition else {}),
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


def only_tls(bucket_arn: pulumi.Input[str]) -> Statement:
    """Return the statement that refuses requests without TLS to a bucket."""
    arn = pulumi.Output.from_input(bucket_arn)
    return {
        "Sid": "OnlyTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, arn.apply(lambda known: f"{known}/*")],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def ids(resources: Sequence[pulumi.CustomResource]) -> list[pulumi.Output[str]]:
    """Return the ids of resources."""
    return [resource.id for resource in resources]
