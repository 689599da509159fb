"""Layer 1: the typed client of Runpod API v2 and its job API; knows httpx, aiohttp and pydantic, never Pulumi."""

from pulumi_visgate.runpod._exchange import Attempt
from pulumi_visgate.runpod._policy import RetryPolicy
from pulumi_visgate.runpod._transport import Transport
from pulumi_visgate.runpod.client import API_URL, JOBS_URL, AsyncRunpodClient, RunpodClient
from pulumi_visgate.runpod.errors import (
    BadRequest,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidArgument,
    NotFound,
    RateLimited,
    RunpodApiError,
    RunpodError,
    RunpodUnreachable,
    ServerFault,
    Unauthorized,
    UnexpectedAnswer,
    Unprocessable,
)

__all__ = [
    "API_URL",
    "JOBS_URL",
    "AsyncRunpodClient",
    "Attempt",
    "BadRequest",
    "Conflict",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidArgument",
    "NotFound",
    "RateLimited",
    "RetryPolicy",
    "RunpodApiError",
    "RunpodClient",
    "RunpodError",
    "RunpodUnreachable",
    "ServerFault",
    "Transport",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unprocessable",
]
