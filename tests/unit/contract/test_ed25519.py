import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.signing import derive_webhook_key

# RFC 8032, section 7.1, test 2.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_known_vector_of_the_rfc() -> None:
    key = PrivateKey(SEED)
    assert key.sign(b"\x72") == SIGNATURE
    assert key.public == "whpk_" + base64.b64encode(PUBLIC).decode()
    assert unpadded(key.jwk()["x"]) == PUBLIC
    assert key.webhook_signature(b"\x72") == "v1a," + base64.b64encode(SIGNATURE).decode()


def test_a_json_web_key_names_its_use() -> None:
    jwk = PrivateKey(SEED).jwk()
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert "d" not in jwk


def test_a_derived_key_reads_back() -> None:
    text = derive_webhook_key("k" * 24, "0" * 32)
    seed = base64.b64decode(text.removeprefix("whsk_"))
    assert PrivateKey.of(text).public == PrivateKey(seed).public


@pytest.mark.parametrize("text", ["", "whsk_", "whsk_????", "whsk_" + base64.b64encode(b"short").decode()])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011, the library's own words
        PrivateKey.of(text)


def test_a_receipt_is_a_signed_json_that_a_change_breaks() -> None:
    key = PrivateKey(SEED)
    header, payload, signature = key.jws({"seed": 7}, typ="visgate-receipt").split(".")
    assert json.loads(unpadded(header)) == {"alg": "EdDSA", "kid": key.kid, "typ": "visgate-receipt"}
    assert json.loads(unpadded(payload)) == {"seed": 7}
    public = Ed25519PublicKey.from_public_bytes(PUBLIC)
    public.verify(unpadded(signature), f"{header}.{payload}".encode())
    with pytest.raises(InvalidSignature):
        public.verify(unpadded(signature), f"{header}.{payload}x".encode())


def test_a_key_does_not_show_itself() -> None:
    assert SEED.hex() not in repr(PrivateKey(SEED))
