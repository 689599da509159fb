"""A user's private key at work: webhook signatures that anyone can check, and signed receipts.

Needs `cryptography`, which gateway and worker bring along; nothing else of this package imports this module.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from visgate_contract.signing import WEBHOOK_KEY_PREFIX

PUBLIC_KEY_PREFIX = "whpk_"
_KID_LENGTH = 16


class PrivateKey:
    """An Ed25519 key.

    Args:
        seed: 32 bytes.
    """

    __slots__ = ("_key", "_public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def of(cls, webhook_key: str) -> "PrivateKey":
        """Return the key in `whsk_` and base64.

        Raises:
            ValueError: It is none.
        """
        return cls(base64.b64decode(webhook_key.removeprefix(WEBHOOK_KEY_PREFIX), validate=True))

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r})"

    @property
    def kid(self) -> str:
        """Name of the public key."""
        return hashlib.sha256(self._public).hexdigest()[:_KID_LENGTH]

    @property
    def public(self) -> str:
        """The public key as Standard Webhooks writes it: `whpk_` and base64."""
        return PUBLIC_KEY_PREFIX + base64.b64encode(self._public).decode()

    def sign(self, content: bytes) -> bytes:
        """Return the 64 bytes of a signature (RFC 8032)."""
        return self._key.sign(content)

    def webhook_signature(self, content: bytes) -> str:
        """Return an entry of `webhook-signature` (`v1a`)."""
        return "v1a," + base64.b64encode(self.sign(content)).decode()

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JSON Web Key (RFC 8037)."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": _base64url(self._public),
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        }

    def jws(self, payload: Mapping[str, Any], *, typ: str) -> str:
        """Return a payload with its signature, in JWS compact form (RFC 7515).

        Args:
            payload: What is signed, as JSON.
            typ: What kind of thing it is.
        """
        header = {"alg": "EdDSA", "kid": self.kid, "typ": typ}
        content = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
        return f"{content}.{_base64url(self.sign(content.encode()))}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
