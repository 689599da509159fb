"""Presigned requests (AWS Signature Version 4, in the query): arithmetic of this process, nobody is asked.

botocore signs the same, which a test holds this to, at about fifteen times the cost; most of that is not signing.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # clients leave them out of `Host`


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs.

    Args:
        key_id: Access key id.
        secret: Secret access key.
        token: Session token of temporary credentials.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Stamp:
    second: datetime
    credentials: Credentials
    begins: str
    token: str = field(repr=False)
    to_sign: str
    key: bytes = field(repr=False)


class Presigner:
    """Signs requests for single objects.

    Args:
        endpoint_url: The S3 service, without a slash at its end; buckets are addressed by path.
        region: Region that signatures name.
        credentials: What signs now.
        clock: The time in UTC.
    """

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        credentials: Callable[[], Credentials],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        parts = urlsplit(endpoint_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])
        self._region = region
        self._credentials = credentials
        self._clock = clock
        self._stamp: _Stamp | None = None

    def url(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        ttl_s: int,
        content_type: str | None = None,
        content_length: int | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Return the URL that one kind of request may go to.

        Args:
            method: Such as `PUT`.
            bucket: Name of the bucket.
            key: Key of the object.
            ttl_s: How long the URL is good, in seconds.
            content_type: What the request has to send as its `Content-Type`; anything when left out.
            content_length: How long its body has to be, in bytes; anything when left out.
            query: What S3 is asked beyond the object itself, names in lower case or camel case.
        """
        stamp = self._stamped()
        path = f"{self._path}/{bucket}/{key}"
        if not _PLAIN.fullmatch(path):
            path = quote(path, safe="/~")
        sent = {"content-length": content_length, "content-type": content_type, "host": self._host}  # in order
        headers = {name: value for name, value in sent.items() if value is not None}
        # Sorted as SigV4 wants it: upper case comes before lower case.
        asked = "".join(f"&{name}={quote(value, safe='~')}" for name, value in sorted((query or {}).items()))
        full = f"{stamp.begins}&X-Amz-Expires={ttl_s}{stamp.token}&X-Amz-SignedHeaders={'%3B'.join(headers)}{asked}"
        signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"{method}\n{path}\n{full}\n{signed}\n{';'.join(headers)}\nUNSIGNED-PAYLOAD"
        to_sign = f"{stamp.to_sign}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(stamp.key, to_sign.encode(), "sha256").hex()
        return f"{self._origin}{path}?{full}&X-Amz-Signature={signature}"

    def _stamped(self) -> "_Stamp":
        """Return what all signatures of this second have in common."""
        credentials, second = self._credentials(), self._clock().replace(microsecond=0)
        known = self._stamp
        if known is not None and known.second == second and known.credentials == credentials:
            return known
        moment = second.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        key = f"AWS4{credentials.secret}".encode()
        for part in (moment[:8], self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        named = quote(f"{credentials.key_id}/{scope}", safe="~")
        self._stamp = _Stamp(
            second=second,
            credentials=credentials,
            begins=f"X-Amz-Algorithm={_ALGORITHM}&X-Amz-Credential={named}&X-Amz-Date={moment}",
            token=f"&X-Amz-Security-Token={quote(credentials.token, safe='~')}" if credentials.token else "",
            to_sign=f"{_ALGORITHM}\n{moment}\n{scope}",
            key=key,
        )
        return self._stamp
