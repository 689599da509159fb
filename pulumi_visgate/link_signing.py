"""Signed links to artifacts behind CloudFront: the key pair is derived from the platform's signing key.

Nothing has to be stored for it: the stack computes the public half, the gateway the private one. Needs `cryptography`,
which the extras `[gateway]` and `[aws]` bring.
"""

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PURPOSE = b"visgate artifact links, version 1"
_SAFE = str.maketrans("+=/", "-_~")  # as CloudFront wants base64 in a query


def link_public_key(signing_key: str) -> str:
    """Return the public key that CloudFront checks links with, as PEM.

    Args:
        signing_key: The platform's signing key.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415, few programs need it

    public = _key(signing_key).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


def link_signer(signing_key: str, key_id: str) -> Callable[[str, int], str]:
    """Return what signs a URL until a time, by CloudFront's canned policy.

    Args:
        signing_key: The platform's signing key.
        key_id: Id that CloudFront has given the public key.
    """
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415, as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415, as above

    key, algorithm = _key(signing_key), ec.ECDSA(hashes.SHA256())

    def signed(url: str, expires: int) -> str:
        signature = base64.b64encode(key.sign(canned_policy(url, expires), algorithm)).decode().translate(_SAFE)
        return f"{url}?Expires={expires}&Signature={signature}&Key-Pair-Id={key_id}&Hash-Algorithm=SHA256"

    return signed


def canned_policy(url: str, expires: int) -> bytes:
    """Return what is signed: the one policy that a link of this kind can have.

    Args:
        url: Without a query.
        expires: Unix time at which it ends.
    """
    condition = {"DateLessThan": {"AWS:EpochTime": expires}}
    return json.dumps({"Statement": [{"Resource": url, "Condition": condition}]}, separators=(",", ":")).encode()


def _key(signing_key: str) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415, as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415, as above
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415, as above

    curve = ec.SECP256R1()
    # 16 bytes more than the order has, so that the remainder is as good as uniform (FIPS 186-5, A.2.1).
    seed = HKDF(hashes.SHA256(), length=48, salt=None, info=_PURPOSE).derive(signing_key.encode())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return ec.derive_private_key(int.from_bytes(seed, "big") % (order - 1) + 1, curve)
