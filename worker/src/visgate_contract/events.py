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


SEQUENCES_OF_AN_ATTEMPT = 1_000
"""How far apart the sequences of two attempts begin; a worker tells far fewer events of one."""


def first_sequence(attempt: int) -> int:
    """Return the sequence that an attempt's events follow."""
    return (attempt - 1) * SEQUENCES_OF_AN_ATTEMPT


def last_sequence(attempt: int) -> int:
    """Return the sequence of an attempt's end when its worker could not tell it: after all that it can have told."""
    return attempt * SEQUENCES_OF_AN_ATTEMPT - 1


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Progress(_Wire):
    """How far generation is."""

    step: int = Field(ge=0)
    steps: int = Field(ge=1)


class SafetyOutcome(StrEnum):
    """What a safety checker said of a picture."""

    PASSED = "passed"
    FLAGGED = "flagged"
    BLANKED = "blanked"
    UNCHECKED = "unchecked"


class Artifact(_Wire):
    """One delivered file.

    Args:
        duration_s: Length of a video, in seconds; like the next two absent for a picture.
        num_frames: Frames of a video.
        fps: Frames a second of a video.
        safety: What the safety checker said; absent where nothing was to be checked.
        thumbnail_url: A small WebP picture of it.
        poster_url: The first frame of a video, as JPEG.
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
    safety: SafetyOutcome | None = None
    thumbnail_url: str | None = None
    poster_url: str | None = None


# Where a model lay when its worker began to look for it: Runpod's model cache or a hub cache on the volume, a folder of
# the volume, the platform's model store, the hub; `memory` is a worker that has loaded it before.
LoadSource = Literal["model_cache", "volume", "s3", "hub", "memory"]


class LoadProgress(_Wire):
    """How far a model has come that is still on its way; part of `progress` events before generation begins.

    Args:
        source: Where it comes from.
        done_bytes: Bytes fetched or read so far.
        total_bytes: Bytes of all files; absent while nobody knows.
    """

    source: LoadSource
    done_bytes: int = Field(ge=0)
    total_bytes: int | None = Field(default=None, ge=0)


class LoadReport(_Wire):
    """Where the model came from and what that took.

    Args:
        source: Where it was found.
        size_bytes: Size of its files.
        seconds: From the beginning of the search until it was on the device, less what imports took meanwhile.
        fetched_bytes: What had to come over the network into the worker's cache; less than the size after a repair.
        fetch_s: Seconds that this took.
        repaired_files: Files of a cache that were missing, short or wrong, and were brought again.
    """

    source: LoadSource
    size_bytes: int
    seconds: float
    fetched_bytes: int = 0
    fetch_s: float = 0.0
    repaired_files: int = 0


class Fallback(_Wire):
    """A runtime that was tried or remembered, and why another one runs.

    Args:
        runtime: Its name.
        reason: Why it does not run, fit for showing.
    """

    runtime: str
    reason: str


class RuntimeReport(_Wire):
    """What executed the model.

    Args:
        name: `eager`, or what was done to it, such as `compiled` or `compiled+cached`.
        device: Name of the GPU, or `cpu`.
        family: Family of the model's pipeline; its class where that is not listed.
        fallbacks: Better runtimes that failed or were known to fail here, best first.
        peak_memory_bytes: Most memory that the job held: of the GPU, or of the process where there is none.
        batch: Pictures that were drawn at once, of this job and others.
    """

    name: str
    device: str
    family: str
    fallbacks: tuple[Fallback, ...] = ()
    peak_memory_bytes: int | None = None
    batch: int = 1


class Timings(_Wire):
    """Seconds of each phase, as far as it happened.

    Args:
        interpreter_s: Start of the worker's process to its first line; only in the first job of a worker.
        sdk_import_s: Import of the Runpod SDK; only in the first job of a worker.
        framework_import_s: Import of torch and diffusers; only in the first job of a worker.
        find_s: Finding the model, and bringing it near if it was not; only in the first job of a worker.
        load_s: The model from storage to the device, `find_s` included; 0 when it was in memory.
        improve_s: Proving a faster runtime before the first job; only in the first job of a worker.
        input_s: Fetching the pictures that the job begins from and the weights it brings; only where there are any.
        wait_s: Waiting for the device, which another job held.
        generate_s: Denoising and decoding, of all pictures.
        check_s: The safety checker's look at them; only where there is to be one.
        step_s: One denoising step, the median.
        encode_s: Pictures to files.
        upload_s: Files to object storage.
        ttft_s: Time to the first picture or frame after the job was taken.
        total_s: From the moment the job was taken until its result was complete.
    """

    interpreter_s: float | None = None
    sdk_import_s: float | None = None
    framework_import_s: float | None = None
    find_s: float | None = None
    load_s: float = 0.0
    improve_s: float | None = None
    input_s: float | None = None
    wait_s: float | None = None
    generate_s: float = 0.0
    check_s: float | None = None
    step_s: float | None = None
    encode_s: float = 0.0
    upload_s: float = 0.0
    ttft_s: float | None = None
    total_s: float | None = None


class EventError(_Wire):
    """Why a job failed, fit for showing to the caller.

    Args:
        code: Stable code.
        detail: What happened.
        hint: What to do about it.
        log_tail: The last lines of the worker's log, masked, where the worker itself failed and not the request.
    """

    code: ErrorCode
    detail: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()


class EventData(_Wire):
    """What an event says.

    Args:
        task_id: The gateway's id of the request.
        job_id: The id for `GET /v1/jobs/{id}`; absent until Runpod has queued the job.
        attempt: How often the job has been begun; 2 and more when Runpod or its caller has tried it again.
        sequence: Order of the event within its job; the gateway's `provisioning` is 0, and each attempt begins a
            thousand further on, so that order needs nothing else.
        loading: How far the model is, in `progress` events before the first step.
        runtime: What executes the model, once that is known.
        receipt_url: The job's signed receipt, in `ready`.
    """

    task_id: str
    job_id: str | None = None
    attempt: int = Field(default=1, ge=1)
    sequence: int = Field(ge=0)
    status: Status
    model_id: str
    task: Task
    endpoint_id: str | None = None
    worker_id: str | None = None
    progress: Progress | None = None
    loading: LoadProgress | None = None
    load: LoadReport | None = None
    runtime: RuntimeReport | None = None
    artifacts: tuple[Artifact, ...] = ()
    receipt_url: str | None = None
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

        The end of an attempt has one id whoever tells it: its worker, the worker's supervisor, or a gateway that Runpod
        has told of it. So a receiver that drops repeats sees it once.
        """
        data = self.data
        which = f"{data.sequence:05d}"
        if data.status.is_terminal:
            which = data.status.value if data.attempt == 1 else f"{data.attempt}_{data.status.value}"
        return f"msg_{data.task_id.removeprefix('task_')}_{which}"

    def body(self) -> bytes:
        """Serialise once; signature and delivery use these exact bytes."""
        return self.model_dump_json(exclude_none=True).encode()
