"""Pods, as far as they hold on to what this library manages: the network volume they mount, and their template.

Imports prepared calls and wire models only; `RunpodClient.perform` carries the call out.
"""

from pydantic import Field

from pulumi_visgate.runpod._call import Call, items
from pulumi_visgate.runpod.models.common import Answer, Bool, Query


class NetworkMount(Answer):
    """A network volume in a pod."""

    volume_id: str


class PodMounts(Answer):
    """Storage of a pod."""

    network: list[NetworkMount] = Field(default_factory=list[NetworkMount])


class Pod(Answer):
    """A pod; `template` is the id of the one it was made from."""

    id: str
    name: str
    mounts: PodMounts = Field(default_factory=PodMounts)
    template: str | None = None

    def uses(self, id_: str) -> bool:
        """Tell whether it mounts this volume, or was made from this template."""
        return id_ == self.template or id_ in {mount.volume_id for mount in self.mounts.network}


class PodFilter(Query):
    """Query of `listPods`.

    Args:
        include_cluster_pods: Also pods that are members of a cluster.
    """

    include_cluster_pods: Bool | None = None


def list_pods() -> Call[list[Pod]]:
    """List the account's pods, those of clusters too (`listPods`)."""
    query = PodFilter(include_cluster_pods=True)
    return Call(operation_id="listPods", method="GET", template="/v2/pods", parse=items("pods", Pod), query=query)
