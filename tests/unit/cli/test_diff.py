"""`visgate diff`, with a stand-in for the engine."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pulumi_visgate.cli.app import app
from pulumi_visgate.errors import VisgateError

URN = "urn:pulumi:dev::shop::pulumi-python:dynamic/visgate:Endpoint::sdxl"
KEY = "rpa_CANARYCANARYCANARYCANARY00"
CREATE = {"op": "create", "urn": URN, "newState": {"inputs": {"image": "acme/worker:1", "note": f"a {KEY} b"}}}
VIOLATION = {
    "policyName": "max-workers",
    "enforcementLevel": "mandatory",
    "message": "Few.\nToo many.",
    "resourceUrn": URN,
}
ENGINE = """#!{python}
import json, os, pathlib, sys
here = pathlib.Path({folder!r})
(here / "said.json").write_text(json.dumps([sys.argv[1:], os.getcwd(), os.environ["PULUMI_DEBUG_COMMANDS"]]))
events = pathlib.Path(sys.argv[sys.argv.index("--event-log") + 1])
events.write_text((here / "events").read_text())
print((here / "digest").read_text(), end="")
print((here / "complaint").read_text(), end="", file=sys.stderr)
sys.exit(int((here / "code").read_text()))
"""


class Engine:
    """What the stand-in shall do, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers({"steps": []})

    def answers(
        self, digest: dict[str, Any] | None, *, code: int = 0, complaint: str = "", events: tuple[Any, ...] = ()
    ) -> None:
        (self.folder / "digest").write_text(json.dumps(digest) if digest is not None else "")
        (self.folder / "code").write_text(str(code))
        (self.folder / "complaint").write_text(complaint)
        (self.folder / "events").write_text("\n".join(json.dumps({"policyEvent": event}) for event in events))

    @property
    def told(self) -> tuple[list[str], str]:
        arguments, folder, _ = json.loads((self.folder / "said.json").read_text())
        return arguments, folder


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "pulumi"
    program.write_text(ENGINE.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    # The folder of this Python comes first on the engine's PATH; a real engine may lie in it.
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.chdir(tmp_path)
    return Engine(tmp_path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["diff", *arguments], input=stdin)


def digest(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"steps": list(steps), "changeSummary": {"create": len(steps)}, **more}


def test_the_engine_is_asked_for_everything_that_the_comment_needs(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    engine.answers(digest(CREATE))
    done = run("-s", "dev", "-C", "project", "--refresh", "--policy-pack", "policy", "--policy-pack-config", "p.json")
    assert done.exit_code == 0, done.output
    arguments, folder = engine.told
    assert folder == str(tmp_path / "project")
    assert arguments[:5] == ["preview", "--json", "--show-sames", "--non-interactive", "--event-log"]
    options = ["--stack", "dev", "--refresh", "--policy-pack", str(tmp_path / "policy")]
    assert arguments[6:] == [*options, "--policy-pack-config", str(tmp_path / "p.json")]
    assert done.stdout.startswith("<!-- visgate-diff:shop/dev -->\n\n### `shop/dev`: 1 to create\n")


def test_changes_are_a_status_of_their_own_when_asked_for(engine: Engine) -> None:
    engine.answers(digest(CREATE))
    assert run().exit_code == 0
    assert run("--exit-code").exit_code == 2
    engine.answers(digest())
    assert run("--exit-code").exit_code == 0


def test_an_error_is_shown_where_the_changes_would_be(engine: Engine, tmp_path: Path) -> None:
    said = [{"severity": "error", "message": "error: size_gb: must be 10 or more\n", "urn": URN}]
    engine.answers(digest(CREATE, diagnostics=said), code=1)
    done = run("--output", "comment.md", "--exit-code")
    assert done.exit_code == 1
    assert done.stdout == ""
    text = (tmp_path / "comment.md").read_text()
    assert "sdxl: size_gb: must be 10 or more" in text
    assert "the preview failed, after 1 to create" in text


def test_a_failure_without_a_word_is_a_failure(engine: Engine) -> None:
    engine.answers(digest(CREATE), code=255, complaint="panic: fatal\n")
    done = run()
    assert done.exit_code == 1
    assert "panic: fatal" in done.stdout


def test_a_stack_that_cannot_be_opened_still_has_a_comment(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: 'shop' # ours\nruntime: python\n")
    engine.answers(None, code=6, complaint=f"error: no stack named 'prod' found, {KEY}\n")
    done = run("-s", "acme/shop/prod")
    assert done.exit_code == 1
    assert done.stdout.startswith("<!-- visgate-diff:shop/prod -->\n\n### `shop/prod`: the preview failed\n")
    assert "no stack named 'prod' found, [masked]" in done.stdout
    refused = run()
    assert isinstance(refused.exception, VisgateError)
    assert "no stack named" in refused.exception.detail


def test_policy_violations_come_from_the_event_log(engine: Engine) -> None:
    engine.answers(digest(CREATE), code=1, events=(VIOLATION,))
    done = run("--format", "json")
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert [(found["policy_name"], found["enforcement_level"]) for found in shown["violations"]] == [
        ("max-workers", "mandatory")
    ]
    assert shown["failed"] is True
    assert shown["counts"] == {"create": 1}
    assert shown["errors"] == []


@pytest.mark.parametrize("form", ["markdown", "json", "text"])
def test_no_form_shows_a_key(engine: Engine, form: str) -> None:
    engine.answers(digest(CREATE, diagnostics=[{"severity": "warning", "message": f"warning: {KEY}"}]))
    done = run("--format", form)
    assert done.exit_code == 0
    assert "acme/worker:1" in done.stdout
    assert KEY not in done.output
    assert "[masked]" in done.stdout


def test_an_existing_preview_is_shown_from_a_file_or_standard_input(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "preview.json").write_text(json.dumps(digest(CREATE)))
    from_file = run("--file", "preview.json", "--format", "text")
    piped = run("--file", "-", "--format", "text", stdin=json.dumps(digest(CREATE)))
    assert from_file.stdout == piped.stdout
    assert from_file.stdout.startswith("shop/dev: 1 to create\n")
    assert "    + image: acme/worker:1\n" in from_file.stdout
    assert not (tmp_path / "said.json").exists()


@pytest.mark.parametrize("more", [("--stack", "dev"), ("--refresh",), ("--policy-pack", "policy")])
def test_an_existing_preview_takes_no_options_of_a_new_one(engine: Engine, more: tuple[str, ...]) -> None:
    refused = run("--file", "preview.json", *more)
    assert isinstance(refused.exception, VisgateError)
    assert "exists already" in refused.exception.detail


def test_what_is_missing_is_said(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("--cwd", "nowhere")
    assert isinstance(refused.exception, VisgateError)
    assert "nowhere" in refused.exception.detail
    (tmp_path / "bin" / "pulumi").unlink()
    monkeypatch.setattr("pulumi_visgate.local.toolchain.search_path", lambda _: str(tmp_path))
    missing = run()
    assert isinstance(missing.exception, VisgateError)
    assert "pulumi is not installed" in missing.exception.detail
