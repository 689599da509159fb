"""Stock that a test sets, as the catalog shows it and as workers are placed by it."""

import httpx
import pytest

from pulumi_visgate.local.emulator.catalog import CPUS, GPUS, Level, place_cpu, place_gpu
from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.stock import Stock
from pulumi_visgate.local.emulator.testing import RunpodEmulator

ASKED = {"include": "AVAILABILITY", "product": "SERVERLESS"}
L4 = "NVIDIA L4"


def levels(api: httpx.Client, kind: str, name: str) -> dict[str, str]:
    items = api.get(f"/v2/catalog/{kind}", params=ASKED).raise_for_status().json()[kind]
    found = next(item for item in items if item["id"] == name)
    return {"": found["availability"], **{c["id"]: c["availability"] for c in found.get("dataCenters", ())}}


def test_the_catalog_shows_what_was_set_and_forgets_it_at_the_reset(
    api: httpx.Client, runpod_emulator: RunpodEmulator
) -> None:
    before = levels(api, "gpus", L4)
    runpod_emulator.set_stock(L4, "EU-RO-1", "LOW")
    runpod_emulator.set_stock("cpu5c")
    assert levels(api, "gpus", L4) == {**before, "EU-RO-1": "LOW"}
    assert levels(api, "cpus", "cpu5c") == {"": "NONE"}
    romania = api.get("/v2/catalog/datacenters/EU-RO-1", params={"include": "GPU_AVAILABILITY"}).json()
    assert {"id": L4, "name": "L4", "availability": "LOW"} in romania["gpuAvailability"]
    runpod_emulator.reset()
    assert levels(api, "gpus", L4) == before


def test_a_full_pool_has_no_free_cuda_version_either(api: httpx.Client, runpod_emulator: RunpodEmulator) -> None:
    runpod_emulator.set_stock("AMPERE_24")
    gpus = api.get("/v2/catalog/gpus", params=ASKED).json()["gpus"]
    full = [gpu for gpu in gpus if gpu["pool"] == "AMPERE_24"]
    assert len(full) == 3
    assert not any(version["available"] for gpu in full for version in gpu["cudaVersions"])
    assert not any("dataCenters" in gpu for gpu in full)


@pytest.mark.parametrize(("name", "center"), [("RTX 9000", None), ("NVIDIA L4", "EU-XX-1")])
def test_what_is_not_in_the_catalog_is_refused_by_name(
    runpod_emulator: RunpodEmulator, name: str, center: str | None
) -> None:
    with pytest.raises(StartError, match=center or name):
        runpod_emulator.set_stock(name, center, "HIGH")


def test_workers_are_placed_by_it() -> None:
    stock = Stock()
    assert stock.set("AMPERE_24", None, Level.NONE) == ""
    assert place_gpu(["AMPERE_24"], [], 1, [], stock=stock.of) is None
    stock.set(L4, "OC-AU-1", Level.LOW)
    placed = place_gpu(["AMPERE_24"], [], 1, [], stock=stock.of)
    assert placed is not None
    assert (placed.gpu, placed.data_center) == (L4, "OC-AU-1")
    stock.set("cpu3c", None, Level.NONE)
    assert place_cpu([("cpu3c", 2)], [], stock=stock.of) is None
    stock.reset()
    assert stock.of(GPUS[L4]) == GPUS[L4].stock
    assert stock.of(CPUS["cpu3c"]) == CPUS["cpu3c"].stock
