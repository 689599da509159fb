"""What the client reads is what the gateway writes."""

import inspect
from typing import Any

import pytest
from pydantic import BaseModel

from pulumi_visgate import client
from pulumi_visgate.client import models, offers
from pulumi_visgate.client._calls import DeployOptions, JobOptions, Where
from pulumi_visgate.gateway.routes import preflight_schemas, schemas
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.services.log_feed import TunnelledLine
from pulumi_visgate.gateway.services.waiting import Waiting

PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (models.SubmittedJob, schemas.JobAnswer),
    (models.Expected, schemas.Expected),
    (models.Job, JobView),
    (models.Waiting, Waiting),
    (models.Deployment, schemas.DeploymentAnswer),
    (models.OwnDeployment, schemas.Deployment),
    (offers.OfferedModel, schemas.Model),
    (offers.Placements, preflight_schemas.Placements),
    (offers.Placement, preflight_schemas.Placement),
    (offers.Reason, preflight_schemas.ReasonView),
    (offers.Preflight, preflight_schemas.PreflightAnswer),
    (offers.Check, preflight_schemas.CheckView),
    (offers.Memory, preflight_schemas.Memory),
    (offers.Disk, preflight_schemas.Disk),
    (offers.Gpu, preflight_schemas.GpuView),
    (offers.GpuPool, preflight_schemas.PoolView),
    (offers.Cost, preflight_schemas.CostView),
    (models.LogLine, TunnelledLine),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[ours.__name__ for ours, _ in PAIRS])
def test_an_answer_has_the_gateways_fields(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    assert set(ours.model_fields) - {"lost"} == set(theirs.model_fields) - {"links"}
    needed = {name for name, field in ours.model_fields.items() if field.is_required()}
    always = {name for name, field in theirs.model_fields.items() if field.is_required()}
    assert needed <= always


def test_the_options_are_those_of_the_gateways_bodies() -> None:
    job = set(schemas.JobRequestBody.model_fields) - {"model", "task", "input", "policy"}
    assert set(JobOptions.__annotations__) == job | {"idempotency_key"}
    deployment = set(schemas.DeploymentRequest.model_fields) - {"model", "task", "warm_for_s"}
    assert set(DeployOptions.__annotations__) == deployment
    assert set(Where.__annotations__) == set(preflight_schemas.PlacementQuery.model_fields) - {"model", "task"}


def test_both_clients_have_the_same_operations() -> None:
    def operations(of: type) -> dict[str, Any]:
        found = inspect.getmembers(of, inspect.isfunction)
        return {name: list(inspect.signature(member).parameters) for name, member in found if not name.startswith("_")}

    blocking, asynchronous = operations(client.Client), operations(client.AsyncClient)
    assert blocking.pop("close") == asynchronous.pop("aclose")
    assert blocking == asynchronous
