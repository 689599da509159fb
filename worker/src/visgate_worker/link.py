"""What the serving process tells its supervisor: one JSON message a line, over a pipe.

Everything that must outlive the serving process goes this way: events for delivery, and signs of life.
"""

import os
import threading
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event
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
    """

    kind: Literal["job"] = "job"
    runpod_job_id: str
    job_id: str | None
    task_id: str
    model_id: str
    task: Task
    webhook_url: str | None


class Mark(_Message):
    """The running job got further."""

    kind: Literal["mark"] = "mark"


class Emitted(_Message):
    """An event of the running job, for delivery."""

    kind: Literal["event"] = "event"
    event: Event


class Ended(_Message):
    """The running job ended.

    Args:
        counts_as_failure: It failed for a reason that another job may meet too.
        succeeded: It delivered what was asked.
    """

    kind: Literal["ended"] = "ended"
    succeeded: bool
    counts_as_failure: bool


Message = Beat | Ready | Loaded | Fatal | ActiveJob | Mark | Emitted | Ended
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
