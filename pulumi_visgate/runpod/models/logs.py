"""Worker logs (`getWorkerLogs`), a stream of server-sent events."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from pulumi_visgate.runpod.models.common import Answer, Int, Open, Query


class LogSource(StrEnum):
    """Where a line comes from: the container's own output, or the host's life-cycle log."""

    CONTAINER = "container"
    SYSTEM = "system"


class LogQuery(Query):
    """Query of `getWorkerLogs`.

    Args:
        source: One source only; both when left out.
        tail: Older lines to begin with, 0 to 5,000; 100 by default. Not used when resuming.
        since: Resume from this time.
    """

    source: LogSource | None = None
    tail: Annotated[Int, Field(ge=0, le=5_000)] | None = None
    since: AwareDatetime | None = None


class LogLine(Answer):
    """One line; `id` resumes the stream after it. The text stays out of `repr`, because workers can log anything."""

    id: str = ""
    source: Open[LogSource]
    line: str = Field(repr=False)
    ts: AwareDatetime
