"""The events of one job, from its worker: numbered, kept, and told to the supervisor and to Runpod.

Their numbers need the attempt, which the supervisor looks up in the job's ledger while the job is already at work. What
happens until then is told as soon as it is known, under the time at which it happened. So nothing waits for storage.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from visgate_contract.events import Event, EventData, Status, first_sequence, last_sequence
from visgate_worker.link import Attempt, Emitted, Link

ATTEMPT_LIMIT_S = 10.0
"""How long the end of a job waits for its number before it goes without."""


class JobEvents:
    """What is told of one job.

    Args:
        runpod_job_id: Runpod's id.
        about: What all of its events say.
        link: Way to the supervisor.
        attempt: The supervisor's answer, to come; None where nobody keeps a ledger.
        report: Told of every event so far whenever there is a new one, except the last.
    """

    def __init__(
        self,
        runpod_job_id: str,
        about: EventData,
        *,
        link: Link,
        attempt: "Future[Attempt] | None",
        report: Callable[[tuple[Event, ...]], None],
    ) -> None:
        self._runpod_job_id = runpod_job_id
        self._about = about
        self._link = link
        self._report = report
        self._lock = threading.Lock()
        self._number: int | None = None
        self._told = 0
        self._is_over = False
        self._waiting: list[tuple[Status, datetime, dict[str, Any]]] = []
        self._events: list[Event] = []
        self._known = threading.Event()
        if attempt is None:
            self._begin(1, None)
        else:
            attempt.add_done_callback(lambda answer: self._begin(answer.result().number, answer.result().finished))

    @property
    def job_id(self) -> str | None:
        """The public id, as all events say it."""
        return self._about.job_id

    def emit(self, status: Status, **more: Any) -> None:
        """Tell that the job is somewhere.

        Args:
            status: Where.
            more: Fields of the event that say more.
        """
        with self._lock:
            self._waiting.append((status, datetime.now(UTC), more))
            self._tell()

    def attempt(self) -> int:
        """Return how often the job has been begun; waits for the supervisor, which knows, but not for long."""
        self._known.wait(ATTEMPT_LIMIT_S)
        return self._number or 1

    def end(self, status: Status, **more: Any) -> tuple[Event, ...]:
        """Tell the job's end and return all of its events."""
        self.emit(status, **more)
        if not self._known.wait(ATTEMPT_LIMIT_S):
            self._begin(1, None)
        return tuple(self._events)

    def _begin(self, number: int, finished: Event | None) -> None:
        with self._lock:
            if self._number is not None:
                return
            self._number = number
            if finished is not None:  # all was told before; nothing of this time is
                self._events, self._is_over = [finished], True
            self._tell()
            self._known.set()

    def _tell(self) -> None:
        if self._number is None:
            return
        waiting, self._waiting = self._waiting, []
        if self._is_over:
            return
        for status, moment, more in waiting:
            event = self._event(self._number, status, moment, more)
            if event is None:
                continue
            self._events.append(event)
            self._link.send(Emitted(runpod_job_id=self._runpod_job_id, event=event))
            if not status.is_terminal:
                self._report(tuple(self._events))

    def _event(self, number: int, status: Status, moment: datetime, more: dict[str, Any]) -> Event | None:
        if status is Status.PROVISIONING:
            if number > 1:  # it belongs to the first
                return None
            sequence = 0
        else:
            sequence = first_sequence(number) + self._told + 1
            if sequence >= last_sequence(number) - 1 and not status.is_terminal:
                return None
            self._told += 1
        said = {"attempt": number, "sequence": sequence, "status": status}
        return Event.of(EventData.model_validate(dict(self._about) | said | more), timestamp=moment)
