"""The pictures that a job begins from: fetched from where its caller says, checked, and decoded.

Format and number of pixels have limits before anything is decoded.
"""

import base64
import binascii
import io
from typing import TYPE_CHECKING

import httpx

from visgate_contract.addresses import EgressPolicy
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import MAX_IMAGE_BYTES
from visgate_worker.failures import JobFailedError
from visgate_worker.fetch import Fetcher, RefusedError, Resolver, system_resolver, too_large

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 40_000_000
DEADLINE_S = 30.0

_FORMATS = ("PNG", "JPEG", "WEBP")
_ACCEPT = "image/png, image/jpeg, image/webp"


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
        max_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        self._fetcher = Fetcher(policy, resolver=resolver, client=client)
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes

    def load(self, reference: str, *, field: str = "image") -> "Image":
        """Return the picture that an https URL or data URI leads to, upright and without transparency.

        Args:
            reference: The URL.
            field: Its name in the task's schema.

        Raises:
            JobFailedError: It cannot be had, or is none that is allowed (`invalid_request`); never repeats the URL.
        """
        try:
            return decode(self._bytes(reference))
        except RefusedError as error:
            hint = error.hint or "Give a public https URL or a data URI of a picture."
            detail = f"params.{field}: {error.problem}"
            raise JobFailedError(detail, hint=hint, code=ErrorCode.INVALID_REQUEST) from None

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def _bytes(self, reference: str) -> bytes:
        if reference[:5].lower() == "data:":
            return self._from_data_uri(reference)
        data = bytearray()
        self._fetcher.fetch(
            reference, data.extend, accept=_ACCEPT, max_bytes=self._max_bytes, deadline_s=self._deadline_s
        )
        return bytes(data)

    def _from_data_uri(self, reference: str) -> bytes:
        encoded = reference.partition(",")[2]
        if len(encoded) > self._max_bytes // 3 * 4 + 4:
            raise too_large(self._max_bytes)
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            problem = "is a data URI whose base64 is damaged."
            raise RefusedError(problem) from None


def decode(data: bytes) -> "Image":
    """Return the picture in a file, turned as its camera says and on white where it is transparent.

    Raises:
        RefusedError: It is no PNG, JPEG or WebP, is damaged, or has too many pixels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415, diffusers needs it anyway, but later

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as found:
            if found.width * found.height > MAX_PIXELS:
                problem = f"has {found.width} x {found.height} pixels; {MAX_PIXELS} are allowed."
                raise RefusedError(problem, hint="Send a smaller picture.")
            picture = ImageOps.exif_transpose(found)
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            clear = picture.convert("RGBA")
    except UnidentifiedImageError:
        problem = "is not a PNG, JPEG or WebP picture."
        raise RefusedError(problem, hint="Convert it to one of these.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        problem = "is a damaged picture."
        raise RefusedError(problem, hint="Save it anew.") from None
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
