import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.cli.generate import file_stem
from pulumi_visgate.cli.progress import numbered

Visgate = Callable[..., int]

KEY = "rpa_TESTKEYTESTKEYTESTKEY00"


def test_a_picture_is_saved_and_its_link_printed(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("generate", "a red fox", "--gateway", good_gateway.url, "--model", "m/x") == 0
    assert Path("visgate-a-red-fox.png").read_bytes() == good_gateway.picture
    shown = capsys.readouterr()
    assert shown.out == f"{good_gateway.url}/picture.png\n"
    assert "saved visgate-a-red-fox.png (64 x 64, seed 7)" in shown.err
    assert "progress 4/8" in shown.err


def test_what_is_asked_for_is_sent(visgate: Visgate, good_gateway: Any, tmp_path: Path) -> None:
    options = ["--width", "256", "--height", "128", "--steps", "4", "--seed", "9", "--webhook-url", "https://a.test/h"]
    command = ["generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "-o", "out.png"]
    assert visgate(*command, *options) == 0
    method, path, headers, body = good_gateway.requests[0]
    assert (method, path, headers["authorization"]) == ("POST", "/v1/jobs", f"Bearer {KEY}")
    assert json.loads(body) == {
        "model": "m/x",
        "task": "text2img",
        "webhook_url": "https://a.test/h",
        "input": {"prompt": "x", "width": 256, "height": 128, "steps": 4, "seed": 9},
    }
    assert (tmp_path / "out.png").exists()


def test_the_key_goes_to_the_gateway_alone(visgate: Visgate, good_gateway: Any) -> None:
    visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x")
    download = next(request for request in good_gateway.requests if request[1] == "/picture.png")
    assert "authorization" not in download[2]


def test_the_gateway_may_come_from_the_environment(
    visgate: Visgate, good_gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISGATE_GATEWAY_URL", good_gateway.url + "/")
    assert visgate("generate", "x", "--model", "m/x") == 0


def test_a_stream_that_breaks_is_taken_up_where_it_was(visgate: Visgate, good_gateway: Any) -> None:
    good_gateway.break_after = 2
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x") == 0
    resumed = [request[2].get("last-event-id") for request in good_gateway.requests if request[1].endswith("/events")]
    assert resumed == [None, "1"]


def test_a_failed_job_says_why_and_what_to_do(
    visgate: Visgate, failing_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("generate", "x", "--gateway", failing_gateway.url, "--model", "m/x") == 1
    shown = capsys.readouterr()
    assert "The GPU is out of memory." in shown.err
    assert "→ Ask for less." in shown.err
    assert shown.out == ""
    assert list(Path().iterdir()) == []


def test_a_problem_document_becomes_one_message(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good_gateway.problem = (422, {"status": 422, "detail": "input.width: a multiple of 8.", "hint": "Correct it."})
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "--width", "7") == 1
    assert capsys.readouterr().err == "visgate: input.width: a multiple of 8.\n  → Correct it.\n"


def test_a_key_in_a_message_is_masked(visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]) -> None:
    good_gateway.problem = (401, {"status": 401, "detail": f"{KEY} is no key."})
    visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x")
    assert capsys.readouterr().err == "visgate: [masked] is no key.\n"


def test_another_picture_than_announced_is_not_kept(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    good_gateway.picture = good_gateway.picture[:-1] + b"?"
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x") == 1
    assert "SHA-256 differ" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "example.com", "http://127.0.0.1.evil.test"])
def test_the_key_travels_by_https_or_stays_here(visgate: Visgate, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert visgate("generate", "x", "--gateway", url, "--model", "m/x") == 1
    assert "must be https" in capsys.readouterr().err


def test_no_gateway_is_said_with_the_way_to_one(visgate: Visgate, capsys: pytest.CaptureFixture[str]) -> None:
    assert visgate("generate", "x", "--model", "m/x") == 1
    assert "make up" in capsys.readouterr().err


def test_no_key_is_said(
    visgate: Visgate, good_gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x") == 1
    assert "RUNPOD_API_KEY is not set" in capsys.readouterr().err
    assert good_gateway.requests == []


def test_no_model_is_said(visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert visgate("generate", "x", "--gateway", good_gateway.url) == 1
    assert "--model" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_said_before_anything_is_spent(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "-o", "no/such/x.png") == 1
    assert "no/such/x.png" in capsys.readouterr().err
    assert good_gateway.requests == []


def test_wrong_usage_is_status_2(visgate: Visgate) -> None:
    assert visgate("generate") == 2
    assert visgate("generate", "x", "--seed", "abc") == 2


@given(st.text(max_size=200))
def test_a_prompt_becomes_a_file_name(prompt: str) -> None:
    stem = file_stem(prompt)
    assert Path(stem).name == stem
    assert stem.startswith("visgate-")
    assert len(stem) <= 64


def test_several_pictures_are_numbered(artifact: Any) -> None:
    assert numbered(Path("a.png"), "x", (artifact, artifact)) == [Path("a.png"), Path("a-2.png")]
    jpeg = artifact.model_copy(update={"content_type": "image/jpeg"})
    assert numbered(None, "visgate-a-b", (jpeg,)) == [Path("visgate-a-b.jpg")]


def test_what_has_no_option_is_an_input(visgate: Visgate, good_gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    inputs = ["-i", "strength=0.5", "-i", "scheduler=euler", "--image", "in.png"]
    place = ["--region", "EU", "--max-cost", "0.5"]
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", *inputs, *place) == 0
    body = json.loads(good_gateway.requests[0][3])
    image = "data:image/png;base64,iVBORw0KGgo="
    assert body == {
        "model": "m/x",
        "task": "image2img",
        "region": "EU",
        "max_cost_usd": 0.5,
        "input": {"prompt": "x", "image": image, "strength": 0.5, "scheduler": "euler"},
    }


def test_an_input_without_a_value_is_said(
    visgate: Visgate, good_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "-i", "strength") == 1
    assert "NAME=VALUE" in capsys.readouterr().err
    assert good_gateway.requests == []


def test_a_token_that_is_not_there_is_said(
    visgate: Visgate, good_gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "--hf-token") == 1
    assert "HF_TOKEN is not set" in capsys.readouterr().err


def test_a_picture_is_opened_when_asked(
    visgate: Visgate, good_gateway: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def launch(file: str) -> int:
        opened.append(file)
        return 1

    monkeypatch.setattr("typer.launch", launch)
    assert visgate("generate", "x", "--gateway", good_gateway.url, "--model", "m/x", "-o", "a.png", "--open") == 0
    assert opened == ["a.png"]
    assert "cannot be opened here" in capsys.readouterr().err
