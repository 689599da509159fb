"""Following a job's events or a log over as many connections as it takes. No I/O happens here.

The streams are `text/event-stream`; `Last-Event-ID` resumes them.
"""

from abc import abstractmethod
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar
from urllib.parse import quote

from httpx_sse import ServerSentEvent
from pydantic import ValidationError

from pulumi_visgate.client._calls import FIRST_PAUSE_S, LONGEST_PAUSE_S
from pulumi_visgate.client.errors import GatewayError, JobNotDoneError, problem
from pulumi_visgate.client.models import Answer, LogLine, Update, Waiting
from visgate_contract.events import Event

T = TypeVar("T")

SILENCE_S = 60.0
"""Longest silence of a stream, in seconds; several of the gateway's heartbeats."""
RECONNECT_S = 60.0
"""How long a gateway may be away, in seconds."""

_ENDS = frozenset({"job.ready", "job.failed"})


class Session(Generic[T]):
    """One following of one stream.

    Args:
        path: Path of the stream.
        timeout_s: Longest time for all of it, in seconds; None for ever.
        last_event_id: Begin after this event.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        timeout_s: float | None = None,
        last_event_id: str = "",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.path = path
        self.is_over = False
        self._timeout_s = timeout_s
        self._last_id = last_event_id
        self._clock = clock
        self._deadline = None if timeout_s is None else clock() + timeout_s
        self._lost_at: float | None = None
        self._wait_s = FIRST_PAUSE_S

    def headers(self) -> dict[str, str]:
        """Return the headers that open the stream, or resume it."""
        resumed = {"last-event-id": self._last_id} if self._last_id else {}
        return {"accept": "text/event-stream", "cache-control": "no-store", **resumed}

    def silence_s(self) -> float:
        """Return how long the stream may be silent, in seconds."""
        if self._deadline is None:
            return SILENCE_S
        return max(0.05, min(SILENCE_S, self._deadline - self._clock()))

    def check_time(self) -> None:
        """See that there is time left.

        Raises:
            JobNotDoneError: There is none.
        """
        if self._deadline is not None and self._clock() > self._deadline:
            detail = f"The job has not ended after {self._timeout_s:.0f} s; it goes on without being watched."
            raise JobNotDoneError(detail, hint="Ask for it again by its id, or cancel it.")

    def take(self, event: ServerSentEvent) -> T | None:
        """Return what an event of the stream says; None when it is of no interest or was seen before.

        Raises:
            GatewayError: It tells why the stream ends.
        """
        if event.event == "error":
            raise problem(event.data, status=None)
        found = self._read(event)
        if found is not None:
            self._lost_at, self._wait_s = None, FIRST_PAUSE_S
        return found

    def ended(self, error: GatewayError | None) -> float:
        """Return the seconds to wait before the stream is opened again.

        Args:
            error: Why it broke; None when the gateway ended it.

        Raises:
            GatewayError: It was away too long, or will not come back.
            JobNotDoneError: There is no time left.
        """
        self.check_time()
        if error is not None:
            if not error.may_pass:
                raise error
            self._lost_at = self._clock() if self._lost_at is None else self._lost_at
            if self._clock() - self._lost_at > RECONNECT_S:
                raise error
        wait_s, self._wait_s = self._wait_s, min(self._wait_s * 2, LONGEST_PAUSE_S)
        return max(wait_s, (error.retry_after_s or 0.0) if error is not None else 0.0)

    def fell_silent(self) -> bool:
        """Take note that nothing came for `silence_s`; True if that ends the stream."""
        return False

    @abstractmethod
    def _read(self, event: ServerSentEvent) -> T | None:
        """Return what an event says."""


class EventSession(Session[Update]):
    """Follows a job to its end.

    Args:
        job_id: The job.
        timeout_s: Longest time for all of it, in seconds.
        after: Begin after the event with this sequence.
    """

    def __init__(self, job_id: str, *, timeout_s: float | None, after: int = -1) -> None:
        path = f"/v1/jobs/{quote(job_id, safe='')}/events"
        super().__init__(path, timeout_s=timeout_s, last_event_id=str(after) if after >= 0 else "")
        self._seen = after

    def _read(self, event: ServerSentEvent) -> Update | None:
        try:
            if event.event == "waiting":
                return Waiting.model_validate_json(event.data)
            found = Event.model_validate_json(event.data, extra="ignore")
        except ValidationError as error:
            if event.event not in _ENDS:
                return None  # a kind of event that is newer than this client
            detail = "The job has ended, and this client is too old to read how."
            raise GatewayError(detail, hint="Update pulumi-visgate.", status=200) from error
        if found.data.sequence <= self._seen:
            return None
        self._seen = found.data.sequence
        self._last_id = str(self._seen)
        self.is_over = found.data.status.is_terminal
        return found


class LogSession(Session[LogLine]):
    """Follows a log.

    Args:
        path: Of a job's log or an endpoint's.
        last_event_id: Begin after this line.
        quiet_s: End after so many seconds without a line; None to go on.
    """

    def __init__(self, path: str, *, last_event_id: str = "", quiet_s: float | None = None) -> None:
        super().__init__(path, last_event_id=last_event_id)
        self._quiet_s = quiet_s
        self._lost = 0

    def silence_s(self) -> float:
        """Return how long the stream may be silent, in seconds."""
        return SILENCE_S if self._quiet_s is None else self._quiet_s

    def fell_silent(self) -> bool:
        """Take note that nothing came for `silence_s`; True if that ends the stream."""
        self.is_over = self._quiet_s is not None
        return self.is_over

    def _read(self, event: ServerSentEvent) -> LogLine | None:
        if event.event == "end":
            self.is_over = True
        try:
            if event.event == "gap":
                self._lost += _Gap.model_validate_json(event.data).lost
            if event.event != "log":
                return None
            line = LogLine.model_validate_json(event.data).model_copy(update={"lost": self._lost})
        except ValidationError:
            return None
        self._last_id = event.id or self._last_id
        self._lost = 0
        return line


class _Gap(Answer):
    lost: int = 0


def job_log(job_id: str) -> str:
    """Return the path of a job's log."""
    return f"/v1/jobs/{quote(job_id, safe='')}/logs"


def endpoint_log(endpoint_id: str) -> str:
    """Return the path of an endpoint's log."""
    return f"/v1/endpoints/{quote(endpoint_id, safe='')}/logs"
