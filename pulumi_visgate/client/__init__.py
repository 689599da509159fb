"""The client of the gateway's API for applications: `Client`, and `AsyncClient` with the same operations awaited.

Imports the contract, httpx and pydantic; never Pulumi, and nothing of the gateway's.
"""

from pulumi_visgate.client._calls import DeployOptions, Input, JobOptions, Where, image_data
from pulumi_visgate.client.async_client import AsyncClient
from pulumi_visgate.client.client import Client
from pulumi_visgate.client.errors import GatewayError, JobFailedError, JobNotDoneError, UsageError
from pulumi_visgate.client.models import (
    Deployment,
    Job,
    LogLine,
    OwnDeployment,
    Result,
    SubmittedJob,
    Update,
    Waiting,
)
from pulumi_visgate.client.offers import Check, OfferedModel, Placement, Placements, Preflight
from visgate_contract.events import Artifact, Event, Status
from visgate_contract.tasks import Image2ImgInput, Image2VideoInput, InpaintInput, Task, Text2ImgInput, Text2VideoInput

__all__ = [
    "Artifact",
    "AsyncClient",
    "Check",
    "Client",
    "DeployOptions",
    "Deployment",
    "Event",
    "GatewayError",
    "Image2ImgInput",
    "Image2VideoInput",
    "InpaintInput",
    "Input",
    "Job",
    "JobFailedError",
    "JobNotDoneError",
    "JobOptions",
    "LogLine",
    "OfferedModel",
    "OwnDeployment",
    "Placement",
    "Placements",
    "Preflight",
    "Result",
    "Status",
    "SubmittedJob",
    "Task",
    "Text2ImgInput",
    "Text2VideoInput",
    "Update",
    "UsageError",
    "Waiting",
    "Where",
    "image_data",
]
