"""Schedules: EventBridge Scheduler calls one function, which moves pools' minima and looks for what nobody owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import iam, scheduler

from pulumi_visgate.components._aws import alarms, function
from pulumi_visgate.components._aws._children import AwsFamily, policy, trust
from pulumi_visgate.components._aws.gateway import Deployed
from pulumi_visgate.components._aws_args import ReaperOnAws

PARTS = (*function.PARTS, "schedule_role", "schedule_role_policy", "schedule", "alarm")
MODULE = "pulumi_visgate.upkeep"
_PREFIX = "VISGATE_UPKEEP_"
_MEMORY_MB = 512
_TIMEOUT_S = 120
_ATTEMPTS = 2


def upkeep(
    aws: AwsFamily,
    name: str,
    *,
    runpod_key_secret_arn: str,
    runpod_api_url: str,
    pools: Sequence[dict[str, Any]],
    keep: Sequence[pulumi.Input[str]],
    reaper: ReaperOnAws | None,
    gateway: Deployed,
) -> None:
    """Make the function and its schedules.

    Args:
        aws: Component that owns them.
        name: Name in the program.
        runpod_key_secret_arn: Secret with the account's key.
        runpod_api_url: Base of Runpod's API.
        pools: Scheduled pools: `endpoint_id`, `windows`, `min_workers`.
        keep: Endpoints that the stack declares.
        reaper: What nobody owns; None to leave it.
        gateway: Whose image and alarms it shares.
    """
    who = function.identity(
        aws, name, description="Upkeep of pools", log_retention_days=gateway.wanted.log_retention_days
    )
    stack = f"{pulumi.get_project()}/{pulumi.get_stack()}"
    made = function.function(
        aws,
        name,
        who,
        image=gateway.image,
        module=MODULE,
        environment={
            f"{_PREFIX}RUNPOD_API_KEY": runpod_key_secret_arn,
            f"{_PREFIX}RUNPOD_API_URL": runpod_api_url,
            f"{_PREFIX}STACK": stack,
            f"{_PREFIX}PORT": str(function.PORT),
        },
        may=({"Sid": "ReadKey", "Action": "secretsmanager:GetSecretValue", "Resource": runpod_key_secret_arn},),
        memory_mb=_MEMORY_MB,
        timeout_s=_TIMEOUT_S,
        # One at a time, so that a slow run is not overtaken; a new account lets nobody reserve any.
        reserved_concurrency=1 if gateway.wanted.reserved_concurrency else None,
        adapter={"AWS_LWA_PASS_THROUGH_PATH": "/events", "AWS_LWA_ERROR_STATUS_CODES": "400-599"},
    )
    caller = _caller(aws, name, made.arn)
    if pools:
        work = {"do": "reconcile", "pools": list(pools)}
        _schedule(aws, f"{name}-pools", "rate(1 minute)", work, of=made.arn, by=caller)
    if reaper:
        every = "rate(1 hour)" if reaper.every_hours == 1 else f"rate({reaper.every_hours} hours)"
        look = {
            "do": "reap",
            "keep": list(keep),
            "min_age_hours": reaper.min_age_hours,
            "delete": reaper.delete,
        }
        _schedule(aws, f"{name}-reaper", every, look, of=made.arn, by=caller)
    failing = alarms.Watched(
        "Upkeep fails: pools may keep too few workers, or too many",
        "AWS/Lambda",
        "Errors",
        {"FunctionName": made.name},
        "Sum",
        1,
    )
    alarms.alarm(aws, f"{name}-errors", gateway.alarm_topic, failing)
    limit_usd = gateway.wanted.runpod_hourly_limit_usd
    if reaper and limit_usd is not None:
        spend = alarms.Watched(
            f"Runpod costs ${limit_usd:g} an hour or more",
            alarms.NAMESPACE,
            alarms.SPEND_METRIC,
            {"Stack": stack},
            "Maximum",
            limit_usd,
            minutes=1,
        )
        alarms.alarm(aws, f"{name}-runpod-spend", gateway.alarm_topic, spend)


def _caller(aws: AwsFamily, name: str, function_arn: pulumi.Output[str]) -> iam.Role:
    """Make the role of the schedules; no other account's schedules can take it."""
    account = function_arn.apply(lambda arn: arn.split(":")[4])
    trusted = account.apply(lambda known: trust("scheduler.amazonaws.com", StringEquals={"aws:SourceAccount": known}))
    role = aws.make(
        "schedule_role",
        iam.Role,
        f"{name}-scheduler",
        iam.RoleArgs(description="Schedules of upkeep", assume_role_policy=trusted),
    )
    call = {"Sid": "CallUpkeep", "Action": "lambda:InvokeFunction", "Resource": function_arn}
    aws.make(
        "schedule_role_policy",
        iam.RolePolicy,
        f"{name}-scheduler-policy",
        iam.RolePolicyArgs(role=role.id, policy=policy(call)),
    )
    return role


def _schedule(
    aws: AwsFamily, name: str, rate: str, work: dict[str, Any], *, of: pulumi.Output[str], by: iam.Role
) -> None:
    aws.make(
        "schedule",
        scheduler.Schedule,
        name,
        scheduler.ScheduleArgs(
            schedule_expression=rate,
            flexible_time_window=scheduler.ScheduleFlexibleTimeWindowArgs(mode="OFF"),
            target=scheduler.ScheduleTargetArgs(
                arn=of,
                role_arn=by.arn,
                input=pulumi.Output.json_dumps(work, sort_keys=True),
                retry_policy=scheduler.ScheduleTargetRetryPolicyArgs(
                    maximum_retry_attempts=_ATTEMPTS, maximum_event_age_in_seconds=300
                ),
            ),
        ),
    )
