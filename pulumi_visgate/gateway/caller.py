"""Who is calling, for one request: no key outlives it."""

from dataclasses import dataclass, field

from pulumi_visgate.runpod import AsyncRunpodClient


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, for one request.

    Args:
        user_hash: SHA-256 of the key, the caller's identity.
        webhook_secret: What signs this caller's webhooks.
        runpod: Client with the caller's key, over the shared connections.
        hf_token: Hugging Face token of this request.
    """

    user_hash: str
    webhook_secret: str = field(repr=False)
    runpod: AsyncRunpodClient = field(repr=False)
    hf_token: str | None = field(default=None, repr=False)
