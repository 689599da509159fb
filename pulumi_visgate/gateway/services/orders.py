"""What callers ask for, whichever API they ask through, and what becomes of it."""

import json
from dataclasses import astuple, dataclass, field
from enum import StrEnum

from pulumi_visgate.gateway.services.history import Expectation
from pulumi_visgate.gateway.services.limits import Limits
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.tickets import Style
from visgate_contract.tasks import TaskInput


class Warmth(StrEnum):
    """How fast a request can expect to be served."""

    WARM_READY = "warm_ready"
    ACCEPTED_COLD = "accepted_cold"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a request.

    Args:
        warmth: Whether a started worker is there.
        task_id: The gateway's id of the request.
        endpoint_id: Runpod endpoint that it goes to.
        model_id: Model that is loaded there.
        job_id: Public id of the job, or of the warm-up; None if there is none.
        expected: What the next job of this endpoint, or this one, can expect; None while too little is known.
        replayed: It was accepted before, under the same idempotency key.
    """

    warmth: Warmth
    task_id: str
    endpoint_id: str
    model_id: str
    job_id: str | None = None
    expected: Expectation | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to do, whichever API it was asked through.

    Args:
        asked: Model and place.
        params: Input of the task.
        webhook_url: Receiver of the job's events.
        style: What that one expects.
        limits: How long it may take.
    """

    asked: Asked
    params: TaskInput
    webhook_url: str | None = field(default=None, repr=False)
    style: Style = Style.STANDARD
    limits: Limits = field(default_factory=Limits)

    def text(self) -> str:
        """Return everything that makes it this order and no other."""
        asked, limits = repr(self.asked), astuple(self.limits)
        return json.dumps([asked, self.params.model_dump(mode="json"), self.webhook_url, self.style, limits])
