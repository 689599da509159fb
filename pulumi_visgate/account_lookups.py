"""Single things of the account, and what Runpod tells about them: workers, releases and money.

As in `lookups`, every function has a form `…_output` that takes outputs and returns one.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from pulumi_visgate.lookups import as_output, session
from pulumi_visgate.resources._named import NamedT, Unresolved, only
from pulumi_visgate.resources._session import Listing
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.billing import (
    AccountBilling,
    BillingFilter,
    NetworkVolumeBilling,
    NetworkVolumeBillingFilter,
    PodBilling,
    PodBillingFilter,
    ServerlessBilling,
    ServerlessBillingFilter,
)
from pulumi_visgate.runpod.models.endpoint import Endpoint, EndpointReleaseList, EndpointWorkerList
from pulumi_visgate.runpod.models.registry import EcrDelegation, Registry
from pulumi_visgate.runpod.models.template import Template
from pulumi_visgate.runpod.models.volume import NetworkVolume

T = TypeVar("T")

Billing = AccountBilling | ServerlessBilling | NetworkVolumeBilling | PodBilling
Billed = Literal["account", "endpoints", "network_volumes", "pods"]


def get_endpoint(*, id: str | None = None, name: str | None = None) -> Endpoint:
    """Return one endpoint (`listEndpoints`); its environment is in it.

    Args:
        id: Id at Runpod.
        name: Name at Runpod, instead; there must be exactly one of it.

    Raises:
        Unresolved: There is none, or there are several.
        RunpodError: The call failed.
    """
    return _one("Endpoint", session().endpoints, id, name)


def get_template(*, id: str | None = None, name: str | None = None) -> Template:
    """Return one template (`listTemplates`); its environment is in it.

    Args:
        id: Id at Runpod.
        name: Name at Runpod, instead; there must be exactly one of it.

    Raises:
        Unresolved: There is none, or there are several.
        RunpodError: The call failed.
    """
    return _one("Template", session().templates, id, name)


def get_network_volume(*, id: str | None = None, name: str | None = None) -> NetworkVolume:
    """Return one network volume (`listNetworkVolumes`).

    Args:
        id: Id at Runpod.
        name: Name at Runpod, instead; there must be exactly one of it.

    Raises:
        Unresolved: There is none, or there are several.
        RunpodError: The call failed.
    """
    return _one("NetworkVolume", session().volumes, id, name)


def get_registries(*, name: str | None = None) -> list[Registry]:
    """Return the account's registry credentials, without what is in them (`listRegistries`).

    Args:
        name: Only those of exactly this name.

    Raises:
        RunpodError: The call failed.
    """
    return [found for found in session().registries.all() if name in {None, found.name}]


def get_delegations(*, name: str | None = None) -> list[EcrDelegation]:
    """Return the account's delegations of ECR repositories (`listDelegations`).

    Args:
        name: Only those of exactly this name.

    Raises:
        RunpodError: The call failed.
    """
    return [found for found in session().delegations.all() if name in {None, found.name}]


def get_workers(endpoint_id: str) -> EndpointWorkerList:
    """Return an endpoint's workers, and how many are in which state (`listEndpointWorkers`).

    Args:
        endpoint_id: Id at Runpod.

    Raises:
        Unresolved: There is no such endpoint.
        RunpodError: The call failed.
    """
    return _of_endpoint(endpoint_id, session().runpod.list_endpoint_workers)


def get_releases(endpoint_id: str) -> EndpointReleaseList:
    """Return an endpoint's releases, newest first, and how far the newest has come (`listEndpointReleases`).

    Args:
        endpoint_id: Id at Runpod.

    Raises:
        Unresolved: There is no such endpoint.
        RunpodError: The call failed.
    """
    return _of_endpoint(endpoint_id, session().runpod.list_endpoint_releases)


def get_billing(
    *,
    of: Billed = "account",
    id: str | None = None,
    bucket: str | None = None,
    last: int | None = None,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
) -> Billing:
    """Return what was paid, in US dollars, bucket by bucket and in total.

    The operations are `listBilling`, `listServerlessBilling`, `listNetworkVolumeBilling` and `listPodBilling`.

    Args:
        of: `account`, or one part of it: `endpoints`, `network_volumes` or `pods`.
        id: Only this endpoint, volume or pod.
        bucket: `hour`, `day`, the default, `week`, `month` or `year`.
        last: So many buckets up to now, instead of a period.
        start: Start of the period, with a time zone; 30 days ago when left out.
        end: End of the period, with a time zone; now when left out.

    Raises:
        Unresolved: An argument cannot be used.
        RunpodError: The call failed.
    """
    period = {"bucket_size": bucket, "last_n": last, "start_time": start, "end_time": end}
    given = {name: value for name, value in period.items() if value is not None}
    runpod = session().runpod
    match of:
        case "account":
            if id is not None:
                detail = "id: needs an `of` that says what it is the id of."
                raise Unresolved(detail, hint="Use endpoints, network_volumes or pods.")
            return runpod.list_billing(_query(BillingFilter, given))
        case "endpoints":
            return runpod.list_serverless_billing(_query(ServerlessBillingFilter, given, serverless_id=id))
        case "network_volumes":
            query = _query(NetworkVolumeBillingFilter, given, network_volume_id=id)
            return runpod.list_network_volume_billing(query)
        case "pods":
            return runpod.list_pod_billing(_query(PodBillingFilter, given, pod_id=id))
    detail = f"of: {of} is nothing that is billed by itself."
    raise Unresolved(detail, hint="Use account, endpoints, network_volumes or pods.")


def _one(kind: str, listing: Listing[NamedT], id_: str | None, name: str | None) -> NamedT:
    return only(kind, listing.all(), id_=id_, name=name)


def _of_endpoint(endpoint_id: str, ask: Callable[[str], T]) -> T:
    try:
        return ask(endpoint_id)
    except NotFound:
        detail = f"There is no Endpoint with the id {endpoint_id!r}."
        raise Unresolved(detail, hint="get_endpoints() has all of the account.") from None


FilterT = TypeVar("FilterT", bound=BillingFilter)

_ARGUMENTS = {"bucket_size": "bucket", "last_n": "last", "start_time": "start", "end_time": "end"}


def _query(filter_: type[FilterT], given: dict[str, Any], **more: str | None) -> FilterT:
    try:
        return filter_.model_validate(given | {name: value for name, value in more.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = _ARGUMENTS.get(str(first["loc"][0]), "id") if first["loc"] else "last"
        detail = f"{field}: {first['msg'].removeprefix('Value error, ')}."
        raise Unresolved(detail) from None


get_endpoint_output = as_output(get_endpoint, secret=True)
get_template_output = as_output(get_template, secret=True)
get_network_volume_output = as_output(get_network_volume)
get_registries_output = as_output(get_registries)
get_delegations_output = as_output(get_delegations)
get_workers_output = as_output(get_workers)
get_releases_output = as_output(get_releases, secret=True)
get_billing_output = as_output(get_billing)
