"""The comment of a pull request is found again, and edited."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.preview import comment

MARKER = "<!-- visgate-diff:shop/dev -->"
GH = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
arguments = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if arguments[0] != "api":
    sys.exit("no such command")
if "--slurp" in arguments:
    print((here / "pages").read_text())
elif (here / "refused").exists():
    sys.exit("HTTP 403")
else:
    print(json.dumps({{"html_url": "https://github.example/c/1"}}))
"""


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "gh"
    program.write_text(GH.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/shop")
    (tmp_path / "preview.md").write_text(f"{MARKER}\n\n### hello\n")
    (tmp_path / "pages").write_text("[[]]")
    return tmp_path


def run(github: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, comment.__file__, *(arguments or ("12", str(github / "preview.md")))]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=60)


def calls(github: Path) -> list[list[str]]:
    return [json.loads(line) for line in (github / "calls").read_text().splitlines()]


def a_comment(number: int, body: str, kind: str = "Bot") -> dict[str, Any]:
    return {"id": number, "body": body, "user": {"type": kind}}


def test_the_first_run_posts(github: Path) -> None:
    done = run(github)
    assert (done.returncode, done.stdout) == (0, "https://github.example/c/1\n"), done.stderr
    body = ["--field", f"body=@{github / 'preview.md'}"]
    assert calls(github) == [
        ["api", "--paginate", "--slurp", "repos/acme/shop/issues/12/comments"],
        ["api", "--method", "POST", "repos/acme/shop/issues/12/comments", *body],
    ]


def test_a_later_run_edits_its_own_comment_and_no_other(github: Path) -> None:
    pages = [
        [a_comment(1, f"{MARKER}\nI quote you", "User"), a_comment(2, "<!-- visgate-diff:shop/prod -->\n")],
        [a_comment(3, f"see {MARKER}"), a_comment(4, f"{MARKER}\r\n\r\nold"), a_comment(5, "")],
    ]
    (github / "pages").write_text(json.dumps(pages))
    assert run(github).returncode == 0
    assert calls(github)[1][1:4] == ["--method", "PATCH", "repos/acme/shop/issues/comments/4"]


def test_what_github_refuses_fails(github: Path) -> None:
    (github / "refused").touch()
    done = run(github)
    assert done.returncode == 1
    assert "HTTP 403" in done.stderr


@pytest.mark.parametrize("text", ["", "### hello\n", f"{MARKER}\n" + "x" * comment.MAX_CHARS])
def test_what_is_no_comment_is_not_sent(github: Path, text: str) -> None:
    (github / "preview.md").write_text(text)
    assert run(github).returncode == 1
    assert not (github / "calls").exists()


def test_wrong_usage_is_said(github: Path) -> None:
    done = run(github, "12/../3", str(github / "preview.md"))
    assert done.returncode == 1
    assert done.stderr.startswith("usage:")
