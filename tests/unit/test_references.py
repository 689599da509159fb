"""Settings given by reference: what is read, and what is said when it cannot be."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from pulumi_visgate.references import UnreadableReferenceError, referenced

REGION = "eu-central-1"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


def secret(**values: str) -> tuple[Any, str]:
    client = boto3.client("secretsmanager", region_name=REGION)
    return client, client.create_secret(Name="visgate", SecretString=json.dumps(values))["ARN"]


def test_plain_settings_ask_nobody() -> None:
    assert referenced({"X_HOST": "arn:aws:iam::123456789012:role/x", "X_PORT": "1"}, "X_") == {}


def test_a_secret_is_read_by_key_and_version(aws: None) -> None:
    client, arn = secret(signing_key="old", other="one")
    version = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    [old] = version
    client.put_secret_value(SecretId=arn, SecretString=json.dumps({"signing_key": "new"}))
    environ = {"X_SIGNING_KEY": f"{arn}#signing_key", "X_OTHER": f"{arn}#other@{old}", "Y_THIRD": arn, "X_PORT": "1"}
    assert referenced(environ, "X_") == {"signing_key": "new", "other": "one"}


def test_a_secret_without_a_key_is_taken_as_it_is(aws: None) -> None:
    client = boto3.client("secretsmanager", region_name=REGION)
    arn = client.create_secret(Name="key", SecretString="rpa_KEY")["ARN"]
    assert referenced({"X_RUNPOD_API_KEY": arn}, "X_") == {"runpod_api_key": "rpa_KEY"}


def test_a_parameter_is_read(aws: None) -> None:
    client = boto3.client("ssm", region_name=REGION)
    client.put_parameter(Name="/visgate/url", Value="https://d1.cloudfront.net", Type="String")
    arn = f"arn:aws:ssm:{REGION}:123456789012:parameter/visgate/url"
    assert referenced({"X_PUBLIC_URL": arn}, "X_") == {"public_url": "https://d1.cloudfront.net"}


def test_what_cannot_be_read_is_named_without_what_it_holds(aws: None) -> None:
    _, arn = secret(signing_key="a-canary")
    for reference, said in (
        (f"{arn}#nothing", "no JSON object with nothing"),
        (f"arn:aws:secretsmanager:{REGION}:123456789012:secret:gone-AbCdEf", "ResourceNotFoundException"),
    ):
        with pytest.raises(UnreadableReferenceError, match=said) as raised:
            referenced({"X_SIGNING_KEY": reference}, "X_")
        assert "X_SIGNING_KEY" in str(raised.value)
        assert "a-canary" not in str(raised.value)
        assert raised.value.__cause__ is None
