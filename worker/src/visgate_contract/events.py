"""Events of a job, in the shape that webhooks and event streams deliver.

Envelope and headers follow Standard Webhooks 1.0.0: `{"type", "timestamp", "data"}` and `webhook-id`, which is the same
for every delivery of an event, so that a receiver can drop repeats and sort by `sequence`.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import Task


class Status(StrEnum):
    """Where a job stands."""

    PROVISIONING = "provisioning"
    STARTED = "started"
    PROGRESS = "progress"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        """No event follows this one."""
        return self in {Status.READY, Status.FAILED}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Progress(_Wire):
    """How far generation is."""

    step: int = Field(ge=0)
    steps: int = Field(ge=1)


class Artifact(_Wire):
    """One delivered file.

    Args:
        duration_s: Length of a video, in seconds; like the next two absent for a picture.
        num_frames: Frames of a video.
        fps: Frames a second of a video.
    """

    url: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    seed: int
    duration_s: float | None = None
    num_frames: int | None = None
    fps: int | None = None


class LoadReport(_Wire):
    """Where the model came from and what that took."""

    source: Literal["volume", "s3", "hub", "memory"]
    size_bytes: int
    seconds: float


class Timings(_Wire):
    """Seconds of each phase, as far as it happened.

    Args:
        interpreter_s: Start of the worker's process to its first line; only in the first job of a worker.
        sdk_import_s: Import of the Runpod SDK; only in the first job of a worker.
        framework_import_s: Import of torch and diffusers; only in the first job of a worker.
        load_s: The model from storage to the device; 0 when it was in memory.
        input_s: Fetching and decoding the picture that the job begins from; only where there is one.
        generate_s: Denoising and decoding, of all pictures.
        encode_s: Pictures to files.
        upload_s: Files to object storage.
        ttft_s: Time to the first picture or frame after the job was taken.
        total_s: From the moment the job was taken until its result was complete.
    """

    interpreter_s: float | None = None
    sdk_import_s: float | None = None
    framework_import_s: float | None = None
    load_s: float = 0.0
    input_s: float | None = None
    generate_s: float = 0.0
    encode_s: float = 0.0
    upload_s: float = 0.0
    ttft_s: float | None = None
    total_s: float | None = None


class EventError(_Wire):
    """Why a job failed, fit for showing to the caller."""

    code: ErrorCode
    detail: str
    hint: str = ""


class EventData(_Wire):
    """What an event says.

    Args:
        task_id: The gateway's id of the request.
        job_id: The id for `GET /v1/jobs/{id}`; absent until Runpod has queued the job.
        sequence: Order of the event within its job; the gateway's `provisioning` is 0.
    """

    task_id: str
    job_id: str | None = None
    sequence: int = Field(ge=0)
    status: Status
    model_id: str
    task: Task
    endpoint_id: str | None = None
    worker_id: str | None = None
    progress: Progress | None = None
    load: LoadReport | None = None
    artifacts: tuple[Artifact, ...] = ()
    timings: Timings | None = None
    error: EventError | None = None


class Event(_Wire):
    """One event as it is delivered."""

    type: str
    timestamp: datetime
    data: EventData

    @classmethod
    def of(cls, data: EventData, *, timestamp: datetime) -> "Event":
        """Wrap data; the type is `job.` and the status."""
        return cls(type=f"job.{data.status}", timestamp=timestamp, data=data)

    @property
    def id(self) -> str:
        """`webhook-id`: equal for every delivery of the same event.

        A job's end has one id whoever tells it: its worker, the worker's supervisor, or a gateway that Runpod has told
        of it. So a receiver that drops repeats sees it once.
        """
        status = self.data.status
        which = status.value if status.is_terminal else f"{self.data.sequence:05d}"
        return f"msg_{self.data.task_id.removeprefix('task_')}_{which}"

    def body(self) -> bytes:
        """Serialise once; signature and delivery use these exact bytes."""
        return self.model_dump_json(exclude_none=True).encode()
