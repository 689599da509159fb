"""What the gateway writes about itself."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pulumi_visgate.gateway import logs, masking

KEY = "rpa_CANARYKEY0000000000000000000001"
SECRET = "a-secret-without-a-shape-0001"
TRACE = "0af7651916cd43dd8448eb211c80319c"
MODEL = "visgate/tiny-sd"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    tokens = masking._current.set(None), logs._current.set(None)
    yield
    masking._current.reset(tokens[0])
    logs._current.reset(tokens[1])
    root.handlers[:] = before
    root.setLevel(level)


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_logger_goes_through_the_mask(capsys: pytest.CaptureFixture[str], form: str) -> None:
    foreign = logging.getLogger("uvicorn.error")
    foreign.addHandler(logging.StreamHandler(sys.stdout))
    logs.configure("info", form, [SECRET])
    foreign.info("GET /?key=%s&other=%s", KEY, SECRET)
    try:
        int(SECRET)
    except ValueError:
        foreign.exception("failed")
    assert not foreign.handlers
    shown = capsys.readouterr()
    assert shown.err.count("[masked]") >= 3
    assert "ValueError" in shown.err
    assert KEY not in shown.err + shown.out
    assert SECRET not in shown.err + shown.out


def test_a_json_record_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", [])
    logging.getLogger("x").info("a\nb\r\x1b[31m\u2028 %s", "ü")
    logging.getLogger("x").info(
        "second",
        extra={
            "fields": {
                "odd": {
                    1,
                },
                "n": 2,
            }
        },
    )
    first, second = written(capsys)
    assert (first["level"], first["logger"]) == ("info", "x")
    assert first["message"] == "a\nb\\x0d\\x1b[31m\\u2028 ü"
    assert first["time"].endswith("Z")
    assert "request_id" not in first
    assert second["n"] == 2


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"01-{TRACE}-b7ad6b7169203331-01-more", TRACE),
        ("", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", None),
        ("nonsense", None),
    ],
)
def test_records_name_the_trace_of_the_caller(
    capsys: pytest.CaptureFixture[str], traceparent: str, trace_id: str | None
) -> None:
    logs.configure("info", "json", [])
    logs.begin("req_1234", traceparent)
    logging.getLogger("x").info("hello")
    (record,) = written(capsys)
    assert (record["request_id"], record.get("trace_id")) == ("req_1234", trace_id)


async def test_a_request_leaves_one_record_without_anything_of_the_caller(
    serve: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve() as client:
        logs.configure("info", "json", [])
        job = {"model": MODEL, "input": {"prompt": "canary-prompt"}}
        headers = {"X-Request-Id": "mine-00000001", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        await client.post("/v1/jobs?canary=query", json=job, headers=headers)
        await client.get("/canary-path?canary=query")
        await client.get("/healthz")
    text = capsys.readouterr().err
    records = [json.loads(line) for line in text.splitlines()]
    first, second = [record for record in records if record["logger"] == logs.ACCESS]
    assert first.pop("seconds") > 0
    assert first.pop("time")
    assert first == {
        "level": "info",
        "logger": logs.ACCESS,
        "message": "POST /v1/jobs 202",
        "request_id": "mine-00000001",
        "trace_id": TRACE,
        "method": "POST",
        "route": "/v1/jobs",
        "status": 202,
    }
    assert (second["route"], second["status"]) == ("unmatched", 404)
    assert second["request_id"].startswith("req_")
    assert "canary" not in text.lower()


async def test_people_get_lines(serve: Any, capsys: pytest.CaptureFixture[str]) -> None:
    async with serve() as client:
        logs.configure("info", "text", [])
        await client.get("/v1/models", headers={"X-Request-Id": "mine-00000001"})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if logs.ACCESS in line]
    assert "GET /v1/models 200" in line
    assert line.endswith(" ms [mine-00000001]")
