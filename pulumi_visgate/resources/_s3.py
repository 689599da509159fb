"""S3 clients and what the resources do with them; boto3 is imported late, because most programs need none."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pulumi_visgate.resources._settings import S3Settings
from pulumi_visgate.resources.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 4
DELETE_BATCH = 1000  # what DeleteObjects takes at once


def s3_client(settings: S3Settings) -> "S3Client":
    """Make a client with bounded waits; path-style addresses, as an own store has no wildcard DNS."""
    import boto3  # noqa: PLC0415, slow to import
    from botocore.config import Config  # noqa: PLC0415, slow to import

    secret = settings.secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
        ),
    )


def volume_settings(settings: S3Settings, data_center: str | None) -> S3Settings:
    """Return the store in front of the network volumes of a data center.

    Raises:
        ConfigError: There is no endpoint, and no data center to derive Runpod's from.
    """
    if settings.endpoint:
        return settings
    if not data_center:
        detail = "data_center: is needed to reach a network volume at Runpod's S3-compatible API."
        raise ConfigError(detail, hint="Pass the volume's data_center too.")
    return S3Settings(
        f"https://s3api-{data_center.lower()}.runpod.io",
        data_center,
        settings.access_key_id,
        settings.secret_access_key,
    )


@contextmanager
def attempting(doing: str) -> Iterator[None]:
    """Put errors of the SDK into words, without the request.

    Args:
        doing: What is tried, such as `creating bucket pictures`.

    Raises:
        StoreError: The store refused, or does not answer.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415, slow to import
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415, slow to import

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        code = str(said.get("Code", ""))
        detail = f"The S3 store refused {doing}: {said.get('Message') or 'no reason given'} ({code})."
        raise StoreError(detail, s3_code=code) from None
    except (BotoCoreError, Boto3Error) as error:
        detail = f"The S3 store did not answer while {doing}: {type(error).__name__}."
        hint = "Check visgate:s3Endpoint or VISGATE_S3_ENDPOINT; for the local cloud run `visgate local up`."
        raise StoreError(detail, hint=hint) from None


def object_sizes(client: "S3Client", bucket: str, prefix: str = "") -> dict[str, int]:
    """Return the size in bytes of every object under a prefix, by key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def delete_objects(client: "S3Client", bucket: str, keys: Iterable[str]) -> None:
    """Delete objects; those that are gone already do not matter.

    Raises:
        StoreError: The store kept some of them.
    """
    for batch in _batches(keys):
        answer = client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
        )
        if kept := answer.get("Errors"):
            first = kept[0]
            detail = (
                f"The S3 store kept {len(kept)} objects of {bucket}, first {first.get('Key')}: {first.get('Code')}."
            )
            raise StoreError(detail)


def delete_versions(client: "S3Client", bucket: str) -> None:
    """Delete old versions and delete markers, where the store has versions."""
    try:
        with attempting(f"listing the versions in {bucket}"):
            for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
                for item in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
                    client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
    except StoreError as error:
        if not error.unsupported:
            raise


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for key in keys:
        batch.append(key)
        if len(batch) == DELETE_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
