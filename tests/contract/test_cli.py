"""The command line against a gateway process, from the offer to the bill."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.cli import main

pytestmark = pytest.mark.contract

MODEL = "visgate/tiny-sd"
Visgate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gateway(start_gateway: Any, cdn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A gateway whose pictures can be had, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    return start_gateway(CDN_BASE_URL=cdn)


@pytest.fixture
def visgate(
    gateway: Any, runpod_emulator: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Visgate:
    """Runs a command; returns exit status, standard output and standard error."""
    monkeypatch.delenv("VISGATE_HOME", raising=False)
    monkeypatch.setenv("VISGATE_GATEWAY_URL", gateway.url)
    monkeypatch.setenv("RUNPOD_API_KEY", runpod_emulator.key)
    monkeypatch.setenv("RUNPOD_API_URL", runpod_emulator.api_url)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["visgate", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        shown = capsys.readouterr()
        assert runpod_emulator.key not in shown.out + shown.err
        return status, shown.out, shown.err

    return run


def test_from_the_offer_to_the_bill(visgate: Visgate) -> None:
    assert MODEL in visgate("models")[1]
    status, out, _ = visgate("preflight", MODEL, "--width", "512", "--height", "512")
    assert status == 0
    assert "✓ memory" in out
    status, out, _ = visgate("preflight", MODEL, "--task", "text2video", "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)
    _, out, _ = visgate("placements", MODEL, "--why")
    assert "ADA_24" in out
    places = json.loads(visgate("placements", MODEL, "--json")[1])["placements"]
    assert places[0]["reasons"]

    status, endpoint, err = visgate("deploy", MODEL)
    assert (status, "accepted_cold" in err) == (0, True)
    (listed,) = json.loads(visgate("deployments", "--json")[1])
    assert listed["endpoint_id"] == endpoint.strip()

    status, out, err = visgate(
        "generate", "a red fox", "--model", MODEL, "-n", "2", "--seed", "5", "-o", "a.png", "--json"
    )
    assert status == 0, err
    made = json.loads(out)
    assert [(one["file"], one["seed"]) for one in made["artifacts"]] == [("a.png", 5), ("a-2.png", 6)]
    assert Path("a-2.png").read_bytes() == b"picture"
    job = made["job_id"]

    status, out, err = visgate("jobs", "show", job)
    assert (status, out.startswith("ready (COMPLETED on endpoint ")) == (0, True)
    assert json.loads(visgate("jobs", "show", job, "--json")[1])["status"] == "ready"
    status, out, err = visgate("jobs", "retry", job)
    assert (status, "Only a job that has failed" in err, "→" in err) == (1, True, True)
    status, out, err = visgate("jobs", "wait", job, "-o", "again.png")
    assert (status, out.count("http://"), Path("again.png").exists()) == (0, 2, True)
    status, out, _ = visgate("logs", job, "-f")
    assert (status, "prompt: a red fox" in out, "webhook secret: [masked]" in out) == (0, True, True)

    status, out, _ = visgate("cost", "--json")
    found = json.loads(out)
    assert (status, found["days"], found["lines"][0]["id"]) == (0, 7, endpoint.strip())
    assert found["lines"][0]["most_per_hour"] > 0
    assert endpoint.strip() in visgate("cost")[1]
    assert visgate("cleanup", "--yes")[0] == 0
    assert "nothing is paid" in visgate("cost")[2]


def test_a_job_that_nobody_waits_for_is_cancelled_by_its_id(visgate: Visgate) -> None:
    status, out, _ = visgate("generate", "wait", "--model", MODEL, "--detach")
    job = out.strip()
    assert (status, job.startswith("job_")) == (0, True)
    status, _, err = visgate("jobs", "wait", job, "--timeout", "1")
    assert (status, "has not ended after 1 s" in err) == (1, True)
    assert visgate("jobs", "cancel", job)[1].startswith("failed (CANCELLED")
    status, _, err = visgate("jobs", "wait", job)
    assert (status, "cancelled" in err) == (1, True)
    status, _, err = visgate("jobs", "show", "job_x_y_z")
    assert (status, err.count("→")) == (1, 1)


def test_ctrl_c_cancels_the_job(visgate: Visgate, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pulumi_visgate.cli.generate.follow", interrupted)
    status, _, err = visgate("generate", "wait", "--model", MODEL)
    job = err.split()[1]
    assert (status, "cancelled" in err) == (130, True)
    assert visgate("jobs", "show", job)[1].startswith("failed (CANCELLED")


def test_the_shell_completes_models(visgate: Visgate, monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi_visgate.cli.options import known_models

    assert known_models("visgate/") == [MODEL]
    assert known_models("other") == []
    monkeypatch.setenv("VISGATE_GATEWAY_URL", "http://127.0.0.1:9")
    assert known_models("visgate/") == []
