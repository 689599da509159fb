"""The platform's bucket: presigned requests for others, and the gateway's own few reads and writes."""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import unescape

import httpx

from pulumi_visgate.gateway.services.role_session import RoleSession
from pulumi_visgate.gateway.services.sigv4 import Credentials, Presigner
from pulumi_visgate.gateway.settings import Settings

log = logging.getLogger(__name__)

OWN_TTL_S = 60
REQUEST_S = 3.0
USER_PREFIX_LENGTH = 16

_AS_IT_IS = {"accept-encoding": "identity"}
# A store tells whoever may not list a bucket that a missing object is forbidden.
_MISSING = frozenset({httpx.codes.NOT_FOUND, httpx.codes.FORBIDDEN})
# 409 is for one who lost against a request that was under way at the same moment, 404 for one whose object is gone.
_CONDITION_FAILED = frozenset({httpx.codes.PRECONDITION_FAILED, httpx.codes.CONFLICT, httpx.codes.NOT_FOUND})

_UPLOAD_ID = re.compile(r"<UploadId>\s*([^<]+?)\s*</UploadId>")  # all that is read of an answer of a kilobyte


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was found.

    Args:
        body: Its content.
        version: Its `ETag`.
    """

    body: bytes = field(repr=False)
    version: str


class StoreError(Exception):
    """The store did not answer, or refused; told by `str`, without an address."""


class ArtifactStore:
    """Objects in the platform's bucket.

    Args:
        settings: Bucket, credentials and where the store is.
        client: Sends the gateway's own requests.
    """

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self._bucket = settings.bucket
        self._session = _session(settings)
        self._signer = _signer(settings, self._session)
        self._client = client

    async def ready(self) -> None:
        """See that what is signed from now on is good for long enough."""
        if self._session is not None:
            await self._session.renew()

    def presigned(
        self,
        method: str,
        key: str,
        *,
        ttl_s: int,
        content_type: str | None = None,
        content_length: int | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Return a URL for one kind of request about one object; see `Presigner.url`."""
        return self._signer.url(
            method,
            self._bucket,
            key,
            ttl_s=ttl_s,
            content_type=content_type,
            content_length=content_length,
            query=query,
        )

    async def read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return the content of an object, or None if there is none; see `find`."""
        found = await self.find(key, max_bytes=max_bytes)
        return None if found is None else found.body

    async def find(self, key: str, *, max_bytes: int) -> Stored | None:
        """Return an object (`GetObject`), or None if there is none.

        Args:
            key: Which.
            max_bytes: The most it may have.

        Raises:
            StoreError: The store did not give it, it is too large, or not what a gateway or a worker writes.
        """
        await self.ready()
        url = self.presigned("GET", key, ttl_s=OWN_TTL_S)
        try:
            async with asyncio.timeout(REQUEST_S), self._client.stream("GET", url, headers=_AS_IT_IS) as answer:
                if answer.status_code in _MISSING:
                    return None
                _require_success(answer)
                return Stored(await _content(answer, max_bytes), answer.headers.get("etag", ""))
        except (httpx.HTTPError, TimeoutError) as error:
            raise StoreError(type(error).__name__) from None

    async def write(self, key: str, body: bytes, *, content_type: str) -> None:
        """Write an object (`PutObject`).

        Raises:
            StoreError: The store did not take it.
        """
        _require_success(await self._send("PUT", key, body=body, content_type=content_type))

    async def begin_parts(self, key: str, *, content_type: str) -> str:
        """Begin an object that comes in parts (`CreateMultipartUpload`), and return the id of that upload.

        Args:
            key: Which object.
            content_type: Its media type.

        Raises:
            StoreError: The store did not begin it.
        """
        answer = await self._send("POST", key, content_type=content_type, query={"uploads": ""})
        _require_success(answer)
        found = _UPLOAD_ID.search(answer.text)
        if found is None:
            message = "the store named no upload"
            raise StoreError(message)
        return unescape(found[1])

    async def write_if(self, version: str | None, key: str, body: bytes, *, content_type: str) -> str | None:
        """Write an object if it still is what it was (`PutObject` with `If-Match` or `If-None-Match`).

        Args:
            version: What it has to be now; None if it must not exist.
            key: Which.
            body: Its new content.
            content_type: Of the body.

        Returns:
            Its new version; None if somebody else has written it.

        Raises:
            StoreError: The store did not take it.
        """
        condition = {"if-none-match": "*"} if version is None else {"if-match": version}
        answer = await self._send("PUT", key, body=body, content_type=content_type, condition=condition)
        if answer.status_code in _CONDITION_FAILED:
            return None
        _require_success(answer)
        return str(answer.headers.get("etag", ""))

    async def _send(
        self,
        method: str,
        key: str,
        *,
        content_type: str,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        condition: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        await self.ready()
        url = self.presigned(method, key, ttl_s=OWN_TTL_S, content_type=content_type, query=query)
        headers = {**(condition or {}), "content-type": content_type}
        try:
            async with asyncio.timeout(REQUEST_S):
                return await self._client.request(method, url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise StoreError(type(error).__name__) from None


async def _content(answer: httpx.Response, max_bytes: int) -> bytes:
    """Return a body. Workers write some objects, so nothing is unpacked, and no more is read than one may have."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        message = "the object is packed"
        raise StoreError(message)
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            message = "the object is too large"
            raise StoreError(message)
    return bytes(body)


def _require_success(answer: httpx.Response) -> None:
    if not answer.is_success:
        message = f"the store answered {answer.status_code}"
        raise StoreError(message)


def prefix_of(user_hash: str) -> str:
    """Return what the keys of a user's objects begin with."""
    return user_hash[:USER_PREFIX_LENGTH]


def _session(settings: Settings) -> RoleSession | None:
    if settings.s3_role_arn is None:
        return None
    return RoleSession(settings.s3_role_arn, settings.s3_region, needed_s=settings.upload_ttl_s)


def _signer(settings: Settings, session: RoleSession | None = None) -> Presigner:
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

    return Presigner(settings.s3_endpoint or _aws_endpoint(settings.s3_region), settings.s3_region, credentials)


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
