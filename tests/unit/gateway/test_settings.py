from typing import Any

import pytest
from pydantic import ValidationError

from pulumi_visgate.gateway.settings import Settings

GIVEN = {
    "SIGNING_KEY": "signing-key-canary-0123456789abc",
    "IMAGE": "registry.example/visgate-worker:1",
    "GPU_POOLS": '["ADA_24"]',
    "DATA_CENTER_IDS": '["EU-RO-1"]',
    "MODELS": '[{"model_id": "a/b", "tasks": ["text2img"], "policy": "always_on", "network_volume_ids": ["v1"]}]',
    "BUCKET": "artifacts",
    "CDN_BASE_URL": "https://cdn.example/",
    "S3_ACCESS_KEY_ID": "AKIACANARYCANARY0000",
    "S3_SECRET_ACCESS_KEY": "s3-canary-0000",
    "ALLOW_LOOPBACK": "true",
}


def read(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Settings:
    for name, value in {**GIVEN, **changes}.items():
        if value is None:
            monkeypatch.delenv(f"VISGATE_GATEWAY_{name}", raising=False)
        else:
            monkeypatch.setenv(f"VISGATE_GATEWAY_{name}", value)
    return Settings()


def test_everything_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    offer = settings.offered("a/b")
    assert offer is not None
    assert (offer.policy, offer.network_volume_ids) == ("always_on", ("v1",))
    assert (settings.gpu_pools, settings.cdn_base_url, settings.allow_loopback) == (
        ("ADA_24",),
        "https://cdn.example",
        True,
    )
    assert settings.offered("c/d") is None


def test_settings_are_frozen_and_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    with pytest.raises(ValidationError):
        settings.image = "other"  # type: ignore[misc]
    assert "canary" not in repr(settings).lower()
    assert len(settings.secrets()) == 3


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SIGNING_KEY": "short-canary"}, "signing_key"),
        ({"SIGNING_KEY": None}, "signing_key"),
        ({"GPU_POOLS": "[]"}, "gpu_pools"),
        ({"CDN_BASE_URL": "cdn.example"}, "cdn_base_url"),
        ({"PORT": "canary"}, "port"),
        ({"UPLOAD_TTL_S": "60", "JOB_TTL_S": "3600"}, "upload_ttl_s"),
        ({"S3_SECRET_ACCESS_KEY": None}, "s3_secret_access_key"),
        ({"MODELS": '[{"model_id": ""}]'}, "models"),
    ],
)
def test_wrong_settings_are_named_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named) as caught:
        read(monkeypatch, **changes)
    assert "canary" not in str(caught.value).lower()
