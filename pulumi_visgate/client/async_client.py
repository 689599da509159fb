"""The asynchronous client of the gateway's API: the same operations, awaited."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from pulumi_visgate.client import _calls
from pulumi_visgate.client import _files as files
from pulumi_visgate.client._calls import (
    CONNECT_S,
    NO_CONTENT,
    OK,
    REQUEST_S,
    TRIES,
    WAIT_S,
    Call,
    DeployOptions,
    Input,
    JobOptions,
    Where,
)
from pulumi_visgate.client._follow import EventSession, LogSession, Session, endpoint_log, job_log
from pulumi_visgate.client.address import checked_url, headers
from pulumi_visgate.client.errors import GatewayError, JobNotDoneError, reason, refusal, unreachable
from pulumi_visgate.client.models import (
    Deployment,
    Job,
    LogLine,
    OwnDeployment,
    Result,
    SubmittedJob,
    Update,
)
from pulumi_visgate.client.offers import OfferedModel, Placements, Preflight
from visgate_contract.events import Artifact, Event
from visgate_contract.tasks import Task

T = TypeVar("T")


class AsyncClient:
    """Talks to one gateway with one key; use as an asynchronous context manager, or close it. Tasks may share it.

    Args:
        url: Of the gateway; VISGATE_GATEWAY_URL when left out.
        key: Runpod API key; RUNPOD_API_KEY when left out.
        hf_token: Hugging Face token, for gated models.
        timeout_s: Deadline of one request, in seconds.
        transport: Replaces the network.
        pause: Waits for some seconds.

    Raises:
        UsageError: URL or key is missing, or the key would travel in clear.
        GatewayError: From every operation: it was refused, or nobody answered.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | SecretStr | None = None,
        *,
        hf_token: str | SecretStr | None = None,
        timeout_s: float = REQUEST_S,
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = checked_url(url, os.environ)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers(key, hf_token, os.environ),
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
            transport=transport,
            trust_env=self.url.startswith("https://"),
        )
        self._transport = transport
        self._pause = pause

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self, model: str, input: Input, *, task: Task | str | None = None, **options: Unpack[JobOptions]
    ) -> SubmittedJob:
        """Queue a job (`POST /v1/jobs`). It is sent again when the answer is lost, and is made once all the same.

        Args:
            model: Hub id of the model.
            input: Fields of the task, such as `{"prompt": "a red fox"}`, or a `Text2ImgInput`.
            task: What to ask of the model; that of the input, or `text2img`, when left out.
            **options: See `JobOptions`.
        """
        return await self._perform(_calls.submit(model, input, task=task, options=options))

    async def subscribe(
        self,
        model: str,
        input: Input,
        *,
        task: Task | str | None = None,
        on_update: Callable[[Update], object] | None = None,
        timeout_s: float = WAIT_S,
        **options: Unpack[JobOptions],
    ) -> Result:
        """Queue a job and wait for what it makes.

        Args:
            model: Hub id of the model.
            input: Fields of the task.
            task: What to ask of the model.
            on_update: Called, not awaited, with each event, and with why the job waits whenever that changes.
            timeout_s: Longest time to wait, in seconds; the job goes on after it.
            **options: See `JobOptions`.

        Raises:
            GatewayError: It was refused, or the gateway was away too long.
            JobFailedError: The job failed.
            JobNotDoneError: It has not ended in time.
        """
        job = await self.submit(model, input, task=task, **options)
        return await self.wait(job.job_id, on_update=on_update, timeout_s=timeout_s)

    async def wait(
        self, job_id: str, *, on_update: Callable[[Update], object] | None = None, timeout_s: float = WAIT_S
    ) -> Result:
        """Wait for what a job makes.

        Args:
            job_id: The job.
            on_update: As in `subscribe`.
            timeout_s: Longest time to wait, in seconds; the job goes on after it.

        Raises:
            GatewayError: It was refused, or the gateway was away too long.
            JobFailedError: The job failed.
            JobNotDoneError: It has not ended in time.
        """
        async with contextlib.aclosing(self.events(job_id, timeout_s=timeout_s)) as updates:
            async for update in updates:
                if on_update is not None:
                    on_update(update)
                if isinstance(update, Event) and update.data.status.is_terminal:
                    return Result.of_event(job_id, update)
        detail = "The job's events are over without an end."
        raise JobNotDoneError(detail, hint="Ask for the job by its id.")

    def events(self, job_id: str, *, timeout_s: float | None = None, after: int = -1) -> AsyncGenerator[Update, None]:
        """Yield a job's events up to the last one, and why it waits; a stream that breaks is taken up where it was.

        Args:
            job_id: The job.
            timeout_s: Longest time for all of it, in seconds; None for ever.
            after: Begin after the event with this sequence.

        Raises:
            GatewayError: It was refused, or the gateway was away too long.
            JobNotDoneError: The job has not ended in time.
        """
        return self._follow(EventSession(job_id, timeout_s=timeout_s, after=after))

    async def job(self, job_id: str) -> Job:
        """Return where a job stands (`GET /v1/jobs/{id}`); Runpod keeps ended jobs for half an hour."""
        return await self._perform(_calls.job(job_id))

    async def result(self, job_id: str) -> Result:
        """Return what a job has made, without waiting for it.

        Raises:
            GatewayError: It was refused, or nobody answered.
            JobFailedError: The job failed.
            JobNotDoneError: It has not ended.
        """
        return (await self.job(job_id)).result()

    async def cancel(self, job_id: str) -> Job:
        """Take a job out of the queue, or stop it; one that has ended stays as it is (`POST …/cancel`)."""
        return await self._perform(_calls.job(job_id, "cancel"))

    async def retry(self, job_id: str) -> Job:
        """Queue a job again that has failed or ran out of time, under its id (`POST …/retry`)."""
        return await self._perform(_calls.job(job_id, "retry"))

    def logs(
        self, job_id: str, *, quiet_s: float | None = None, last_event_id: str = ""
    ) -> AsyncGenerator[LogLine, None]:
        """Yield the log of the worker that runs a job, from the job's submission to its end.

        Args:
            job_id: The job.
            quiet_s: End after so many seconds without a line; None to follow.
            last_event_id: Begin after this line.

        Raises:
            GatewayError: It was refused, or the gateway was away too long.
        """
        return self._follow(LogSession(job_log(job_id), quiet_s=quiet_s, last_event_id=last_event_id))

    def endpoint_logs(self, endpoint_id: str, *, quiet_s: float | None = None) -> AsyncGenerator[LogLine, None]:
        """Yield the logs of all workers of one of your endpoints, until you stop.

        Args:
            endpoint_id: The endpoint.
            quiet_s: End after so many seconds without a line; None to follow.

        Raises:
            GatewayError: It was refused, or the gateway was away too long.
        """
        return self._follow(LogSession(endpoint_log(endpoint_id), quiet_s=quiet_s))

    async def preflight(
        self,
        model: str,
        input: Input | None = None,
        *,
        task: Task | str | None = None,
        **options: Unpack[DeployOptions],
    ) -> Preflight:
        """Find out whether a model could do something here, where, and at what price; nothing is made.

        Args:
            model: Hub id of the model.
            input: Fields of the task; larger pictures and longer clips need more.
            task: What to ask of the model.
            **options: See `DeployOptions`.

        Raises:
            GatewayError: It was refused, or nobody answered. A model that does not fit is no error: see `ok`.
        """
        return await self._perform(_calls.preflight(model, input, task=task, options=options))

    async def placements(
        self, model: str | None = None, *, task: Task | str | None = None, **options: Unpack[Where]
    ) -> Placements:
        """Return where workers would run, with the scores and why, for any model or for one.

        Args:
            model: Hub id of a model.
            task: What to ask of it.
            **options: See `Where`.
        """
        return await self._perform(_calls.placements(model, task=task, options=options))

    async def models(self) -> tuple[OfferedModel, ...]:
        """Return the models that the platform offers."""
        return await self._perform(_calls.models())

    async def deploy(
        self,
        model: str,
        *,
        task: Task | str | None = None,
        warm_for_s: int | None = None,
        **options: Unpack[DeployOptions],
    ) -> Deployment:
        """Have an endpoint ready for a model, made first if there is none (`POST /v1/deployments`).

        Args:
            model: Hub id of the model.
            task: What will be asked of it.
            warm_for_s: Start a worker now, too, and let it stay so long, in seconds.
            **options: See `DeployOptions`.
        """
        return await self._perform(_calls.deploy(model, task=task, warm_for_s=warm_for_s, options=options))

    async def deployments(self) -> tuple[OwnDeployment, ...]:
        """Return the caller's endpoints, oldest first."""
        return await self._perform(_calls.deployments())

    async def delete_deployment(self, deployment_id: str) -> None:
        """Delete an endpoint that a gateway has made; those of a Pulumi program are left to Pulumi."""
        await self._perform(_calls.delete_deployment(deployment_id))

    async def webhook_secret(self) -> str:
        """Return the secret that verifies this caller's webhooks (`GET /v1/webhooks/key`)."""
        return await self._perform(_calls.webhook_secret())

    async def download(self, artifact: Artifact, file: str | Path) -> None:
        """Save an artifact, whole and as announced, or not at all.

        Args:
            artifact: Of a result.
            file: Where to; replaced if it exists.

        Raises:
            GatewayError: The CDN does not have it, or has another one.
        """
        # A client of its own: the key is the gateway's business, not the CDN's.
        trust_env = artifact.url.startswith("https://")
        try:
            async with (
                httpx.AsyncClient(timeout=REQUEST_S, transport=self._transport, trust_env=trust_env) as http,
                http.stream("GET", artifact.url) as answer,
            ):
                if answer.status_code != OK:
                    raise files.missing(artifact, answer.status_code)
                with files.Download(artifact, Path(file)) as target:
                    async for chunk in answer.aiter_bytes():
                        if not target.add(chunk):
                            break
                    target.finish()
        except httpx.HTTPError as error:
            raise files.unreachable(artifact, reason(error)) from error

    async def _perform(self, call: Call[T]) -> T:
        attempts = AsyncRetrying(
            retry=retry_if_exception(call.may_repeat),
            wait=_calls.pause_s,
            stop=stop_after_attempt(TRIES),
            sleep=self._pause,
            reraise=True,
        )
        return await attempts(partial(self._once, call))

    async def _once(self, call: Call[T]) -> T:
        try:
            answer = await self._http.request(**call.arguments())
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from error
        if not answer.is_success:
            raise refusal(answer.status_code, answer.headers, answer.content)
        return _calls.parsed(call, self.url, answer.status_code, answer.content)

    async def _follow(self, session: Session[T]) -> AsyncGenerator[T, None]:
        while True:
            broken: GatewayError | None = None
            try:
                async with contextlib.aclosing(self._stream(session)) as events:
                    async for event in events:
                        if (found := session.take(event)) is not None:
                            yield found
                        if session.is_over:
                            return
            except GatewayError as error:
                broken = error
            if session.is_over:
                return
            await self._pause(session.ended(broken))

    async def _stream(self, session: Session[T]) -> AsyncGenerator[ServerSentEvent, None]:
        timeout = httpx.Timeout(session.silence_s(), connect=CONNECT_S)
        try:
            async with self._http.stream("GET", session.path, headers=session.headers(), timeout=timeout) as answer:
                if answer.status_code == NO_CONTENT:
                    session.is_over = True
                    return
                if answer.status_code != OK:
                    raise refusal(answer.status_code, answer.headers, await answer.aread())
                async with contextlib.aclosing(EventSource(_watched(answer, session)).aiter_sse()) as events:
                    async for event in events:
                        yield event
        except httpx.ReadTimeout as error:
            if not session.fell_silent():
                raise unreachable(self.url, error) from error
        except (httpx.HTTPError, SSEError) as error:
            raise unreachable(self.url, error) from error


def _watched(answer: httpx.Response, session: Session[T]) -> httpx.Response:
    """Return the same stream, which looks at the time with each of its parts, heartbeats included."""

    async def parts() -> AsyncIterator[bytes]:
        async for part in answer.aiter_bytes():
            session.check_time()
            yield part

    headers = {"content-type": answer.headers.get("content-type", "")}
    return httpx.Response(answer.status_code, headers=headers, content=parts())
