"""Which of a caller's endpoints serves a request: decided from names and environment, without a database."""

from collections.abc import Iterable
from dataclasses import dataclass

from pulumi_visgate.gateway.services.directory import Candidate
from pulumi_visgate.runpod.models.job import EndpointHealth
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for.

    Args:
        user_hash: Who asks.
        model_id: Model.
        task: Task.
        generation: Generation of the gateway's own endpoints that is current for this model.
        data_center_ids: Where it must run; anywhere when empty.
        pools: GPU pools it must run on; any when empty.
        must_sign: Webhooks are wanted, so the workers need the caller's secret.
    """

    user_hash: str
    model_id: str
    task: Task
    generation: str
    data_center_ids: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    must_sign: bool = False

    def is_met_by(self, candidate: Candidate) -> bool:
        """Tell whether an endpoint serves this request.

        A name is a label and not proof, so the model's id must agree too. An endpoint of this gateway's own making must
        be of the current generation, and workers that would sign with a wrong secret are of no use to anyone.
        """
        return (
            candidate.name.serves(user_hash=self.user_hash, model_id=self.model_id, task=self.task)
            and candidate.model_id == self.model_id
            and candidate.generation in {None, self.generation}
            and candidate.signs is not False
            and not (self.must_sign and candidate.signs is None)
            and _within(candidate.data_center_ids, self.data_center_ids)
            and _within(candidate.pools, self.pools)
        )


def _within(offered: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Tell whether everything offered is wanted; nothing wanted means anything goes."""
    return not wanted or (bool(offered) and set(offered) <= set(wanted))


def best(candidates: Iterable[Candidate], wish: Wish) -> Candidate | None:
    """Return the endpoint to use: pools that are kept warm first, then those not scaled to zero, then the oldest."""

    def rank(candidate: Candidate) -> tuple[object, ...]:
        on_demand = candidate.name.policy is PoolPolicy.ON_DEMAND
        return on_demand, candidate.is_scaled_to_zero, candidate.created_at, candidate.id

    return min((candidate for candidate in candidates if wish.is_met_by(candidate)), key=rank, default=None)


def is_warm(health: EndpointHealth) -> bool:
    """Tell whether a started worker serves the endpoint, be it busy or not."""
    workers = health.workers
    return workers.idle + workers.ready + workers.running > 0
