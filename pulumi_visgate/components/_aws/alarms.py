"""What operations are told: a topic, alarms, a budget and a dashboard."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import budgets, cloudwatch, sns

from pulumi_visgate.components._aws._children import AwsFamily, policy
from pulumi_visgate.components._aws_args import GatewayOnAws

PARTS = (
    "alarm_topic",
    "alarm_topic_policy",
    "alarm_subscription",
    "latency_filter",
    "alarm",
    "budget",
    "dashboard",
)
NAMESPACE = "Visgate"
SPEND_METRIC = "RunpodUsdPerHour"
_WARM_S = 2.0  # a warm hit is answered within
_SUBMISSIONS = '{ $.route = "/v1/jobs" && $.method = "POST" }'
_BUDGET_SHARES = (80.0, 100.0)


@dataclass(frozen=True, slots=True)
class Watched:
    """One figure that an alarm looks at.

    Args:
        title: What the alarm says; ends up in its description.
        namespace: Of the metric.
        metric: Its name.
        dimensions: Its dimensions.
        statistic: Such as `Sum` or `p50`.
        threshold: From which on it is told.
        minutes: Minutes in a row that it has to last.
    """

    title: str
    namespace: str
    metric: str
    dimensions: Mapping[str, pulumi.Input[str]]
    statistic: str
    threshold: float
    minutes: int = 5


def topic(aws: AwsFamily, name: str, *, email: str | None) -> sns.Topic:
    """Make the topic of alarms, and subscribe somebody.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        email: Who is told; they have to confirm it once.
    """
    made = aws.make("alarm_topic", sns.Topic, name, sns.TopicArgs(display_name=name))
    account = made.arn.apply(lambda arn: arn.split(":")[4])
    tell = {
        "Sid": "AlarmsAndBudgets",
        "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
        "Action": "sns:Publish",
        "Resource": made.arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    aws.make(
        "alarm_topic_policy", sns.TopicPolicy, f"{name}-policy", sns.TopicPolicyArgs(arn=made.arn, policy=policy(tell))
    )
    if email:
        aws.make(
            "alarm_subscription",
            sns.TopicSubscription,
            f"{name}-email",
            sns.TopicSubscriptionArgs(topic=made.arn, protocol="email", endpoint=email),
        )
    return made


def alarm(aws: AwsFamily, name: str, told: sns.Topic, watched: Watched) -> cloudwatch.MetricAlarm:
    """Make an alarm that tells the topic when it begins and when it ends.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        told: The topic.
        watched: What it looks at.
    """
    extended = watched.statistic.startswith("p")
    return aws.make(
        "alarm",
        cloudwatch.MetricAlarm,
        name,
        cloudwatch.MetricAlarmArgs(
            alarm_description=watched.title,
            namespace=watched.namespace,
            metric_name=watched.metric,
            dimensions=dict(watched.dimensions) or None,
            statistic=None if extended else watched.statistic,
            extended_statistic=watched.statistic if extended else None,
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=watched.threshold,
            period=60,
            evaluation_periods=watched.minutes,
            datapoints_to_alarm=min(3, watched.minutes),
            treat_missing_data="notBreaching",
            alarm_actions=[told.arn],
            ok_actions=[told.arn],
        ),
    )


def latency(aws: AwsFamily, name: str, group: cloudwatch.LogGroup) -> Watched:
    """Take the time of submissions from the gateway's own log, and return what is watched of it.

    What Lambda and load balancers measure counts streams of events, which last as long as their jobs.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        group: Log group of the gateway.
    """
    metric = f"SubmissionSeconds-{pulumi.get_project()}-{pulumi.get_stack()}"
    aws.make(
        "latency_filter",
        cloudwatch.LogMetricFilter,
        name,
        cloudwatch.LogMetricFilterArgs(
            log_group_name=group.name,
            pattern=_SUBMISSIONS,
            metric_transformation=cloudwatch.LogMetricFilterMetricTransformationArgs(
                namespace=NAMESPACE, name=metric, value="$.seconds", unit="Seconds"
            ),
        ),
    )
    return Watched("Half of the submissions take 2 s or more to answer", NAMESPACE, metric, {}, "p50", _WARM_S)


def of_function(function_name: pulumi.Input[str]) -> dict[str, Watched]:
    """Return what is watched of the gateway as a Lambda function."""
    by_name = {"FunctionName": function_name}

    def watched(title: str, metric: str, statistic: str, threshold: float, minutes: int = 5) -> Watched:
        return Watched(title, "AWS/Lambda", metric, by_name, statistic, threshold, minutes)

    return {
        "errors": watched("The gateway fails (HTTP 5xx)", "Url5xxCount", "Sum", 5),
        "crashes": watched("The gateway's function crashes or times out", "Errors", "Sum", 5),
        "throttles": watched("Requests are refused for want of concurrency", "Throttles", "Sum", 1),
    }


def of_service(load_balancer: pulumi.Input[str], target_group: pulumi.Input[str]) -> dict[str, Watched]:
    """Return what is watched of the gateway behind a load balancer.

    Args:
        load_balancer: Suffix of its ARN.
        target_group: Suffix of its target group's ARN.
    """
    both = {"LoadBalancer": load_balancer, "TargetGroup": target_group}

    def watched(title: str, metric: str, statistic: str, threshold: float) -> Watched:
        return Watched(title, "AWS/ApplicationELB", metric, both, statistic, threshold)

    return {
        "errors": watched("The gateway fails (HTTP 5xx)", "HTTPCode_Target_5XX_Count", "Sum", 5),
        "crashes": watched("A task of the gateway is not healthy", "UnHealthyHostCount", "Maximum", 1),
        "throttles": watched("Tasks refuse connections", "TargetConnectionErrorCount", "Sum", 1),
    }


def budget(aws: AwsFamily, name: str, told: sns.Topic, wanted: GatewayOnAws) -> None:
    """Tell when the account's AWS spend of a month nears its budget, if there is one."""
    if wanted.monthly_budget_usd is None:
        return
    notifications = [
        budgets.BudgetNotificationArgs(
            comparison_operator="GREATER_THAN",
            notification_type=kind,
            threshold=share,
            threshold_type="PERCENTAGE",
            subscriber_sns_topic_arns=[told.arn],
        )
        for share, kind in zip(_BUDGET_SHARES, ("ACTUAL", "FORECASTED"), strict=True)
    ]
    aws.make(
        "budget",
        budgets.Budget,
        name,
        budgets.BudgetArgs(
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{wanted.monthly_budget_usd:.2f}",
            limit_unit="USD",
            notifications=notifications,
        ),
    )


def dashboard(
    aws: AwsFamily,
    name: str,
    figures: Sequence[Watched],
    *,
    region: pulumi.Input[str],
    alarms: Sequence[pulumi.Input[str]],
) -> None:
    """Put the figures on one page, with the alarms above.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        figures: What is drawn.
        region: Of the metrics.
        alarms: ARNs of the alarms.
    """
    plain = pulumi.Output.all(
        region=region,
        alarms=list(alarms),
        dimensions=[dict(figure.dimensions) for figure in figures],
    )

    def body(known: dict[str, object]) -> str:
        dimensions: list[dict[str, str]] = known["dimensions"]  # type: ignore[assignment]  # as given above
        shown = {"type": "alarm", "x": 0, "y": 0, "width": 24, "height": 2}
        widgets = [{**shown, "properties": {"title": "Alarms", "alarms": known["alarms"]}}]
        for place, (figure, names) in enumerate(zip(figures, dimensions, strict=True)):
            flat = [part for pair in sorted(names.items()) for part in pair]
            properties = {
                "title": figure.title,
                "region": known["region"],
                "metrics": [[figure.namespace, figure.metric, *flat]],
                "stat": figure.statistic,
                "period": 60,
                "view": "timeSeries",
                "annotations": {"horizontal": [{"value": figure.threshold, "label": "alarm"}]},
            }
            where = {"x": place % 2 * 12, "y": 2 + place // 2 * 6, "width": 12, "height": 6}
            widgets.append({"type": "metric", **where, "properties": properties})
        return json.dumps({"widgets": widgets}, sort_keys=True)

    aws.make(
        "dashboard",
        cloudwatch.Dashboard,
        name,
        cloudwatch.DashboardArgs(
            dashboard_name=f"{pulumi.get_project()}-{pulumi.get_stack()}-{name}", dashboard_body=plain.apply(body)
        ),
    )
