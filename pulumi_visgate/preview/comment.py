"""Posts a preview as a comment of a pull request, or edits the comment of an earlier run.

    python -m pulumi_visgate.preview.comment PULL FILE

The first line of the file is the hidden marker by which the earlier comment is found. GitHub's program `gh` does the
talking, with the token in `GH_TOKEN`; the repository is that of `GITHUB_REPOSITORY`. This file needs nothing else, so
that a job can run it apart from the pull request's own program, which then never sees the token.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_CHARS = 65_536
_ARGUMENTS = 3


def main() -> None:
    """Find the comment of the same marker; edit it, or post the first."""
    if len(sys.argv) != _ARGUMENTS or not sys.argv[1].isdecimal():
        sys.exit("usage: python -m pulumi_visgate.preview.comment PULL FILE")
    number, file = sys.argv[1], Path(sys.argv[2])
    text = file.read_text(encoding="utf-8")
    marker = text.partition("\n")[0]
    if not (marker.startswith("<!-- ") and marker.endswith(" -->")):
        sys.exit(f"{file} does not begin with a marker.")
    if len(text) > MAX_CHARS:
        sys.exit(f"{file} has {len(text):,} characters; GitHub takes {MAX_CHARS:,}.")
    issues = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    comments = f"{issues}/{number}/comments"
    earlier = _own(_gh("--paginate", "--slurp", comments), marker)
    method, where = ("POST", comments) if earlier is None else ("PATCH", f"{issues}/comments/{earlier}")
    found = _gh("--method", method, where, "--field", f"body=@{file}")
    sys.stdout.write(f"{found['html_url']}\n")


def _own(pages: list[list[dict[str, Any]]], marker: str) -> int | None:
    """Return the id of the comment with the marker; people who quote it are left alone."""
    for page in pages:
        for comment in page:
            if comment["body"].splitlines()[:1] == [marker] and comment["user"]["type"] == "Bot":
                return int(comment["id"])
    return None


def _gh(*arguments: str) -> Any:
    command = ["gh", "api", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - own arguments
    if done.returncode != 0:
        sys.exit(done.returncode)  # gh has said why
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
