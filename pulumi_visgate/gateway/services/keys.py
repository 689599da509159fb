"""What signs in a user's name, derived from the platform's signing key whenever it is needed.

After a rotation there are two signing keys for a while: the new one makes everything, and what the former one made is
still good. Deliveries are signed with both, so that no receiver has to be changed at the same moment.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from pulumi_visgate.gateway.settings import Settings
from visgate_contract.ed25519 import PrivateKey
from visgate_contract.signing import (
    WebhookSigner,
    derive_webhook_key,
    derive_webhook_secret,
    hmac_signature,
    tenant_of,
)

_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The keys of one user, newest first.

    Args:
        tenant: Public name of the user.
        secrets: Shared with the user's receivers, `whsec_…`.
        private: Of the key pairs whose public halves anyone may have.
        webhook_key: The newest private key as workers are given it, `whsk_…`.
        signer: Signs deliveries with all of them.
    """

    tenant: str
    secrets: tuple[str, ...] = field(repr=False)
    private: tuple[PrivateKey, ...]
    webhook_key: str = field(repr=False)
    signer: WebhookSigner


class Keys:
    """Every user's keys.

    Args:
        settings: The signing keys.
    """

    def __init__(self, settings: Settings) -> None:
        self.signing_keys = tuple(key.get_secret_value() for key in settings.signing_keys)
        self.of = lru_cache(maxsize=_REMEMBERED)(self._of)
        """The keys of a user, by `user_hash`."""

    def __repr__(self) -> str:
        return "Keys(...)"

    def public(self, tenant: str) -> list[dict[str, str]]:
        """Return the public keys of a user, by their public name (JSON Web Keys), newest first."""
        return [key.jwk() for key in self._private(tenant)]

    def _private(self, tenant: str) -> tuple[PrivateKey, ...]:
        return tuple(PrivateKey.of(derive_webhook_key(key, tenant)) for key in self.signing_keys)

    def _of(self, user_hash: str) -> UserKeys:
        tenant = tenant_of(user_hash)
        secrets = tuple(derive_webhook_secret(key, user_hash) for key in self.signing_keys)
        private = self._private(tenant)
        signs = (*map(hmac_signature, secrets), *(key.webhook_signature for key in private))
        return UserKeys(
            tenant, secrets, private, derive_webhook_key(self.signing_keys[0], tenant), WebhookSigner(signs)
        )
