"""Deterministic names: how the gateway finds what Pulumi made, and the reverse, without a database.

An endpoint is called `visgate-{user}-{model slug}-{task}-{policy}-{spec}`. Names are labels, not proof: two models can
share a slug only if their SHA-256 agree in 24 bits, so readers confirm the model by the endpoint's `VISGATE_MODEL_ID`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from visgate_contract.errors import ContractError
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

PREFIX = "visgate"
USER_LENGTH = 10
SLUG_STEM_LENGTH = 32

# Runpod appends this to the name of an endpoint with FlashBoot.
_FLASHBOOT_SUFFIX = " -fb"
_NAME = re.compile(
    r"visgate-(?P<user>[0-9a-f]{10})-(?P<model>[a-z0-9-]+-[0-9a-f]{6})"
    r"-(?P<task>[a-z0-9]+)-(?P<policy>[a-z_]+)-(?P<spec>[0-9a-f]{8})"
)


def user_hash(runpod_api_key: str) -> str:
    """Return the caller's identity: SHA-256 of the Runpod API key, 64 hexadecimal digits."""
    return hashlib.sha256(runpod_api_key.encode()).hexdigest()


@lru_cache(maxsize=4096)
def model_slug(model_id: str) -> str:
    """Return a readable, collision-resistant label of a model id, such as `sdxl-turbo-1f0c3a`.

    Args:
        model_id: Hub id such as `stabilityai/sdxl-turbo`.
    """
    stem = re.sub(r"[^a-z0-9]+", "-", model_id.rsplit("/", 1)[-1].lower()).strip("-")[:SLUG_STEM_LENGTH].strip("-")
    digest = hashlib.sha256(model_id.encode()).hexdigest()[:6]
    return f"{stem or 'model'}-{digest}"


def spec_hash(spec: Mapping[str, object]) -> str:
    """Return 8 hexadecimal digits that change when any value of the JSON-serialisable specification changes."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class EndpointName:
    """The parts of an endpoint's name; `str()` builds it, `parse()` takes it apart.

    Args:
        user: First 10 hexadecimal digits of the `user_hash`.
        model: What `model_slug` returns.
        task: Task the endpoint serves.
        policy: Pool policy it runs under.
        spec: What `spec_hash` returns.
    """

    user: str
    model: str
    task: Task
    policy: PoolPolicy
    spec: str

    @classmethod
    def build(
        cls, *, user_hash: str, model_id: str, task: Task, policy: PoolPolicy, spec: Mapping[str, object]
    ) -> Self:
        """Build a name from full values.

        Raises:
            ContractError: The user hash is not a SHA-256 in hexadecimal, or the model id is empty.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", user_hash):
            detail = "user_hash must be the SHA-256 of the Runpod API key as 64 hexadecimal digits."
            raise ContractError(detail)
        if not model_id:
            detail = "model_id must not be empty."
            raise ContractError(detail)
        return cls(user_hash[:USER_LENGTH], model_slug(model_id), task, policy, spec_hash(spec))

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the parts of a name, or None for a name that is not one of ours."""
        match = _NAME.fullmatch(name.removesuffix(_FLASHBOOT_SUFFIX))
        if match is None:
            return None
        try:
            return cls(match["user"], match["model"], Task(match["task"]), PoolPolicy(match["policy"]), match["spec"])
        except ValueError:
            return None

    def serves(self, *, user_hash: str, model_id: str, task: Task) -> bool:
        """Tell whether this endpoint is that user's, for that model and task."""
        return (self.user, self.model, self.task) == (user_hash[:USER_LENGTH], model_slug(model_id), task)

    def __str__(self) -> str:
        return "-".join((PREFIX, self.user, self.model, self.task, self.policy, self.spec))
