"""What every job of a worker uses."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from visgate_contract.events import LoadProgress
from visgate_worker.inputs import ImageInputs
from visgate_worker.lane import Lane
from visgate_worker.link import Answers, Link
from visgate_worker.logs import Tail
from visgate_worker.loras import Loras
from visgate_worker.model import LoadedModel
from visgate_worker.places import Places
from visgate_worker.progress import SendUpdate
from visgate_worker.settings import Settings
from visgate_worker.uploads import Uploader


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds that the process needed before it could take jobs."""

    interpreter_s: float
    sdk_import_s: float


@dataclass(frozen=True, slots=True)
class Services:
    """What every job of this worker uses.

    Args:
        settings: The worker's settings.
        link: Way to the supervisor, which delivers events.
        answers: What the supervisor says of the jobs.
        model: The model, being loaded or loaded.
        images: Brings the pictures that jobs begin from.
        loras: Brings the weights that jobs lay over the model's.
        uploader: Puts pictures into object storage.
        send_update: The SDK's `progress_update`.
        mask: Removes secrets from text.
        cold_start: For the timings of the first job.
        loading: Tells how far the model is while it is on its way.
        lane: The device.
        places: Who may be at the device.
        log_tail: The last lines of this process's log, masked.
    """

    settings: Settings
    link: Link
    answers: Answers
    model: "Future[LoadedModel]"
    images: ImageInputs
    loras: Loras
    uploader: Uploader
    send_update: SendUpdate
    mask: Callable[[str], str]
    cold_start: ColdStart
    loading: Callable[[], LoadProgress | None] = lambda: None
    lane: Lane = field(default_factory=Lane)
    places: Places = field(default_factory=lambda: Places(1))
    log_tail: Tail = field(default_factory=Tail)
