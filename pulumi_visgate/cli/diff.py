"""`visgate diff`: a preview as a reviewer reads it, in the terminal or as a comment of a pull request."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from pulumi_visgate.cli.console import err, out, redactor
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.preview import plain
from pulumi_visgate.preview.digest import PreviewError, parse_digest, read_violations
from pulumi_visgate.preview.markdown import render
from pulumi_visgate.preview.money import NOTHING, Total
from pulumi_visgate.preview.plan import Message, Plan, make_plan

EXIT_FAILED = 1
EXIT_CHANGES = 2
_ENGINE = "pulumi"
_TAIL_LINES = 25
_CANCEL_S = 30


class Format(StrEnum):
    """How to print."""

    MARKDOWN = "markdown"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Request:
    """What to preview.

    Args:
        stack: Its name; the selected one when None.
        folder: Where the project is.
        refresh: Look first what is really there.
        policy_packs: Folders of policy packs.
        policy_configs: Files with their settings, in the same order.
    """

    stack: str | None = None
    folder: Path = Path()
    refresh: bool = False
    policy_packs: Sequence[Path] = ()
    policy_configs: Sequence[Path] = ()

    def arguments(self, events: Path) -> list[str]:
        """Return the engine's command line.

        Args:
            events: Where the engine shall log its events.
        """
        found = ["preview", "--json", "--show-sames", "--non-interactive", "--event-log", str(events)]
        found += ["--stack", self.stack] if self.stack else []
        found += ["--refresh"] if self.refresh else []
        for pack in self.policy_packs:
            found += ["--policy-pack", str(pack.resolve())]
        for config in self.policy_configs:
            found += ["--policy-pack-config", str(config.resolve())]
        return found


def diff(
    *,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Stack; the selected one if left out.")] = None,
    cwd: Annotated[Path, typer.Option("--cwd", "-C", help="Folder of the project.")] = Path(),
    refresh: Annotated[bool, typer.Option("--refresh", "-r", help="Look first what is really there.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(help="Show this output of `pulumi preview --json --show-sames`; - is standard input."),
    ] = None,
    policy_pack: Annotated[
        list[Path] | None, typer.Option(help="Folder of a policy pack to check with; may be repeated.")
    ] = None,
    policy_pack_config: Annotated[
        list[Path] | None, typer.Option(help="JSON file with the settings of the policy pack; in the same order.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.MARKDOWN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with status 2 when something changes.")] = False,
) -> None:
    """Preview a stack: what changes, which data is at stake, and what it costs.

    The Markdown is that of the pull request's comment. Exit status 1 if the preview fails or a mandatory policy is
    violated; what there is to show is shown all the same.
    """
    if file is not None and (stack or refresh or policy_pack):
        detail = "--file shows a preview that exists already."
        raise UsageError(detail, hint="Leave out --stack, --refresh and --policy-pack.")
    if file is not None:
        plan = make_plan(parse_digest(_read(file)))
    else:
        request = Request(stack, cwd, refresh, policy_pack or (), policy_pack_config or ())
        with err().status("previewing"):
            plan = preview(request, os.environ)
    _write(_shown(plan, form), output)
    if plan.failed:
        raise typer.Exit(EXIT_FAILED)
    if exit_code and plan.changes:
        raise typer.Exit(EXIT_CHANGES)


def preview(request: Request, environ: Mapping[str, str]) -> Plan:
    """Ask the engine.

    Args:
        request: What to preview.
        environ: Environment of the caller.

    Returns:
        The plan; where the engine could not begin with a stack that was named, one that says why.

    Raises:
        PreviewError: There is no engine, or it could not begin.
    """
    path = _search_path(environ)
    engine = shutil.which(_ENGINE, path=path)
    if engine is None:
        detail = "The program pulumi is not installed."
        raise PreviewError(detail, hint="`make setup` installs it, or see https://www.pulumi.com/docs/install/.")
    # The engine knows --event-log, which its own automation library uses too, only with this set.
    environment = {**environ, "PATH": path, "PULUMI_DEBUG_COMMANDS": "true", "PULUMI_SKIP_UPDATE_CHECK": "true"}
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.json"
        code, said, complaint = _run([engine, *request.arguments(events)], request.folder, environment)
        violations = read_violations(events)
    if not said.strip():
        return _not_begun(request, code, complaint)
    plan = make_plan(parse_digest(said), violations)
    if code != 0 and not plan.failed:
        return replace(plan, errors=(Message(_end_of(complaint) or f"pulumi ended with status {code}"),))
    return plan


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    if not folder.is_dir():
        detail = f"There is no folder {folder}."
        raise UsageError(detail, hint="Correct --cwd.")
    process = subprocess.Popen(  # noqa: S603 - the engine, by its absolute path
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            said, complaint = process.communicate()
        except KeyboardInterrupt:
            # The terminal has interrupted the engine too; it gives back its lock on the stack before it ends.
            try:
                process.communicate(timeout=_CANCEL_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, said, complaint


def _not_begun(request: Request, code: int, complaint: str) -> Plan:
    reason = _end_of(complaint) or f"pulumi ended with status {code}"
    project = _project_of(request.folder)
    if request.stack and project:
        stack = request.stack.rpartition("/")[2]
        nothing = Total(NOTHING)
        return Plan(project, stack, (), 0, nothing, nothing, whole=True, errors=(Message(reason),))
    hint = "For the stack of the local cloud: `visgate local up`, then `. .visgate/env`." if "stack" in reason else ""
    detail = f"`pulumi preview` failed: {reason}"
    raise PreviewError(detail, hint=hint)


def _end_of(complaint: str) -> str:
    lines = [line for line in complaint.splitlines() if line.strip()]
    return "\n".join(lines[-_TAIL_LINES:]).removeprefix("error: ")


def _project_of(folder: Path) -> str:
    """Return the name in the nearest project file, as the engine would find it."""
    here = folder.resolve()
    for parent in (here, *here.parents):
        for name in ("Pulumi.yaml", "Pulumi.yml"):
            if (parent / name).is_file():
                found = re.search(r"""^name:\s*["']?([^\s"'#]+)""", (parent / name).read_text(encoding="utf-8"), re.M)
                return found[1] if found else ""
    return ""


def _search_path(environ: Mapping[str, str]) -> str:
    """Return a PATH on which the engine finds this Python and the policy pack's starter, and is found itself."""
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join([own, environ.get("PATH", os.defpath)])
    if shutil.which(_ENGINE, path=path) is not None:
        return path
    from pulumi_visgate.local.toolchain import search_path  # noqa: PLC0415 - only a checkout has a toolchain

    try:
        return search_path(environ)
    except VisgateError as error:
        raise PreviewError(error.detail, hint=error.hint) from error


def _read(file: Path) -> str:
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")


def _shown(plan: Plan, form: Format) -> str:
    mask = redactor().text
    if form is Format.JSON:
        return mask(json.dumps(plain.data(plan), indent=2, ensure_ascii=False)) + "\n"
    return mask(render(plan) if form is Format.MARKDOWN else "\n".join(plain.lines(plan)) + "\n")


def _write(text: str, output: Path | None) -> None:
    if output is not None:
        output.write_text(text, encoding="utf-8")
    else:
        out().print(Text(text), end="")
