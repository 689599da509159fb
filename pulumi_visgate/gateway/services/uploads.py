"""Presigned uploads: one PUT for one object each, so that no storage credential reaches a GPU.

Presigning (SigV4 query) is local arithmetic; nothing here talks to the store.
"""

import time
from collections.abc import Callable

from pulumi_visgate.gateway.services.role_session import RoleSession
from pulumi_visgate.gateway.services.sigv4 import Credentials, PutSigner
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.link_signing import link_signer
from visgate_contract.jobs import Upload
from visgate_contract.tasks import TaskInput

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
        self._prefix = settings.key_prefix
        self._session = _session(settings)
        self._signer = _signer(settings, self._session)
        self._link = _link(settings)

    async def ready(self) -> None:
        """See that what is granted from now on is good for long enough."""
        if self._session is not None:
            await self._session.renew()

    def grant(self, *, user_hash: str, task_id: str, params: TaskInput) -> tuple[Upload, ...]:
        """Return one upload for each file of a request, in order.

        Args:
            user_hash: Whose; the first characters are the prefix of the object keys.
            task_id: Second part of the keys.
            params: Tells how many, and of what format.
        """
        prefix = f"{self._prefix}{user_hash[:USER_PREFIX_LENGTH]}/{task_id}"
        return tuple(
            self._upload(f"{prefix}/{n}.{params.file_extension}", params.content_type)
            for n in range(params.artifact_count)
        )

    def _upload(self, key: str, content_type: str) -> Upload:
        url = self._signer.url(self._bucket, key, content_type=content_type, ttl_s=self._ttl_s)
        return Upload(put_url=url, headers={"Content-Type": content_type}, cdn_url=self._link(f"{self._cdn}/{key}"))


def _session(settings: Settings) -> RoleSession | None:
    if settings.s3_role_arn is None:
        return None
    return RoleSession(settings.s3_role_arn, settings.s3_region, needed_s=settings.upload_ttl_s)


def _link(settings: Settings) -> Callable[[str], str]:
    """Return what makes a link of an artifact's address: the address itself, or one that is signed."""
    if settings.link_key_id is None:
        return lambda url: url
    sign = link_signer(settings.signing_key.get_secret_value(), settings.link_key_id)
    return lambda url: sign(url, int(time.time()) + settings.link_ttl_s)


def _signer(settings: Settings, session: RoleSession | None = None) -> PutSigner:
    key, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    credentials: Callable[[], Credentials]
    if session is not None:
        credentials = session
    elif key is None or secret is None:
        credentials = _own_credentials()
    else:
        given = Credentials(key.get_secret_value(), secret.get_secret_value())

        def credentials() -> Credentials:
            return given

    return PutSigner(settings.s3_endpoint or _aws_endpoint(settings.s3_region), settings.s3_region, credentials)


def _own_credentials() -> Callable[[], Credentials]:
    """Return what reads the identity of this process, which may change while it runs."""
    import boto3  # noqa: PLC0415, it takes longer to import than the rest of the gateway together
    from botocore.exceptions import NoCredentialsError  # noqa: PLC0415, as above

    identity = boto3.Session().get_credentials()

    def read() -> Credentials:
        now = None if identity is None else identity.get_frozen_credentials()
        if now is None or not now.access_key or not now.secret_key:
            raise NoCredentialsError
        return Credentials(now.access_key, now.secret_key, now.token)

    return read


def _aws_endpoint(region: str) -> str:
    import boto3  # noqa: PLC0415, as above
    from botocore.config import Config  # noqa: PLC0415, as above

    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    return str(boto3.client("s3", region_name=region, config=config).meta.endpoint_url)
