"""The CDN route: public artifacts out of the S3 server, streamed, with the headers a CDN would send."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from pulumi_visgate.local.home import write_private

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SIGNED_FOR_S = 60
_PASSED_ON = ("range", "if-range", "if-none-match", "if-modified-since")
_PASSED_BACK = (
    "content-type",
    "content-encoding",
    "content-length",
    "content-range",
    "etag",
    "last-modified",
    "accept-ranges",
)
_ANSWERS = frozenset({200, 206, 304, 416})
_HEADERS = {
    # An artifact's key is never written twice, so that a copy never goes stale.
    "cache-control": "public, max-age=31536000, immutable",
    "x-content-type-options": "nosniff",
    "access-control-allow-origin": "*",
    "content-security-policy": "default-src 'none'; sandbox",
}
_NAMES = TypeAdapter(list[str])


class PublishedBuckets:
    """The buckets that the route serves; kept in a file.

    Args:
        file: Where the names are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._names = set(_NAMES.validate_json(file.read_bytes())) if file.exists() else set()

    def __contains__(self, bucket: str) -> bool:
        return bucket in self._names

    def names(self) -> list[str]:
        """Return the names in order."""
        return sorted(self._names)

    def add(self, bucket: str) -> None:
        """Serve a bucket from now on."""
        self._names.add(bucket)
        self._save()

    def discard(self, bucket: str) -> None:
        """Serve a bucket no longer."""
        self._names.discard(bucket)
        self._save()

    def _save(self) -> None:
        write_private(self._file, _NAMES.dump_json(self.names()).decode())


class Cdn:
    """Answers `GET` and `HEAD` of `/cdn/{bucket}/{key}`.

    Args:
        s3: Signs requests; sends none itself.
        http: Talks to the S3 server.
        published: What may be served.
    """

    def __init__(self, s3: "S3Client", http: httpx.AsyncClient, published: PublishedBuckets) -> None:
        self._s3 = s3
        self._http = http
        self._published = published

    async def serve(self, request: Request) -> Response:
        """Stream one object; anything that is not there, or not public, is the same 404."""
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        if bucket not in self._published or not is_plain_key(key):
            return _not_found()
        operation = "head_object" if request.method == "HEAD" else "get_object"
        url = self._s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}, ExpiresIn=_SIGNED_FOR_S)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers["accept-encoding"] = "identity"
        try:
            upstream = await self._http.send(
                self._http.build_request(request.method, url, headers=headers), stream=True
            )
        except httpx.HTTPError:
            return PlainTextResponse("The S3 server of the local cloud does not answer.\n", status_code=502)
        if upstream.status_code not in _ANSWERS:
            await upstream.aclose()
            return _not_found()
        kept = {name: upstream.headers[name] for name in _PASSED_BACK if name in upstream.headers}
        return StreamingResponse(_body(upstream), status_code=upstream.status_code, headers=kept | _HEADERS)


def is_plain_key(key: str) -> bool:
    """Tell whether a key is one that a worker can have written: no dot segments, nothing hidden, no controls."""
    return bool(key) and key.isprintable() and not any(part == "" or part.startswith(".") for part in key.split("/"))


async def _body(upstream: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in upstream.aiter_raw():
            yield chunk
    finally:
        await upstream.aclose()


def _not_found() -> Response:
    return PlainTextResponse("There is no such file.\n", status_code=404, headers={"x-content-type-options": "nosniff"})
