from typing import Any

import pytest

from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.warm_pool import WarmPoolCrud
from tests.unit.resources.conftest import KEY, MemoryRunpod, MemorySession
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.tasks import Task

POOL = {"model_id": "acme/tiny", "image": "acme/worker:1", "gpu_pools": ["ADA_24"], "owner": "p/s/pool"}


@pytest.fixture
def crud(session: MemorySession) -> WarmPoolCrud:
    return WarmPoolCrud(session)


def checked(crud: WarmPoolCrud, **inputs: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {**POOL, **inputs})
    assert problems == []
    return values


def test_the_gateway_finds_a_pool_by_its_name(crud: WarmPoolCrud) -> None:
    name = EndpointName.parse(checked(crud)["name"])
    assert name is not None
    assert name.serves(user_hash=user_hash(KEY), model_id="acme/tiny", task=Task.TEXT2IMG)
    assert checked(crud, owner="p/s/other")["name"] != str(name)
    assert checked(crud, image="acme/worker:2")["name"] == str(name)


def test_the_policy_decides_the_minimum(crud: WarmPoolCrud) -> None:
    assert checked(crud)["min_workers"] == 0
    assert checked(crud, policy="always_on")["min_workers"] == 1
    assert checked(crud, policy="always_on", min_workers=2)["min_workers"] == 2


@pytest.mark.parametrize(
    ("inputs", "name", "said"),
    [
        ({"policy": "scheduled_warm"}, "policy", "use always_on or on_demand"),
        ({"min_workers": 1}, "min_workers", "must be 0 for policy on_demand"),
        ({"policy": "always_on", "min_workers": 0}, "min_workers", "at least 1"),
        ({"task": "text2speech"}, "task", "text2img"),
        ({"env": {"VISGATE_MODEL_ID": "x"}}, "env", "is set from model_id"),
        ({"policy": "always_on", "min_workers": 5}, "min_workers", "above max_workers"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(crud: WarmPoolCrud, inputs: dict[str, Any], name: str, said: str) -> None:
    problems = {problem.property: problem.reason for problem in crud.check({}, {**POOL, **inputs})[1]}
    assert said in problems[name]


def test_a_preview_with_an_unknown_model_has_an_unknown_name(crud: WarmPoolCrud) -> None:
    assert checked(crud, model_id=UNKNOWN)["name"] is UNKNOWN


def test_the_worker_is_told_its_model_and_the_program_sees_only_its_own_env(
    crud: WarmPoolCrud, memory: MemoryRunpod
) -> None:
    inputs = checked(crud, env={"A": "1"}, model_revision="abc")
    id_, outs = crud.create(inputs)
    api = {"A": "1", "VISGATE_MODEL_ID": "acme/tiny", "VISGATE_MODEL_REVISION": "abc"}
    assert memory.items["endpoint"][id_]["env"] == api
    assert outs["env"] == {"A": "1"}
    assert outs["effective_min_workers"] == 0
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs == inputs

    news = checked(crud, env={"A": "1"}, model_revision="def")
    crud.update(id_, outs, news)
    assert memory.items["endpoint"][id_]["env"] == {**api, "VISGATE_MODEL_REVISION": "def"}


@pytest.mark.parametrize("env", [{"VISGATE_MODEL_ID": "acme/other"}, {}])
def test_a_tampered_model_shows_as_drift_and_is_repaired(
    crud: WarmPoolCrud, memory: MemoryRunpod, env: dict[str, str]
) -> None:
    inputs = checked(crud)
    id_, outs = crud.create(inputs)
    memory.items["endpoint"][id_]["env"] = env
    found = WarmPoolCrud(MemorySession(memory)).read(id_, outs)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ("env",)
    crud.update(id_, found.outs, inputs)
    assert memory.items["endpoint"][id_]["env"] == {"VISGATE_MODEL_ID": "acme/tiny"}


def test_another_model_or_task_is_another_pool(crud: WarmPoolCrud) -> None:
    _, outs = crud.create(checked(crud))
    assert crud.diff(outs, checked(crud, model_id="acme/other")).replaces == ("model_id",)
    assert crud.diff(outs, checked(crud, task="image2img")).replaces == ("task",)
    assert crud.diff(outs, checked(crud, policy="always_on")).replaces == ()
