"""`/v2/templates` and the public ones of the catalog."""

from typing import Any

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer, created, no_content
from pulumi_visgate.local.emulator.errors import Problem, bad_request, not_found, unprocessable
from pulumi_visgate.local.emulator.store import Doc, Kind, Record
from pulumi_visgate.runpod.models.template import CreateTemplate, UpdateTemplate

DEFAULT_DISK_GB = 20
_SOURCES = ("official", "verified", "community")


def _public(identifier: str, name: str, image: str, *, serverless: bool, ports: list[str]) -> Doc:
    return {
        "id": identifier,
        "name": name,
        "image": image,
        "args": "",
        "disk": DEFAULT_DISK_GB,
        "mounts": {},
        "ports": ports,
        "env": {},
        "registry": None,
        "serverless": serverless,
        "public": True,
        "category": "NVIDIA",
        "startSsh": True,
        "startJupyter": not serverless,
        "allowedCudaVersions": [],
    }


PUBLIC_TEMPLATES: dict[str, list[Doc]] = {
    "official": [
        _public("torch28pod", "PyTorch 2.8", "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404", serverless=False,
                ports=["8888/http", "22/tcp"]),
        _public("serverless", "Serverless starter", "runpod/base:1.0.2-ubuntu2404", serverless=True, ports=[]),
    ],
    "verified": [_public("comfyuipod", "ComfyUI", "runpod/comfyui:latest", serverless=False, ports=["8188/http"])],
    "community": [],
}  # fmt: skip


def readable(call: Call, identifier: str) -> Doc:
    """Return a template that the caller can read: an own or a public one.

    Raises:
        Problem: 404.
    """
    own = call.emulator.store.get(Kind.TEMPLATE, identifier)
    if own is not None and (own.account == call.account or own.doc["public"]):
        return own.doc if own.account == call.account else {**own.doc, "registry": None}
    for template in (template for source in PUBLIC_TEMPLATES.values() for template in source):
        if template["id"] == identifier:
            return template
    raise not_found(Kind.TEMPLATE.value, identifier)


def require_registry(call: Call, identifier: str | None) -> None:
    """Check that a registry credential exists.

    Raises:
        Problem: 400.
    """
    if identifier and call.emulator.store.get(Kind.REGISTRY, identifier, call.account) is None:
        detail = f"registry: there is no registry credential {identifier!r}"
        raise bad_request(detail)


async def list_templates(call: Call) -> Response:
    """`listTemplates`."""
    return answer({"templates": call.listed(Kind.TEMPLATE)})


async def create_template(call: Call) -> Response:
    """`createTemplate`."""
    body = (await call.body(CreateTemplate)).body()
    require_registry(call, body.get("registry"))
    _check(body)
    doc: Doc = {
        "args": "",
        "disk": DEFAULT_DISK_GB,
        "env": {},
        "ports": [],
        "registry": None,
        "mounts": {},
        "serverless": False,
        "public": False,
        "category": "NVIDIA",
        "startSsh": True,
        "startJupyter": True,
        "allowedCudaVersions": [],
        **body,
    }
    emulator = call.emulator
    return created(call.shown(emulator.store.add(Kind.TEMPLATE, call.account, emulator.clock.now(), doc).doc))


async def get_template(call: Call) -> Response:
    """`getTemplate`."""
    return answer(call.shown(readable(call, call.param("id"))))


async def update_template(call: Call) -> Response:
    """`updateTemplate`: endpoints made from it keep what they have."""
    body = (await call.body(UpdateTemplate)).body()
    record = call.own(Kind.TEMPLATE, call.param("id"))
    require_registry(call, body.get("registry"))
    if not body.get("mounts"):
        body.pop("mounts", None)
    changed = {**record.doc, **body}
    _check(changed)
    record.doc = changed
    call.emulator.store.save(record)
    return answer(call.shown(record.doc))


async def delete_template(call: Call) -> Response:
    """`deleteTemplate`."""
    record = call.own(Kind.TEMPLATE, call.param("id"))
    user = bound_to(call, record)
    if user is not None:
        detail = f"template {record.id!r} is in use by serverless endpoint {user.id!r} and cannot be deleted"
        raise bad_request(detail)
    call.emulator.store.remove(record)
    return no_content()


async def list_public_templates(call: Call) -> Response:
    """`listPublicTemplates`."""
    source = call.query().get("source", "official")
    if source not in _SOURCES:
        raise unprocessable([f"source: must be one of {', '.join(_SOURCES)}"])
    templates = list(PUBLIC_TEMPLATES[source])
    if source == "community":
        shared = [record.doc for record in call.emulator.store.list(Kind.TEMPLATE) if record.doc["public"]]
        templates += [{**doc, "registry": None} for doc in shared]
    return answer({"templates": templates[:100]})


def bound_to(call: Call, template: Record) -> Record | None:
    """Return the endpoint that a template is bound to, or None."""
    endpoints = call.emulator.store.list(Kind.ENDPOINT, call.account)
    return next((endpoint for endpoint in endpoints if endpoint.meta.get("template") == template.id), None)


def _check(body: dict[str, Any]) -> None:
    if not body.get("image"):
        raise _empty_image()


def _empty_image() -> Problem:
    detail = "image: must not be empty"
    return bad_request(detail)
