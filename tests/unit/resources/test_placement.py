"""Plans against the catalog: what is warned about, what fails, what it costs, and what is asked for."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Market, Settings
from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from pulumi_visgate.resources.warm_pool import WarmPoolCrud
from pulumi_visgate.runpod.errors import RateLimited, RunpodError, RunpodUnreachable, Unauthorized
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

GPU = {"image": "acme/worker:1", "gpu_pools": ["ADA_24"], "owner": "p/s/sd"}
POOL = {**GPU, "model_id": "acme/tiny"}
CPU = {"image": "acme/worker:1", "cpus": [{"id": "cpu5c", "vcpus": 4}], "owner": "p/s/sd"}
VOLUME = {"size_gb": 100, "data_center": "US-KS-2", "owner": "p/s/v"}
ADA = ("NVIDIA L4", "NVIDIA RTX 4090")
GONE = "nothing of ADA_24 is in stock"


class Heard:
    """What people were told."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def note(self, text: str) -> None:
        raise AssertionError(text)

    status = note


@pytest.fixture
def heard(session: MemorySession) -> Heard:
    session.report = heard = Heard()
    return heard


def check(crud: Crud, values: dict[str, Any], **inputs: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    checked, problems = crud.check({}, {**values, **inputs})
    return checked, [(problem.property, problem.reason) for problem in problems]


def mode(session: MemorySession, market: Market) -> None:
    session.settings = replace(session.settings, market=market)


def out_of_stock(memory: MemoryRunpod, level: str = "NONE", *, center: str = "EU-RO-1") -> None:
    memory.stock.update({gpu: {center: level, "US-KS-2": "HIGH"} for gpu in ADA})


def test_a_plan_with_stock_says_nothing(session: MemorySession, heard: Heard) -> None:
    assert check(EndpointCrud(session), GPU, data_center_ids=["EU-RO-1"])[1] == []
    assert check(EndpointCrud(session), CPU)[1] == []
    assert heard.warned == []


def test_a_plan_without_stock_is_warned_about_or_fails_by_choice(
    session: MemorySession, memory: MemoryRunpod, heard: Heard
) -> None:
    out_of_stock(memory)
    crud = EndpointCrud(session)
    pools = "Other GPU pools there: AMPERE_24 (24 GB, HIGH, $0.58 an hour)."
    said = f"{GONE} in EU-RO-1. Other data centers: US-KS-2 (HIGH). {pools}"
    assert check(crud, GPU, data_center_ids=["EU-RO-1"])[1] == []
    assert heard.warned == [f"sd (Endpoint): data_center_ids: {said}"]
    mode(session, Market.FAIL)
    assert check(crud, GPU, data_center_ids=["EU-RO-1"])[1] == [("data_center_ids", said)]
    mode(session, Market.OFF)
    assert check(crud, GPU, data_center_ids=["EU-RO-1"])[1] == []
    assert len(heard.warned) == 1


def test_low_stock_never_fails(session: MemorySession, memory: MemoryRunpod, heard: Heard) -> None:
    out_of_stock(memory, "LOW")
    mode(session, Market.FAIL)
    assert check(WarmPoolCrud(session), POOL, data_center_ids=["EU-RO-1"])[1] == []
    [warned] = heard.warned
    assert warned.startswith("sd (WarmPool): data_center_ids: there is only LOW stock of ADA_24 in EU-RO-1")


def test_a_switched_off_endpoint_needs_no_place(session: MemorySession, memory: MemoryRunpod, heard: Heard) -> None:
    out_of_stock(memory)
    checked, problems = check(EndpointCrud(session), GPU, data_center_ids=["EU-RO-1"], max_workers=0)
    assert (problems, heard.warned) == ([], [])
    assert checked["hourly_ceiling_usd"] == 0


def test_a_volume_limits_where_workers_run(session: MemorySession, memory: MemoryRunpod, heard: Heard) -> None:
    out_of_stock(memory)
    volume, _ = NetworkVolumeCrud(session).create({"name": "v", "size_gb": 10, "data_center": "EU-RO-1"})
    mode(session, Market.FAIL)
    memory.calls.clear()
    [(name, reason)] = check(EndpointCrud(session), GPU, network_volume_ids=[volume])[1]
    assert (name, GONE in reason) == ("network_volume_ids", True)
    assert "Other data centers: US-KS-2 (HIGH)." in reason
    asked = [call for call, _ in memory.calls if call != "list_endpoints"]
    assert asked == ["list_gpu_types", "list_data_centers"]  # the volume is known here
    elsewhere = check(EndpointCrud(session), GPU, network_volume_ids=[volume], data_center_ids=["US-KS-2"])[1]
    assert elsewhere == [("network_volume_ids", "none of the network volumes is in one of data_center_ids.")]
    assert heard.warned == []


def test_a_volume_of_somebody_else_is_looked_up_once(
    session: MemorySession, memory: MemoryRunpod, heard: Heard
) -> None:
    out_of_stock(memory)
    theirs = {"id": "theirs", "name": "t", "size": 10, "dataCenter": "EU-RO-1", "type": "STANDARD"}
    memory.items["network_volume"]["theirs"] = theirs
    for _ in range(3):
        check(EndpointCrud(session), GPU, network_volume_ids=["theirs"])
    assert all("network_volume_ids" in text for text in heard.warned)
    assert [call for call, _ in memory.calls].count("list_network_volumes") == 1
    assert [call for call, _ in memory.calls].count("list_gpu_types") == 1
    check(EndpointCrud(session), GPU, network_volume_ids=["unheard-of"])  # the API will say so
    assert len(heard.warned) == 3


def test_what_a_preview_does_not_know_yet_limits_nothing(
    session: MemorySession, memory: MemoryRunpod, heard: Heard
) -> None:
    out_of_stock(memory)
    crud = EndpointCrud(session)
    mode(session, Market.FAIL)
    assert check(crud, GPU, network_volume_ids=[UNKNOWN])[1] == []
    assert check(crud, GPU, data_center_ids=["EU-RO-1", UNKNOWN])[1] == []
    assert check(crud, GPU, gpu_pools=["ADA_24", UNKNOWN], data_center_ids=["EU-RO-1"])[1] == []
    [(name, _)] = check(crud, GPU, network_volume_ids=[UNKNOWN], data_center_ids=["EU-RO-1"], image=UNKNOWN)[1]
    assert name == "data_center_ids"
    assert heard.warned == []


def test_several_gpus_of_one_machine_are_asked_for_as_such(session: MemorySession, memory: MemoryRunpod) -> None:
    checked, problems = check(EndpointCrud(session), GPU, gpus_per_worker=2, min_workers=1)
    assert problems == []
    assert checked["hourly_floor_usd"] == 1.38
    assert [call for call in memory.calls if call[0] != "list_endpoints"] == [
        ("list_gpu_types", {"include": "AVAILABILITY", "product": "SERVERLESS", "count": "2"}),
    ]
    mode(session, Market.FAIL)
    [(name, reason)] = check(EndpointCrud(session), GPU, gpus_per_worker=9)[1]
    assert (name, "the largest has 8" in reason) == ("gpus_per_worker", True)


def test_cpus_are_looked_up_by_flavour_and_size(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = EndpointCrud(session)
    assert check(crud, CPU, cpus=[{"id": "cpu9z", "vcpus": 4}])[1] == [
        ("cpus", "cpu9z is no CPU flavour; choose of cpu5c.")
    ]
    assert check(crud, CPU, cpus=[{"id": "cpu5c", "vcpus": 64}])[1] == [("cpus", "cpu5c: vcpus must not be above 32.")]
    memory.stock["cpu5c"] = {}
    mode(session, Market.FAIL)
    fresh = MemorySession(memory)
    fresh.settings = session.settings
    [(name, reason)] = check(EndpointCrud(fresh), CPU)[1]
    assert (name, reason.startswith("nothing of cpu5c with 4 vCPUs is in stock anywhere.")) == ("cpus", True)


@pytest.mark.parametrize("error", [RunpodUnreachable("refused", sent=False), RateLimited(429, "Slow", "down")])
def test_a_catalog_that_cannot_be_read_is_asked_once_and_stops_nothing(
    session: MemorySession, memory: MemoryRunpod, heard: Heard, error: RunpodError, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fail(query: object) -> None:
        asked.append(query)
        raise error

    monkeypatch.setattr(memory, "list_gpu_types", fail)
    for _ in range(3):
        checked, problems = check(EndpointCrud(session), GPU)
        assert problems == []
        assert not checked.keys() & {"hourly_floor_usd", "hourly_ceiling_usd"}
    assert len(asked) == 1
    [warned] = set(heard.warned)
    assert warned.startswith("Runpod's catalog cannot be read: names, stock and prices are not checked. ")
    assert "\n" not in warned
    mode(session, Market.FAIL)
    with pytest.raises(type(error)):
        check(EndpointCrud(session), GPU)


def test_a_wrong_key_still_fails(session: MemorySession, memory: MemoryRunpod, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_query: object) -> None:
        raise Unauthorized(401, "Unauthorized", "no such key")

    monkeypatch.setattr(memory, "list_gpu_types", fail)
    with pytest.raises(Unauthorized):
        check(EndpointCrud(session), GPU)


def test_the_cost_of_an_endpoint_is_between_its_workers(session: MemorySession) -> None:
    crud = EndpointCrud(session)
    checked, _ = check(crud, GPU, min_workers=1, max_workers=3)
    assert (checked["hourly_floor_usd"], checked["hourly_ceiling_usd"]) == (0.69, 3.3)
    checked, _ = check(crud, GPU, excluded_gpu_types=["NVIDIA L4"])
    assert (checked["hourly_floor_usd"], checked["hourly_ceiling_usd"]) == (0, 3.3)
    checked, _ = check(crud, CPU, min_workers=2)
    assert (checked["hourly_floor_usd"], checked["hourly_ceiling_usd"]) == (0.36, 0.54)


def test_the_cost_is_known_as_soon_as_the_compute_is(session: MemorySession) -> None:
    crud = EndpointCrud(session)
    checked, _ = check(crud, GPU, image=UNKNOWN, min_workers=1, env={"A": UNKNOWN}, network_volume_ids=[UNKNOWN])
    assert checked["hourly_floor_usd"] == 0.69
    checked, _ = check(crud, GPU, min_workers=UNKNOWN, max_workers=2)
    assert (checked["hourly_floor_usd"], checked["hourly_ceiling_usd"]) == (UNKNOWN, 2.2)
    checked, _ = check(crud, GPU, gpu_pools=UNKNOWN)
    assert (checked["hourly_floor_usd"], checked["hourly_ceiling_usd"]) == (0, UNKNOWN)


def test_the_cost_of_a_pool_follows_its_policy(session: MemorySession) -> None:
    crud = WarmPoolCrud(session)
    names = ("hourly_floor_usd", "hourly_ceiling_usd", "monthly_floor_usd")
    cases: list[tuple[dict[str, Any], tuple[object, ...]]] = [
        ({}, (0, 3.3, 0)),
        ({"policy": "always_on"}, (0.69, 3.3, 503.7)),
        ({"policy": UNKNOWN}, (UNKNOWN, 3.3, UNKNOWN)),
        (
            {
                "policy": "scheduled_warm",
                "windows": [{"start": "00:00", "end": "12:00", "timezone": "Asia/Tokyo", "min_workers": 2}],
            },
            (0, 3.3, 503.7),
        ),
    ]
    for inputs, costs in cases:
        checked, problems = check(crud, POOL, **inputs)
        assert problems == []
        assert tuple(checked[name] for name in names) == costs


def test_the_cost_of_a_volume_is_that_of_its_tier(session: MemorySession) -> None:
    crud = NetworkVolumeCrud(session)
    checked, _ = check(crud, VOLUME)
    assert checked["hourly_floor_usd"] == checked["hourly_ceiling_usd"] == pytest.approx(7 / 730, abs=1e-6)
    checked, _ = check(crud, VOLUME, tier="HIGH_PERFORMANCE")
    assert checked["hourly_floor_usd"] == pytest.approx(14 / 730, abs=1e-6)
    checked, _ = check(crud, VOLUME, size_gb=UNKNOWN)
    assert checked["hourly_floor_usd"] is UNKNOWN


def test_costs_stay_through_everything_that_does_not_change_the_resource(
    session: MemorySession, memory: MemoryRunpod
) -> None:
    crud = EndpointCrud(session)
    more: dict[str, Any] = {"min_workers": 1, "data_center_ids": ["EU-RO-1", "US-KS-2"]}
    inputs, _ = check(crud, GPU, **more)
    id_, outs = crud.create(inputs)
    found = crud.read(id_, outs)
    assert found is not None
    assert (found.inputs["hourly_floor_usd"], found.outs["hourly_floor_usd"]) == (0.69, 0.69)
    later = EndpointCrud(MemorySession(memory))
    memory.calls.clear()
    turned = {**GPU, **more, "data_center_ids": ["US-KS-2", "EU-RO-1"], "adopt": True}
    again, _ = later.check(found.inputs, turned)
    assert (again["hourly_floor_usd"], memory.calls) == (0.69, [])
    assert later.diff(found.outs, again).changed == ()
    changed, _ = later.check(found.inputs, {**GPU, **more, "min_workers": 2})
    assert changed["hourly_floor_usd"] == 1.38
    assert later.diff(found.outs, changed).changed == ("min_workers",)
    assert later.update(id_, found.outs, changed)["hourly_floor_usd"] == 1.38


def test_a_state_of_an_older_version_shows_no_change(session: MemorySession, memory: MemoryRunpod) -> None:
    for crud, values in (
        (EndpointCrud(session), GPU),
        (WarmPoolCrud(session), POOL),
        (NetworkVolumeCrud(session), VOLUME),
    ):
        inputs, _ = check(crud, values)
        _, outs = crud.create(inputs)
        old_inputs, old_outs = ({k: v for k, v in state.items() if k not in crud.costs} for state in (inputs, outs))
        memory.calls.clear()
        news, problems = crud.check(old_inputs, values)
        assert (news, problems, memory.calls) == (old_inputs, [], [])
        assert crud.diff(old_outs, news).changed == ()
        assert crud.diff(old_outs, inputs).changed == ()  # nor would new notes alone


def test_costs_of_the_program_are_not_believed(session: MemorySession) -> None:
    checked, _ = check(EndpointCrud(session), GPU, hourly_floor_usd=99)
    assert checked["hourly_floor_usd"] == 0


def test_a_real_catalog_answers_for_gpus_cpus_and_volumes_in_one_call_each(runpod_emulator: RunpodEmulator) -> None:
    key = SecretStr(runpod_emulator.key)
    settings = Settings(runpod_api_key=key, runpod_api_url=runpod_emulator.api_url, market=Market.FAIL)
    session = Session(settings)
    session.report = heard = Heard()
    runpod_emulator.set_stock("ADA_24", "EU-SE-1")
    runpod_emulator.set_stock("cpu3c", level="LOW")
    volume, _ = NetworkVolumeCrud(session).create({"name": "v", "size_gb": 10, "data_center": "EU-SE-1"})
    runpod_emulator.reset_requests()
    crud = EndpointCrud(session)
    assert check(crud, GPU, gpus_per_worker=2, min_workers=1)[0]["hourly_floor_usd"] == 2.2
    [(name, reason)] = check(crud, GPU, gpus_per_worker=2, network_volume_ids=[volume])[1]
    assert name == "network_volume_ids"
    assert "Other data centers: EU-CZ-1 (HIGH), EU-RO-1 (HIGH), EUR-IS-1 (HIGH)." in reason
    assert "AMPERE_24 (24 GB, HIGH, $1.38 an hour)" in reason  # two of them
    checked, problems = check(crud, CPU, cpus=[{"id": "cpu3c", "vcpus": 4}], min_workers=1, min_cuda_version=None)
    assert (checked["hourly_floor_usd"], problems) == (0.16, [])
    [warned] = heard.warned
    assert "there is only LOW stock of cpu3c with 4 vCPUs anywhere" in warned
    assert "Other CPUs: cpu5c with 4 vCPUs (8 GB, HIGH, $0.18 an hour)" in warned
    session.runpod.delete_network_volume(volume)
    session.runpod.close()
    assert runpod_emulator.requests() == {
        "listGpuTypes": 1,
        "listDataCenters": 1,
        "listCpuTypes": 1,
        "listEndpoints": 1,  # who has the name
        "deleteNetworkVolume": 1,
    }
