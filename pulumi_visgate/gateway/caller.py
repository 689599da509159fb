"""Who is calling, for one request: no key outlives it."""

from dataclasses import dataclass, field

from pulumi_visgate.gateway.services.geography import Point
from pulumi_visgate.gateway.services.keys import UserKeys
from pulumi_visgate.runpod import AsyncRunpodClient
from visgate_contract.errors import ContractError
from visgate_contract.signing import JobRef


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, for one request.

    Args:
        user_hash: SHA-256 of the key, the caller's identity.
        keys: What signs in this caller's name.
        runpod: Client with the caller's key, over the shared connections.
        hf_token: Hugging Face token of this request.
        place: Where the request came from, if that is known.
    """

    user_hash: str
    keys: UserKeys = field(repr=False)
    runpod: AsyncRunpodClient = field(repr=False)
    hf_token: str | None = field(default=None, repr=False)
    place: Point | None = field(default=None, repr=False)

    @property
    def webhook_secret(self) -> str:
        """What signs this caller's webhooks, and their job ids."""
        return self.keys.secrets[0]

    def ref(self, job_id: str) -> JobRef:
        """Take one of this caller's job ids apart.

        Raises:
            ContractError: It is not a job id, or another caller's (`not_found`).
        """
        for former in self.keys.secrets[1:]:
            try:
                return JobRef.parse(job_id, former)
            except ContractError:
                continue
        return JobRef.parse(job_id, self.webhook_secret)
