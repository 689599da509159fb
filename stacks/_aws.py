"""The platform in AWS, from a stack's configuration: the one program of `dev` and `prod`."""

from typing import Any

import pulumi

from pulumi_visgate import InferencePlatform, VisgateError
from stacks._config import StackConfig


def declare(config: StackConfig) -> dict[str, pulumi.Output[Any]]:
    """Declare the platform and return the stack's outputs.

    Args:
        config: Of the stack.
    """
    try:
        platform = InferencePlatform("visgate", _args(config))
    except VisgateError as error:
        raise pulumi.RunError(str(error)) from None
    return {
        "gateway_url": platform.gateway_url,
        "cdn_url": platform.cdn_url,
        "bucket": platform.bucket,
        "pools": platform.pools,
        "hourly_floor_usd": platform.hourly_floor_usd,
        "hourly_ceiling_usd": platform.hourly_ceiling_usd,
        "idle_monthly_usd": platform.monthly_floor_usd.apply(_cents),
    }


def _cents(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 2)


def _args(config: StackConfig) -> Any:
    return _given(
        {
            "target": "aws",
            "regions": config.regions,
            "gpu_pools": config.gpu_pools,
            "models": [model.model_dump(exclude_none=True) for model in config.models],
            "volume_size_gb": config.volume_size_gb,
            "image": config.worker_image,
            "cdn_url": config.cdn_url,
            "cors_origins": config.cors_origins,
            "expire_after_days": config.expire_after_days,
            "force_destroy": config.force_destroy,
            "tags": config.tags,
            "aws": _aws(config),
        }
    )


def _aws(config: StackConfig) -> dict[str, Any]:
    gateway = {
        "compute": config.compute,
        "image": config.gateway_image,
        "domain": config.domain,
        "zone_id": config.zone_id if config.domain else None,
        "memory_mb": config.memory_mb,
        "reserved_concurrency": config.reserved_concurrency,
        "min_tasks": config.min_tasks,
        "max_tasks": config.max_tasks,
        "shared_limits": config.shared_limits,
        "waf": config.waf,
        "waf_requests_per_ip": config.waf_requests_per_ip,
        "log_retention_days": config.log_retention_days,
        "alarm_email": config.alarm_email,
        "monthly_budget_usd": config.monthly_budget_usd,
        "runpod_hourly_limit_usd": config.runpod_hourly_limit_usd,
    }
    cdn = {
        "domain": config.cdn_domain,
        "zone_id": config.zone_id if config.cdn_domain else None,
        "signed_links": config.signed_links,
        "versioning": config.versioning,
        "log_retention_days": config.log_retention_days,
    }
    reaper = {"delete": config.reaper == "delete", "min_age_hours": config.reaper_min_age_hours}
    return _given(
        {
            "gateway": _given(gateway),
            "cdn": _given(cdn),
            "model_store": config.model_store,
            "runpod_key_secret_arn": config.runpod_key_secret_arn,
            "reaper": None if config.reaper == "off" else reaper,
        }
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
