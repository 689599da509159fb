"""The caller's own endpoints: shown, and taken away when a gateway made them."""

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.placement import Asked
from visgate_contract.errors import ErrorCode
from visgate_contract.names import USER_LENGTH


async def own(directory: Directory, caller: Caller) -> tuple[Candidate, ...]:
    """Return the caller's endpoints, oldest first (`listEndpoints`)."""
    found = await directory.candidates(caller.user_hash, caller.keys.secrets, caller.runpod.list_endpoints, fresh=True)
    return tuple(candidate for candidate in found if candidate.name.user == caller.user_hash[:USER_LENGTH])


async def find(directory: Directory, caller: Caller, endpoint_id: str) -> Candidate | None:
    """Return one of the caller's endpoints as it was listed lately, or None (`listEndpoints`)."""
    found = await directory.candidates(caller.user_hash, caller.keys.secrets, caller.runpod.list_endpoints)
    return next((candidate for candidate in found if candidate.id == endpoint_id), None)


async def named(directory: Directory, caller: Caller, asked: Asked) -> Candidate:
    """Return the endpoint that a request names (`listEndpoints`, if not listed lately).

    Raises:
        Refused: The caller has no such endpoint (404).
        InvalidField: It serves something else.
    """
    identifier = asked.endpoint_id or ""
    found = await find(directory, caller, identifier)
    if found is None:  # a listing that was trusted may not show it yet
        found = next((candidate for candidate in await own(directory, caller) if candidate.id == identifier), None)
    if found is None or found.name.user != caller.user_hash[:USER_LENGTH]:
        raise _unknown()
    if asked.model_id not in {"", found.model_id}:
        hint = "Leave it out, or name another deployment."
        raise InvalidField(field="model", detail=f"is not the one of this deployment, {found.model_id}.", hint=hint)
    if asked.task is not found.name.task:
        detail, hint = "is not what this deployment does.", f"It does {found.name.task}."
        raise InvalidField(field="task", detail=detail, hint=hint, code=ErrorCode.TASK_NOT_SUPPORTED)
    if asked.must_sign and not found.signs:
        detail = "cannot be served: the workers of this deployment have no secret of yours to sign with."
        raise InvalidField(field="webhook_url", detail=detail, hint="Leave it out, or leave deployment_id out.")
    return found


async def remove(directory: Directory, caller: Caller, endpoint_id: str) -> None:
    """Delete one of the caller's endpoints (`deleteEndpoint`).

    Raises:
        Refused: It is not the caller's (404), or a Pulumi program looks after it (409).
    """
    found = next((candidate for candidate in await own(directory, caller) if candidate.id == endpoint_id), None)
    if found is None:
        raise _unknown()
    if found.generation is None:
        raise Refused(
            409,
            "This endpoint belongs to a pool that Pulumi looks after.",
            code=ErrorCode.INVALID_REQUEST,
            hint="Take it out of the Pulumi program and run `pulumi up`.",
        )
    await caller.runpod.delete_endpoint(endpoint_id)
    directory.forget(caller.user_hash, endpoint_id)


def _unknown() -> Refused:
    return Refused(
        404,
        "There is no such deployment for this Runpod API key.",
        code=ErrorCode.NOT_FOUND,
        hint="GET /v1/deployments lists yours.",
    )
