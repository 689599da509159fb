"""The workflows of the repository: least rights, no masked outcome, nothing from a pull request inside a script."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PREVIEW = ROOT / ".github" / "workflows" / "preview.yml"


def _load(file: Path) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def _steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in _load(file)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_hide_no_failure_and_hold_no_rights_they_do_not_need(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "|| true" not in text
    assert "continue-on-error" not in text
    assert "pull_request_target" not in text
    workflow = _load(file)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
        rights = job.get("permissions", {})
        assert {right for right, level in rights.items() if level == "write"} <= {"pull-requests", "id-token"}
    for step in _steps(file):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_steps_run_commands_that_are_there_and_take_no_text_from_outside(file: Path) -> None:
    for step in _steps(file):
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"])
            continue
        assert "${{" not in step["run"], "values come by environment, where they are no code"
        program = step["run"].split()[0]
        if program.startswith(".ci/"):
            assert os.access(ROOT / program, os.X_OK), program


def test_only_the_cloud_may_ask_for_a_token_and_only_for_our_own_branches() -> None:
    jobs = _load(PREVIEW)["jobs"]
    assert "id-token" not in jobs["local"]["permissions"]
    assert "secrets." not in str(jobs["local"])
    assert "head.repo.full_name == github.repository" in jobs["cloud"]["if"]
    for job in jobs.values():
        for step in job["steps"]:
            if "GH_TOKEN" in step.get("env", {}):
                assert "comment" in step["run"]
                assert "visgate diff" not in step["run"]


def test_a_fork_has_its_preview_in_the_summary() -> None:
    steps = _load(PREVIEW)["jobs"]["local"]["steps"]
    (summary,) = (step for step in steps if "GITHUB_STEP_SUMMARY" in step.get("run", ""))
    (comment,) = (step for step in steps if "comment" in step.get("run", ""))
    assert "fork" not in summary["if"]
    assert "head.repo" not in summary["if"]
    assert "head.repo.full_name == github.repository" in comment["if"]
