"""Signing in to ECR without a password that anyone keeps."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from pulumi_visgate.resources._ecr_login import EcrLoginError, ecr_login

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def test_a_token_of_the_account_is_user_and_password(credentials: None) -> None:
    found = ecr_login(HOST)
    assert found is not None
    assert found[0] == "AWS"
    assert found[1]


@pytest.mark.parametrize(
    "host", ["ghcr.io", "docker.io", "127.0.0.1:5000", f"{HOST}.evil.example", "ecr.amazonaws.com"]
)
def test_another_registry_gets_none(host: str) -> None:
    assert ecr_login(host) is None


def test_without_credentials_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(EcrLoginError, match="NoCredentialsError"):
        ecr_login(HOST)
