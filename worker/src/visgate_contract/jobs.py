"""The job as it travels through Runpod's queue, from gateway to worker and back.

A job input holds no secret: uploads are presigned for one object each, and webhooks are signed with a key that the
worker has in its environment.
"""

from pydantic import BaseModel, ConfigDict, Field

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Artifact, Event, LoadReport, Timings
from visgate_contract.tasks import TaskInput

WEBHOOK_SECRET_ENV = "VISGATE_WEBHOOK_SECRET"  # noqa: S105, the name of a variable, not a secret
MODEL_ID_ENV = "VISGATE_MODEL_ID"
MODEL_REVISION_ENV = "VISGATE_MODEL_REVISION"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Upload(_Wire):
    """Where one artifact goes.

    Args:
        put_url: Presigned URL for one HTTP PUT of one object.
        headers: Headers that were signed and must be sent with the PUT.
        cdn_url: Where the artifact can be read afterwards.
    """

    put_url: str
    headers: dict[str, str] = Field(default_factory=dict)
    cdn_url: str


class JobInput(_Wire):
    """What the gateway puts under `input` of Runpod's `POST /v2/{endpoint}/run`.

    Args:
        task_id: Chosen by the gateway before anything is created; in every event of the job.
        model_id: Hub id of the model; the worker refuses another one than it was started for.
        params: Task schema, already validated.
        uploads: One for each artifact that the task can produce, in order.
        webhook_url: Receiver of the job's events, if any.
        announced: The receiver has acknowledged the gateway's `provisioning` event, so the worker does not repeat it.
    """

    task_id: str = Field(pattern=r"^task_[0-9a-z]{26}$")
    model_id: str = Field(min_length=1)
    params: TaskInput
    uploads: tuple[Upload, ...] = Field(min_length=1)
    webhook_url: str | None = None
    announced: bool = False


class JobProgress(_Wire):
    """What the worker reports through Runpod while a job runs: every event so far, oldest first, bounded."""

    events: tuple[Event, ...]


class JobError(_Wire):
    """Why a job failed."""

    code: ErrorCode
    detail: str
    hint: str = ""


class JobResult(_Wire):
    """What the worker returns as the job's `output`."""

    task_id: str
    artifacts: tuple[Artifact, ...] = ()
    timings: Timings | None = None
    load: LoadReport | None = None
    error: JobError | None = None
    events: tuple[Event, ...] = ()
