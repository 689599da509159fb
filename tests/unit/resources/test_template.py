from typing import Any

from pulumi_visgate.resources.template import TemplateCrud
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

TEMPLATE = {"image": "acme/worker:1", "owner": "p/s/t"}


def checked(crud: TemplateCrud, **inputs: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {**TEMPLATE, **inputs})
    assert problems == []
    return values


def test_what_runpod_would_switch_on_is_sent_as_off(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = TemplateCrud(session)
    inputs = checked(crud, env={"A": "1"})
    id_, outs = crud.create(inputs)
    body = dict(memory.calls)["create_template"]
    assert (body["startSsh"], body["startJupyter"], body["serverless"], body["public"]) == (False, False, True, False)
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs == inputs
    assert crud.diff(found.outs, inputs).changed == ()


def test_what_was_set_and_is_left_out_is_cleared(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = TemplateCrud(session)
    id_, outs = crud.create(checked(crud, args="--fast", ports=["80/http"], registry_id="r", start_ssh=True))
    news = checked(crud)
    outs = crud.update(id_, outs, news)
    cleared: dict[str, object] = {"args": "", "ports": [], "registry": None, "startSsh": False}
    assert memory.calls[-1] == ("update_template", cleared)
    assert crud.diff(outs, news).changed == ()


def test_a_port_is_named_once(session: MemorySession) -> None:
    _, problems = TemplateCrud(session).check({}, {**TEMPLATE, "ports": ["80/http", "80/http"]})
    assert [(problem.property, problem.reason) for problem in problems] == [("ports", "names one twice.")]


def test_secrets_are_not_published(session: MemorySession) -> None:
    _, problems = TemplateCrud(session).check({}, {**TEMPLATE, "public": True, "env": {"A": "1"}})
    assert [problem.property for problem in problems] == ["public"]


def test_deleting_one_that_went_with_its_endpoint_is_done(session: MemorySession) -> None:
    TemplateCrud(session).delete("gone", {})
