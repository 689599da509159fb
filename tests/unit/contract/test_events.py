from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from visgate_contract.events import Event, EventData, Status
from visgate_contract.tasks import Task

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TASK_ID = "task_" + "0" * 26


def event(sequence: int = 1, status: Status = Status.STARTED) -> Event:
    data = EventData(task_id=TASK_ID, sequence=sequence, status=status, model_id="org/m", task=Task.TEXT2IMG)
    return Event.of(data, timestamp=NOW)


@given(st.lists(st.integers(min_value=0, max_value=99_999), unique=True))
def test_ids_are_unique_within_a_job_and_sort_by_sequence(sequences: list[int]) -> None:
    ids = [event(sequence).id for sequence in sorted(sequences)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(sequences)


def test_the_id_does_not_depend_on_when_or_how_often_it_is_made() -> None:
    later = Event.of(event().data, timestamp=datetime.now(UTC))
    assert later.id == event().id


@pytest.mark.parametrize("status", [Status.READY, Status.FAILED])
def test_the_end_of_a_job_has_one_id_whoever_tells_it(status: Status) -> None:
    assert event(3, status).id == event(104, status).id
    assert event(3, status).id not in {event(3).id, event(104).id}


def test_the_end_of_a_second_attempt_is_not_a_repeat_of_the_first() -> None:
    assert event(3, Status.READY).id != event(3, Status.FAILED).id


def test_the_body_reads_back_to_the_event_and_leaves_out_what_is_not_known() -> None:
    body = event().body()
    assert Event.model_validate_json(body) == event()
    assert b"null" not in body


@pytest.mark.parametrize("status", Status)
def test_the_type_names_the_status_and_two_are_terminal(status: Status) -> None:
    assert event(status=status).type == f"job.{status.value}"
    assert status.is_terminal == (status in {Status.READY, Status.FAILED})


def test_a_negative_sequence_is_refused() -> None:
    with pytest.raises(ValidationError):
        event(-1)
