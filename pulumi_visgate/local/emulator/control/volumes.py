"""`/v2/network-volumes`: each volume is a folder, metered by the gigabyte and month."""

import shutil

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, created, no_content
from pulumi_visgate.local.emulator.catalog import (
    DATA_CENTERS,
    HOURS_OF_MONTH,
    SECONDS_OF_HOUR,
    STORAGE_PER_GB_MONTH,
)
from pulumi_visgate.local.emulator.errors import bad_request
from pulumi_visgate.local.emulator.store import Kind, Record
from pulumi_visgate.local.emulator.usage import Component
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume, UpdateNetworkVolume

_COMPONENT = {"STANDARD": Component.STANDARD, "HIGH_PERFORMANCE": Component.HIGH_PERFORMANCE}


async def list_network_volumes(call: Call) -> Response:
    """`listNetworkVolumes`."""
    return answer({"networkVolumes": call.listed(Kind.VOLUME)})


async def create_network_volume(call: Call) -> Response:
    """`createNetworkVolume`."""
    body = (await call.body(CreateNetworkVolume)).body()
    center = DATA_CENTERS.get(body["dataCenter"])
    if center is None:
        known = ", ".join(DATA_CENTERS)
        detail = f"dataCenter: there is no data center {body['dataCenter']!r}; known ones are {known}"
        raise bad_request(detail)
    if not center.volume_types:
        detail = f"dataCenter: {center.id} has no network volumes"
        raise bad_request(detail)
    tier = body.get("type", center.volume_types[0])
    if tier not in center.volume_types:
        detail = f"type: {center.id} offers {', '.join(center.volume_types)}, not {tier}"
        raise bad_request(detail)
    emulator = call.emulator
    doc = {"name": body["name"], "size": body["size"], "dataCenter": center.id, "type": tier}
    record = emulator.store.add(Kind.VOLUME, call.account, emulator.clock.now(), doc)
    (emulator.settings.volumes / record.id).mkdir(parents=True, exist_ok=True)
    _meter(call, record)
    return created(record.doc)


async def get_network_volume(call: Call) -> Response:
    """`getNetworkVolume`."""
    return answer(call.own(Kind.VOLUME, call.param("id")).doc)


async def update_network_volume(call: Call) -> Response:
    """`updateNetworkVolume`: volumes only grow."""
    body = (await call.body(UpdateNetworkVolume)).body()
    record = call.own(Kind.VOLUME, call.param("id"))
    size = body.get("size", record.doc["size"])
    if size < record.doc["size"]:
        detail = f"size: a network volume cannot shrink from {record.doc['size']} GB to {size} GB"
        raise bad_request(detail)
    grown = size > record.doc["size"]
    record.doc.update(body)
    call.emulator.store.save(record)
    if grown:
        call.emulator.usage.stop(record.id)
        _meter(call, record)
    return answer(record.doc)


async def delete_network_volume(call: Call) -> Response:
    """`deleteNetworkVolume`, refused while an endpoint mounts it."""
    record = call.own(Kind.VOLUME, call.param("id"))
    for endpoint in call.emulator.store.list(Kind.ENDPOINT, call.account):
        if record.id in endpoint.doc["networkVolumes"]:
            detail = f"network volume {record.id!r} is in use by serverless endpoint {endpoint.id!r}"
            raise bad_request(detail)
    remove(call, record)
    return no_content()


def remove(call: Call, record: Record) -> None:
    """Delete a volume with its files."""
    call.emulator.store.remove(record)
    call.emulator.usage.stop(record.id)
    shutil.rmtree(call.emulator.settings.volumes / record.id, ignore_errors=True)


def _meter(call: Call, record: Record) -> None:
    tier = record.doc["type"]
    per_second = record.doc["size"] * STORAGE_PER_GB_MONTH[tier] / (HOURS_OF_MONTH * SECONDS_OF_HOUR)
    call.emulator.usage.start(record.account, record.id, _COMPONENT[tier], per_second)
