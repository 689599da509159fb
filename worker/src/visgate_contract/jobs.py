"""The job as it travels through Runpod's queue, from gateway to worker and back.

A job input holds no secret: uploads are presigned for one object each, and webhooks are signed with a key that the
worker has in its environment.

What Runpod's status body holds: while the job runs, `output` is a `JobProgress`. A finished job has a `JobResult` as
`output`. Runpod calls a job FAILED when the worker's answer has a top-level `error`, a string, which the SDK takes out
of the handler's dictionary; so a failed `JobResult` travels as `output` without its `error`, beside an `error` that is
itself the JSON of a short `JobResult` (error, timings, terminal event) and suffices alone. `JobResult.from_runpod` and
`JobProgress.from_runpod` read all of these, and what Runpod itself or a dying worker left.
"""

import json
from collections.abc import Mapping
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Artifact, Event, LoadReport, RuntimeReport, Timings
from visgate_contract.ledger import LedgerGrant
from visgate_contract.redaction import Redactor
from visgate_contract.tasks import TaskInput

WEBHOOK_SECRET_ENV = "VISGATE_WEBHOOK_SECRET"  # noqa: S105, the name of a variable, not a secret
WEBHOOK_KEY_ENV = "VISGATE_WEBHOOK_KEY"
MODEL_ID_ENV = "VISGATE_MODEL_ID"
MODEL_REVISION_ENV = "VISGATE_MODEL_REVISION"

THUMBNAIL_TYPE = "image/webp"
POSTER_TYPE = "image/jpeg"
RECEIPT_TYPE = "application/jose"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Multipart(_Wire):
    """An upload in parts, which S3 has begun: a part that fails is sent again alone.

    Args:
        part_bytes: Size of every part but the last.
        part_urls: Presigned URLs for the PUT of each part, in order; a file may have fewer.
        complete_url: Presigned URL for the POST that ends it.
        abort_url: Presigned URL for the DELETE that gives it up.
    """

    part_bytes: int = Field(ge=5 * 1024 * 1024)
    part_urls: tuple[str, ...] = Field(min_length=1)
    complete_url: str
    abort_url: str


class Upload(_Wire):
    """Where one file goes.

    Args:
        put_url: Presigned URL for one HTTP PUT of one object.
        headers: Headers that were signed and must be sent with the PUT.
        cdn_url: Where the file can be read afterwards.
        head_url: Presigned URL for the HEAD that tells whether it has arrived whole.
        multipart: For a file that is larger than one of its parts.
        thumbnail: Where a small picture of it goes, as WebP.
        poster: Where the first frame of a video goes, as JPEG.
    """

    put_url: str
    headers: dict[str, str] = Field(default_factory=dict)
    cdn_url: str
    head_url: str | None = None
    multipart: Multipart | None = None
    thumbnail: "Upload | None" = None
    poster: "Upload | None" = None


class JobInput(_Wire):
    """What the gateway puts under `input` of Runpod's `POST /v2/{endpoint}/run`.

    Args:
        task_id: Chosen by the gateway before anything is created; in every event of the job.
        model_id: Hub id of the model; the worker refuses another one than it was started for.
        params: Task schema, already validated.
        uploads: One for each artifact that the task can produce, in order.
        webhook_url: Receiver of the job's events, if any.
        announced: The receiver has acknowledged the gateway's `provisioning` event, so the worker does not repeat it.
        ledger: Where the worker keeps what became of the job's events.
        start_timeout_s: Seconds from the request within which a worker has to take the job; without it, at any time.
        receipt: Where the job's signed receipt goes.
    """

    task_id: str = Field(pattern=r"^task_[0-9a-z]{26}$")
    model_id: str = Field(min_length=1)
    params: TaskInput
    uploads: tuple[Upload, ...] = Field(min_length=1)
    webhook_url: str | None = None
    announced: bool = False
    ledger: LedgerGrant | None = None
    start_timeout_s: int | None = Field(default=None, ge=1)
    receipt: Upload | None = None


MAX_WARM_FOR_S = 3_600
"""As long as Runpod lets an idle worker stay."""


class WarmUp(_Wire):
    """Input of a job that draws nothing: it brings the model into a worker, ahead of need, for a bounded time.

    Runpod itself ends the time: the gateway gives the endpoint an idle timeout as long as `warm_for_s` before it queues
    this job, and the idle time begins with the job's end. Its worker puts the former timeout back when the time is
    over, or when it is told to stop earlier, so that later workers leave as soon as before.

    Args:
        task_id: Chosen by the gateway.
        model_id: Hub id of the model; the worker refuses another one than it was started for.
        warm_for_s: Seconds that the worker stays, from the moment that the model is loaded.
        idle_timeout_s: The endpoint's own idle timeout, in seconds; None if it was left alone.
    """

    task_id: str = Field(pattern=r"^task_[0-9a-z]{26}$")
    model_id: str = Field(min_length=1)
    warm_for_s: int = Field(ge=1, le=MAX_WARM_FOR_S)
    idle_timeout_s: int | None = Field(default=None, ge=1, le=MAX_WARM_FOR_S)

    @classmethod
    def is_meant(cls, given: object) -> bool:
        """Tell whether a job's input is one of these."""
        return isinstance(given, Mapping) and "warm_for_s" in given


class JobProgress(_Wire):
    """What the worker reports through Runpod while a job runs: every event so far, oldest first, bounded."""

    events: tuple[Event, ...]

    @classmethod
    def from_runpod(cls, body: Mapping[str, Any]) -> Self:
        """Return the events that a status body of Runpod (`GET /v2/{endpoint}/status/{job}`) holds, finished or not."""
        for found in (body.get("output"), _as_json(body.get("error"))):
            if isinstance(found, Mapping) and "events" in found:
                try:
                    return cls.model_validate_json(json.dumps({"events": found["events"]}))
                except (ValidationError, TypeError):
                    continue
        return cls(events=())


class JobError(_Wire):
    """Why a job failed; its fields are those of `EventError`."""

    code: ErrorCode
    detail: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()


class JobResult(_Wire):
    """What the worker returns as the job's `output`.

    Args:
        task_id: As in the input; empty when a worker died before it could say.
        artifacts: Delivered files, in order.
        receipt_url: The job's signed receipt.
        timings: Seconds of each phase.
        load: Where the model came from.
        runtime: What executed it.
        error: Why the job failed; None for a job that did not.
        events: Every event of the job, oldest first, bounded.
    """

    task_id: str
    artifacts: tuple[Artifact, ...] = ()
    receipt_url: str | None = None
    timings: Timings | None = None
    load: LoadReport | None = None
    runtime: RuntimeReport | None = None
    error: JobError | None = None
    events: tuple[Event, ...] = ()

    def to_runpod(self) -> dict[str, Any]:
        """Return the dictionary that a handler gives to the Runpod SDK; the module's text says what becomes of it."""
        output: dict[str, Any] = self.model_dump(mode="json", exclude={"error"}, exclude_none=True)
        if self.error is not None:
            terminal = tuple(event for event in self.events if event.data.status.is_terminal)
            short = JobResult(task_id=self.task_id, timings=self.timings, error=self.error, events=terminal)
            output["error"] = short.model_dump_json(exclude_none=True)
        return output

    @classmethod
    def from_runpod(cls, body: Mapping[str, Any]) -> Self | None:
        """Return the result in a status body of Runpod, or None while the job is queued or running.

        Args:
            body: What `GET /v2/{endpoint}/status/{job}` or a completion call holds: `status`, `output`, `error`.
        """
        status = body.get("status")
        if status not in _FINAL_STATES:
            return None
        output = cls._parse(body.get("output"))
        short = cls._parse(_as_json(body.get("error")))
        if short is not None and output is not None:
            return output.model_copy(update={"error": short.error})
        if short is not None:
            return short
        if status == "COMPLETED" and output is not None:
            return output
        error = _FINAL_STATES[status] or _foreign_error(body.get("error"))
        events = JobProgress.from_runpod(body).events
        task_id = events[0].data.task_id if events else ""
        return cls(task_id=task_id, error=error, events=events)

    @classmethod
    def _parse(cls, found: object) -> Self | None:
        if not isinstance(found, Mapping):
            return None
        try:
            return cls.model_validate_json(json.dumps(found))
        except (ValidationError, TypeError, ValueError):
            return None


MAX_DETAIL_CHARACTERS = 500

_FINAL_STATES: Mapping[object, JobError | None] = {
    "COMPLETED": None,
    "FAILED": None,
    "CANCELLED": JobError(code=ErrorCode.CANCELLED, detail="The job was cancelled."),
    "TIMED_OUT": JobError(
        code=ErrorCode.DEADLINE_EXCEEDED,
        detail="Runpod ended the job at its time limit.",
        hint="Ask for fewer steps or a smaller picture, or raise the execution timeout.",
    ),
}


def _as_json(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return None


def _foreign_error(error: object) -> JobError:
    """Put an error that is not this product's into its form: masked, bounded, without a traceback."""
    found = _as_json(error)
    text = cast("Mapping[str, object]", found).get("error_message") if isinstance(found, Mapping) else error
    said = Redactor().text(text)[:MAX_DETAIL_CHARACTERS] if isinstance(text, str) and text else "It gave no reason."
    return JobError(
        code=ErrorCode.WORKER_FATAL,
        detail=f"The worker ended without a result. {said}",
        hint="The worker's log says more: GET /v1/endpoints/{id}/logs.",
    )
