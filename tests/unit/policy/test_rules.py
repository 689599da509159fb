"""What each policy refuses, and what it lets pass."""

from typing import Any

import pytest

from pulumi_visgate.policies import _settings as settings
from pulumi_visgate.policies import rules
from pulumi_visgate.policies._resources import UNKNOWN, SecretText
from tests.unit.policy.conftest import resource

RUNPOD_KEY = "rpa_CANARYCANARYCANARYCANARY00"


def _priced(name: str, floor: Any, ceiling: Any) -> Any:
    return resource("Endpoint", name, hourly_floor_usd=floor, hourly_ceiling_usd=ceiling)


def test_the_budget_is_that_of_the_whole_stack() -> None:
    stack = [_priced("a", 0.0, 1.0), _priced("b", 0.5, 2.0), resource("Bucket", "c")]
    config = settings.MonthlyCeiling(max_monthly_usd=2190.0, max_idle_monthly_usd=365.0)
    assert list(rules.monthly_ceiling(stack, config)) == []
    tight = settings.MonthlyCeiling(max_monthly_usd=2189.0, max_idle_monthly_usd=364.0)
    busy, idle = rules.monthly_ceiling(stack, tight)
    assert busy == (
        "With every worker running, the stack costs $2,190.00 a month, and maxMonthlyUsd is $2,189.00. Most of it:"
        " b $1,460.00, a $730.00. Lower max_workers there, or raise maxMonthlyUsd."
    )
    assert idle.startswith("Even idle, the stack costs $365.00 a month, and maxIdleMonthlyUsd is $364.00.")
    assert list(rules.monthly_ceiling(stack, settings.MonthlyCeiling())) == []


def test_a_pool_that_is_warm_by_its_windows_is_not_idle_for_nothing() -> None:
    pool = resource("WarmPool", "p", hourly_floor_usd=0.0, hourly_ceiling_usd=2.0, monthly_floor_usd=365.0)
    (found,) = rules.monthly_ceiling([pool], settings.MonthlyCeiling(max_idle_monthly_usd=300.0))
    assert found.startswith("Even idle, the stack costs $365.00 a month")
    cheap = resource("WarmPool", "p", hourly_floor_usd=0.0, hourly_ceiling_usd=2.0, monthly_floor_usd=10.0)
    assert list(rules.monthly_ceiling([cheap], settings.MonthlyCeiling(max_idle_monthly_usd=10.0))) == []


def test_an_unknown_price_is_no_zero() -> None:
    stack = [_priced("a", UNKNOWN, UNKNOWN), _priced("b", None, None), resource("NetworkVolume", "v")]
    assert list(rules.monthly_ceiling(stack, settings.MonthlyCeiling(max_monthly_usd=1.0))) == []
    (found,) = rules.monthly_ceiling(stack, settings.MonthlyCeiling(max_monthly_usd=1.0, refuse_unknown=True))
    assert "the price of a, b, v is not known" in found
    (over,) = rules.monthly_ceiling([*stack, _priced("c", 0.0, 1.0)], settings.MonthlyCeiling(max_monthly_usd=1.0))
    assert "costs at least $730.00" in over


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("NetworkVolume", {"data_center": "US-KS-2"}, "data_center has US-KS-2; only EU-*, SEA-1 is allowed"),
        ("NetworkVolume", {"data_center": "EU-RO-1"}, ""),
        ("NetworkVolume", {"data_center": "SEA-1"}, ""),
        ("NetworkVolume", {"data_center": UNKNOWN}, ""),
        ("ModelCache", {"data_center": "US-KS-2"}, "US-KS-2"),
        ("Endpoint", {"data_center_ids": ["EU-RO-1", "US-KS-2"]}, "data_center_ids has US-KS-2"),
        ("Endpoint", {"data_center_ids": ["EU-RO-1", UNKNOWN]}, ""),
        ("Endpoint", {"data_center_ids": UNKNOWN}, ""),
        ("WarmPool", {}, "data_center_ids is empty"),
        ("WarmPool", {"network_volume_ids": [UNKNOWN]}, ""),
        ("Bucket", {}, ""),
    ],
)
def test_regions(kind: str, values: dict[str, Any], words: str) -> None:
    found = list(rules.allowed_regions(resource(kind, **values), settings.Regions(allowed=["EU-*", "SEA-1"])))
    assert len(found) == bool(words)
    assert all(words in message for message in found)
    assert list(rules.allowed_regions(resource(kind, **values), settings.Regions())) == []


def test_always_on_workers_are_counted_over_the_stack_with_the_widest_window() -> None:
    stack = [
        resource("WarmPool", "day", policy="always_on", min_workers=1.0),
        resource("WarmPool", "hours", policy="scheduled_warm", min_workers=0.0, windows=[{"min_workers": 2.0}, {}]),
        resource("Endpoint", "later", min_workers=UNKNOWN),
        resource("Endpoint", "off", min_workers=0.0),
    ]
    assert list(rules.always_on_workers(stack, settings.AlwaysOnWorkers(max_workers=3))) == []
    (found,) = rules.always_on_workers(stack, settings.AlwaysOnWorkers())
    assert found.startswith("3 workers are kept")
    assert "(day 1, hours 2); 2 may be." in found


def test_endpoints_are_bounded() -> None:
    config = settings.MaxWorkers(max_workers=5)
    assert list(rules.max_workers(resource("Endpoint", max_workers=5.0), config)) == []
    assert list(rules.max_workers(resource("aws:Thing", max_workers=50.0), config)) == []
    (found,) = rules.max_workers(resource("WarmPool", "big", max_workers=6.0), config)
    assert found == "WarmPool big: max_workers is 6, above the 5 allowed. Lower it, or raise maxWorkers of this policy."


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"env": {"A": RUNPOD_KEY}}, "env.A"),
        ({"env": {"A": SecretText(RUNPOD_KEY)}}, ""),
        ({"env": {"DB_PASSWORD": "hunter2"}}, "env.DB_PASSWORD"),
        ({"env": {"DB_PASSWORD": SecretText("hunter2")}}, ""),
        ({"env": {"DB_PASSWORD": ""}}, ""),
        ({"env": {"DB_PASSWORD": UNKNOWN}}, ""),
        ({"env": {"TOKEN_TTL": "5", "KEYBOARD": "de"}}, ""),
        ({"environment": {"variables": {"API_KEY": "x"}}}, "environment.variables.API_KEY"),
        ({"containers": [{"envs": [{"name": "HF_TOKEN", "value": "x"}]}]}, "containers.0.envs.HF_TOKEN"),
        ({"containers": [{"envs": [{"name": "HF_TOKEN", "value": SecretText("x")}]}]}, ""),
        ({"containers": [{"envs": [{"name": "HF_TOKEN", "value": UNKNOWN}]}]}, ""),
        ({"userData": f"export KEY={RUNPOD_KEY}"}, "userData"),
        ({"tags": {"token": "not a variable"}}, ""),
        ({"__provider": RUNPOD_KEY}, ""),
    ],
)
def test_plain_secrets_are_found_in_resources_of_every_package(values: dict[str, Any], path: str) -> None:
    found = list(rules.no_plain_secrets(resource("aws:Function", "api", **values), settings.PlainSecrets()))
    assert len(found) == bool(path)
    assert all(f"aws:Function api: {path} " in message for message in found)
    assert all(RUNPOD_KEY not in message and "hunter2" not in message for message in found)
    allowed = settings.PlainSecrets(allowed=["api.*"])
    assert list(rules.no_plain_secrets(resource("aws:Function", "api", **values), allowed)) == []


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("Bucket", {"public_read": True}, "public_read is true"),
        ("Bucket", {"public_read": False}, ""),
        ("Bucket", {"public_read": UNKNOWN}, ""),
        ("aws:BucketV2", {"acl": "public-read"}, "acl is public-read"),
        ("aws:BucketV2", {"acl": "private"}, ""),
        ("aws:Topic", {"public_read": True}, ""),
    ],
)
def test_buckets(kind: str, values: dict[str, Any], words: str) -> None:
    found = list(rules.private_buckets(resource(kind, "cdn-logs", **values), settings.PrivateBuckets()))
    assert len(found) == bool(words)
    assert all(words in message for message in found)
    allowed = settings.PrivateBuckets(allowed=["cdn-*"])
    assert list(rules.private_buckets(resource(kind, "cdn-logs", **values), allowed)) == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("acme/worker:1.2", ""),
        ("acme/worker@sha256:abc", ""),
        ("acme/worker:latest", "what latest is changes"),
        ("registry:5000/acme/worker", "without a tag"),
        (UNKNOWN, ""),
    ],
)
def test_images(image: Any, words: str) -> None:
    found = list(rules.pinned_images(resource("WarmPool", image=image), settings.PinnedImages()))
    assert len(found) == bool(words)
    assert all(words in message for message in found)


def test_a_digest_can_be_asked_for() -> None:
    config = settings.PinnedImages(require_digest=True)
    (found,) = rules.pinned_images(resource("Template", image="registry:5000/acme/worker:1"), config)
    assert "Name it as registry:5000/acme/worker@sha256:" in found
    assert list(rules.pinned_images(resource("Template", image="acme/worker@sha256:abc"), config)) == []
