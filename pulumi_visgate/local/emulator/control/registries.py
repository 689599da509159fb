"""`/v2/registries` and delegations of ECR repositories. Credentials are checked and not kept: nothing is pulled."""

import re

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, created, no_content
from pulumi_visgate.local.emulator.clock import rfc3339
from pulumi_visgate.local.emulator.errors import bad_request
from pulumi_visgate.local.emulator.store import Kind
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry

_ARN = re.compile(
    r"arn:aws[a-z-]*:ecr:(?P<region>[a-z0-9-]+):(?P<user>\d{12}):repository/(?P<repository>[a-z0-9._/-]+)"
    r"(?::(?P<tag>[A-Za-z0-9._-]+))?"
)


async def list_registries(call: Call) -> Response:
    """`listRegistries`."""
    return answer({"registries": call.listed(Kind.REGISTRY)})


async def create_registry(call: Call) -> Response:
    """`createRegistry`."""
    body = await call.body(CreateRegistry)
    emulator = call.emulator
    doc = {"name": body.name}
    return created(emulator.store.add(Kind.REGISTRY, call.account, emulator.clock.now(), doc).doc)


async def get_registry(call: Call) -> Response:
    """`getRegistry`."""
    return answer(call.own(Kind.REGISTRY, call.param("id")).doc)


async def delete_registry(call: Call) -> Response:
    """`deleteRegistry`: refused while a worker uses it; templates and endpoints lose the reference."""
    emulator = call.emulator
    record = call.own(Kind.REGISTRY, call.param("id"))
    endpoints = [e for e in emulator.store.list(Kind.ENDPOINT, call.account) if e.doc.get("registry") == record.id]
    busy = next((endpoint for endpoint in endpoints if emulator.fleet.of(endpoint.id)), None)
    if busy is not None:
        detail = f"registry {record.id!r} is in use by a worker of serverless endpoint {busy.id!r}"
        raise bad_request(detail)
    templates = [t for t in emulator.store.list(Kind.TEMPLATE, call.account) if t.doc["registry"] == record.id]
    for user in (*endpoints, *templates):
        user.doc["registry"] = None
        emulator.store.save(user)
    emulator.store.remove(record)
    return no_content()


async def list_delegations(call: Call) -> Response:
    """`listDelegations`."""
    return answer({"delegations": call.listed(Kind.DELEGATION)})


async def create_delegation(call: Call) -> Response:
    """`createDelegation`."""
    body = await call.body(CreateDelegation)
    match = _ARN.fullmatch(body.resource)
    if match is None:
        detail = f"resource: {body.resource!r} is not the ARN of an ECR repository"
        raise bad_request(detail)
    emulator = call.emulator
    now = emulator.clock.now()
    doc = {
        "name": body.name,
        "delegatorUserId": f"user_{call.account[:20]}",
        "awsUser": match["user"],
        "repository": match["repository"],
        "tag": match["tag"] or "*",
        "awsRegion": match["region"],
        "dockerRegistryUri": f"{match['user']}.dkr.ecr.{match['region']}.amazonaws.com",
        "createdAt": rfc3339(now),
    }
    return created(emulator.store.add(Kind.DELEGATION, call.account, now, doc).doc)


async def revoke_delegation(call: Call) -> Response:
    """`revokeDelegation`."""
    call.emulator.store.remove(call.own(Kind.DELEGATION, call.param("id")))
    return no_content()
