from datetime import UTC, datetime, timedelta
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


NINE = datetime(2026, 6, 1, 9, tzinfo=UTC)
WINDOWS = [{"start": "09:00", "end": "18:00", "timezone": "UTC", "min_workers": 2.0}]  # Pulumi's numbers are floats
SCHEDULED: dict[str, Any] = {"policy": "scheduled_warm", "windows": WINDOWS}


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
        ({"policy": "scheduled_warm"}, "windows", "required for policy scheduled_warm"),
        ({"windows": [{"start": "09:00", "end": "18:00", "timezone": "UTC"}]}, "windows", "use scheduled_warm"),
        ({"policy": "scheduled_warm", "windows": [{"start": "9"}]}, "windows", "0.timezone: "),
        (
            {
                "policy": "scheduled_warm",
                "windows": [{"start": "09:00", "end": "18:00", "timezone": "UTC", "min_workers": 4}],
            },
            "windows",
            "0.min_workers: must not be above max_workers, 3",
        ),
        ({"min_workers": 1}, "min_workers", "must be 0 for policy on_demand"),
        ({"policy": "always_on", "min_workers": 0}, "min_workers", "at least 1"),
        ({"routing": "LOAD_BALANCER", "request_count": 2}, "routing", "Use Endpoint"),
        ({"template_id": "t1"}, "template_id", "Use Endpoint"),
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


def test_a_scheduled_pool_has_the_minimum_of_the_moment(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = WarmPoolCrud(session, now=lambda: NINE)
    inputs = checked(crud, **SCHEDULED)
    assert inputs["windows"][0]["days"] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    id_, outs = crud.create(inputs)
    assert memory.items["endpoint"][id_]["workers"]["min"] == 2
    assert (outs["min_workers"], outs["effective_min_workers"]) == (0, 2)
    assert outs["next_transition"] == "2026-06-01T18:00:00+00:00"
    assert crud.diff(outs, inputs).changed == ()

    night = WarmPoolCrud(session, now=lambda: NINE + timedelta(hours=12))
    later = checked(night, **SCHEDULED, image="acme/worker:2")
    outs = night.update(id_, outs, later)
    image: dict[str, object] = {"image": "acme/worker:2"}
    assert memory.calls[-1] == ("update_endpoint", image)  # the minimum is the scheduler's
    other = checked(night, **{**SCHEDULED, "windows": [{**WINDOWS[0], "end": "23:00"}]}, image="acme/worker:2")
    assert night.diff(outs, other).changed == ("windows",)
    outs = night.update(id_, outs, other)
    minimum: dict[str, object] = {"workers": {"min": 2}}
    assert memory.calls[-1] == ("update_endpoint", minimum)
    assert night.diff(outs, other).changed == ()

    on_demand = checked(night, image="acme/worker:2")
    outs = night.update(id_, outs, on_demand)
    assert memory.items["endpoint"][id_]["workers"]["min"] == 0
    assert "windows" not in outs
    assert "next_transition" not in outs
    assert night.diff(outs, on_demand).changed == ()


def test_what_the_scheduler_moves_is_no_drift_and_everything_else_is(memory: MemoryRunpod) -> None:
    crud = WarmPoolCrud(MemorySession(memory), now=lambda: NINE)
    inputs = checked(crud, **SCHEDULED, min_workers=1)
    id_, outs = crud.create(inputs)
    memory.items["endpoint"][id_]["workers"].update(min=1)
    found = WarmPoolCrud(MemorySession(memory), now=lambda: NINE + timedelta(hours=10)).read(id_, outs)
    assert found is not None
    assert found.inputs == inputs
    assert found.outs["effective_min_workers"] == 1
    assert found.outs["next_transition"] == "2026-06-02T09:00:00+00:00"
    assert crud.diff(found.outs, inputs).changed == ()

    memory.items["endpoint"][id_]["workers"].update(max=0)
    found = WarmPoolCrud(MemorySession(memory)).read(id_, outs)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ("max_workers",)


def test_a_half_made_scheduled_pool_is_brought_to_the_moment(memory: MemoryRunpod) -> None:
    inputs = checked(WarmPoolCrud(MemorySession(memory)), **SCHEDULED)
    id_, _ = WarmPoolCrud(MemorySession(memory), now=lambda: NINE - timedelta(hours=1)).create(inputs)
    again = WarmPoolCrud(MemorySession(memory), now=lambda: NINE).create(inputs)
    assert (again[0], again[1]["effective_min_workers"]) == (id_, 2)
    assert memory.items["endpoint"][id_]["workers"]["min"] == 2
