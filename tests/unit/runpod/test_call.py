from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.runpod import _requests, errors
from pulumi_visgate.runpod._call import Call, Reply, error_of, parsed, retry_after_s
from pulumi_visgate.runpod.models.catalog import DataCenterFilter, DataCenterRegion
from pulumi_visgate.runpod.models.registry import CreateRegistry
from visgate_contract.errors import ErrorCode

CALL = _requests.get_endpoint("ep")
KEY = "rpa_0123456789ABCDEFGHIJ"


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_id_that_changes_the_path_is_refused(value: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="id must be"):
        _ = _requests.delete_endpoint(value).path


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_an_id_stays_one_segment(value: str) -> None:
    path = _requests.delete_endpoint(value).path
    assert path.startswith("/v2/serverless/")
    assert path.count("/") == 3
    assert not set(path) & set("?#{} \n")


def test_query_lists_are_joined_and_booleans_are_lower_case() -> None:
    query = DataCenterFilter(regions=[DataCenterRegion.EUROPE, DataCenterRegion.ASIA], global_network=True)
    assert _requests.list_data_centers(query).params == {"regions": "EUROPE,ASIA", "globalNetwork": "true"}


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, errors.BadRequest, ErrorCode.RUNPOD_REFUSED),
        (401, errors.Unauthorized, ErrorCode.UNAUTHORIZED),
        (403, errors.Forbidden, ErrorCode.RUNPOD_REFUSED),
        (404, errors.NotFound, ErrorCode.NOT_FOUND),
        (409, errors.Conflict, ErrorCode.RUNPOD_REFUSED),
        (422, errors.Unprocessable, ErrorCode.INVALID_REQUEST),
        (429, errors.RateLimited, ErrorCode.RATE_LIMITED),
        (500, errors.ServerFault, ErrorCode.RUNPOD_UNREACHABLE),
        (503, errors.ServerFault, ErrorCode.RUNPOD_UNREACHABLE),
        (302, errors.RunpodApiError, ErrorCode.RUNPOD_REFUSED),
        (418, errors.RunpodApiError, ErrorCode.RUNPOD_REFUSED),
    ],
)
def test_a_problem_document_becomes_the_error_of_its_status(status: int, kind: type, code: ErrorCode) -> None:
    body = b'{"title":"Nope","status":1,"detail":"because","errors":["a: bad","b: worse",7]}'
    error = error_of(CALL, Reply(status, {"x-request-id": "req-1", "retry-after": "7"}, body), key=KEY)
    assert type(error) is kind
    assert (error.status, error.title, error.code) == (status, "Nope", code)
    assert error.errors == ("a: bad", "b: worse")
    assert (error.request_id, error.retry_after_s) == ("req-1", 7.0)
    assert str(error).startswith(f"Nope ({status}): getEndpoint: because; a: bad; b: worse")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>secret page</html>", "no reason given"),
        (b"", "no reason given"),
        (b"[1]", "no reason given"),
        (b'{"error":"job not found"}', "job not found"),
        (b'{"message":"try later"}', "try later"),
        (b'{"title":3,"detail":{},"errors":"x"}', "no reason given"),
        (b"\xff\xfe", "no reason given"),
    ],
)
def test_any_other_error_body_is_survived(content: bytes, said: str) -> None:
    error = error_of(CALL, Reply(502, {}, content), key=KEY)
    assert (error.title, error.detail, error.errors) == ("Bad Gateway", f"getEndpoint: {said}", ())


def test_a_status_without_a_name_is_survived() -> None:
    assert error_of(CALL, Reply(599, {}, b""), key=KEY).title == "Unknown status"


def test_an_error_repeats_no_secret_of_the_request() -> None:
    call = _requests.create_registry(
        CreateRegistry.model_validate({"name": "n", "username": "robot-user", "password": "hunter2-hunter2"})
    )
    said = f"password hunter2-hunter2 of robot-user with key {KEY} is wrong"
    body = f'{{"title":"{said}","detail":"{said}","errors":["{said}"]}}'.encode()
    error = error_of(call, Reply(422, {}, body), key=KEY)
    everything = f"{error!r} {error} {vars(error)}"
    assert "is wrong" in everything
    assert not [secret for secret in ("hunter2", "robot-user", KEY) if secret in everything]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        (" 3 ", 3.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("5\x1f", 5.0),
        ("Mon, 01 Jun 2026 12:00:30 GMT", 30.0),
        ("Mon, 01 Jun 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_s(value, now=datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)) == seconds


@given(st.text())
def test_no_retry_after_header_breaks_the_client(value: str) -> None:
    found = retry_after_s(value)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("call", "content", "fault"),
    [
        (_requests.get_endpoint("ep"), b'{"id":"hush-hush"}', "createdAt"),
        (_requests.get_endpoint("ep"), b"hush-hush", "json_invalid"),
        (_requests.list_endpoints(), b"hush-hush", "it is not JSON"),
        (_requests.list_endpoints(), b'{"other":"hush-hush"}', "no list under 'endpoints'"),
        (_requests.list_endpoints(), b'{"endpoints":[{"id":"hush-hush"}]}', "createdAt"),
    ],
)
def test_an_unreadable_answer_names_fields_and_no_values(call: Call[Any], content: bytes, fault: str) -> None:
    with pytest.raises(errors.UnexpectedAnswer, match=fault) as caught:
        parsed(call, Reply(200, {}, content))
    assert "hush-hush" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_empty_answer_of_a_delete_is_nothing() -> None:
    call: Call[Any] = _requests.delete_endpoint("ep")
    assert parsed(call, Reply(204, {}, b"")) is None
    assert parsed(call, Reply(200, {}, b"anything")) is None
