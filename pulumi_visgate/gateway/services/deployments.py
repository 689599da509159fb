"""The caller's own endpoints: shown, and taken away when a gateway made them."""

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services.directory import Candidate, Directory
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


async def remove(directory: Directory, caller: Caller, endpoint_id: str) -> None:
    """Delete one of the caller's endpoints (`deleteEndpoint`).

    Raises:
        Refused: It is not the caller's (404), or a Pulumi program looks after it (409).
    """
    found = next((candidate for candidate in await own(directory, caller) if candidate.id == endpoint_id), None)
    if found is None:
        raise Refused(
            404,
            "There is no such deployment for this Runpod API key.",
            code=ErrorCode.NOT_FOUND,
            hint="GET /v1/deployments lists yours.",
        )
    if found.generation is None:
        raise Refused(
            409,
            "This endpoint belongs to a pool that Pulumi looks after.",
            code=ErrorCode.INVALID_REQUEST,
            hint="Take it out of the Pulumi program and run `pulumi up`.",
        )
    await caller.runpod.delete_endpoint(endpoint_id)
    directory.forget(caller.user_hash, endpoint_id)
