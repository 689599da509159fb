from datetime import UTC, datetime
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

import pulumi_visgate
from pulumi_visgate import VisgateError
from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, Endpoint, UpdateEndpoint
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume

SECRET = "canary-of-an-environment-variable"
ARN = "arn:aws:ecr:us-east-2:418399314813:repository/acme/worker"


@pytest.fixture
def endpoint(shell_account: RunpodClient) -> Endpoint:
    wanted: dict[str, Any] = {
        "name": "sd",
        "type": "QUEUE",
        "image": "acme/worker:1",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "gpu": {"pools": ["ADA_24"]},
        "env": {"TOKEN": SECRET},
    }
    return shell_account.create_endpoint(CreateEndpoint.model_validate(wanted))


def test_one_of_the_account_is_found_by_id_or_name(shell_account: RunpodClient, endpoint: Endpoint) -> None:
    template = shell_account.create_template(CreateTemplate(name="t", image="acme/worker:1"))
    volume = shell_account.create_network_volume(CreateNetworkVolume(name="v", size=10, data_center="EU-RO-1"))
    assert pulumi_visgate.get_endpoint(id=endpoint.id) == pulumi_visgate.get_endpoint(name="sd") == endpoint
    assert pulumi_visgate.get_template(id=template.id) == pulumi_visgate.get_template(name="t") == template
    assert pulumi_visgate.get_network_volume(id=volume.id) == pulumi_visgate.get_network_volume(name="v") == volume
    assert SECRET not in repr(pulumi_visgate.get_endpoint(name="sd"))


@pytest.mark.usefixtures("endpoint")
def test_none_and_several_are_told(shell_account: RunpodClient) -> None:
    made = [
        shell_account.create_network_volume(CreateNetworkVolume(name="v", size=10, data_center="EU-RO-1")).id
        for _ in range(2)
    ]
    with pytest.raises(VisgateError, match="There are 2 of NetworkVolume called 'v'") as several:
        pulumi_visgate.get_network_volume(name="v")
    assert all(id_ in str(several.value) for id_ in made)
    with pytest.raises(VisgateError, match=r"There is no Endpoint called 'xl'. The account has sd"):
        pulumi_visgate.get_endpoint(name="xl")
    with pytest.raises(VisgateError, match=r"There is no Template with the id 'gone'. The account has none"):
        pulumi_visgate.get_template(id="gone")
    with pytest.raises(VisgateError, match="Endpoint: give either id or name"):
        pulumi_visgate.get_endpoint()


def test_registries_and_delegations_are_listed(shell_account: RunpodClient) -> None:
    wanted = {"name": "ghcr", "username": "u", "password": "canary-of-a-password"}
    registry = shell_account.create_registry(CreateRegistry.model_validate(wanted))
    delegation = shell_account.create_delegation(CreateDelegation(resource=ARN, name="ecr"))
    assert pulumi_visgate.get_registries() == pulumi_visgate.get_registries(name="ghcr") == [registry]
    assert pulumi_visgate.get_delegations() == pulumi_visgate.get_delegations(name="ecr") == [delegation]
    assert pulumi_visgate.get_registries(name="x") == []
    assert pulumi_visgate.get_delegations(name="x") == []


def test_workers_and_releases_belong_to_an_endpoint(shell_account: RunpodClient, endpoint: Endpoint) -> None:
    shell_account.update_endpoint(endpoint.id, UpdateEndpoint(image="acme/worker:2"))
    workers = pulumi_visgate.get_workers(endpoint.id)
    assert (workers.workers, workers.summary.total) == ([], 0)
    newest, *_ = pulumi_visgate.get_releases(endpoint.id).releases
    assert [change.new for change in newest.diff] == ["acme/worker:2"]
    for look in (pulumi_visgate.get_workers, pulumi_visgate.get_releases):
        with pytest.raises(VisgateError, match="There is no Endpoint with the id 'gone'"):
            look("gone")


def test_billing_is_of_the_account_or_a_part(
    shell_account: RunpodClient, runpod_emulator: RunpodEmulator, endpoint: Endpoint
) -> None:
    volume = shell_account.create_network_volume(CreateNetworkVolume(name="v", size=100, data_center="EU-RO-1"))
    runpod_emulator.advance(3 * 86_400)
    whole = pulumi_visgate.get_billing(bucket="week")
    volumes = pulumi_visgate.get_billing(of="network_volumes", id=volume.id, last=10)
    assert volumes.metadata.totals.total_amount == pytest.approx(whole.metadata.totals.total_amount)
    assert volumes.metadata.totals.total_amount > 0
    assert len(volumes.records) > len(whole.records)
    endpoints = pulumi_visgate.get_billing(of="endpoints", id=endpoint.id, start="2026-01-01T00:00:00Z")
    pods = pulumi_visgate.get_billing(of="pods", start=datetime(2026, 1, 1, tzinfo=UTC))
    assert endpoints.metadata.totals.total_amount == pods.metadata.totals.total_amount == 0


@pytest.mark.usefixtures("shell_account")
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bucket": "fortnight"}, "bucket: .*'week'"),
        ({"last": 0}, "last: "),
        ({"last": 2, "end": "2026-01-01T00:00:00Z"}, "lastN cannot be combined"),
        ({"start": "yesterday"}, "start: "),
        ({"start": datetime(2026, 1, 1)}, "start: .*timezone"),  # noqa: DTZ001, which is what is wrong with it
        ({"id": "x"}, "id: needs an `of`"),
        ({"of": "clusters"}, "of: clusters .* Use account"),
    ],
)
def test_billing_says_which_argument_is_wrong(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(VisgateError, match=said):
        pulumi_visgate.get_billing(**wrong)


class Nothing(mocks.Mocks):
    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


@pytest.mark.usefixtures("pulumi_loop")
def test_output_forms_take_places_and_names_and_know_what_is_secret(endpoint: Endpoint) -> None:
    seen: dict[str, tuple[Any, bool]] = {}
    id_ = pulumi.Output.from_input(endpoint.id)

    def program() -> pulumi.Output[None]:
        outputs: dict[str, pulumi.Output[Any]] = {
            "endpoint": pulumi_visgate.get_endpoint_output(id=id_),
            "workers": pulumi_visgate.get_workers_output(id_),
            "releases": pulumi_visgate.get_releases_output(endpoint_id=id_),
            "billing": pulumi_visgate.get_billing_output(of="endpoints", id=id_),
            "registries": pulumi_visgate.get_registries_output(),
            "cpus": pulumi_visgate.get_cpu_types_output(vcpus=2),
        }

        async def look() -> None:
            for name, output in outputs.items():
                seen[name] = (await output.future(), await output.is_secret())

        return pulumi.Output.from_input(look())

    mocks.set_mocks(Nothing(), project="p", stack="s")
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]  # pulumi's own
    assert seen["endpoint"] == (endpoint, True)
    assert {name for name, (_, secret) in seen.items() if secret} == {"endpoint", "releases"}
    assert seen["workers"][0].summary.total == 0
    assert seen["registries"][0] == []
    assert seen["cpus"][0]
