"""Network volumes (`/v2/network-volumes`)."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from pulumi_visgate.runpod.models.common import Answer, Int, Name, Open, Request


class VolumeType(StrEnum):
    """Storage tier, fixed at creation."""

    STANDARD = "STANDARD"
    HIGH_PERFORMANCE = "HIGH_PERFORMANCE"


class CreateNetworkVolume(Request):
    """Body of `createNetworkVolume`.

    Args:
        name: Not unique in an account.
        size: GB, 10 to 4096.
        data_center: Where it lives, for good.
        type: Storage tier; the data center's own default when left out.
    """

    name: Name
    size: Annotated[Int, Field(ge=10, le=4096)]
    data_center: Name
    type: VolumeType | None = None


class UpdateNetworkVolume(Request):
    """Body of `updateNetworkVolume`, which needs at least one field.

    Args:
        name: New name.
        size: New size in GB; a volume cannot shrink.
    """

    name: Name | None = None
    size: Annotated[Int, Field(ge=10, le=4096)] | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            message = "name or size is required"
            raise ValueError(message)
        return self


class NetworkVolume(Answer):
    """A network volume; `size` is in GB."""

    id: str
    name: str
    size: int
    data_center: str
    type: Open[VolumeType]
