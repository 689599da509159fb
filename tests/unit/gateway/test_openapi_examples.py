"""Every route shows what to send and what comes back, and what it shows is true to its schema."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.routes import examples
from tests.unit.gateway.conftest import MODEL

METHODS = ("get", "post", "put", "delete", "patch")


@pytest.fixture
def document(new_settings: Any) -> dict[str, Any]:
    return create_app(new_settings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        assert set(item) <= set(METHODS), path
        for operation in item.values():
            yield operation["operationId"], operation


def shown(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that has a schema and ought to have an example, with where it is."""
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                yield f"{name} {parameter['name']}", parameter
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body {media_type}", content
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                yield f"{name} {status} {media_type}", content


def test_every_route_has_examples_that_fit_its_schema(document: dict[str, Any]) -> None:
    found = dict(shown(document))
    assert [where for where, content in found.items() if "example" not in content] == []
    assert len(found) > 200
    wrong = {}
    for where, content in found.items():
        schema = {**content["schema"], "components": document["components"]}
        problems = [error.message for error in Draft202012Validator(schema).iter_errors(content["example"])]
        if problems:
            wrong[where] = problems
    assert wrong == {}


def test_the_examples_of_problems_have_the_status_of_their_answer(document: dict[str, Any]) -> None:
    for where, content in shown(document):
        _, status, *media_type = where.split()
        if media_type == ["application/problem+json"]:
            assert content["example"]["status"] == int(status), where
            assert content["example"]["title"] != "Error", where


def test_no_example_is_left_over(document: dict[str, Any]) -> None:
    known = dict(operations(document))
    assert set(examples.BODIES) == {name for name, operation in known.items() if "requestBody" in operation}
    assert set(examples.ANSWERS) <= set(known)
    used = {each["name"] for operation in known.values() for each in operation.get("parameters", [])}
    assert set(examples.PARAMETERS) <= used


@pytest.mark.parametrize("name", sorted(set(examples.BODIES) - {"completed", "replay"}))
async def test_what_is_shown_to_be_sent_is_accepted(
    serve: Any, runpod: Any, document: dict[str, Any], name: str
) -> None:
    (path,) = (path for path, item in document["paths"].items() if item.get("post", {}).get("operationId") == name)
    if name == "generate_images":
        runpod.before = lambda operation: _finish(runpod) if operation == "status" else None
    body = {key: value for key, value in examples.BODIES[name].items() if key != "webhook_url"}
    if "model" in body:
        body["model"] = MODEL
    owner, _, alias = MODEL.partition("/")
    async with serve() as client:
        authorization = (
            {"Authorization": client.headers["authorization"].replace("Bearer", "Key")} if "fal" in name else {}
        )
        url = path.format(owner=owner, alias=alias, task="text-to-image" if "to" in name else "")
        answer = await client.post(url, json=body, headers=authorization)
    assert answer.status_code < 400, answer.text


def _finish(runpod: Any) -> None:
    for job in runpod.jobs.values():
        job.update(status="COMPLETED", output={"task_id": job["input"]["task_id"], "artifacts": [], "events": []})
