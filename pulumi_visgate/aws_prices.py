"""List prices of what an idle AWS stack keeps: pure numbers, for previews and for a stack's own estimate.

On-demand prices of us-east-1 as AWS published them in November 2026, without free tiers, taxes and discounts. What is
paid by use alone (requests, traffic, invocations, gigabytes stored) costs nothing while nobody asks, and is not here.
"""

from collections.abc import Mapping
from typing import Any

HOURS_A_MONTH = 730

# US dollars a month.
SECRET = 0.40
ALARM = 0.10
DASHBOARD = 3.00
WEB_ACL = 5.00
WEB_ACL_RULE = 1.00
# US dollars an hour.
LOAD_BALANCER = 0.0225
PUBLIC_IPV4 = 0.005
FARGATE_VCPU = 0.04048
FARGATE_GB = 0.004445
VALKEY_SERVERLESS_GB = 0.084
VALKEY_SERVERLESS_MIN_GB = 0.1

PRICED_KINDS = frozenset({"Secret", "MetricAlarm", "Dashboard", "WebAcl", "LoadBalancer", "ServerlessCache"})

UNPRICED_KINDS = frozenset({"Service"})
"""What costs by the size of another resource: tasks of ECS."""


def hourly_floor_usd(kind: str, args: Mapping[str, Any]) -> float:
    """Return what one resource costs in an hour in which nobody uses it, in US dollars; 0 for what is paid by use.

    Args:
        kind: Its class in pulumi-aws, such as `WebAcl`.
        args: Its arguments, in the names of Python or of the engine.
    """
    monthly = {
        "Secret": SECRET,
        "MetricAlarm": ALARM,
        "Dashboard": DASHBOARD,
        "WebAcl": WEB_ACL + WEB_ACL_RULE * _length(args.get("rules")),
    }.get(kind, 0.0)
    hourly = {
        "LoadBalancer": LOAD_BALANCER,
        "ServerlessCache": VALKEY_SERVERLESS_GB * VALKEY_SERVERLESS_MIN_GB,
    }.get(kind, 0.0)
    return monthly / HOURS_A_MONTH + hourly


def fargate_task(*, cpu: int, memory_mb: int) -> float:
    """Return what one running task with a public address costs in an hour, in US dollars.

    Args:
        cpu: In units of which 1024 are a virtual CPU.
        memory_mb: In MiB.
    """
    return cpu / 1024 * FARGATE_VCPU + memory_mb / 1024 * FARGATE_GB + PUBLIC_IPV4


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else 0
