"""What becomes of a worker's endpoint: scaled to zero or deleted, through Runpod's API v2, until Runpod confirms it.

The key can only read, change and delete this worker's own endpoint, and is used for nothing else.
"""

import logging
from collections.abc import Callable
from typing import Any

import httpx
from pydantic import SecretStr
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)

from visgate_contract.errors import ErrorCode, VisgateError
from visgate_worker.settings import Settings, WatchdogAction

log = logging.getLogger(__name__)

REQUEST_S = 20.0
LONGEST_WAIT_S = 30.0
_AT_WORK = "RUNNING"


class ControlError(VisgateError):
    """Runpod did not do what the watchdog asked."""

    code = ErrorCode.RUNPOD_REFUSED


class _TryAgain(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class EndpointControl:
    """Scales this worker's endpoint to zero, or deletes it.

    Args:
        endpoint_id: The endpoint.
        api_key: Key for that endpoint alone.
        base_url: Base URL of Runpod's API v2.
        first_wait_s: Wait before the second attempt, in seconds; doubles from there.
    """

    def __init__(self, endpoint_id: str, api_key: SecretStr, *, base_url: str, first_wait_s: float = 1.0) -> None:
        self._url = f"{base_url.rstrip('/')}/v2/serverless/{endpoint_id}"
        self._api_key = api_key
        self._first_wait_s = first_wait_s

    async def act(self, action: WatchdogAction) -> None:
        """Do it, and go on trying until Runpod says that it is done: a worker that gave up would be started again.

        Raises:
            ControlError: Runpod refused; asking again would not help.
        """
        if action is WatchdogAction.SCALE_TO_ZERO:
            body = {"workers": {"min": 0, "max": 0}}
            await self._request("PATCH", body, until=lambda told: told.get("workers", {}).get("max") == 0)
        elif action is WatchdogAction.DELETE:
            await self._request("DELETE", None, until=lambda _: True)

    async def set_idle_timeout(self, seconds: int) -> None:
        """Let idle workers of the endpoint stay so long.

        Raises:
            ControlError: Runpod refused or could not be reached.
        """
        await self._request("PATCH", {"workers": {"idleTimeout": seconds}})

    async def others_work(self, worker_id: str | None) -> bool:
        """Tell whether another worker of the endpoint is at a job; what cannot be learnt is no."""
        try:
            answer = await self._send("GET", "/workers", None)
            workers = answer.json()["workers"] if answer.is_success else []
            return any(one["status"] == _AT_WORK and one["id"] != worker_id for one in workers)
        except (_TryAgain, ControlError, ValueError, TypeError, KeyError) as error:
            log.warning("it is not known whether other workers are at work: %s", error)
            return False

    async def _request(
        self, method: str, body: dict[str, Any] | None, *, until: Callable[[dict[str, Any]], bool] | None = None
    ) -> None:
        """Send `PATCH` or `DELETE /v2/serverless/{id}`; an endpoint that is gone already is what was wanted."""
        backoff = wait_random_exponential(multiplier=self._first_wait_s, max=LONGEST_WAIT_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(backoff(state), error.wait_s if isinstance(error, _TryAgain) else 0.0)

        async def once() -> None:
            answer = await self._send(method, "", body)
            is_done = answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.NO_CONTENT}
            if not is_done and until is not None and not until(_json(answer)):
                message = "it was not confirmed"
                raise _TryAgain(message)

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_never if until is not None else stop_after_attempt(5),
            wait=wait,
            before_sleep=before_sleep_log(log, logging.WARNING),
            reraise=True,
        )
        try:
            await attempts(once)
        except _TryAgain as error:
            detail = f"Runpod did not do {method} of this endpoint: {error}."
            raise ControlError(detail, hint="Scale the endpoint by hand.") from None

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._api_key.get_secret_value()}"}
        async with httpx.AsyncClient(follow_redirects=False, timeout=REQUEST_S) as client:
            try:
                answer = await client.request(method, self._url + path, json=body, headers=headers)
            except httpx.TransportError as error:
                raise _TryAgain(type(error).__name__) from None
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            after = answer.headers.get("retry-after", "")
            reason = f"status {answer.status_code}"
            raise _TryAgain(reason, min(float(after), LONGEST_WAIT_S) if after.isdecimal() else 0.0)
        if not answer.is_success and answer.status_code != httpx.codes.NOT_FOUND:
            detail = f"Runpod answered {answer.status_code} to {method} of this endpoint."
            raise ControlError(detail, hint="Check that RUNPOD_API_KEY may change this endpoint.")
        return answer


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def control_for(settings: Settings) -> EndpointControl | None:
    """Return the control of this worker's endpoint, or None where no key or endpoint is known."""
    if settings.runpod_api_key is None or settings.endpoint_id is None:
        return None
    return EndpointControl(settings.endpoint_id, settings.runpod_api_key, base_url=settings.runpod_api_url)
