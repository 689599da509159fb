"""Policies for stacks with this library's resources, to check previews and updates with (Pulumi's CrossGuard).

The folder `policy/` of the repository is a policy pack of all of them. A pack of your own takes them along:

    from pulumi_visgate.policies import policies, start

    start("acme", [*policies(), my_policy])
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from pulumi_visgate.policies import _settings as settings
from pulumi_visgate.policies import rules
from pulumi_visgate.policies._resources import Resource, keep_secretness

__all__ = ["policies", "start"]

S = TypeVar("S", bound=settings.Settings)


def policies() -> list[Policy]:
    """Return all policies; those that need a limit to compare with do nothing until one is set."""
    must, should = EnforcementLevel.MANDATORY, EnforcementLevel.ADVISORY
    return [
        _for_stack(
            "monthly-ceiling",
            "The stack stays within its budget.",
            rules.monthly_ceiling,
            settings.MonthlyCeiling,
            must,
        ),
        _for_stack(
            "always-on-workers",
            "Few workers run when nobody needs them.",
            rules.always_on_workers,
            settings.AlwaysOnWorkers,
            must,
        ),
        _for_each(
            "allowed-regions", "Data and workers stay where they may be.", rules.allowed_regions, settings.Regions, must
        ),
        _for_each("max-workers", "No endpoint grows without bound.", rules.max_workers, settings.MaxWorkers, must),
        _for_each(
            "no-plain-secrets", "Secrets are given as secrets.", rules.no_plain_secrets, settings.PlainSecrets, must
        ),
        _for_each("private-buckets", "Buckets are not public.", rules.private_buckets, settings.PrivateBuckets, must),
        _for_each(
            "pinned-images",
            "Images stay the same until the program says otherwise.",
            rules.pinned_images,
            settings.PinnedImages,
            should,
        ),
    ]


def start(name: str, of: Sequence[Policy]) -> None:
    """Serve a policy pack to the engine until it ends.

    Args:
        name: Of the pack.
        of: Its policies.
    """
    keep_secretness()
    PolicyPack(name, policies=list(of))


def _for_each(
    name: str,
    description: str,
    rule: Callable[[Resource, S], Iterator[str]],
    of: type[S],
    level: EnforcementLevel,
) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        found = Resource.of(args.urn, args.name, args.resource_type, args.props)
        for message in rule(found, of.of(_config(args))):
            report_violation(message, None)

    return ResourceValidationPolicy(name, description, validate, level, of.schema_of())


def _for_stack(
    name: str,
    description: str,
    rule: Callable[[Sequence[Resource], S], Iterator[str]],
    of: type[S],
    level: EnforcementLevel,
) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
        found = [Resource.of(one.urn, one.name, one.resource_type, one.props) for one in args.resources]
        for message in rule(found, of.of(_config(args))):
            report_violation(message, None)

    return StackValidationPolicy(name, description, validate, level, of.schema_of())


def _config(args: ResourceValidationArgs | StackValidationArgs) -> Mapping[str, Any]:
    config: Mapping[str, Any] = args.get_config()
    return config
