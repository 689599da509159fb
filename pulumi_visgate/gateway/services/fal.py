"""fal's queue API in terms of this one: arguments of a request, states and results of a job, signed webhooks.

Pure translation. Names follow fal's public documentation of its queue and webhooks.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, JsonValue

from pulumi_visgate.gateway.problems import InvalidField, Refused
from pulumi_visgate.gateway.services.job_view import JobView
from pulumi_visgate.gateway.settings import OfferedModel
from pulumi_visgate.runpod.models.job import JobState
from visgate_contract.ed25519 import PrivateKey
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Artifact, Event, Status
from visgate_contract.tasks import Task, TaskInput

# Theirs to ours; other names are the same in both.
_NAMES = {"num_inference_steps": "steps", "image_url": "image", "mask_url": "mask"}
THEIR_NAMES = {ours: theirs for theirs, ours in _NAMES.items()}
_ALSO_CALLED = {"frames_per_second": "fps"}
_SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_TASKS = {
    "text-to-image": Task.TEXT2IMG,
    "image-to-image": Task.IMAGE2IMG,
    "inpainting": Task.INPAINT,
    "text-to-video": Task.TEXT2VIDEO,
    "image-to-video": Task.IMAGE2VIDEO,
    **{task.value: task for task in Task},
}
_SCHEMAS: Mapping[Task, type[BaseModel]] = {
    schema.model_fields["task"].default: schema for schema in get_args(get_args(TaskInput)[0])
}


def task_of(path: str, arguments: Mapping[str, JsonValue], offered: OfferedModel | None) -> Task:
    """Return what is asked: what the path after the model says, else what the arguments and the model suggest.

    Raises:
        Refused: The path names no task (404).
    """
    named = path.strip("/")
    if named:
        if named not in _TASKS:
            hint = f"Leave it out, or use one of {', '.join(_TASKS)}."
            raise Refused(404, "There is nothing at this path of a model.", code=ErrorCode.NOT_FOUND, hint=hint)
        return _TASKS[named]
    offers = offered.tasks if offered else (Task.TEXT2IMG,)
    if arguments.get("image_url"):
        if arguments.get("mask_url"):
            return Task.INPAINT
        return Task.IMAGE2VIDEO if all(task.makes_clips for task in offers) else Task.IMAGE2IMG
    return next((task for task in offers if task in {Task.TEXT2IMG, Task.TEXT2VIDEO}), Task.TEXT2IMG)


def input_of(task: Task, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the input of a task; arguments that it does not have are left out, as fal does.

    Raises:
        InvalidField: The picture's size is neither a name nor width and height.
    """
    given: dict[str, JsonValue] = {
        (_NAMES | _ALSO_CALLED).get(name, name): value for name, value in arguments.items() if value is not None
    }
    given.update(_size(given.pop("image_size", None)))
    schema = _SCHEMAS.get(task)
    known = schema.model_fields if schema is not None else {}
    return {name: value for name, value in given.items() if name in known and name != "task"}


def _size(size: JsonValue) -> dict[str, JsonValue]:
    if size is None:
        return {}
    if isinstance(size, str) and size in _SIZES:
        width, height = _SIZES[size]
        return {"width": width, "height": height}
    if isinstance(size, dict):
        return {name: size[name] for name in ("width", "height") if size.get(name) is not None}
    hint = f"Use one of {', '.join(_SIZES)}, or an object with width and height."
    raise InvalidField(field="image_size", detail="is not the size of a picture.", hint=hint)


def result_of(view: JobView, *, prompt: str = "") -> dict[str, Any]:
    """Return the result of a job that is ready.

    Args:
        view: The job.
        prompt: What was asked, where it is known.
    """
    files = [_file(artifact) for artifact in view.artifacts]
    is_video = any(artifact.content_type.startswith("video/") for artifact in view.artifacts)
    made: dict[str, Any] = {"video": files[0]} if is_video else {"images": files}
    return made | {
        "seed": view.artifacts[0].seed if view.artifacts else None,
        "prompt": prompt,
        "timings": {"inference": view.timings.generate_s} if view.timings else {},
    }


def webhook_of(view: JobView, *, prompt: str = "") -> dict[str, Any]:
    """Return what a receiver of fal's webhooks expects of a job that has ended."""
    body: dict[str, Any] = {"request_id": view.job_id, "gateway_request_id": view.job_id}
    if view.error is None:
        return body | {"status": "OK", "payload": result_of(view, prompt=prompt)}
    return body | {"status": "ERROR", "error": view.error.detail, "payload": {"detail": view.error.detail}}


def _file(artifact: Artifact) -> dict[str, Any]:
    return {
        "url": artifact.url,
        "content_type": artifact.content_type,
        "file_name": artifact.url.rpartition("/")[2],
        "file_size": artifact.size_bytes,
        "width": artifact.width,
        "height": artifact.height,
    }


def state_of(view: JobView) -> str:
    """Return fal's word for where a job stands; a failed one is completed, too."""
    if view.status.is_terminal:
        return "COMPLETED"
    return "IN_QUEUE" if view.runpod_status == JobState.IN_QUEUE else "IN_PROGRESS"


def logs_of(events: tuple[Event, ...]) -> list[dict[str, str]]:
    """Return a job's events as lines of a log."""
    return [
        {
            "message": line,
            "level": "ERROR" if event.data.status is Status.FAILED else "INFO",
            "source": "visgate",
            "timestamp": event.timestamp.astimezone(UTC).isoformat(),
        }
        for event in events
        for line in _lines(event)
    ]


def _lines(event: Event) -> Iterator[str]:
    data = event.data
    if data.progress is not None:
        yield f"step {data.progress.step} of {data.progress.steps}"
    elif data.error is not None:
        yield data.error.detail
    else:
        yield data.status.value


class FalSigner:
    """Signs webhooks as fal does: Ed25519 over request id, user id, time and the body's hash.

    Args:
        signing_key: The platform's; the signature's key is derived from it.
    """

    def __init__(self, signing_key: str) -> None:
        derived = HKDF(hashes.SHA256(), length=32, salt=None, info=b"visgate fal webhooks 1").derive(
            signing_key.encode()
        )
        self._key = PrivateKey(derived)

    def __repr__(self) -> str:
        return "FalSigner(...)"

    def jwk(self) -> dict[str, str]:
        """Return the public key as a JSON Web Key (RFC 8037)."""
        return self._key.jwk()

    def headers(self, body: bytes, *, request_id: str, user_id: str, timestamp: datetime) -> dict[str, str]:
        """Return the headers that sign a delivery.

        Args:
            body: The exact bytes.
            request_id: The job.
            user_id: Whose.
            timestamp: Time of this attempt, time zone aware.
        """
        seconds = str(int(timestamp.timestamp()))
        message = "\n".join((request_id, user_id, seconds, hashlib.sha256(body).hexdigest()))
        return {
            "x-fal-webhook-request-id": request_id,
            "x-fal-webhook-user-id": user_id,
            "x-fal-webhook-timestamp": seconds,
            "x-fal-webhook-signature": self._key.sign(message.encode()).hex(),
        }
