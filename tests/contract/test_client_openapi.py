"""The client against Runpod's OpenAPI document: what it sends is allowed, what may be answered is understood.

Requests and answers are generated from the document's schemas. Changed requests, most of them wrong, must be accepted
or refused by our models just as by the schema.
"""

import functools
import inspect
import json
import re
import typing
from collections.abc import Callable
from datetime import UTC
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.protocols import Validator
from pydantic import BaseModel, ValidationError

from pulumi_visgate.runpod import RunpodClient, _requests, logs
from pulumi_visgate.runpod._call import Call
from pulumi_visgate.runpod._operations import Method, Operations
from pulumi_visgate.runpod.models import catalog, endpoint, job, registry, template, volume
from pulumi_visgate.runpod.models.common import Answer, Query, Request
from tests.contract.openapi import DOCUMENT, IN_SCOPE, resolved, spec

pytestmark = pytest.mark.contract

FORMATS = jsonschema.FormatChecker(("date-time",))
QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.fixture(autouse=True)
def _document() -> None:
    spec()


@functools.cache
def validator_of(text: str) -> Validator:
    return jsonschema.Draft202012Validator(
        {**json.loads(text), "components": spec()["components"]}, format_checker=FORMATS
    )


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in validator_of(json.dumps(schema)).iter_errors(value)]


@functools.cache
def operations() -> dict[str, tuple[str, str, dict[str, Any], list[dict[str, Any]]]]:
    found = {}
    for path, item in spec()["paths"].items():
        for method in ("get", "post", "put", "patch", "delete"):
            if method in item and set(item[method]["tags"]) & IN_SCOPE:
                listed = [resolved(one) for one in (*item.get("parameters", []), *item[method].get("parameters", []))]
                found[item[method]["operationId"]] = (method.upper(), path, item[method], listed)
    return found


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# Generation of values from schemas: as much of JSON Schema as this document uses.


def merged(schema: dict[str, Any]) -> dict[str, Any]:
    """Fold `$ref` and `allOf` into one schema; conditions are left to the validator."""
    schema = resolved(schema)
    result: dict[str, Any] = {name: value for name, value in schema.items() if name not in {"allOf", "if", "then"}}
    result["properties"] = dict(schema.get("properties", {}))
    for part in map(merged, schema.get("allOf", [])):
        for name, value in part["properties"].items():
            other = result["properties"].get(name)
            result["properties"][name] = value if other is None else {"allOf": [value, other]}
        result["required"] = [*result.get("required", []), *part.get("required", [])]
        for name, value in part.items():
            result.setdefault(name, value)
    return result


IDS = st.text(min_size=1, max_size=9).filter(lambda text: text not in {".", ".."})
JSON = st.sampled_from([None, True, 3, 1.5, "text", [1], {"a": "b"}])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    schema = merged(schema)
    for union in ("oneOf", "anyOf"):
        if union in schema:
            return st.one_of([values(one) for one in schema[union]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type") or ("object" if schema["properties"] else None)
    if kind is None:
        return JSON
    if isinstance(kind, list):
        return st.one_of([values({**schema, "type": one}) for one in kind])
    return GENERATORS[kind](schema)


def objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    extra = schema.get("additionalProperties")
    if not schema["properties"] and isinstance(extra, dict):
        return st.dictionaries(st.text(min_size=1, max_size=5), values(extra), max_size=3)
    required = set(schema.get("required", []))
    return st.fixed_dictionaries(
        {name: values(one) for name, one in schema["properties"].items() if name in required},
        optional={name: values(one) for name, one in schema["properties"].items() if name not in required},
    )


def arrays(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    unique = (lambda item: json.dumps(item, sort_keys=True)) if schema.get("uniqueItems") else None
    return st.lists(
        values(schema["items"]),
        min_size=schema.get("minItems", 0),
        max_size=schema.get("maxItems", 3),
        unique_by=unique,
    )


def texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
    if "pattern" in schema:
        pattern = schema["pattern"]
        return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=pattern.endswith("$"))
    return st.text(min_size=schema.get("minLength", 0), max_size=8)


def integers(schema: dict[str, Any]) -> st.SearchStrategy[int]:
    return st.integers(schema.get("minimum", -(10**6)), schema.get("maximum", 10**6))


GENERATORS: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "object": objects,
    "array": arrays,
    "string": texts,
    "integer": integers,
    "number": lambda schema: st.floats(schema.get("minimum", -1e6), 1e6, allow_nan=False, width=32),
    "boolean": lambda _schema: st.booleans(),
    "null": lambda _schema: st.none(),
}


# What is sent.

REQUESTS: dict[str, type[Request]] = {
    "CreateEndpointRequest": endpoint.CreateEndpoint,
    "UpdateEndpointRequest": endpoint.UpdateEndpoint,
    "CreateTemplateRequest": template.CreateTemplate,
    "UpdateTemplateRequest": template.UpdateTemplate,
    "CreateNetworkVolumeRequest": volume.CreateNetworkVolume,
    "UpdateNetworkVolumeRequest": volume.UpdateNetworkVolume,
    "CreateRegistryRequest": registry.CreateRegistry,
    "CreateDelegationRequest": registry.CreateDelegation,
}
by_request = pytest.mark.parametrize("name", REQUESTS)


def request_schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def allowed(name: str) -> st.SearchStrategy[Any]:
    return values(request_schema(name)).filter(lambda body: not faults(request_schema(name), body))


def accepted(model: type[Request], body: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(body))
    except ValidationError:
        return False
    return True


@by_request
@given(data=st.data())
@QUICK
def test_every_allowed_body_is_sent_unchanged(name: str, data: st.DataObject) -> None:
    body = data.draw(allowed(name))
    sent = REQUESTS[name].model_validate_json(json.dumps(body)).body()
    assert sent == body
    assert not faults(request_schema(name), sent)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


WRONG_VALUES = [None, "", " ", "x", "12.8", "-", 0, -1, 1, 9, 0.4, 5.5, 5000, True, [], ["a", "a"], {}, {"a": 1}]
WRONG = st.sampled_from(WRONG_VALUES)


@st.composite
def changed(draw: st.DrawFn, body: Any) -> Any:
    """Draw a body with one value replaced, removed or added."""
    body = json.loads(json.dumps(body))
    place = draw(st.sampled_from(places(body)))
    if not place:
        return {**body, draw(st.sampled_from(["gpuCount", "image", "timeout", "size"])): draw(WRONG)}
    parent = functools.reduce(lambda value, key: value[key], place[:-1], body)
    action = draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove":
        del parent[place[-1]]
    elif action == "add" and isinstance(parent, dict):
        parent[draw(st.sampled_from(["unknown", "pools", "min", "registry", "name"]))] = draw(WRONG)
    else:
        parent[place[-1]] = draw(WRONG)
    return body


@by_request
@given(data=st.data())
@settings(QUICK, max_examples=150)
def test_a_changed_body_is_refused_by_the_model_when_the_schema_refuses_it(name: str, data: st.DataObject) -> None:
    body = data.draw(allowed(name).flatmap(changed))
    found = faults(request_schema(name), body)
    assert accepted(REQUESTS[name], body) is not bool(found), found


CONTAINER = {"args": "-v", "disk": 20, "env": {"A": "b"}, "image": "i", "ports": ["80/http"], "registry": "r"}
ENDPOINT = {
    **CONTAINER,
    "name": "n",
    "gpu": {
        "pools": ["A"],
        "excludedTypes": ["x"],
        "count": 1,
        "allowedCudaVersions": ["12.8"],
        "minCudaVersion": "12.8",
    },
    "cpu": [{"id": "cpu5c", "vcpuCount": 2}],
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "dataCenterIds": ["d"],
    "flashboot": "OFF",
    "networkVolumes": ["v"],
    "templateId": "t",
    "timeout": 1000,
    "workers": {"min": 0, "max": 3, "idleTimeout": 5},
}
TEMPLATE = {
    **CONTAINER,
    "name": "n",
    "allowedCudaVersions": ["12.8"],
    "category": "CPU",
    "mounts": {"persistent": {"size": 10, "path": "/w"}},
    "public": False,
    "serverless": True,
    "startJupyter": False,
    "startSsh": False,
}
FULL: dict[str, dict[str, Any]] = {
    "CreateEndpointRequest": {**ENDPOINT, "type": "QUEUE"},
    "UpdateEndpointRequest": {**ENDPOINT, "scaling": {"type": "REQUEST_COUNT", "requestCount": 1}},
    "CreateTemplateRequest": TEMPLATE,
    "UpdateTemplateRequest": TEMPLATE,
    "CreateNetworkVolumeRequest": {"name": "n", "size": 10, "dataCenter": "d", "type": "STANDARD"},
    "UpdateNetworkVolumeRequest": {"name": "n", "size": 10},
    "CreateRegistryRequest": {"name": "n", "username": "u", "password": "p"},
    "CreateDelegationRequest": {"resource": "r", "name": "n"},
}
EDGES = [0.49, 0.5, 2, 10, 3600, 3601, 4096, 4097, "12", "12.8.1", "QUEUE", "LOAD_BALANCER", " x", False]


@by_request
def test_every_field_has_the_bounds_of_the_schema(name: str) -> None:
    full = FULL[name]
    assert full.keys() == merged(request_schema(name))["properties"].keys()
    assert not faults(request_schema(name), full)
    for place in places(full)[1:]:
        for value in (*WRONG_VALUES, *EDGES):
            body = json.loads(json.dumps(full))
            parent = functools.reduce(lambda inside, key: inside[key], place[:-1], body)
            parent[place[-1]] = value
            assert accepted(REQUESTS[name], body) is not bool(faults(request_schema(name), body)), (place, value)


def test_every_example_of_the_document_is_a_body_we_would_send() -> None:
    count = 0
    for _method, _path, operation, _listed in operations().values():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            model = REQUESTS[content["schema"]["$ref"].rpartition("/")[2]]
            assert model.model_validate_json(json.dumps(example["value"])).body() == example["value"]
            count += 1
    assert count > 0


def query_model(name: str) -> type[Query] | None:
    for parameter in inspect.signature(builder(name)).parameters.values():
        for kind in (parameter.annotation, *typing.get_args(parameter.annotation)):
            if inspect.isclass(kind) and issubclass(kind, Query):
                return kind
    return None


def builder(operation_id: str) -> Callable[..., Call[Any]]:
    found: Any = getattr(logs if operation_id == "getWorkerLogs" else _requests, snake(operation_id))
    return typing.cast("Callable[..., Call[Any]]", found)


def test_query_models_have_the_parameters_of_the_document() -> None:
    for name, (_method, _path, _operation, listed) in operations().items():
        model = query_model(name)
        ours = set() if model is None else {str(field.alias) for field in model.model_fields.values()}
        assert ours == {parameter["name"] for parameter in listed if parameter["in"] == "query"}, name


def queries(listed: list[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    optional = {one["name"]: values(one["schema"]) for one in listed if one["in"] == "query"}

    def one_period(query: dict[str, Any]) -> bool:  # said in words only: lastN excludes a period
        return not ("lastN" in query and {"startTime", "endTime"} & query.keys())

    return st.fixed_dictionaries({}, optional=optional).filter(one_period)


def arguments(name: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """Generate arguments of an operation's function from the document alone."""
    _method, _path, operation, listed = operations()[name]
    parts: list[st.SearchStrategy[Any]] = [IDS for one in listed if one["in"] == "path"]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        parts.append(allowed(schema).map(REQUESTS[schema].model_validate))
    if (model := query_model(name)) is not None:
        parts.append(queries(listed).map(model.model_validate))
    return st.tuples(*parts)


def received(schema: dict[str, Any], text: str) -> Any:
    """Return a query parameter as the server reads it: lists split at commas, numbers and booleans as such."""
    schema = merged(schema)
    if schema.get("type") == "array":
        return [received(schema["items"], part) for part in text.split(",")]
    return json.loads(text) if schema.get("type") in {"integer", "boolean"} else text


# Everything together: arguments to request, and any allowed answer to a model.


def answers(operation: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
    status, answer = next((int(code), resolved(one)) for code, one in operation["responses"].items() if code[0] == "2")
    content = answer.get("content", {}).get("application/json")
    return status, None if content is None else content["schema"]


@pytest.mark.parametrize(
    "name", [name for name in (operations() if DOCUMENT.is_file() else ()) if name != "getWorkerLogs"]
)
@given(data=st.data())
@QUICK
def test_a_call_keeps_to_the_document_and_understands_any_answer(name: str, data: st.DataObject) -> None:
    method, path, operation, listed = operations()[name]
    given_arguments = data.draw(arguments(name))
    status, schema = answers(operation)
    answer = None if schema is None else data.draw(values(schema))
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status) if schema is None else httpx.Response(status, content=json.dumps(answer))

    with RunpodClient("rpa_contract", transport=httpx.MockTransport(serve)) as client:
        result = getattr(client, snake(name))(*given_arguments)

    request = requests[0]
    sent = urlsplit(str(request.url))
    matched = re.fullmatch(re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(path)), sent.path)
    assert request.method == method
    assert matched is not None
    assert [unquote(part) for part in matched.groups()] == [one for one in given_arguments if isinstance(one, str)]
    schemas = {one["name"]: one["schema"] for one in listed if one["in"] == "query"}
    for key, text in request.url.params.items():
        assert not faults(schemas[key], received(schemas[key], text))
    if "requestBody" in operation:
        body_schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert not faults(body_schema, json.loads(request.content))
    else:
        assert request.content == b""
    assert result is None if schema is None else understood(result, answer)


def understood(result: Any, answer: Any) -> bool:
    """Tell whether nothing of the answer was lost: every value set by it is in the model under its name."""
    if isinstance(result, list) and isinstance(answer, dict):
        (answer,) = answer.values()
    dumped = [
        one.model_dump(mode="json", exclude_unset=True) for one in (result if isinstance(result, list) else [result])
    ]
    expected = answer if isinstance(answer, list) else [answer]
    return same(dumped, expected)


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, str) and isinstance(ours, str) and theirs != ours:
        return theirs.replace("+00:00", "Z") == ours  # the same moment
    return bool(ours == theirs)


def test_every_example_answer_of_the_document_is_understood() -> None:
    count = 0
    for name, (_method, _path, operation, listed) in operations().items():
        if name == "getWorkerLogs":
            continue
        ids = ["id" for one in listed if one["in"] == "path"]
        for code, one in operation["responses"].items():
            content = resolved(one).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values() if code[0] == "2" else ():
                call = builder(name)(*ids, *([None] if "requestBody" in operation else []))
                assert understood(call.parse(json.dumps(example["value"]).encode()), example["value"]), name
                count += 1
    assert count > len(operations()) / 2


# The surface, both ways.


def test_every_operation_in_scope_has_a_method_and_every_method_an_operation() -> None:
    ours = {name for name, value in vars(Operations).items() if isinstance(value, Method)} | {"get_worker_logs"}
    theirs = {snake(name) for name in operations()}
    job_plane = {
        "run_job",
        "run_job_sync",
        "job_status",
        "stream_job",
        "cancel_job",
        "retry_job",
        "purge_queue",
        "endpoint_health",
    }
    assert ours - job_plane == theirs
    assert job_plane <= ours


def test_the_log_stream_is_asked_for_as_documented() -> None:
    method, path, _operation, listed = operations()["getWorkerLogs"]
    call = logs.get_worker_logs("ep", "w", last_event_id="2026-06-01T12:05:04Z/000000000042")
    assert (call.method, call.template) == (method, path)
    assert {one["name"] for one in listed if one["in"] == "header"} <= call.headers.keys()


def test_the_job_api_has_the_addresses_that_endpoints_report() -> None:
    urls = resolved({"$ref": "#/components/schemas/QueueBasedRequestUrls"})["properties"]
    ours = {str(field.alias) for field in endpoint.EndpointRequestUrls.model_fields.values()}
    assert ours == urls.keys() | {"base"}


ENUMS = {
    "AvailabilityLevel": catalog.AvailabilityLevel,
    "CatalogInclude": catalog.CatalogInclude,
    "Compliance": catalog.Compliance,
    "CpuProduct": catalog.CpuProduct,
    "DataCenterInclude": catalog.DataCenterInclude,
    "DataCenterRegion": catalog.DataCenterRegion,
    "EndpointType": endpoint.EndpointType,
    "FlashBoot": endpoint.FlashBoot,
    "GpuCloudFilter": catalog.Cloud,
    "GpuManufacturer": catalog.GpuManufacturer,
    "Product": catalog.Product,
    "ReleaseSource": endpoint.ReleaseSource,
    "TemplateCategory": template.TemplateCategory,
    "VolumeType": volume.VolumeType,
    "WorkerStatus": endpoint.WorkerStatus,
}


@pytest.mark.parametrize("name", ENUMS)
def test_enums_have_the_values_of_the_document(name: str) -> None:
    assert {member.value for member in ENUMS[name]} == set(spec()["components"]["schemas"][name]["enum"])


def test_job_models_are_answers_and_requests() -> None:
    for model in (job.JobStatus, job.JobStream, job.PurgedQueue, job.EndpointHealth):
        assert issubclass(model, Answer)
    assert issubclass(job.JobRequest, BaseModel)
