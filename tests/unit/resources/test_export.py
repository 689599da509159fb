from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources._crud import Problem
from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._export import Exported, NotTaken, export
from pulumi_visgate.resources._kinds import Kind
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

SECRET = "canary-of-an-environment-variable"
ARN = "arn:aws:ecr:us-east-2:418399314813:repository/acme/worker"
PLAIN: dict[str, Any] = {
    "name": "sd",
    "type": "QUEUE",
    "image": "acme/worker:1",
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "gpu": {"pools": ["ADA_24"]},
}


@pytest.fixture
def runpod(runpod_emulator: RunpodEmulator) -> Iterator[RunpodClient]:
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        yield client


@pytest.fixture
def session(runpod_emulator: RunpodEmulator) -> Iterator[Session]:
    with a_session(runpod_emulator) as session:
        yield session


@contextmanager
def a_session(emulator: RunpodEmulator) -> Iterator[Session]:
    session = Session(Settings.read(lambda _: None, emulator.env))
    with closing(session.runpod):
        yield session


def endpoint(runpod: RunpodClient, **more: Any) -> str:
    return runpod.create_endpoint(CreateEndpoint.model_validate(PLAIN | more)).id


def pool(runpod: RunpodClient, model_id: str, policy: PoolPolicy = PoolPolicy.ON_DEMAND, **more: Any) -> str:
    name = EndpointName.build(
        user_hash=user_hash("somebody"), model_id=model_id, task=Task.TEXT2IMG, policy=policy, spec={}
    )
    return endpoint(runpod, **({"name": str(name), "env": {"VISGATE_MODEL_ID": model_id, "TOKEN": SECRET}} | more))


def taken(session: Session, **how: Any) -> list[Exported]:
    found, others = export(session, owner="p/s", **how)
    assert not others
    return found


def only(session: Session, **how: Any) -> Exported:
    [found] = taken(session, **how)
    return found


def test_what_is_as_by_default_is_not_said(runpod: RunpodClient, session: Session) -> None:
    id_ = endpoint(runpod)
    found = only(session)
    assert (found.id, found.name, found.resource.__name__, found.kind) == (id_, "sd", "Endpoint", Kind.ENDPOINT)
    assert found.args == {"name": "sd", "image": "acme/worker:1", "gpu_pools": ["ADA_24"], "container_disk_gb": 20}
    assert found.inputs["owner"] == found.outputs["owner"] == "p/s/sd"
    assert found.inputs["max_workers"] == 3
    assert found.outputs["run_url"]


def test_what_is_off_is_said_where_it_is_on_by_default(runpod: RunpodClient, session: Session) -> None:
    runpod.create_template(CreateTemplate(name="pod", image="acme/pod:1", serverless=False, start_ssh=False))
    args = only(session).args
    assert args["serverless"] is False
    assert "start_ssh" not in args


def test_an_endpoint_of_ours_is_a_pool(runpod: RunpodClient, session: Session) -> None:
    pool(runpod, "acme/tiny")
    found = only(session)
    assert (found.resource.__name__, found.name) == ("WarmPool", "tiny-text2img")
    assert found.args["model_id"] == "acme/tiny"
    assert found.args["env"] == {"TOKEN": SECRET}
    assert found.args["name"].startswith("visgate-")
    assert not {"policy", "task", "min_workers"} & found.args.keys()
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "more",
    [
        {"env": {"VISGATE_MODEL_ID": "acme/other"}},
        {"env": {}},
        {"type": "LOAD_BALANCER", "scaling": {"type": "REQUEST_COUNT", "requestCount": 2}},
    ],
)
def test_what_only_has_the_name_of_a_pool_is_an_endpoint(
    runpod: RunpodClient, session: Session, more: dict[str, Any]
) -> None:
    pool(runpod, "acme/tiny", **more)
    found = only(session)
    assert found.resource.__name__ == "Endpoint"
    assert found.args.get("env", {}) == more.get("env", found.args.get("env", {}))


@pytest.mark.parametrize(("least", "policy"), [(0, None), (2, "always_on")])
def test_a_pool_with_windows_keeps_what_it_has_now(
    runpod: RunpodClient, session: Session, least: int, policy: str | None
) -> None:
    pool(runpod, "acme/tiny", PoolPolicy.SCHEDULED_WARM, workers={"min": least, "max": 4})
    found = only(session)
    assert (found.args.get("policy"), found.inputs["min_workers"]) == (policy, least)
    assert "set policy and windows" in found.remarks[0]


def test_names_are_told_apart_and_kept_from_those_of_the_stack(runpod: RunpodClient, session: Session) -> None:
    ids = [
        runpod.create_network_volume(CreateNetworkVolume(name=name, size=10, data_center="EU-RO-1")).id
        for name in ("a b!", "a b!", "a-b", "mine")
    ]
    found, others = export(session, owner="p/s", owned={ids[3]: "mine", "other": "a-b-2"})
    assert [resource.name for resource in found] == ["a-b", "a-b-3", "a-b-4"]
    assert others == [NotTaken(Kind.VOLUME, ids[3], "mine", "the stack has it already")]


def test_what_cannot_be_owned_is_left_out_with_the_reason(runpod: RunpodClient, session: Session) -> None:
    wanted = {"name": "ghcr", "username": "u", "password": "canary-of-a-password"}
    runpod.create_registry(CreateRegistry.model_validate(wanted))
    runpod.create_delegation(CreateDelegation(resource=ARN))
    endpoint(runpod, timeout=1500)
    found, others = export(session, owner="p/s")
    assert found == []
    reasons = {other.kind: other.reason for other in others}
    assert "never shows" in reasons[Kind.REGISTRY]
    assert "no name" in reasons[Kind.DELEGATION]
    assert reasons[Kind.ENDPOINT].startswith("execution_timeout_s ")


def test_what_the_catalog_no_longer_offers_is_taken_all_the_same(
    runpod: RunpodClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint(runpod)
    monkeypatch.setattr(EndpointCrud, "remote_rules", lambda *_: iter([Problem("gpu_pools", "is no more.")]))
    assert only(session).name == "sd"


def test_kinds_and_names_can_be_chosen(runpod: RunpodClient, session: Session) -> None:
    endpoint(runpod)
    endpoint(runpod, name="xl-one")
    runpod.create_template(CreateTemplate(name="xl-two", image="acme/pod:1"))
    assert [found.name for found in taken(session, pattern="xl-*")] == ["xl-two", "xl-one"]
    assert [found.name for found in taken(session, kinds=[Kind.ENDPOINT])] == ["sd", "xl-one"]


def test_taking_over_what_is_as_declared_changes_nothing(runpod: RunpodClient, runpod_emulator: RunpodEmulator) -> None:
    volume = runpod.create_network_volume(CreateNetworkVolume(name="v", size=10, data_center="EU-RO-1"))
    runpod.create_template(CreateTemplate(name="t", image="acme/pod:1", env={"TOKEN": SECRET}, ports=["80/http"]))
    runpod.create_delegation(CreateDelegation(resource=ARN, name="ecr"))
    endpoint(runpod, network_volumes=[volume.id], env={"TOKEN": SECRET}, workers={"min": 0, "max": 1})
    pool(runpod, "acme/tiny")
    with a_session(runpod_emulator) as session:
        found = taken(session)
    assert len(found) == 5
    runpod_emulator.reset_requests()
    with a_session(runpod_emulator) as session:
        for resource in found:
            crud = resource.provider.crud(session)
            values = resource.inputs | {"owner": "other/stack/name", "adopt": True}
            id_, outs = crud.create(values)
            assert id_ == resource.id
            assert not crud.diff(outs, values).changed
    assert {operation[:3] for operation in runpod_emulator.requests()} <= {"lis", "get"}
