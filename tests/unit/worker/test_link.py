import os
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event, EventData, Status
from visgate_contract.tasks import Task
from visgate_worker.link import ActiveJob, Beat, Emitted, Ended, Fatal, Link, Loaded, Mark, Message, Ready, parse

DATA = EventData(task_id="task_1", sequence=1, status=Status.STARTED, model_id="m", task=Task.TEXT2IMG)
MESSAGES: tuple[Message, ...] = (
    Beat(),
    Ready(),
    Loaded(),
    Mark(),
    Fatal(code=ErrorCode.MODEL_NOT_FOUND, detail="two\nlines", hint="h"),
    ActiveJob(runpod_job_id="1", job_id=None, task_id="t", model_id="m", task=Task.TEXT2IMG, webhook_url=None),
    Emitted(runpod_job_id="1", event=Event.of(DATA, timestamp=datetime(2026, 1, 1, tzinfo=UTC))),
    Ended(runpod_job_id="1", succeeded=False, counts_as_failure=True),
)


def test_every_message_arrives_as_it_was_sent() -> None:
    read_end, write_end = os.pipe()
    link = Link(write_end)
    for message in MESSAGES:
        link.send(message)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as source:
        assert tuple(parse(line) for line in source) == MESSAGES


@pytest.mark.parametrize("line", [b"", b"{}", b'{"kind": "unknown"}', b"not json", b'{"kind": "beat", "more": 1}'])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(ValidationError):
        parse(line)


def test_without_a_supervisor_sending_fails() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        Link(write_end).send(Beat())
    os.close(write_end)
