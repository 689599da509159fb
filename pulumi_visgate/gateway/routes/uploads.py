"""`/v1/uploads`: a picture that is too large for a data URI and is nowhere on the web."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, ConfigDict, Field

from pulumi_visgate.gateway.middleware.auth import CurrentCaller
from pulumi_visgate.gateway.routes.responses import problems
from pulumi_visgate.gateway.services import deployments
from pulumi_visgate.gateway.services.submit import deadline
from pulumi_visgate.gateway.state import State
from visgate_contract.tasks import MAX_IMAGE_BYTES, ImageFormat

router = APIRouter(tags=["jobs"])


class UploadRequest(BaseModel):
    """What is to be stored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    content_type: Literal["image/png", "image/jpeg", "image/webp"] = Field(examples=["image/png"])
    size_bytes: int = Field(ge=1, le=MAX_IMAGE_BYTES, description="How large the file is.", examples=[402117])


class UploadAnswer(BaseModel):
    """Where to send it, and what to call it in a job."""

    put_url: str = Field(description="Send the file here with one `PUT`, with `headers`, and without your key.")
    headers: dict[str, str] = Field(description="What the `PUT` has to send.")
    url: str = Field(description="Give this as `image` or `mask` of a job once the file is there.")
    put_until: datetime = Field(description="Until when the file can be sent.")
    good_until: datetime = Field(description="Until when jobs find it.")


@router.post(
    "/v1/uploads",
    summary="Store a picture to begin from",
    responses=problems(413, 503),
    status_code=status.HTTP_201_CREATED,
)
async def upload(body: UploadRequest, caller: CurrentCaller, request: Request) -> UploadAnswer:
    """Get leave to store one picture of yours, for jobs to begin from; the file itself never comes to the gateway."""
    state, kind = State.of(request), ImageFormat(body.content_type.rpartition("/")[2])
    async with deadline(state.settings.deadline_s):
        await deployments.own(state.directory, caller)  # a wrong key is told, and may store nothing
        granted = await state.pictures_in.grant(user_hash=caller.user_hash, kind=kind, size_bytes=body.size_bytes)
    return UploadAnswer(
        put_url=granted.put_url,
        headers=granted.headers,
        url=granted.url,
        put_until=granted.put_until,
        good_until=granted.good_until,
    )
