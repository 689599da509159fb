"""What the policies ask for: functions from resources and settings to what is wrong, which know no engine."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pulumi_visgate.policies import _settings as settings
from pulumi_visgate.policies._resources import POOL_KINDS, UNKNOWN, Resource, SecretText, the_dearest
from pulumi_visgate.preview.money import CEILING_NOTE, HOURS_A_MONTH, PRICED_KINDS, idle_usd
from visgate_contract.redaction import Redactor

_ENV_NAMES = re.compile(r"(?i)^(env|envs|environment|environments|variables|env_?vars|environment_?variables)$")
_SECRET_NAME = re.compile(
    r"(?i)(^|[_-])(password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)$"
)
_REFERENCE = re.compile(r"arn:aws[a-z-]*:(secretsmanager|ssm):")  # says where a secret is, and is none
_IMAGE_KINDS = POOL_KINDS | {"Template"}
_SHAPES = Redactor()


def monthly_ceiling(resources: Sequence[Resource], config: settings.MonthlyCeiling) -> Iterator[str]:
    """Compare what the whole stack would cost in a month with the limits."""
    priced = [found for found in resources if _is_priced(found)]
    limits = (
        (_busy_usd, config.max_monthly_usd, "maxMonthlyUsd", "With every worker running", "Lower max_workers"),
        (_idle_usd, config.max_idle_monthly_usd, "maxIdleMonthlyUsd", "Even idle", "Lower min_workers"),
    )
    for hourly_usd, most, setting, when, fix in limits:
        if most is None:
            continue
        amounts = [(found.name, (hourly_usd(found) or 0.0) * HOURS_A_MONTH) for found in priced]
        sum_usd = sum(usd for _, usd in amounts)
        unknown = [found.name for found in priced if hourly_usd(found) is None]
        if round(sum_usd, 2) > most:  # both are cents
            yield (
                f"{when}, the stack costs {'at least ' if unknown else ''}${sum_usd:,.2f} a month, and {setting} is"
                f" ${most:,.2f}. Most of it: {the_dearest(amounts)}. {fix} there, or raise {setting}."
            )
        elif unknown and config.refuse_unknown:
            yield (
                f"{setting} is ${most:,.2f}, and the price of {', '.join(unknown)} is not known. Preview again once it"
                " is, or set refuseUnknown to false."
            )


def _busy_usd(found: Resource) -> float | None:
    return found.number(CEILING_NOTE)


def _idle_usd(found: Resource) -> float | None:
    return idle_usd(found.values)


def _is_priced(found: Resource) -> bool:
    return found.kind in PRICED_KINDS or CEILING_NOTE in found.values


def allowed_regions(found: Resource, config: settings.Regions) -> Iterator[str]:
    """Look where data lies and workers run."""
    if not config.allowed:
        return
    allowed = ", ".join(config.allowed)
    places = [("data_center", found.known("data_center"))] if isinstance(found.known("data_center"), str) else []
    if found.kind in POOL_KINDS:
        places += [("data_center_ids", place) for place in found.texts("data_center_ids")]
        anywhere = not found.values.get("data_center_ids") and not found.values.get("network_volume_ids")
        if anywhere:
            yield (
                f"{found}: data_center_ids is empty, so workers may run anywhere; only {allowed} is allowed."
                " Name the data centers there."
            )
    for name, place in places:
        if not any(fnmatchcase(str(place), pattern) for pattern in config.allowed):
            yield f"{found}: {name} has {place}; only {allowed} is allowed. Choose one of these."


def always_on_workers(resources: Sequence[Resource], config: settings.AlwaysOnWorkers) -> Iterator[str]:
    """Count the workers that are never stopped; of a scheduled pool, those of its widest window."""
    kept = [(found.name, _kept(found)) for found in resources if found.kind in POOL_KINDS]
    count = sum(number for _, number in kept)
    if count > config.max_workers:
        whose = ", ".join(f"{name} {number}" for name, number in kept if number)
        yield (
            f"{count} workers are kept and paid for around the clock or in windows ({whose}); {config.max_workers} may"
            " be. Lower min_workers, use policy on_demand, or raise maxWorkers of this policy."
        )


def _kept(found: Resource) -> int:
    windows = found.known("windows")
    numbers = [found.number("min_workers") or 0.0]
    for window in windows if isinstance(windows, list) else ():
        number = window.get("min_workers", 1) if isinstance(window, Mapping) else 0
        numbers.append(float(number) if isinstance(number, int | float) else 1.0)
    return int(max(numbers))


def max_workers(found: Resource, config: settings.MaxWorkers) -> Iterator[str]:
    """Bound how far one endpoint or pool may grow."""
    most = found.number("max_workers")
    if found.kind in POOL_KINDS and most is not None and most > config.max_workers:
        yield (
            f"{found}: max_workers is {most:.0f}, above the {config.max_workers} allowed. Lower it, or raise"
            " maxWorkers of this policy."
        )


def no_plain_secrets(found: Resource, config: settings.PlainSecrets) -> Iterator[str]:
    """Find secrets that the program gives in clear, in resources of every package."""
    for path, value, in_env in _texts(found.values):
        where = ".".join(path)
        if isinstance(value, SecretText) or not value or _is_allowed(f"{found.name}.{where}", config.allowed):
            continue
        if _SHAPES.text(value) != value:
            reason = "holds what looks like a key"
        elif in_env and _SECRET_NAME.search(path[-1]) and not _REFERENCE.match(value):
            reason = "is named like a secret"
        else:
            continue
        yield (
            f"{found}: {where} {reason} and is not marked as secret, so it would stand in the state in clear."
            " Take it from pulumi.Config().require_secret(), or wrap it in pulumi.Output.secret()."
        )


def _is_allowed(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _texts(
    values: Any, path: tuple[str, ...] = (), *, in_env: bool = False
) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """Yield all texts with their path, and whether they are environment variables."""
    if isinstance(values, str):
        yield path, values, in_env
    elif isinstance(values, Mapping):
        for key, value in values.items():
            if not str(key).startswith("__"):
                yield from _texts(value, (*path, str(key)), in_env=in_env or bool(_ENV_NAMES.match(str(key))))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            name = _pair_name(value) if in_env else None
            if name is not None:
                yield from _texts(value.get("value"), (*path, name), in_env=True)
            else:
                yield from _texts(value, (*path, str(index)), in_env=in_env)


def _pair_name(value: Any) -> str | None:
    """Return the name of a variable that is given as a pair of name and value, as containers have them."""
    if isinstance(value, Mapping) and "value" in value and value["value"] is not UNKNOWN:
        name = value.get("name")
        return name if isinstance(name, str) else None
    return None


def private_buckets(found: Resource, config: settings.PrivateBuckets) -> Iterator[str]:
    """Keep buckets from being read by everybody."""
    if not found.kind.rpartition(":")[2].startswith("Bucket") or _is_allowed(found.name, config.allowed):
        return
    if found.known("public_read") is True:
        yield f"{found}: public_read is true, so everybody can read it. Take it out and hand out presigned URLs."
    acl = found.known("acl")
    if isinstance(acl, str) and acl.startswith("public-"):
        yield f"{found}: acl is {acl}, so everybody can read it. Take it out and hand out presigned URLs."


def pinned_images(found: Resource, config: settings.PinnedImages) -> Iterator[str]:
    """Ask for images that are the same tomorrow."""
    image = found.known("image")
    if found.kind not in _IMAGE_KINDS or not isinstance(image, str) or "@" in image:
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    if config.require_digest:
        yield f"{found}: image is {image}, without a digest. Name it as {image.removesuffix(':' + tag)}@sha256:…."
    elif not tag:
        yield f"{found}: image is {image}, without a tag, which means latest. Name a version or a digest."
    elif tag in config.floating:
        yield f"{found}: image is {image}, and what {tag} is changes. Name a version or a digest."
