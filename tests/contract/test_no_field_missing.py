"""No field of Runpod's API without an input, an output or a reason, and no input without a row in the table."""

from typing import Any

import pytest
from pydantic import BaseModel

from pulumi_visgate.runpod.models import endpoint, registry, template, volume
from tests.contract.openapi import resolved, spec
from tools.reference.fields import CRUDS, TABLE, Effect
from tools.reference.schemas import leaves

pytestmark = pytest.mark.contract

# What of the answers is an output, and which.
OUTPUTS = {
    "Endpoint": {
        "id": "id",
        **{f"requestUrls.{name}": "request_urls" for name in (
            "run", "runSync", "status", "stream", "cancel", "retry", "purgeQueue", "base", "health",
        )},
    },
    "Template": {"id": "id"},
    "NetworkVolume": {"id": "id"},
    "RegistryAuth": {"id": "id"},
    "EcrDelegation": {
        "id": "id",
        "repository": "repository",
        "tag": "tag",
        "awsUser": "aws_account",
        "awsRegion": "aws_region",
        "dockerRegistryUri": "registry_uri",
    },
}  # fmt: skip

# What is left out on purpose.
LEFT_OUT = {
    "Endpoint": {
        "createdAt": "a release or replacement moves it, so it would only make noise in diffs",
        "cpu.memory": "follows from the flavour; the catalog has it",
    },
    "Template": {},
    "NetworkVolume": {},
    "RegistryAuth": {},
    "EcrDelegation": {
        "delegatorUserId": "Runpod's id of the account itself",
        "createdAt": "a delegation never changes; nothing can be done with it",
    },
}
POOLS_LEAVE_OUT = {
    "routing": "a pool is given jobs by the gateway, so it is a queue",
    "template_id": "the gateway's workers need an environment that only the pool knows",
}

SCHEMAS = {
    "Endpoint": ("CreateEndpointRequest", "UpdateEndpointRequest", "Endpoint"),
    "Template": ("CreateTemplateRequest", "UpdateTemplateRequest", "Template"),
    "NetworkVolume": ("CreateNetworkVolumeRequest", "UpdateNetworkVolumeRequest", "NetworkVolume"),
    "RegistryAuth": ("CreateRegistryRequest", None, "Registry"),
    "EcrDelegation": ("CreateDelegationRequest", None, "EcrDelegation"),
}
WIRE: dict[str, tuple[type[BaseModel], type[BaseModel] | None, type[BaseModel]]] = {
    "Endpoint": (endpoint.CreateEndpoint, endpoint.UpdateEndpoint, endpoint.Endpoint),
    "Template": (template.CreateTemplate, template.UpdateTemplate, template.Template),
    "NetworkVolume": (volume.CreateNetworkVolume, volume.UpdateNetworkVolume, volume.NetworkVolume),
    "RegistryAuth": (registry.CreateRegistry, None, registry.Registry),
    "EcrDelegation": (registry.CreateDelegation, None, registry.EcrDelegation),
}


def documented(name: str | None) -> set[str]:
    """Fields of a schema of the OpenAPI document."""
    schemas = spec()["components"]["schemas"]
    return leaves(schemas[name], lambda ref: resolved({"$ref": ref})) if name else set()


def modelled(model: type[BaseModel] | None, mode: Any = "validation") -> set[str]:
    """Fields of a wire model, by the API's names."""
    if model is None:
        return set()
    schema = model.model_json_schema(by_alias=True, mode=mode)
    return leaves(schema, lambda ref: schema["$defs"][ref.rsplit("/", 1)[1]])


def covered(resource: str) -> set[str]:
    """Fields that the rows of a resource set."""
    return {path for row in TABLE[resource] for path in (*row.covers, row.api) if path}


def accounted_for(resource: str) -> set[str]:
    return covered(resource) | set(OUTPUTS[resource]) | set(LEFT_OUT[resource])


@pytest.mark.parametrize("resource", SCHEMAS)
def test_every_field_of_the_document_is_an_input_an_output_or_left_out_for_a_reason(resource: str) -> None:
    create, update, answer = SCHEMAS[resource]
    assert documented(create) | documented(update) | documented(answer) <= accounted_for(resource)


@pytest.mark.parametrize("resource", SCHEMAS)
def test_the_wire_models_know_every_field_that_the_document_has(resource: str) -> None:
    for name, model in zip(SCHEMAS[resource], WIRE[resource], strict=True):
        missing = documented(name) - modelled(model) - set(LEFT_OUT[resource])
        assert missing == set(), name


@pytest.mark.parametrize("resource", WIRE)
def test_every_field_of_the_wire_models_is_an_input_an_output_or_left_out_for_a_reason(resource: str) -> None:
    for model in WIRE[resource]:
        assert modelled(model) <= accounted_for(resource), model


@pytest.mark.parametrize("resource", WIRE)
def test_what_the_table_says_of_the_api_is_there(resource: str) -> None:
    create, update, answer = (modelled(model) for model in WIRE[resource])
    assert covered(resource) - create - answer - set(OUTPUTS[resource]) <= {"scaling", "cpu", "mounts.persistent"}
    assert set(OUTPUTS[resource]) | set(LEFT_OUT[resource]) <= answer
    assert set(OUTPUTS[resource].values()) <= {"id", *CRUDS[resource].outputs}
    for row in TABLE[resource]:
        settable = any(path in update for path in (*row.covers, row.api))
        # What the API cannot change makes a new resource; two things it can change, but not in every direction.
        replaced = row.change is Effect.REPLACE
        assert settable != replaced or row.input in {"size_gb", "routing"}, row.input


@pytest.mark.parametrize("resource", TABLE)
def test_every_input_has_a_row(resource: str) -> None:
    crud = CRUDS[resource]
    rows = {row.input for row in TABLE[resource]}
    left_out = set(POOLS_LEAVE_OUT) if resource == "WarmPool" else set()
    assert rows | left_out == set(crud.model.model_fields) - crud.notes
