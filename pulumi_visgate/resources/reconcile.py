"""Moving the minimum of a scheduled pool; for every scheduler there is, and no Pulumi."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint
from visgate_contract.pools import PoolPolicy, Window, effective_minimum


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation found and left.

    Args:
        wanted: Workers that the windows ask for now.
        before: Minimum of the endpoint before.
        minimum: Its minimum now; below `wanted` where the endpoint's own maximum is.
    """

    wanted: int
    before: int
    minimum: int


def reconcile(
    client: RunpodClient, endpoint: str, windows: Sequence[Window], now: datetime, *, min_workers: int = 0
) -> Reconciled:
    """Give an endpoint the minimum that its windows ask for now; doing it twice is the same as once.

    It looks at the moment and at the endpoint as it is, never at what an earlier call did. The maximum is left alone:
    whoever lowered it (a person, the workers' watchdog, Runpod itself) wants to pay less.

    Args:
        client: Client of the account.
        endpoint: Id of the pool's endpoint.
        windows: The pool's windows.
        now: The moment, with a time zone.
        min_workers: Workers that are kept outside of the windows.

    Raises:
        RunpodError: `getEndpoint` or `updateEndpoint` failed; `NotFound` when the endpoint is gone.
    """
    wanted = effective_minimum(PoolPolicy.SCHEDULED_WARM, windows, now, min_workers=min_workers)
    found = client.get_endpoint(endpoint).workers
    before = found.min or 0
    minimum = wanted if found.max is None else min(wanted, found.max)
    if minimum != before:
        client.update_endpoint(endpoint, UpdateEndpoint(workers=EndpointWorkers(min=minimum)))
    return Reconciled(wanted, before, minimum)
