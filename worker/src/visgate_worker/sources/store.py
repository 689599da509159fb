"""The platform's model store: `models/<org>/<name>/` below a base URL, as `ModelCache` writes it to a bucket.

The worker holds no key of the store. The base is a public CDN prefix, or a route that answers each file with a redirect
to a link that is signed for it alone, such as the gateway's. Files are read in ranges (RFC 9110, section 14), many at
once: one connection gets a fraction of what a bucket gives.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from pydantic import SecretStr, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from visgate_contract.caches import MANIFEST_NAME, Manifest, model_prefix
from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
ATTEMPTS = 6
REDIRECTS = 4
PART_DEADLINE_S = 600.0
MANIFEST_LIMIT = 8 * 1024 * 1024
_CHUNK = 1024 * 1024
_OK, _PARTIAL = 200, 206
_PASSING = (408, 429, 500, 502, 503, 504)
_ABSENT = frozenset({403, 404, 410})  # S3 says 403 of what is not there to those who may not list


def readers() -> int:
    """Return how many ranges to read at once."""
    return min(32, 8 * (os.cpu_count() or 1))


class StoreError(JobFailedError):
    """The model store does not give what it should."""

    code = ErrorCode.MODEL_LOAD_FAILED


class _Again(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    pass


class ModelStore:
    """Reads manifests and files of models.

    Args:
        base_url: What comes before `models/<org>/<name>/`.
        token: Sent to the base's own host alone, not to where it sends us on.
        first_wait_s: Wait before the second attempt, in seconds; doubles from there.
    """

    def __init__(self, base_url: str, token: SecretStr | None = None, *, first_wait_s: float = 0.2) -> None:
        self._base = base_url.rstrip("/") + "/"
        self._headers = {"accept-encoding": "identity"}
        self._authorized = dict(self._headers)
        if token is not None:
            self._authorized["authorization"] = f"Bearer {token.get_secret_value()}"
        self._first_wait_s = first_wait_s
        # A redirect costs a look-up for each range; where a file lies is good for minutes.
        self._locations: dict[str, str] = {}
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            maxsize=readers(),
            block=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            retries=urllib3.Retry(
                total=ATTEMPTS,
                redirect=False,
                status_forcelist=_PASSING,
                backoff_factor=first_wait_s,
                backoff_max=10,
                raise_on_status=False,
            ),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def manifest(self, model_id: str) -> Manifest | None:
        """Return what the store has of a model (`GET models/<org>/<name>/.visgate-manifest.json`), or None.

        Raises:
            StoreError: The store cannot be reached, refuses, or its manifest is none.
        """
        key = model_prefix(model_id) + MANIFEST_NAME
        try:
            answer, _ = self._get(key)
            with answer:
                if answer.status in _ABSENT:
                    return None
                body = answer.read(MANIFEST_LIMIT)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(key, type(error).__name__) from None
        if answer.status != _OK:
            raise self._unreachable(key, f"status {answer.status}")
        try:
            return Manifest.model_validate_json(body)
        except ValidationError:
            detail = f"{key} of the model store is not a manifest."
            raise StoreError(detail, hint="Seed the model again with ModelCache.") from None

    def read(self, key: str, start: int, length: int, sink: Callable[[int, bytes], object]) -> None:
        """Read a range of a file; a cut connection is taken up where it was cut.

        Args:
            key: Its key, from the base on.
            start: First byte.
            length: Number of bytes.
            sink: Takes the offset in the file, and bytes.

        Raises:
            StoreError: The store refuses, or does not give all of it in time.
        """
        position, fruitless, seen = start, 0, start
        until = time.monotonic() + PART_DEADLINE_S

        def is_hopeless(_state: RetryCallState) -> bool:
            nonlocal fruitless, seen
            fruitless = 0 if position > seen else fruitless + 1
            seen = position
            return fruitless >= ATTEMPTS or time.monotonic() > until

        attempts = Retrying(
            stop=is_hopeless,
            wait=wait_random_exponential(multiplier=self._first_wait_s, max=10),
            retry=retry_if_exception_type((_Again, urllib3.exceptions.HTTPError)),
            reraise=True,
        )
        try:
            for attempt in attempts:
                with attempt, self._open(key, position, start + length) as answer:
                    for data in answer.stream(_CHUNK):
                        sink(position, data)
                        position += len(data)
                    if position != start + length:
                        raise _Again("the answer is too short")  # noqa: EM101, TRY301, five words for the loop
        except (_Again, urllib3.exceptions.HTTPError) as error:
            raise self._unreachable(key, str(error) if isinstance(error, _Again) else type(error).__name__) from None

    def _open(self, key: str, first: int, end: int) -> urllib3.BaseHTTPResponse:
        answer, is_signed = self._get(key, {"range": f"bytes={first}-{end - 1}"})
        if answer.status == _PARTIAL:
            return answer
        answer.drain_conn()
        answer.release_conn()
        if answer.status == _OK:
            detail = f"{key} of the model store cannot be read in ranges."
            raise StoreError(detail, hint="Put a store or CDN that honours Range at VISGATE_MODELS_URL.")
        if is_signed:  # the link has expired
            self._locations.pop(key, None)
            raise _Again(f"status {answer.status}")  # noqa: EM102
        raise self._unreachable(key, f"status {answer.status}")

    def _get(
        self, key: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[urllib3.BaseHTTPResponse, bool]:
        """Send `GET`, follow to where the file lies, and tell whether that is another host than the base's."""
        url, given = self._base + quote(key), self._authorized
        if known := self._locations.get(key):
            url, given = known, self._headers
        for _ in range(REDIRECTS):
            answer = self._pool.request("GET", url, headers={**given, **headers}, redirect=False, preload_content=False)
            location = answer.get_redirect_location()
            if not location:
                return answer, url == self._locations.get(key)
            answer.drain_conn()
            answer.release_conn()
            url = urljoin(url, location)
            if urlsplit(url).netloc != urlsplit(self._base).netloc:
                given = self._headers
                self._locations[key] = url
        raise self._unreachable(key, "too many redirects")

    def _unreachable(self, key: str, why: str) -> StoreError:
        detail = f"{key} could not be read from the model store: {why}."
        return StoreError(detail, hint="Check VISGATE_MODELS_URL, VISGATE_MODELS_TOKEN and the store.")
