"""Following a worker's log: which request to send, which lines are new, when to connect again. No I/O happens here.

The stream is `text/event-stream`; `Last-Event-ID` resumes it (`getWorkerLogs`).
"""

from collections import Counter

import httpx_sse
from pydantic import ValidationError

from pulumi_visgate.runpod._call import Call, nothing
from pulumi_visgate.runpod._exchange import Fault, failure_of
from pulumi_visgate.runpod.errors import NotFound, RunpodError, UnexpectedAnswer
from pulumi_visgate.runpod.models.logs import LogLine, LogQuery

HEARTBEAT_S = 45.0
"""Longest silence in seconds before the stream is opened again where it stopped."""

_RECONNECTS = 5
_RECONNECT_S = 1.0
_LONGEST_RECONNECT_S = 30.0
_EVENT_NAMES = {"", "message", "log"}


def get_worker_logs(
    endpoint_id: str, worker_id: str, query: LogQuery | None = None, *, last_event_id: str = ""
) -> Call[None]:
    """Open the log stream of a worker (`getWorkerLogs`)."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    return Call(
        operation_id="getWorkerLogs",
        method="GET",
        template="/v2/serverless/{id}/workers/{workerId}/logs",
        parse=nothing,
        ids={"id": endpoint_id, "workerId": worker_id},
        query=query,
        headers=headers,
    )


class LogSession:
    """One following of one worker's log, over as many connections as it takes.

    Args:
        endpoint_id: Endpoint of the worker.
        worker_id: The worker.
        query: Source and where to begin.
        last_event_id: Begin after the line with this id.
    """

    def __init__(self, endpoint_id: str, worker_id: str, query: LogQuery, last_event_id: str = "") -> None:
        self._endpoint_id = endpoint_id
        self._worker_id = worker_id
        self._query = query
        self._last_id = last_event_id
        self._seen: Counter[LogLine] = Counter()  # lines of the last id; several can share one timestamp
        self._repeated: Counter[LogLine] = Counter()
        self._opened = False
        self._fruitless = 0
        self._retry_s = _RECONNECT_S

    def call(self) -> Call[None]:
        """Return the request that opens the stream, or resumes it after the last line."""
        return get_worker_logs(self._endpoint_id, self._worker_id, self._query, last_event_id=self._last_id)

    def opened(self, content_type: str) -> None:
        """Note that the stream is open.

        Raises:
            UnexpectedAnswer: It is not a stream of events.
        """
        if content_type.partition(";")[0].strip().lower() != "text/event-stream":
            detail = "getWorkerLogs was answered with something that is not a stream of events"
            raise UnexpectedAnswer(detail, hint="Is the API's address right?")
        self._opened = True
        self._repeated = self._seen.copy()

    def line(self, event: httpx_sse.ServerSentEvent) -> LogLine | None:
        """Return the line of an event, None when the event is no line or the line was there before.

        Raises:
            UnexpectedAnswer: The event does not hold a line.
        """
        if event.retry is not None:
            self._retry_s = min(event.retry / 1_000, _LONGEST_RECONNECT_S)
        if not event.data or event.event not in _EVENT_NAMES:
            return None
        line = self._parsed(event)
        self._fruitless = 0
        if line.id == self._last_id and self._repeated[line] > 0:
            self._repeated[line] -= 1
            return None
        if line.id != self._last_id:
            self._last_id = line.id
            self._seen.clear()
            self._repeated.clear()
        self._seen[line] += 1
        return line

    def is_over(self, error: RunpodError) -> bool:
        """Tell whether a refused reconnection just means that the worker is gone."""
        return self._opened and isinstance(error, NotFound)

    def ended(self, fault: Fault | None) -> float:
        """Return the seconds to wait before connecting again after the stream has ended.

        Args:
            fault: Why it broke, None when the server ended it.

        Raises:
            RunpodUnreachable: It ended without a line too many times in a row.
        """
        if fault is not None and fault.timed_out:
            self._fruitless = 0  # a worker may say nothing for long
            return 0.0
        self._fruitless += 1
        if self._fruitless > _RECONNECTS:
            raise failure_of(self.call(), fault or Fault("the log stream ends as soon as it is opened", sent=True))
        return min(self._retry_s * 2.0 ** (self._fruitless - 1), _LONGEST_RECONNECT_S)

    def _parsed(self, event: httpx_sse.ServerSentEvent) -> LogLine:
        try:
            return LogLine.model_validate_json(event.data).model_copy(update={"id": event.id})
        except ValidationError:
            pass
        detail = "getWorkerLogs sent an event that is not a log line"
        raise UnexpectedAnswer(detail)
