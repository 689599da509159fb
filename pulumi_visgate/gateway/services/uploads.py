"""Presigned uploads: one PUT for one object each, so that no storage credential reaches a GPU.

Presigning (SigV4 query) is local arithmetic; nothing here talks to the store.
"""

from typing import TYPE_CHECKING

from pulumi_visgate.gateway.settings import Settings
from visgate_contract.jobs import Upload
from visgate_contract.tasks import TaskInput

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

USER_PREFIX_LENGTH = 16


class Uploads:
    """Grants uploads into the platform's bucket.

    Args:
        settings: Bucket, credentials and where artifacts are read.
    """

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.bucket
        self._ttl_s = settings.upload_ttl_s
        self._cdn = settings.cdn_base_url
        self._client = _client(settings)

    def grant(self, *, user_hash: str, task_id: str, params: TaskInput) -> tuple[Upload, ...]:
        """Return one upload for each file of a request, in order.

        Args:
            user_hash: Whose; the first characters are the prefix of the object keys.
            task_id: Second part of the keys.
            params: Tells how many, and of what format.
        """
        prefix = f"{user_hash[:USER_PREFIX_LENGTH]}/{task_id}"
        return tuple(
            self._upload(f"{prefix}/{n}.{params.file_extension}", params.content_type)
            for n in range(params.artifact_count)
        )

    def _upload(self, key: str, content_type: str) -> Upload:
        url = self._client.generate_presigned_url(
            "put_object",
            Params={"Bucket": self._bucket, "Key": key, "ContentType": content_type},
            ExpiresIn=self._ttl_s,
        )
        return Upload(put_url=url, headers={"Content-Type": content_type}, cdn_url=f"{self._cdn}/{key}")


def _client(settings: Settings) -> "S3Client":
    import boto3  # noqa: PLC0415, it takes longer to import than the rest of the gateway together
    from botocore.config import Config  # noqa: PLC0415, as above

    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
