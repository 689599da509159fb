"""Finding and ending endpoints that nobody owns: neither the stack nor somebody who uses them."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.billing import BillingBucketSize, ServerlessBillingFilter
from pulumi_visgate.runpod.models.endpoint import Endpoint, EndpointWorkers, UpdateEndpoint
from visgate_contract.names import USER_LENGTH, EndpointName


@dataclass(frozen=True, slots=True)
class Finding:
    """One endpoint that the stack does not declare.

    Args:
        endpoint_id: Its id.
        name: Its name.
        reason: Why it is kept, or why it goes.
        goes: Nobody uses it.
        done: What was done: nothing, `deleted`, or `scaled down`.
    """

    endpoint_id: str
    name: str
    reason: str
    goes: bool
    done: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return asdict(self)


def reap(
    client: RunpodClient,
    *,
    user_hash: str,
    keep: Collection[str],
    now: datetime,
    min_age: timedelta,
    delete: bool,
) -> list[Finding]:
    """Compare Runpod with what the stack declares, and end what nobody owns.

    An endpoint is nobody's when it carries a name of this product for this account, is none of `keep`, is older than
    `min_age`, has no job, and Runpod has billed nothing for it in that time: no worker has run. One that keeps workers
    without need is scaled down first, and goes once its time without a worker is over. Doing it twice is the same as
    once.

    Args:
        client: Client of the account.
        user_hash: SHA-256 of the account's key.
        keep: Ids of the endpoints that the stack declares.
        now: The moment, with a time zone.
        min_age: How long it must have been of no use.
        delete: End it; else only tell.

    Raises:
        RunpodError: The endpoints could not be listed (`listEndpoints`); what cannot be said of one of them is a
            reason to keep it.
    """
    found = []
    for endpoint in client.list_endpoints():
        name = EndpointName.parse(endpoint.name)
        if name is None or name.user != user_hash[:USER_LENGTH] or endpoint.id in keep:
            continue
        try:
            found.append(_examined(client, endpoint, now=now, min_age=min_age, delete=delete))
        except RunpodError as error:
            found.append(Finding(endpoint.id, endpoint.name, f"Runpod does not tell: {error.detail}", goes=False))
    return found


def _examined(client: RunpodClient, endpoint: Endpoint, *, now: datetime, min_age: timedelta, delete: bool) -> Finding:
    hours = max(1, round(min_age.total_seconds() / 3600))

    def finding(reason: str, *, goes: bool, done: str = "") -> Finding:
        return Finding(endpoint.id, endpoint.name, reason, goes, done)

    if now - endpoint.created_at < min_age:
        return finding(f"made less than {hours} h ago", goes=False)
    jobs = client.endpoint_health(endpoint.id).jobs
    if jobs.in_queue or jobs.in_progress:
        return finding(f"has {jobs.in_queue} queued jobs and {jobs.in_progress} in progress", goes=False)
    kept = endpoint.workers.min or 0
    if kept:
        done = ""
        if delete:
            client.update_endpoint(endpoint.id, UpdateEndpoint(workers=EndpointWorkers(min=0)))
            done = "scaled down"
        return finding(f"keeps {kept} workers, and no stack declares it", goes=True, done=done)
    last = ServerlessBillingFilter(serverless_id=endpoint.id, bucket_size=BillingBucketSize.HOUR, last_n=hours)
    billed = sum(record.total_amount for record in client.list_serverless_billing(last).records)
    if billed > 0:
        return finding(f"was used in the last {hours} h, for ${billed:.2f}", goes=False)
    done = ""
    if delete:
        with suppress(NotFound):
            client.delete_endpoint(endpoint.id)
        done = "deleted"
    return finding(f"no job and no worker in {hours} h", goes=True, done=done)
