"""What the serving process and its supervisor tell each other: one JSON message a line, over pipes.

Everything that must outlive the serving process goes to the supervisor: events for delivery, and signs of life. The
supervisor answers each job with its number in the job's ledger.
"""

import os
import threading
from concurrent.futures import Future
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event
from visgate_contract.ledger import LedgerGrant
from visgate_contract.tasks import Task

LINK_FD_ENV = "VISGATE_LINK_FD"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Beat(_Message):
    """The event loop of the serving process runs."""

    kind: Literal["beat"] = "beat"


class Ready(_Message):
    """Jobs can be taken."""

    kind: Literal["ready"] = "ready"


class Loaded(_Message):
    """The model is in memory."""

    kind: Literal["loaded"] = "loaded"


class Fatal(_Message):
    """The worker cannot serve at all."""

    kind: Literal["fatal"] = "fatal"
    code: ErrorCode
    detail: str
    hint: str = ""


class ActiveJob(_Message):
    """A job was taken; what the supervisor needs to speak for it.

    Args:
        runpod_job_id: Runpod's id.
        job_id: Public id, if a webhook secret is known.
        task_id: The gateway's id.
        model_id: Model that was asked for.
        task: Task that was asked for.
        webhook_url: Receiver of the job's events.
        ledger: Where to keep what becomes of the events.
    """

    kind: Literal["job"] = "job"
    runpod_job_id: str
    job_id: str | None
    task_id: str
    model_id: str
    task: Task
    webhook_url: str | None
    ledger: LedgerGrant | None = None


class Mark(_Message):
    """A running job got further."""

    kind: Literal["mark"] = "mark"


class Emitted(_Message):
    """An event of a running job, for delivery.

    Args:
        runpod_job_id: The job.
        event: The event.
    """

    kind: Literal["event"] = "event"
    runpod_job_id: str
    event: Event


class Ended(_Message):
    """A running job ended.

    Args:
        runpod_job_id: The job.
        counts_as_failure: It failed for a reason that another job may meet too.
        succeeded: It delivered what was asked.
    """

    kind: Literal["ended"] = "ended"
    runpod_job_id: str
    succeeded: bool
    counts_as_failure: bool


class KeepWarm(_Message):
    """The worker is to stay without a job.

    Args:
        warm_for_s: For how long, in seconds.
        idle_timeout_s: What the endpoint's idle timeout is to be again then, in seconds; None if it was left alone.
    """

    kind: Literal["keep_warm"] = "keep_warm"
    warm_for_s: int
    idle_timeout_s: int | None


Message = Beat | Ready | Loaded | Fatal | ActiveJob | Mark | Emitted | Ended | KeepWarm
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def parse(line: bytes) -> Message:
    """Read one message.

    Raises:
        pydantic.ValidationError: The line is not a message.
    """
    return _MESSAGE.validate_json(line)


class Link:
    """The sending end.

    Args:
        fd: File descriptor of the pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Send one message whole; safe to call from any thread.

        Raises:
            BrokenPipeError: The supervisor is gone.
        """
        line = message.model_dump_json(exclude_none=False).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._fd, line) :]


class Attempt(_Message):
    """The supervisor's answer to `ActiveJob`.

    Args:
        runpod_job_id: The job.
        number: How often the job has been begun, with this time.
        finished: The event with which an earlier attempt has already done the job; nothing has to be done again.
    """

    runpod_job_id: str
    number: int = Field(ge=1)
    finished: Event | None = None


class Answers:
    """The supervisor's answers, kept until the jobs that they are for ask."""

    def __init__(self) -> None:
        self._attempts: dict[str, Future[Attempt]] = {}
        self._lock = threading.Lock()

    def of(self, runpod_job_id: str) -> "Future[Attempt]":
        """Return the answer for a job, to come or come already."""
        with self._lock:
            return self._attempts.setdefault(runpod_job_id, Future())

    def take(self, line: bytes) -> None:
        """Take in one line.

        Raises:
            pydantic.ValidationError: It is no answer.
        """
        attempt = Attempt.model_validate_json(line)
        answer = self.of(attempt.runpod_job_id)
        if not answer.done():
            answer.set_result(attempt)

    def forget(self, runpod_job_id: str) -> None:
        """Drop what was said of a job that has ended."""
        with self._lock:
            self._attempts.pop(runpod_job_id, None)
