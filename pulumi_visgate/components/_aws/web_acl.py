"""The abuse shield at the edge: a rate rule for each address, and AWS's managed rules."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_aws import cloudwatch, wafv2

from pulumi_visgate.components._aws._children import EDGE_REGION, AwsFamily

PARTS = ("web_acl", "web_acl_log_group", "web_acl_logging")
RATE_WINDOW_S = 300
SECRET_HEADERS = ("authorization", "cookie", "x-hf-token", "x-fal-key", "x-visgate-origin")
"""Headers that may carry a caller's key; logs show them as redacted."""
# Rules of the core set that look for attacks in what is a prompt, or a picture as a data URI, here.
_BODY_RULES = ("SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "GenericRFI_BODY")
_QUERY_RULES = ("GenericRFI_QUERYARGUMENTS",)  # fal's clients send their webhook's URL in the query
_MANAGED = (
    ("AWSManagedRulesAmazonIpReputationList", ()),
    ("AWSManagedRulesKnownBadInputsRuleSet", ()),
    ("AWSManagedRulesCommonRuleSet", (*_BODY_RULES, *_QUERY_RULES)),
)


def web_acl(aws: AwsFamily, name: str, *, requests_per_ip: int, log_retention_days: int) -> wafv2.WebAcl:
    """Make the web ACL of a distribution.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        requests_per_ip: Requests of one address in five minutes that pass.
        log_retention_days: Days that its log of refusals is kept.
    """
    rate = wafv2.WebAclRuleArgs(
        name="rate-per-address",
        priority=0,
        action=wafv2.WebAclRuleActionArgs(block=wafv2.WebAclRuleActionBlockArgs()),
        statement=wafv2.WebAclRuleStatementArgs(
            rate_based_statement=wafv2.WebAclRuleStatementRateBasedStatementArgs(
                limit=requests_per_ip, aggregate_key_type="IP", evaluation_window_sec=RATE_WINDOW_S
            )
        ),
        visibility_config=_visible("rate-per-address"),
    )
    managed = [_managed(place, rules, counted) for place, (rules, counted) in enumerate(_MANAGED, start=1)]
    acl = aws.make(
        "web_acl",
        wafv2.WebAcl,
        name,
        wafv2.WebAclArgs(
            scope="CLOUDFRONT",
            description="What may reach the gateway",
            default_action=wafv2.WebAclDefaultActionArgs(allow=wafv2.WebAclDefaultActionAllowArgs()),
            rules=[rate, *managed],
            visibility_config=wafv2.WebAclVisibilityConfigArgs(
                # Sampled requests would show callers' keys in the console.
                cloudwatch_metrics_enabled=True,
                metric_name="gateway",
                sampled_requests_enabled=False,
            ),
            region=EDGE_REGION,
        ),
    )
    _log_refusals(aws, name, acl, log_retention_days)
    return acl


def _managed(priority: int, rules: str, counted: Sequence[str]) -> wafv2.WebAclRuleArgs:
    count = wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseArgs(
        count=wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideActionToUseCountArgs()
    )
    overrides = [
        wafv2.WebAclRuleStatementManagedRuleGroupStatementRuleActionOverrideArgs(name=rule, action_to_use=count)
        for rule in counted
    ]
    return wafv2.WebAclRuleArgs(
        name=rules,
        priority=priority,
        override_action=wafv2.WebAclRuleOverrideActionArgs(none=wafv2.WebAclRuleOverrideActionNoneArgs()),
        statement=wafv2.WebAclRuleStatementArgs(
            managed_rule_group_statement=wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(
                vendor_name="AWS", name=rules, rule_action_overrides=overrides or None
            )
        ),
        visibility_config=_visible(rules),
    )


def _visible(metric: str) -> wafv2.WebAclRuleVisibilityConfigArgs:
    return wafv2.WebAclRuleVisibilityConfigArgs(
        cloudwatch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=False
    )


def _log_refusals(aws: AwsFamily, name: str, acl: wafv2.WebAcl, retention_days: int) -> None:
    group = aws.make(
        "web_acl_log_group",
        cloudwatch.LogGroup,
        f"{name}-log",
        cloudwatch.LogGroupArgs(
            name_prefix=f"aws-waf-logs-{name}-",  # the only names that WAF writes to
            retention_in_days=retention_days,
            region=EDGE_REGION,
        ),
    )
    refused = wafv2.WebAclLoggingConfigurationLoggingFilterFilterArgs(
        behavior="KEEP",
        requirement="MEETS_ANY",
        conditions=[
            wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionArgs(
                action_condition=wafv2.WebAclLoggingConfigurationLoggingFilterFilterConditionActionConditionArgs(
                    action=action
                )
            )
            for action in ("BLOCK", "COUNT")
        ],
    )
    headers = [
        wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
            single_header=wafv2.WebAclLoggingConfigurationRedactedFieldSingleHeaderArgs(name=header)
        )
        for header in SECRET_HEADERS
    ]
    query = wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
        query_string=wafv2.WebAclLoggingConfigurationRedactedFieldQueryStringArgs()
    )
    aws.make(
        "web_acl_logging",
        wafv2.WebAclLoggingConfiguration,
        f"{name}-logging",
        wafv2.WebAclLoggingConfigurationArgs(
            resource_arn=acl.arn,
            log_destination_configs=[group.arn],
            logging_filter=wafv2.WebAclLoggingConfigurationLoggingFilterArgs(
                default_behavior="DROP", filters=[refused]
            ),
            redacted_fields=[*headers, query],
            region=EDGE_REGION,
        ),
    )
