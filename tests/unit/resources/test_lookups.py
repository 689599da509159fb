from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

import pulumi_visgate
from pulumi_visgate import VisgateError, lookups
from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume

SECRET = "canary-of-an-environment-variable"


@pytest.fixture(autouse=True)
def account(shell_account: RunpodClient) -> RunpodClient:
    return shell_account


def test_the_catalog_is_asked_for_once(runpod_emulator: RunpodEmulator) -> None:
    every = pulumi_visgate.get_gpu_types()
    pools = {gpu.pool for gpu in every}
    assert {"ADA_24", None} <= pools
    assert {gpu.pool for gpu in pulumi_visgate.get_gpu_types(pool="ADA_24")} == {"ADA_24"}
    flavours = pulumi_visgate.get_cpu_types()
    assert {"cpu5c"} <= {cpu.id for cpu in flavours}
    assert pulumi_visgate.get_cpu_types(vcpus=4096) == []
    centers = pulumi_visgate.get_data_centers()
    fast = pulumi_visgate.get_data_centers(tier="HIGH_PERFORMANCE")
    assert 0 < len(fast) < len(centers)
    assert runpod_emulator.requests() == {"listGpuTypes": 1, "listCpuTypes": 2, "listDataCenters": 1}


def test_what_the_account_has_is_found_by_name(account: RunpodClient) -> None:
    for name, center in (("one", "EU-RO-1"), ("two", "EU-RO-1"), ("two", "US-KS-2")):
        account.create_network_volume(CreateNetworkVolume(name=name, size=10, data_center=center))
    account.create_template(CreateTemplate(name="mine", image="acme/worker:1", env={"TOKEN": SECRET}))
    assert len(pulumi_visgate.get_network_volumes()) == 3
    assert len(pulumi_visgate.get_network_volumes(name="two")) == 2
    [found] = pulumi_visgate.get_network_volumes(name="two", data_center="EU-RO-1")
    assert (found.name, found.data_center) == ("two", "EU-RO-1")
    [template] = pulumi_visgate.get_templates(name="mine")
    assert template.env == {"TOKEN": SECRET}
    assert SECRET not in repr(template)
    assert pulumi_visgate.get_templates(name="other") == []
    assert pulumi_visgate.get_endpoints() == []


@pytest.mark.parametrize("fits_gb", [8, 24, 40, 80])
def test_the_cheapest_gpu_fits_and_nothing_cheaper_does(fits_gb: int) -> None:
    chosen = pulumi_visgate.cheapest_gpu(fits_gb=fits_gb)
    assert chosen.pool is not None
    assert chosen.price.serverless is not None
    assert all(gpu.memory >= fits_gb for gpu in pulumi_visgate.get_gpu_types(pool=chosen.pool))
    in_stock = [gpu for gpu in lookups._with_stock(lookups.session()) if gpu.availability not in {"NONE", None}]
    for gpu in in_stock:
        if gpu.pool and gpu.memory >= fits_gb and gpu.price.serverless is not None:
            assert gpu.price.serverless >= chosen.price.serverless


def test_what_does_not_fit_is_told_with_what_there_is() -> None:
    with pytest.raises(VisgateError, match=r"no serverless pool has GPUs with 5000 GB; the largest have \d+ GB"):
        pulumi_visgate.cheapest_gpu(fits_gb=5000)
    with pytest.raises(VisgateError, match="is in stock in XX-NO-1") as raised:
        pulumi_visgate.cheapest_gpu(fits_gb=24, data_center_ids=["XX-NO-1"])
    assert "EU-RO-1" in str(raised.value)
    with pytest.raises(VisgateError, match="RTX_9000 is no serverless GPU pool") as raised:
        pulumi_visgate.data_centers(for_volume_and_gpu="RTX_9000")
    assert "ADA_24" in str(raised.value)


def test_data_centers_have_both_the_storage_and_the_gpu() -> None:
    found = pulumi_visgate.data_centers(for_volume_and_gpu="ADA_24")
    assert found
    stored = {center.id for center in pulumi_visgate.get_data_centers() if center.network_volume_types}
    assert set(found) <= stored
    for center in found:
        assert pulumi_visgate.cheapest_gpu(fits_gb=1, data_center_ids=[center]).pool
    gpu = pulumi_visgate.get_gpu_types(pool="ADA_24")[0]
    assert set(pulumi_visgate.data_centers(for_volume_and_gpu=gpu.id)) <= set(found)
    fast = {center.id for center in pulumi_visgate.get_data_centers(tier="HIGH_PERFORMANCE")}
    assert set(pulumi_visgate.data_centers(for_volume_and_gpu="ADA_24", tier="HIGH_PERFORMANCE")) == set(found) & fast


def test_a_missing_key_is_told_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    with pytest.raises(VisgateError, match="pulumi config set --secret visgate:runpodApiKey"):
        pulumi_visgate.get_endpoints()


class Nothing(mocks.Mocks):
    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


def known(make: Callable[[], pulumi.Output[Any]]) -> tuple[Any, bool]:
    """Return the value of an output, and whether it is secret."""
    seen: list[tuple[Any, bool]] = []

    def program() -> pulumi.Output[None]:
        output = make()

        async def look() -> None:
            seen.append((await output.future(), await output.is_secret()))

        return pulumi.Output.from_input(look())

    mocks.set_mocks(Nothing(), project="p", stack="s")
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]  # pulumi's own
    return seen[0]


@pytest.mark.usefixtures("pulumi_loop")
def test_output_forms_take_outputs_and_keep_environments_secret() -> None:
    def chosen() -> pulumi.Output[Any]:
        return pulumi_visgate.cheapest_gpu_output(fits_gb=pulumi.Output.from_input(24)).apply(lambda gpu: gpu.pool)

    assert known(chosen) == (pulumi_visgate.cheapest_gpu(fits_gb=24).pool, False)
    assert known(pulumi_visgate.get_endpoints_output) == ([], True)
    assert known(pulumi_visgate.get_templates_output) == ([], True)
    assert known(pulumi_visgate.get_network_volumes_output) == ([], False)
