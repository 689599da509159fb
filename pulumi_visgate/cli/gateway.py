"""A small client of the gateway's HTTP API, as any application would write one."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import BaseModel, ConfigDict, ValidationError

from pulumi_visgate.cli.errors import GatewayError, JobFailedError
from pulumi_visgate.cli.target import Target
from visgate_contract.events import Artifact, Event

REQUEST_S = 30.0
SILENCE_S = 60.0  # longer than the gateway's heartbeat
RECONNECT_S = 60.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
_MAX_PROBLEM_BYTES = 64 * 1024


class AcceptedJob(BaseModel):
    """What `POST /v1/jobs` answers, as far as it is needed here.

    Args:
        status: `warm_ready` or `accepted_cold`.
        task_id: In every event of the job.
        job_id: For the job's routes.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str
    task_id: str
    job_id: str


class Gateway:
    """Talks to one gateway with one key.

    Args:
        target: Which.
        transport: Replaces the network, in tests.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        target: Target,
        *,
        transport: httpx.BaseTransport | None = None,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._url = target.url
        self._http = httpx.Client(
            base_url=target.url,
            headers={"authorization": f"Bearer {target.key.get_secret_value()}"},
            timeout=httpx.Timeout(REQUEST_S, connect=10.0),
            transport=transport,
            trust_env=target.url.startswith("https://"),
        )
        self._transport = transport
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, body: Mapping[str, Any]) -> AcceptedJob:
        """Queue a job (`POST /v1/jobs`).

        Raises:
            GatewayError: It was refused, or nobody answered.
        """
        answer = self._send("POST", "/v1/jobs", json=body)
        try:
            return AcceptedJob.model_validate_json(answer.content)
        except ValidationError as error:
            detail = f"{self._url} answered POST /v1/jobs with something that is no job: is it a Visgate gateway?"
            raise GatewayError(detail, hint="Check --gateway.", status=answer.status_code) from error

    def webhook_secret(self) -> str:
        """Return the secret that signs this caller's webhooks (`GET /v1/webhooks/key`).

        Raises:
            GatewayError: It was refused, or nobody answered.
        """
        document = self._send("GET", "/v1/webhooks/key").json()
        secret: str = document["secret"]
        return secret

    def events(self, job_id: str, *, timeout_s: float) -> Iterator[Event]:
        """Yield a job's events up to the terminal one; a stream that breaks is taken up where it was.

        Args:
            job_id: From `submit`.
            timeout_s: Longest time for the whole job, in seconds.

        Raises:
            GatewayError: The gateway refused, or was away too long.
            JobFailedError: The job did not end in time.
        """
        deadline, last = monotonic() + timeout_s, -1
        lost_at: float | None = None
        wait_s = FIRST_PAUSE_S
        while True:
            try:
                for event in self._stream(job_id, last, deadline):
                    if event.data.sequence <= last:
                        continue
                    lost_at, wait_s, last = None, FIRST_PAUSE_S, event.data.sequence
                    yield event
                    if event.data.status.is_terminal:
                        return
            except GatewayError as error:
                if not error.may_pass:
                    raise
                lost_at = lost_at or monotonic()
                if monotonic() - lost_at > RECONNECT_S:
                    raise
            if monotonic() > deadline:
                detail = f"The job has not ended after {timeout_s:.0f} s; it goes on without being watched."
                raise JobFailedError(detail, hint=f"GET {self._url}/v1/jobs/{job_id} tells how it stands.")
            self._pause(wait_s)
            wait_s = min(wait_s * 2, LONGEST_PAUSE_S)

    def download(self, artifact: Artifact, file: Path) -> None:
        """Save an artifact, whole and as announced, or not at all.

        Args:
            artifact: From the `ready` event.
            file: Where to; replaced if it exists.

        Raises:
            GatewayError: The CDN does not have it, or has another one.
        """
        digest, size, unfinished = hashlib.sha256(), 0, file.with_name(f".{file.name}.{os.getpid()}.part")
        # A client of its own: the key is the gateway's business, not the CDN's.
        trust_env = artifact.url.startswith("https://")
        try:
            with (
                httpx.Client(timeout=REQUEST_S, transport=self._transport, trust_env=trust_env) as http,
                http.stream("GET", artifact.url) as answer,
                unfinished.open("wb") as target,
            ):
                if answer.status_code != httpx.codes.OK:
                    detail = f"The CDN answered {answer.status_code} for {artifact.url}."
                    raise GatewayError(detail, hint="Try the link again.", status=answer.status_code)
                for chunk in answer.iter_bytes():
                    size += len(chunk)
                    if size > artifact.size_bytes:
                        break
                    digest.update(chunk)
                    target.write(chunk)
            if (size, digest.hexdigest()) != (artifact.size_bytes, artifact.sha256):
                detail = f"What {artifact.url} serves is not what the job delivered: size or SHA-256 differ."
                raise GatewayError(detail, hint="Try the link again.")
            unfinished.replace(file)
        except httpx.HTTPError as error:
            detail = f"The CDN cannot be reached at {artifact.url}: {_reason(error)}."
            raise GatewayError(detail, hint="Try the link again.") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _stream(self, job_id: str, last: int, deadline: float) -> Iterator[Event]:
        headers = {"accept": "text/event-stream", "cache-control": "no-store"}
        if last >= 0:
            headers["last-event-id"] = str(last)
        timeout = httpx.Timeout(SILENCE_S, connect=10.0)
        try:
            with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=timeout) as answer:
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                    raise _refusal(answer)
                for message in EventSource(answer).iter_sse():
                    if monotonic() > deadline:
                        return
                    if message.event == "error":
                        raise _error_of(message.data, status=None)
                    if (event := _event(message.data)) is not None:
                        yield event
        except (httpx.HTTPError, SSEError) as error:
            raise self._unreachable(error) from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise _refusal(answer)
        return answer

    def _unreachable(self, error: Exception) -> GatewayError:
        detail = f"The gateway at {self._url} cannot be reached: {_reason(error)}."
        return GatewayError(detail, hint="Check the URL; `visgate local status` tells about the one on this machine.")


def _event(data: str) -> Event | None:
    """Return an event, or None for a message that is something else, such as a newer kind."""
    try:
        return Event.model_validate_json(data)
    except ValidationError:
        return None


def _refusal(answer: httpx.Response) -> GatewayError:
    """Return the error of a problem document (RFC 9457), or of an answer that is none."""
    is_json = "json" in answer.headers.get("content-type", "") and len(answer.content) <= _MAX_PROBLEM_BYTES
    error = _error_of(answer.text if is_json else "", status=answer.status_code)
    after = answer.headers.get("retry-after", "")
    if after.isdigit() and not error.hint:
        error.hint = f"Try again in {after} s."
    return error


def _error_of(text: str, *, status: int | None) -> GatewayError:
    """Return the error that a problem document tells of.

    Args:
        text: The document; anything else counts as one that says nothing.
        status: HTTP status, where the document has none.
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    problem: dict[str, Any] = document if isinstance(document, dict) else {}
    if isinstance(told := problem.get("status"), int):
        status = status or told
    detail = str(problem.get("detail") or f"The gateway answered {status or 'nothing that can be read'}.")
    if request_id := problem.get("request_id"):
        detail = f"{detail} ({request_id})"
    return GatewayError(detail, hint=str(problem.get("hint") or ""), status=status)


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
