"""What is left in AWS, by its ARN: what it is, what it costs, and whether it can be removed from here."""

import pytest

from pulumi_visgate.aws_prices import HOURS_A_MONTH
from pulumi_visgate.cli.leftovers_aws import AwsAccount, _leftover

ARN = "arn:aws:{}:eu-central-1:123456789012:{}"


@pytest.mark.parametrize(
    ("service", "rest", "kind", "monthly", "removable"),
    [
        ("secretsmanager", "secret:visgate-settings-1", "secretsmanager", 0.40, True),
        ("lambda", "function:visgate-gateway-1", "lambda:function", 0.0, True),
        ("elasticloadbalancing", "loadbalancer/app/visgate/1", "elasticloadbalancing:loadbalancer", 16.43, False),
        ("elasticache", "serverlesscache:visgate", "elasticache", 6.13, False),
        ("ecs", "service/visgate/gateway", "ecs:service", None, False),
    ],
)
def test_what_is_left_is_told_with_its_price(
    service: str, rest: str, kind: str, monthly: float | None, removable: bool
) -> None:
    found = _leftover(AwsAccount({}, "eu-central-1"), ARN.format(service, rest), "eu-central-1")
    assert (found.cloud, found.kind) == ("AWS", kind)
    usd = None if found.hourly_usd is None else found.hourly_usd * HOURS_A_MONTH
    assert usd == (None if monthly is None else pytest.approx(monthly, abs=0.01))
    assert (found.remove is not None) is removable
