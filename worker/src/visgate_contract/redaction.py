"""Masking of secrets: values that are known, and shapes that are never anything else.

Known values are found in clear, URL-encoded, JSON-escaped and base64-encoded; shapes catch what nobody registered.
"""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "[masked]"
MIN_SECRET_LENGTH = 6  # shorter values would mask ordinary words

_SHAPES = re.compile(
    r"""
      \brpa_[A-Za-z0-9]{16,}            # Runpod API key
    | \bhf_[A-Za-z0-9]{16,}             # Hugging Face token
    | \bwh(?:sec|sk)_[A-Za-z0-9+/=]{16,} # webhook secret, and private key
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b     # AWS access key id
    | (?<=X-Amz-Signature=)[0-9a-f]{64} # the signature of a presigned URL
    | (?<=[Bb]earer\s)[A-Za-z0-9._~+/=-]{12,}
    """,
    re.VERBOSE,
)


def _encodings(secret: str) -> Iterable[str]:
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    for is_ascii in (True, False):
        escaped = json.dumps(secret, ensure_ascii=is_ascii)[1:-1]
        yield escaped
        yield json.dumps(escaped, ensure_ascii=is_ascii)[1:-1]  # JSON as a string inside JSON
    yield repr(secret)[1:-1]
    yield secret.encode("unicode_escape").decode()
    # Base64 of a longer text that holds the secret: three alignments, whole groups only.
    for skipped in range(3):
        part = raw[skipped:]
        encoded = base64.b64encode(part[: len(part) // 3 * 3]).decode()
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")


class Redactor:
    """Masks a set of secrets in text.

    Args:
        secrets: Values to mask; those under 6 characters are ignored, as they would mask ordinary words.
    """

    __slots__ = ("_forms", "_known")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= MIN_SECRET_LENGTH
            for form in _encodings(secret)
            if len(form) >= MIN_SECRET_LENGTH
        }
        self._forms = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, self._forms))) if forms else None

    def text(self, value: str) -> str:
        """Return the text with every secret replaced by `[masked]`."""
        if self._known is not None:
            value = self._known.sub(MASK, value)
        return _SHAPES.sub(MASK, value)

    def line(self, value: str) -> str:
        """Return one line of a stream, in which a secret may have been broken over several.

        Each line is judged alone, so that none has to be held back: where it begins or ends with a part of a known
        secret, or is nothing but one, the part is masked. Parts of less than 6 characters stay.
        """
        value = self.text(value)
        for form in self._forms:
            if MIN_SECRET_LENGTH <= len(value) < len(form) and value in form:
                return MASK
            value = _without_tail(_without_head(value, form), form)
        return value

    def __repr__(self) -> str:
        return "Redactor(...)"


def _without_tail(value: str, secret: str) -> str:
    """Mask the longest end of the value that the secret begins with."""
    begins = secret[:MIN_SECRET_LENGTH]
    at = value.find(begins, max(0, len(value) - len(secret) + 1))
    while at >= 0:
        if secret.startswith(value[at:]):
            return value[:at] + MASK
        at = value.find(begins, at + 1)
    return value


def _without_head(value: str, secret: str) -> str:
    """Mask the longest beginning of the value that the secret ends with."""
    ends = secret[-MIN_SECRET_LENGTH:]
    at = value.rfind(ends, 0, len(secret) - 1)
    while at >= 0:
        if secret.endswith(value[: at + MIN_SECRET_LENGTH]):
            return MASK + value[at + MIN_SECRET_LENGTH :]
        at = value.rfind(ends, 0, at + MIN_SECRET_LENGTH - 1)
    return value
