"""`visgate cost`: what the account's endpoints and volumes have cost, and what they cost while nobody asks."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from pydantic import BaseModel

from pulumi_visgate.cli.cleanup import own_endpoints, runpod_client
from pulumi_visgate.cli.console import err, out, table, usd
from pulumi_visgate.cli.options import AsJson
from pulumi_visgate.client.address import KEY_ENV
from pulumi_visgate.resources._cost import HOURS_OF_MONTH, storage, worker_price
from pulumi_visgate.runpod.client import RunpodClient
from pulumi_visgate.runpod.models.billing import BillingBucketSize, NetworkVolumeBillingFilter, ServerlessBillingFilter
from pulumi_visgate.runpod.models.endpoint import Endpoint
from pulumi_visgate.runpod.models.volume import NetworkVolume, VolumeType
from pulumi_visgate.runpod.offers import Offer, gpu_offers
from visgate_contract.names import EndpointName


class Line(BaseModel):
    """What one thing costs, in US dollars.

    Args:
        kind: `endpoint` or `network volume`.
        id: At Runpod.
        name: Its name.
        about: Model of an endpoint, or size and place of a volume.
        spent: In the period.
        idle_per_hour: Of the workers that are always there, or of the volume; None where no price is known.
        most_per_hour: With all of its workers on the dearest GPU.
    """

    kind: str
    id: str
    name: str
    about: str
    spent: float
    idle_per_hour: float | None
    most_per_hour: float | None


def cost(
    *,
    days: Annotated[int, typer.Option(help="Days up to now that are added up.", min=1, max=365)] = 7,
    as_json: AsJson = False,
) -> None:
    """Show what your endpoints and volumes have cost, and what they cost an hour while nobody asks.

    Read from Runpod's bill and catalog with the key in RUNPOD_API_KEY; discounts of an account are in the bill alone.
    """
    with runpod_client() as runpod:
        lines = account_lines(runpod, os.environ[KEY_ENV], days=days)
    idle = sum(line.idle_per_hour or 0.0 for line in lines)
    spent = sum(line.spent for line in lines)
    if as_json:
        found = [line.model_dump(mode="json") for line in lines]
        out().print_json(data={"days": days, "spent": spent, "idle_per_hour": idle, "lines": found})
        return
    if not lines:
        err().print("This key has no Visgate endpoint and no network volume: nothing is paid.")
        return
    shown = table("what", "id", "of", right=(f"$ in {days} d", "$/h idle", "$/h at most"))
    for line in lines:
        shown.add_row(line.kind, line.id, line.about, *map(usd, (line.spent, line.idle_per_hour, line.most_per_hour)))
    shown.add_section()
    shown.add_row(
        "all of it", "", f"{usd(idle * HOURS_OF_MONTH)} $ a month while nobody asks", usd(spent), usd(idle), ""
    )
    out().print(shown)


def account_lines(runpod: RunpodClient, key: str, *, days: int) -> list[Line]:
    """Return what each endpoint of this product and each volume costs, the dearest first.

    Args:
        runpod: Client of the account.
        key: Its key.
        days: Days up to now that are added up.

    Raises:
        RunpodError: Something could not be looked up.
    """
    period = {"last_n": days, "bucket_size": BillingBucketSize.DAY}
    bill = runpod.list_serverless_billing(ServerlessBillingFilter.model_validate(period))
    spent = _added((record.serverless_id, record.total_amount) for record in bill.records)
    volumes_bill = runpod.list_network_volume_billing(NetworkVolumeBillingFilter.model_validate(period))
    for_volumes = _added((record.network_volume_id, record.total_amount) for record in volumes_bill.records)
    types = runpod.list_gpu_types()
    endpoints = own_endpoints(runpod.list_endpoints(), key)
    lines = [_endpoint(found, gpu_offers(types, found.gpu.count if found.gpu else 1), spent) for found in endpoints]
    lines += [_volume(found, for_volumes) for found in runpod.list_network_volumes()]
    return sorted(lines, key=lambda line: (-line.spent, line.kind, line.name))


def _added(amounts: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for name, amount in amounts:
        found[name] += amount
    return found


def _endpoint(endpoint: Endpoint, offers: Sequence[Offer], spent: dict[str, float]) -> Line:
    price = worker_price(offers, endpoint.gpu.pools, endpoint.gpu.excluded_types) if endpoint.gpu else None
    name = EndpointName.parse(endpoint.name)
    idle = 0.0 if not endpoint.workers.min else None if price is None else price.highest * endpoint.workers.min
    return Line(
        kind="endpoint",
        id=endpoint.id,
        name=endpoint.name,
        about=f"{name.model} {name.task} {name.policy}" if name else endpoint.name,
        spent=spent.get(endpoint.id, 0.0),
        idle_per_hour=idle,
        most_per_hour=None if price is None else price.highest * (endpoint.workers.max or 0),
    )


def _volume(volume: NetworkVolume, spent: dict[str, float]) -> Line:
    usd_per_hour = storage(volume.size, str(volume.type or VolumeType.STANDARD))
    return Line(
        kind="network volume",
        id=volume.id,
        name=volume.name,
        about=f"{volume.name}, {volume.size} GB in {volume.data_center}",
        spent=spent.get(volume.id, 0.0),
        idle_per_hour=usd_per_hour,
        most_per_hour=usd_per_hour,
    )
