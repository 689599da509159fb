"""Presigned URLs, held to what botocore signs."""

from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway.services import store
from pulumi_visgate.gateway.services.sigv4 import Credentials, Presigner

NOW = datetime(2026, 11, 24, 0, 59, 59, tzinfo=UTC)


@cache
def botocore_client(endpoint: str | None, region: str, own: Credentials) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=own.key_id,
        aws_secret_access_key=own.secret,
        aws_session_token=own.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def botocore_url(endpoint: str | None, region: str, own: Credentials, bucket: str, key: str, **params: Any) -> str:
    asked = {"ContentType": params["content_type"]}
    return of_operation(
        "put_object", endpoint, region, own, {"Bucket": bucket, "Key": key} | asked, ttl_s=params["ttl_s"]
    )


def of_operation(
    operation: str, endpoint: str | None, region: str, own: Credentials, params: dict[str, Any], *, ttl_s: int
) -> str:
    client = botocore_client(endpoint, region, own)
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        url: str = client.generate_presigned_url(operation, Params=params, ExpiresIn=ttl_s)
    return url


def assert_same(ours: str, theirs: str) -> None:
    """Compare URLs but for the order of the query, which no signature knows."""
    one, other = urlsplit(ours), urlsplit(theirs)
    assert one[:3] == other[:3]
    assert parse_qs(one.query) == parse_qs(other.query)


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("http://127.0.0.1:9000", "us-east-1"),
        ("http://s3.test", "eu-central-1"),
        ("https://s3.test:443", "us-east-1"),
        ("http://s3.test:80", "us-east-1"),
        ("https://S3.Test:8443", "us-east-1"),
        ("http://[::1]:9000", "us-east-1"),
        ("https://s3.test/below/a/path", "us-east-1"),
    ],
)
@pytest.mark.parametrize("token", [None, "FwoG+/=token"])
def test_it_signs_what_botocore_signs(endpoint: str, region: str, token: str | None) -> None:
    own = Credentials("AKIAEXAMPLE", "secret+/=", token)
    ours = Presigner(endpoint, region, lambda: own, clock=lambda: NOW)
    params: dict[str, Any] = {"content_type": "image/png", "ttl_s": 900}
    key = "5f0c8b1de6f94f3c/task_01k5d8v0/0.png"
    assert_same(
        ours.url("PUT", "artifacts", key, **params), botocore_url(endpoint, region, own, "artifacts", key, **params)
    )


@pytest.mark.parametrize(
    ("method", "operation", "query", "params"),
    [
        ("GET", "get_object", {}, {}),
        ("HEAD", "head_object", {}, {}),
        ("PUT", "upload_part", {"uploadId": "a+b/c=", "partNumber": "7"}, {"UploadId": "a+b/c=", "PartNumber": 7}),
        ("POST", "complete_multipart_upload", {"uploadId": "x y"}, {"UploadId": "x y"}),
        ("DELETE", "abort_multipart_upload", {"uploadId": "x"}, {"UploadId": "x"}),
        ("POST", "create_multipart_upload", {"uploads": ""}, {}),
    ],
)
def test_it_signs_the_other_requests_as_botocore_does(
    method: str, operation: str, query: dict[str, str], params: dict[str, Any]
) -> None:
    own = Credentials("AKIAEXAMPLE", "secret", "token")
    signer = Presigner("https://s3.test", "us-east-1", lambda: own, clock=lambda: NOW)
    ours = signer.url(method, "artifacts", "a/0.mp4", ttl_s=60, query=query)
    asked = {"Bucket": "artifacts", "Key": "a/0.mp4"} | params
    theirs = of_operation(operation, "https://s3.test", "us-east-1", own, asked, ttl_s=60)
    one, other = (parse_qs(urlsplit(url).query, keep_blank_values=True) for url in (ours, theirs))
    assert one == other


def test_it_signs_the_length_of_a_body_as_botocore_does() -> None:
    own = Credentials("AKIAEXAMPLE", "secret")
    signer = Presigner("https://s3.test", "us-east-1", lambda: own, clock=lambda: NOW)
    ours = signer.url("PUT", "artifacts", "in/a.png", ttl_s=60, content_type="image/png", content_length=402_117)
    asked = {"Bucket": "artifacts", "Key": "in/a.png", "ContentType": "image/png", "ContentLength": 402_117}
    assert_same(ours, of_operation("put_object", "https://s3.test", "us-east-1", own, asked, ttl_s=60))


@given(key=st.from_regex(r"[ -~äß€😀]{1,40}", fullmatch=True).filter(lambda key: key.strip("./ ") == key))
def test_it_writes_keys_as_botocore_writes_them(key: str) -> None:
    own = Credentials("AKIAEXAMPLE", "secret")
    signer = Presigner("http://s3.test", "us-east-1", lambda: own, clock=lambda: NOW)
    params: dict[str, Any] = {"content_type": "video/mp4", "ttl_s": 60}
    assert_same(
        signer.url("PUT", "b-1", key, **params), botocore_url("http://s3.test", "us-east-1", own, "b-1", key, **params)
    )


def test_the_key_of_a_day_is_not_used_on_the_next_and_not_for_another_secret() -> None:
    days = iter((NOW, NOW.replace(day=25), NOW, NOW))
    owns = iter([Credentials("A", "one")] * 3 + [Credentials("A", "two")])
    signer = Presigner("http://s3.test", "us-east-1", lambda: next(owns), clock=lambda: next(days))
    first, tomorrow, again, other = (signer.url("PUT", "b", "k", content_type="t", ttl_s=60) for _ in range(4))
    assert first == again
    assert len({first, tomorrow, other}) == 3


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1"])
def test_without_an_endpoint_it_is_the_one_of_aws(region: str, new_settings: Any) -> None:
    signer = store._signer(new_settings(s3_endpoint=None, s3_region=region))
    own = Credentials("AKIAEXAMPLEEXAMPLE00", "s3-secret-canary-000000000000")
    url = signer.url("PUT", "artifacts", "k", content_type="image/png", ttl_s=60)
    theirs = botocore_url(None, region, own, "artifacts", "k", content_type="image/png", ttl_s=60)
    assert urlsplit(url)[:3] == urlsplit(theirs)[:3]


def test_without_keys_it_is_the_identity_of_the_process(monkeypatch: pytest.MonkeyPatch, new_settings: Any) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAOFTHEPROCESS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of a role")
    signer = store._signer(new_settings(s3_access_key_id=None, s3_secret_access_key=None))
    query = parse_qs(urlsplit(signer.url("PUT", "b", "k", content_type="t", ttl_s=60)).query)
    assert query["X-Amz-Credential"][0].startswith("ASIAOFTHEPROCESS/")
    assert query["X-Amz-Security-Token"] == ["of a role"]


def test_nothing_that_signs_is_shown() -> None:
    own = Credentials("AKIAEXAMPLE", "canary-secret", "canary-token")
    signer = Presigner("http://s3.test", "us-east-1", lambda: own)
    signer.url("PUT", "b", "k", content_type="t", ttl_s=60)
    assert "canary" not in f"{own!r} {signer!r}"
