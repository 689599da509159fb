"""Who uses a network volume or a template, as far as Runpod tells; no Pulumi."""

from contextlib import suppress

from pulumi_visgate.resources._session import Session
from pulumi_visgate.runpod.errors import Forbidden, NotFound
from pulumi_visgate.runpod.models.endpoint import Endpoint
from pulumi_visgate.runpod.pods import list_pods


def volume_users(session: Session, volume: str) -> list[str]:
    """Name the endpoints and pods that have a network volume.

    Args:
        session: Account.
        volume: Its id.
    """
    endpoints = [endpoint for endpoint in session.endpoints.all(fresh=True) if volume in endpoint.network_volumes]
    return [*map(_named, endpoints), *_pods(session, volume)]


def template_users(session: Session, template: str, refusal: str) -> list[str]:
    """Name the pods made from a template, and the endpoint that Runpod's refusal to delete it speaks of.

    Runpod does not report which template an endpoint is bound to.

    Args:
        session: Account.
        template: Its id.
        refusal: What Runpod says.
    """
    endpoints = [endpoint for endpoint in session.endpoints.all(fresh=True) if endpoint.id in refusal]
    return [*map(_named, endpoints), *_pods(session, template)]


def _named(endpoint: Endpoint) -> str:
    return f"endpoint {endpoint.name} ({endpoint.id})"


def _pods(session: Session, id_: str) -> list[str]:
    with suppress(NotFound, Forbidden):  # the local cloud has no pods, and a key may be for endpoints only
        return [f"pod {pod.name} ({pod.id})" for pod in session.runpod.perform(list_pods()) if pod.uses(id_)]
    return []
