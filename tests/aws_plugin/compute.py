"""Roles, functions, schedules, and what watches them."""

import json
from dataclasses import replace
from typing import Any

from tests.aws_plugin.kinds import KINDS, Aws, Kind, Values, of_put, pascal, tag_list


def _role_create(aws: Aws, values: Values) -> tuple[str, Values]:
    given = {"MaxSessionDuration": int(values["maxSessionDuration"])} if "maxSessionDuration" in values else {}
    made = aws.client("iam").create_role(
        RoleName=values["name"],
        AssumeRolePolicyDocument=values["assumeRolePolicy"],
        Description=values.get("description", ""),
        Tags=tag_list(values),
        **given,
    )["Role"]
    return made["RoleName"], {"arn": made["Arn"], "uniqueId": made["RoleId"]}


def _role_update(aws: Aws, name: str, values: Values) -> Values:
    iam = aws.client("iam")
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=values["assumeRolePolicy"])
    iam.tag_role(RoleName=name, Tags=tag_list(values))
    return {}


KINDS["aws:iam/role:Role"] = Kind(
    _role_create,
    lambda aws, id_, values: aws.client("iam").delete_role(RoleName=id_),
    lambda aws, id_, values: {"arn": aws.client("iam").get_role(RoleName=id_)["Role"]["Arn"]},
    _role_update,
    named="name",
    fixed=frozenset({"name"}),
)


def _put_role_policy(aws: Aws, values: Values) -> str:
    json.loads(values["policy"])
    aws.client("iam").put_role_policy(
        RoleName=values["role"], PolicyName=values.get("name", "inline"), PolicyDocument=values["policy"]
    )
    return f"{values['role']}:{values.get('name', 'inline')}"


def _role_policy(aws: Aws, values: Values) -> dict[str, str]:
    return {"RoleName": values["role"], "PolicyName": values.get("name", "inline")}


KINDS["aws:iam/rolePolicy:RolePolicy"] = of_put(
    _put_role_policy,
    lambda aws, values: {
        "__observed": True,
        "policy": json.dumps(
            aws.client("iam").get_role_policy(**_role_policy(aws, values))["PolicyDocument"], sort_keys=True
        ),
    },
    lambda aws, values: aws.client("iam").delete_role_policy(**_role_policy(aws, values)),
    fixed=("role", "name"),
)


def _group_create(aws: Aws, values: Values) -> tuple[str, Values]:
    name, logs = values["name"], aws.client("logs", values.get("region"))
    logs.create_log_group(logGroupName=name, tags=values.get("tags") or {})
    region = values.get("region", aws.region)
    return name, {"arn": f"arn:aws:logs:{region}:{aws.account}:log-group:{name}", **_group_update(aws, name, values)}


def _group_update(aws: Aws, name: str, values: Values) -> Values:
    days = int(values["retentionInDays"])
    aws.client("logs", values.get("region")).put_retention_policy(logGroupName=name, retentionInDays=days)
    return {}


def _group_read(aws: Aws, name: str, values: Values) -> Values | None:
    found = aws.client("logs", values.get("region")).describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return {"retentionInDays": found[0]["retentionInDays"]} if found else None


KINDS["aws:cloudwatch/logGroup:LogGroup"] = Kind(
    _group_create,
    lambda aws, id_, values: aws.client("logs", values.get("region")).delete_log_group(logGroupName=id_),
    _group_read,
    _group_update,
    named="name",
    fixed=frozenset({"name", "region"}),
)


def _function_create(aws: Aws, values: Values) -> tuple[str, Values]:
    name, made = values["name"], aws.client("lambda")
    told = made.create_function(
        FunctionName=name,
        PackageType=values["packageType"],
        Code={"ImageUri": values["imageUri"]},
        ImageConfig={"Command": values["imageConfig"]["commands"]},
        Architectures=values["architectures"],
        Role=values["role"],
        Tags=values.get("tags") or {},
        **_configuration(values),
    )
    _reserve(aws, name, values)
    return name, {"arn": told["FunctionArn"]}


def _configuration(values: Values) -> Values:
    return {
        "MemorySize": int(values["memorySize"]),
        "Timeout": int(values["timeout"]),
        "Environment": pascal_variables(values),
        "LoggingConfig": pascal(values["loggingConfig"]),
    }


def pascal_variables(values: Values) -> Values:
    """Return the environment; its names are left as they are."""
    return {"Variables": {key: str(value) for key, value in values["environment"]["variables"].items()}}


def _reserve(aws: Aws, name: str, values: Values) -> None:
    if (most := values.get("reservedConcurrentExecutions")) is not None:
        aws.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(most))


def _function_update(aws: Aws, name: str, values: Values) -> Values:
    aws.client("lambda").update_function_configuration(FunctionName=name, **_configuration(values))
    _reserve(aws, name, values)
    return {}


def _function_read(aws: Aws, name: str, values: Values) -> Values | None:
    found = aws.client("lambda").get_function_configuration(FunctionName=name)
    return {"memorySize": found["MemorySize"], "timeout": found["Timeout"]}


KINDS["aws:lambda/function:Function"] = Kind(
    _function_create,
    lambda aws, id_, values: aws.client("lambda").delete_function(FunctionName=id_),
    _function_read,
    _function_update,
    named="name",
    fixed=frozenset({"name", "packageType"}),
)


def _url_create(aws: Aws, values: Values) -> tuple[str, Values]:
    told = aws.client("lambda").create_function_url_config(
        FunctionName=values["functionName"], AuthType=values["authorizationType"], InvokeMode=values["invokeMode"]
    )
    return values["functionName"], {"functionUrl": told["FunctionUrl"], "functionArn": told["FunctionArn"]}


KINDS["aws:lambda/functionUrl:FunctionUrl"] = Kind(
    _url_create,
    lambda aws, id_, values: aws.client("lambda").delete_function_url_config(FunctionName=id_),
    lambda aws, id_, values: {
        "functionUrl": aws.client("lambda").get_function_url_config(FunctionName=id_)["FunctionUrl"]
    },
    takes_back=True,
)


def _permission_create(aws: Aws, values: Values) -> tuple[str, Values]:
    statement = values["statementId"]
    more = {"FunctionUrlAuthType": values["functionUrlAuthType"]} if "functionUrlAuthType" in values else {}
    if values.get("invokedViaFunctionUrl"):
        more["InvokedViaFunctionUrl"] = True
    aws.client("lambda").add_permission(
        FunctionName=values["function"],
        StatementId=statement,
        Action=values["action"],
        Principal=values["principal"],
        **more,
    )
    return statement, {}


def _permission_read(aws: Aws, id_: str, values: Values) -> Values | None:
    policy = json.loads(aws.client("lambda").get_policy(FunctionName=values["function"])["Policy"])
    return {} if any(found["Sid"] == id_ for found in policy["Statement"]) else None


KINDS["aws:lambda/permission:Permission"] = Kind(
    _permission_create,
    lambda aws, id_, values: aws.client("lambda").remove_permission(FunctionName=values["function"], StatementId=id_),
    _permission_read,
    named="statementId",
)


def _schedule(values: Values) -> Values:
    target = values["target"]
    retry = {key: int(value) for key, value in pascal(target["retryPolicy"]).items()}
    return {
        "Name": values["name"],
        "ScheduleExpression": values["scheduleExpression"],
        "FlexibleTimeWindow": pascal(values["flexibleTimeWindow"]),
        "Target": {
            "Arn": target["arn"],
            "RoleArn": target["roleArn"],
            "Input": target["input"],
            "RetryPolicy": retry,
        },
    }


def _schedule_create(aws: Aws, values: Values) -> tuple[str, Values]:
    arn = aws.client("scheduler").create_schedule(**_schedule(values))["ScheduleArn"]
    return f"default/{values['name']}", {"arn": arn}


def _schedule_update(aws: Aws, _id: str, values: Values) -> Values:
    aws.client("scheduler").update_schedule(**_schedule(values))
    return {}


KINDS["aws:scheduler/schedule:Schedule"] = Kind(
    _schedule_create,
    lambda aws, id_, values: aws.client("scheduler").delete_schedule(Name=values["name"]),
    lambda aws, id_, values: {
        "scheduleExpression": aws.client("scheduler").get_schedule(Name=values["name"])["ScheduleExpression"]
    },
    _schedule_update,
    named="name",
    fixed=frozenset({"name"}),
)


def _topic_create(aws: Aws, values: Values) -> tuple[str, Values]:
    arn = aws.client("sns").create_topic(Name=values["name"], Tags=tag_list(values))["TopicArn"]
    return arn, {"arn": arn}


KINDS["aws:sns/topic:Topic"] = Kind(
    _topic_create,
    lambda aws, id_, values: aws.client("sns").delete_topic(TopicArn=id_),
    lambda aws, id_, values: aws.client("sns").get_topic_attributes(TopicArn=id_) and {},
    lambda aws, id_, values: {},
    named="name",
    fixed=frozenset({"name"}),
)


def _put_topic_policy(aws: Aws, values: Values) -> str:
    aws.client("sns").set_topic_attributes(
        TopicArn=values["arn"], AttributeName="Policy", AttributeValue=values["policy"]
    )
    return str(values["arn"])


KINDS["aws:sns/topicPolicy:TopicPolicy"] = of_put(
    _put_topic_policy,
    lambda aws, values: aws.client("sns").get_topic_attributes(TopicArn=values["arn"]) and None,
    lambda aws, values: None,
    fixed=("arn",),
)


def _subscribe(aws: Aws, values: Values) -> tuple[str, Values]:
    arn = aws.client("sns").subscribe(
        TopicArn=values["topic"], Protocol=values["protocol"], Endpoint=values["endpoint"], ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    return arn, {"arn": arn}


KINDS["aws:sns/topicSubscription:TopicSubscription"] = Kind(
    _subscribe,
    lambda aws, id_, values: aws.client("sns").unsubscribe(SubscriptionArn=id_),
    lambda aws, id_, values: aws.client("sns").get_subscription_attributes(SubscriptionArn=id_) and {},
)


def _put_alarm(aws: Aws, values: Values) -> tuple[str, Values]:
    name = values["name"]
    keep = ("alarmDescription", "namespace", "metricName", "statistic", "extendedStatistic", "comparisonOperator")
    given = pascal({key: values[key] for key in (*keep, "treatMissingData") if key in values})
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        AlarmActions=values["alarmActions"],
        OKActions=values["okActions"],
        Threshold=float(values["threshold"]),
        Period=int(values["period"]),
        EvaluationPeriods=int(values["evaluationPeriods"]),
        DatapointsToAlarm=int(values["datapointsToAlarm"]),
        Dimensions=[{"Name": key, "Value": value} for key, value in (values.get("dimensions") or {}).items()],
        Tags=tag_list(values),
        **given,
    )
    return name, {"arn": f"arn:aws:cloudwatch:{aws.region}:{aws.account}:alarm:{name}"}


def _alarm_read(aws: Aws, name: str, values: Values) -> Values | None:
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return {"threshold": found[0]["Threshold"]} if found else None


KINDS["aws:cloudwatch/metricAlarm:MetricAlarm"] = Kind(
    _put_alarm,
    lambda aws, id_, values: aws.client("cloudwatch").delete_alarms(AlarmNames=[id_]),
    _alarm_read,
    lambda aws, id_, values: _put_alarm(aws, values)[1],
    named="name",
    fixed=frozenset({"name"}),
)


def _put_filter(aws: Aws, values: Values) -> str:
    made = values["metricTransformation"]
    transformation = {
        "metricName": made["name"],
        "metricNamespace": made["namespace"],
        "metricValue": made["value"],
        "unit": made["unit"],
    }
    aws.client("logs").put_metric_filter(
        logGroupName=values["logGroupName"],
        filterName=values["name"],
        filterPattern=values["pattern"],
        metricTransformations=[transformation],
    )
    return str(values["name"])


KINDS["aws:cloudwatch/logMetricFilter:LogMetricFilter"] = replace(
    of_put(
        _put_filter,
        lambda aws, values: aws.client("logs").describe_metric_filters(logGroupName=values["logGroupName"]) and None,
        lambda aws, values: aws.client("logs").delete_metric_filter(
            logGroupName=values["logGroupName"], filterName=values["name"]
        ),
        fixed=("logGroupName", "name"),
    ),
    named="name",
)


def _put_dashboard(aws: Aws, values: Values) -> str:
    name = str(values["dashboardName"])
    aws.client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=values["dashboardBody"])
    return name


KINDS["aws:cloudwatch/dashboard:Dashboard"] = of_put(
    _put_dashboard,
    lambda aws, values: aws.client("cloudwatch").get_dashboard(DashboardName=values["dashboardName"]) and None,
    lambda aws, values: aws.client("cloudwatch").delete_dashboards(DashboardNames=[values["dashboardName"]]),
    fixed=("dashboardName",),
)


def _notification(found: Values) -> Any:
    topics = found.get("subscriberSnsTopicArns", [])
    return {
        "Notification": {
            "NotificationType": found["notificationType"],
            "ComparisonOperator": found["comparisonOperator"],
            "Threshold": float(found["threshold"]),
            "ThresholdType": found["thresholdType"],
        },
        "Subscribers": [{"SubscriptionType": "SNS", "Address": arn} for arn in topics],
    }


def _budget_create(aws: Aws, values: Values) -> tuple[str, Values]:
    budget = {
        "BudgetName": values["name"],
        "BudgetType": values["budgetType"],
        "TimeUnit": values["timeUnit"],
        "BudgetLimit": {"Amount": values["limitAmount"], "Unit": values["limitUnit"]},
    }
    aws.client("budgets", "us-east-1").create_budget(
        AccountId=aws.account,
        Budget=budget,
        NotificationsWithSubscribers=[_notification(found) for found in values.get("notifications", [])],
    )
    return f"{aws.account}:{values['name']}", {}


def _of_budget(aws: Aws, values: Values) -> dict[str, str]:
    return {"AccountId": aws.account, "BudgetName": values["name"]}


KINDS["aws:budgets/budget:Budget"] = Kind(
    _budget_create,
    lambda aws, id_, values: aws.client("budgets", "us-east-1").delete_budget(**_of_budget(aws, values)),
    lambda aws, id_, values: aws.client("budgets", "us-east-1").describe_budget(**_of_budget(aws, values)) and {},
    named="name",
    takes_back=True,
)
