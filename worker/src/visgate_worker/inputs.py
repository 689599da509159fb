"""The picture that a job begins from: fetched from where its caller says, checked, and decoded.

Callers choose the address and the bytes, so both are bounded: public https servers only, the checked address is the one
that is dialled, redirects are checked anew, and size, time, format and number of pixels have limits before anything is
decoded.
"""

import base64
import binascii
import io
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from visgate_contract.addresses import (
    Address,
    EgressPolicy,
    address_of,
    may_dial,
    place_problem,
    text_problem,
)
from visgate_contract.errors import ErrorCode
from visgate_worker.failures import JobFailedError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 25 * 1024 * 1024
MAX_PIXELS = 40_000_000
DEADLINE_S = 30.0
MAX_REDIRECTS = 3

Resolver = Callable[[str, int], list[str]]

_FORMATS = ("PNG", "JPEG", "WEBP")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver, IPv4 and IPv6."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class ImageInputs:
    """Brings the pictures that jobs refer to.

    Args:
        policy: Where they may be fetched from.
        resolver: Names to addresses.
        client: HTTP client; must not follow redirects or use a proxy, which would dial for us.
        deadline_s: Seconds for one picture, redirects included.
        max_bytes: Largest file.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        resolver: Resolver = system_resolver,
        client: httpx.Client | None = None,
        deadline_s: float = DEADLINE_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._policy = policy or EgressPolicy()
        self._resolver = resolver
        self._client = client or httpx.Client(follow_redirects=False, trust_env=False)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes

    def load(self, reference: str) -> "Image":
        """Return the picture that an https URL or data URI leads to, upright and without transparency.

        Raises:
            JobFailedError: It cannot be had, or is none that is allowed (`invalid_request`); never repeats the URL.
        """
        if reference[:5].lower() == "data:":
            return decode(self._from_data_uri(reference))
        return decode(self._fetch(reference))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _from_data_uri(self, reference: str) -> bytes:
        encoded = reference.partition(",")[2]
        if len(encoded) > self._max_bytes // 3 * 4 + 4:
            raise self._too_large()
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise refused(problem="is a data URI whose base64 is damaged.") from None

    def _fetch(self, url: str) -> bytes:
        until = time.monotonic() + self._deadline_s
        for _ in range(MAX_REDIRECTS + 1):
            target, address = self._checked(url, until)
            try:
                found = self._get(target, address, until)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise refused(problem=f"could not be fetched: {type(error).__name__}.") from None
            if isinstance(found, bytes):
                return found
            url = found
        raise refused(problem=f"redirects more than {MAX_REDIRECTS} times.")

    def _checked(self, url: str, until: float) -> tuple[httpx.URL, Address]:
        problem = text_problem(url)
        if problem is not None:
            raise refused(problem=problem)
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError):
            raise refused(problem="is not a URL.") from None
        if target.scheme not in {"https", "http"} or not target.host:
            raise refused(problem="must be an https URL with a host.")
        host, port = _host(target), target.port or (443 if target.scheme == "https" else 80)
        problem = place_problem(scheme=target.scheme, host=host, port=port, policy=self._policy)
        if problem is not None:
            raise refused(problem=problem)
        own = address_of(host)
        found = [own] if own is not None else self._resolved(host, port, until)
        if not may_dial(host, found, self._policy):
            raise refused(problem="has a host name that leads to an address that is not public.")
        return target, found[0]

    def _resolved(self, host: str, port: int, until: float) -> list[Address]:
        # The system's resolver knows no deadline; a thread that is still waiting ends by itself.
        resolving = ThreadPoolExecutor(1, thread_name_prefix="resolver")
        try:
            texts = resolving.submit(self._resolver, host, port).result(max(0.0, until - time.monotonic()))
        except (OSError, UnicodeError, TimeoutError):
            raise refused(problem="has a host name that does not resolve.") from None
        finally:
            resolving.shutdown(wait=False)
        found = [address_of(text.partition("%")[0]) for text in texts]
        return [address for address in found if address is not None]

    def _get(self, target: httpx.URL, address: Address, until: float) -> bytes | str:
        """Fetch from the checked address, under the host's name; returns the file, or where it redirects to."""
        literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004, the IP version
        request = self._client.build_request(
            "GET",
            target.copy_with(host=literal, fragment=None),
            headers={
                "host": target.netloc.decode("ascii"),
                "user-agent": "visgate-worker",
                "accept": "image/png, image/jpeg, image/webp",
                "accept-encoding": "identity",
            },
            timeout=max(0.1, min(10.0, until - time.monotonic())),
            extensions={"sni_hostname": _host(target)},
        )
        answer = self._client.send(request, stream=True)
        try:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return str(target.join(answer.headers["location"]))
            if answer.status_code != httpx.codes.OK:
                raise refused(problem=f"could not be fetched: its server answered {answer.status_code}.")
            return self._read(answer, until)
        finally:
            answer.close()
            self._client.cookies.clear()

    def _read(self, answer: httpx.Response, until: float) -> bytes:
        data = bytearray()
        for chunk in answer.iter_raw():
            data += chunk
            if len(data) > self._max_bytes:
                raise self._too_large()
            if time.monotonic() > until:
                raise TimeoutError
        return bytes(data)

    def _too_large(self) -> JobFailedError:
        return refused(problem=f"is larger than {self._max_bytes} bytes.", hint="Send a smaller file.")


def decode(data: bytes) -> "Image":
    """Return the picture in a file, turned as its camera says and on white where it is transparent.

    Raises:
        JobFailedError: It is no PNG, JPEG or WebP, is damaged, or has too many pixels (`invalid_request`).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415, diffusers needs it anyway, but later

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as found:
            if found.width * found.height > MAX_PIXELS:
                detail = f"has {found.width} x {found.height} pixels; {MAX_PIXELS} are allowed."
                raise refused(problem=detail, hint="Send a smaller picture.")
            picture = ImageOps.exif_transpose(found)
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            clear = picture.convert("RGBA")
    except UnidentifiedImageError:
        raise refused(problem="is not a PNG, JPEG or WebP picture.", hint="Convert it to one of these.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise refused(problem="is a damaged picture.", hint="Save it anew.") from None
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def refused(*, problem: str, hint: str = "Give a public https URL or a data URI of a picture.") -> JobFailedError:
    """Return the error of an image that cannot be used."""
    return JobFailedError(f"params.image: {problem}", hint=hint, code=ErrorCode.INVALID_REQUEST)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
