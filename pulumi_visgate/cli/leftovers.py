"""What a stack has left behind: found by name at Runpod and by tag in AWS, each with its price and its end."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from pulumi_visgate.cli.stack import Stack
from pulumi_visgate.resources._cost import storage
from pulumi_visgate.resources._values import derived_name
from pulumi_visgate.runpod.client import RunpodClient
from pulumi_visgate.runpod.errors import NotFound
from visgate_contract.names import USER_LENGTH, EndpointName, user_hash

_SUFFIX = 9  # a dash and eight digits
_STANDARD = "STANDARD"


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that a stack does not own any more, or never did.

    Args:
        cloud: `Runpod` or `AWS`.
        kind: What it is, such as `network volume`.
        name: Its name.
        id: Its id, or ARN.
        hourly_usd: What it costs in an hour of idling, in US dollars; None where that is not known.
        holds_data: Something is lost with it.
        remove: Ends it; one that is gone already is fine. None where this command cannot.
    """

    cloud: str
    kind: str
    name: str
    id: str
    hourly_usd: float | None
    remove: Callable[[], object] | None = field(repr=False)
    holds_data: bool = False


def at_runpod(runpod: RunpodClient, key: str, stack: Stack, resources: Iterable[dict[str, object]]) -> list[Leftover]:
    """Return what carries a name of the stack, or of its gateway, and is not in its state.

    A derived name ends in a hash over project, stack and resource, so it tells whose it is.

    Args:
        runpod: Client of the account.
        key: Its key.
        stack: The stack.
        resources: As its state has them.
    """
    owned = {str(found["id"]) for found in resources if "id" in found}
    found = [*_endpoints(runpod, key), *_volumes(runpod, stack), *_delegations(runpod, stack)]
    return [one for one in found if one.id not in owned]


def _endpoints(runpod: RunpodClient, key: str) -> Iterator[Leftover]:
    user = user_hash(key)[:USER_LENGTH]
    for endpoint in runpod.list_endpoints():
        name = EndpointName.parse(endpoint.name)
        if name is not None and name.user == user:
            idle = 0.0 if not endpoint.workers.min else None
            yield Leftover(
                "Runpod", "endpoint", endpoint.name, endpoint.id, idle, _gone(runpod.delete_endpoint, endpoint.id)
            )


def _volumes(runpod: RunpodClient, stack: Stack) -> Iterator[Leftover]:
    for volume in runpod.list_network_volumes():
        tier = str(volume.type or _STANDARD)
        fixed = (volume.data_center, None if tier == _STANDARD else tier)
        if _is_of(stack, volume.name, *fixed):
            usd = storage(volume.size, tier)
            remove = _gone(runpod.delete_network_volume, volume.id)
            yield Leftover("Runpod", "network volume", volume.name, volume.id, usd, remove, holds_data=True)


def _delegations(runpod: RunpodClient, stack: Stack) -> Iterator[Leftover]:
    for one in runpod.list_delegations():
        arn = f"arn:aws:ecr:{one.aws_region}:{one.aws_user}:repository/{one.repository}"
        if _is_of(stack, one.name or "", arn, None):
            yield Leftover(
                "Runpod", "ECR delegation", one.name or "", one.id, 0.0, _gone(runpod.revoke_delegation, one.id)
            )


def _is_of(stack: Stack, name: str, *fixed: object) -> bool:
    """Tell whether a name was derived for a resource of the stack; the part before the hash is the resource's."""
    owner = f"{stack.project}/{stack.name}/{name[:-_SUFFIX]}"
    return derived_name(owner, fixed) == name


def _gone(delete: Callable[[str], object], id_: str) -> Callable[[], None]:
    def remove() -> None:
        try:
            delete(id_)
        except NotFound:
            return

    return remove
