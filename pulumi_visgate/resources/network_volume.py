"""NetworkVolume: storage of one data center that outlives workers (`/v2/network-volumes`)."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._cost import storage
from pulumi_visgate.resources._crud import Crud, Found, NamedInputs, Problem
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._s3 import attempting
from pulumi_visgate.resources._users import volume_users
from pulumi_visgate.resources._values import UNKNOWN, Properties, has_unknown
from pulumi_visgate.resources.errors import ConfigError, InUse, StoreError
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models import volume as wire
from pulumi_visgate.runpod.models.volume import (
    CreateNetworkVolume,
    UpdateNetworkVolume,
    VolumeType,
)


class NetworkVolumeInputs(NamedInputs):
    """Inputs of a network volume.

    Args:
        size_gb: Size in GB, 10 to 4096; can only grow in place.
        data_center: Runpod data center, such as `EU-RO-1`; fixed.
        tier: Storage tier; the data center's own default when left out; fixed.
        delete_data: The data may go: with a change that needs a new volume, or with an adopted volume.
    """

    size_gb: int = Field(ge=10, le=4096)
    data_center: str = Field(min_length=1)
    tier: VolumeType | None = None
    delete_data: bool = False
    hourly_floor_usd: float | None = None
    hourly_ceiling_usd: float | None = None


class NetworkVolumeCrud(Crud):
    """Rules and calls of network volumes."""

    kind = "NetworkVolume"
    model = NetworkVolumeInputs
    fixed = ("data_center", "tier")
    unmanaged = frozenset({"tier"})
    costs = ("hourly_floor_usd", "hourly_ceiling_usd")
    notes = frozenset({"owner", "adopt", "delete_data"})
    outputs = ("effective_tier", "adopted")

    def remote_rules(self, values: Properties) -> Iterable[Problem]:
        """Check data center and tier against the catalog (`listDataCenters`)."""
        wanted, tier = values.get("data_center"), values.get("tier")
        if has_unknown(wanted):
            return
        tiers = self._tiers()
        offered = tiers.get(str(wanted))
        if offered is None:
            yield Problem("data_center", f"is not a Runpod data center with storage; choose of {_with(tiers)}.")
        elif not offered:
            yield Problem("data_center", f"{wanted} has no network volumes; choose of {_with(tiers)}.")
        elif tier and tier is not UNKNOWN and tier not in offered:
            there = f"; choose of {', '.join(offered)}"
            elsewhere = f", or of the data centers that have it: {found}" if (found := _with(tiers, tier)) else ""
            yield Problem("tier", f"is not offered in {wanted}{there}{elsewhere}.")

    def prices(self, values: Properties) -> dict[str, Any]:
        """Return what the storage costs, used or not."""
        size, tier, center = (values.get(name) for name in ("size_gb", "tier", "data_center"))
        if has_unknown([size, tier, center]):
            usd: Any = UNKNOWN
        else:
            usd = storage(float(size or 0), str(tier or self._usual_tier(str(center))))
        return dict.fromkeys(self.costs, usd)

    def _usual_tier(self, center: str) -> str:
        """Return the tier that a volume gets that names none, as far as the catalog lets one tell."""
        offered = self._tiers().get(center) or [VolumeType.STANDARD]
        return VolumeType.STANDARD if VolumeType.STANDARD in offered else offered[0]

    def _tiers(self) -> dict[str, list[str]]:
        centers = self.session.catalog.data_centers
        return {center.id: [str(tier) for tier in center.network_volume_types] for center in centers}

    def own_name(self, values: Properties) -> Any:
        """Derive the name; the ordinary tier is called the same whether the program names it or not."""
        tier = values.get("tier")
        return super().own_name({**values, "tier": None if tier == VolumeType.STANDARD else tier})

    def check(self, olds: Properties, news: Properties) -> tuple[dict[str, Any], list[Problem]]:
        """Validate; a volume whose tier is no longer named keeps it and its name, and no data is lost unasked."""
        values, problems = super().check(olds, news)
        if not problems and olds and not values.get("delete_data"):
            problems += self._losses(olds, values)
        if not problems and not news.get("name") and not news.get("tier"):
            derived = {self.own_name({**values, "tier": str(tier)}) for tier in VolumeType}
            if olds.get("name") in derived:
                values["name"] = olds["name"]
        return values, problems

    def _losses(self, olds: Properties, values: Properties) -> Iterator[Problem]:
        """Refuse what would leave the data behind in a volume that then goes."""
        why = f"needs a new volume; the data of {olds.get('name')} would be lost. Set delete_data=True to allow that."
        for name in self.fixed:
            before, after = olds.get(name), values.get(name)
            if name == "tier" and after and not before:
                before = next((str(found.type) for found in self.session.volumes.named(str(olds.get("name")))), after)
            if after and before and not has_unknown(after) and before != after:
                yield Problem(name, why)
        if _shrinks(olds.get("size_gb"), values.get("size_gb")):
            yield Problem("size_gb", why)

    def compared(self, news: Properties) -> Iterator[str]:
        """The deletion reads `delete_data` from the state, so that has to have it."""
        yield "delete_data"
        yield from super().compared(news)

    def _same(self, name: str, olds: Properties, news: Properties) -> bool:
        if name == "tier" and not olds.get("tier"):
            return bool(olds.get("effective_tier") == news.get("tier"))
        return super()._same(name, olds, news)

    def replaced_by(self, changed: Iterable[str], olds: Properties, news: Properties) -> Iterable[str]:
        """A volume cannot shrink, nor move."""
        for name in changed:
            if name in self.fixed or (name == "size_gb" and _shrinks(olds.get(name), news.get(name))):
                yield name

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createNetworkVolume`."""
        request: dict[str, Any] = {
            "name": inputs["name"],
            "size": int(inputs["size_gb"]),
            "data_center": inputs["data_center"],
        }
        if inputs.get("tier"):
            request["type"] = inputs["tier"]
        derived = inputs["name"] == self.own_name(inputs)
        volume, there = self.one().find_or_create(
            inputs["name"],
            lambda: self.session.runpod.create_network_volume(CreateNetworkVolume(**request)),
            derived=derived,
            adopt=bool(inputs.get("adopt")),
        )
        if not there:
            return volume.id, self._found(volume, inputs).outs
        self.session.adopted.add(volume.id)
        outs = self.update(volume.id, self._found(volume, inputs).outs, inputs)
        return volume.id, outs if derived else {**outs, "adopted": True}

    def read(self, id_: str, props: Properties) -> Found | None:
        """Look into the shared list, then ask `getNetworkVolume`."""
        volume = self.session.volumes.get(id_)
        if volume is None:
            try:
                volume = self.session.runpod.get_network_volume(id_)
            except NotFound:
                return None
        return self._found(volume, props)

    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `updateNetworkVolume` with what differs."""
        changed = self.diff(olds, news).changed
        request: dict[str, Any] = {}
        if "name" in changed:
            request["name"] = news["name"]
        if "size_gb" in changed:
            request["size"] = int(news["size_gb"])
        if not request:
            kept = {name: value for name, value in olds.items() if name not in self.notes}
            return kept | {name: news[name] for name in self.notes if name in news}
        volume = self.session.runpod.update_network_volume(id_, UpdateNetworkVolume(**request))
        self.session.volumes.changed(volume)
        known = {**news, "adopted": olds.get("adopted")}
        return self._found(volume, known).outs

    def delete(self, id_: str, props: Properties) -> None:
        """Call `deleteNetworkVolume`, unless something uses it: the API would let it go with all data.

        Raises:
            InUse: An endpoint or a pod has the volume.
        """
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same volume
        if users := volume_users(self.session, id_):
            detail = f"Network volume {props.get('name', id_)} ({id_}) is used by {', '.join(users)}."
            raise InUse(detail, hint="Take it out of network_volume_ids there first, or delete its users.")
        if props.get("adopted") and not props.get("delete_data"):
            self.session.report.warn(
                f"Network volume {props.get('name', id_)} ({id_}) was there before this stack, so it is kept with its "
                "data, and costs on. delete_data=True and an `up` before would have deleted it."
            )
            return
        if props.get("name") == self.own_name(props):
            self.one().sweep(props["name"], id_)
        with suppress(NotFound):
            self.session.runpod.delete_network_volume(id_)
        self.session.volumes.deleted(id_)

    def one(self) -> OneOfAName[wire.NetworkVolume]:
        """Look for the name in the account."""
        return OneOfAName(
            kind=self.kind,
            listing=self.session.volumes,
            report=self.session.report,
            get=self.session.runpod.get_network_volume,
            remove=self.session.runpod.delete_network_volume,
            used=lambda volume: bool(volume_users(self.session, volume.id)) or self._may_hold_data(volume),
        )

    def _may_hold_data(self, volume: wire.NetworkVolume) -> bool:
        try:
            client = self.session.volume_store(volume.data_center)
            with attempting(f"looking into volume {volume.id}"):
                return bool(client.list_objects_v2(Bucket=volume.id, MaxKeys=1).get("KeyCount"))
        except (StoreError, ConfigError):
            return True  # who cannot look must not delete

    def _found(self, volume: wire.NetworkVolume, props: Properties) -> Found:
        self.session.volume_places[volume.id] = volume.data_center
        observed = {
            "name": volume.name,
            "size_gb": volume.size,
            "data_center": volume.data_center,
            "tier": str(volume.type) if props.get("tier") else None,
        }
        outputs = {"effective_tier": str(volume.type), "adopted": props.get("adopted")}
        return self.found(observed, outputs, props)


def _with(tiers: dict[str, list[str]], tier: str | None = None) -> str:
    """List the data centers with storage, or with storage of this tier."""
    return ", ".join(sorted(center for center, offered in tiers.items() if (tier in offered if tier else offered)))


def _shrinks(old: object, new: object) -> bool:
    return isinstance(old, int | float) and isinstance(new, int | float) and new < old


class NetworkVolumeProvider(Provider):
    """Dynamic provider of `NetworkVolume`."""

    crud: ClassVar = NetworkVolumeCrud


class NetworkVolumeArgs(ResourceArgs, total=False):
    """Arguments of `NetworkVolume`."""

    size_gb: Required[pulumi.Input[int]]
    """Size in GB, 10 to 4096. It can grow in place; a smaller size makes a new, empty volume."""
    data_center: Required[pulumi.Input[str]]
    """Runpod data center, such as `EU-RO-1`. A change makes a new volume."""
    tier: pulumi.Input[str]
    """`STANDARD` or `HIGH_PERFORMANCE`; the data center's default when left out. A change makes a new volume."""
    delete_data: pulumi.Input[bool]
    """Allow a change that needs a new volume, and the deletion of one that was adopted. False by default."""
    name: pulumi.Input[str]
    """Name at Runpod; derived from project, stack and resource when left out."""
    adopt: pulumi.Input[bool]
    """Take over the one existing volume of this `name`."""


class NetworkVolume(VisgateResource, module="visgate", name="NetworkVolume"):
    """Storage of one data center that outlives workers; models lie on it.

    Its `id` is also the bucket name at Runpod's S3-compatible API.
    """

    name: pulumi.Output[str]
    size_gb: pulumi.Output[int]
    data_center: pulumi.Output[str]
    effective_tier: pulumi.Output[str]
    """Tier that it really has."""
    hourly_floor_usd: pulumi.Output[float | None]
    """US dollars for an hour of the storage, used or not; None for resources that older versions made."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """The same: storage does not depend on use."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[NetworkVolumeArgs]
    ) -> None:
        super().__init__(NetworkVolumeProvider(), resource_name, args, opts)
