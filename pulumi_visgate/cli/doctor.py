"""`visgate doctor`: what this machine lacks for the local cloud, and the fix."""

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pulumi_visgate.cli.console import out
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.local import cloud
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import members
from pulumi_visgate.local.state import CloudState
from pulumi_visgate.local.toolchain import search_path

PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "versitygw")
DISTRIBUTIONS = ("pulumi-visgate", "visgate-worker", "pulumi", "runpod", "diffusers", "torch")
MIN_FREE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: It.
        good: Nothing has to be done.
        found: What is there.
        fix: What to do, if anything.
    """

    what: str
    good: bool
    found: str
    fix: str = ""


def examine(environ: Mapping[str, str], folder: Path) -> int:
    """Print every finding.

    Args:
        environ: Environment of the process.
        folder: Where the command runs.

    Returns:
        Exit status: 1 if something is missing.
    """
    findings = list(look(environ, folder))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("fix", overflow="fold")
    for finding in findings:
        mark = Text("ok", style="green") if finding.good else Text("!!", style="bold red")
        table.add_row(mark, finding.what, finding.found, finding.fix)
    out().print(table)
    return int(not all(finding.good for finding in findings))


def look(environ: Mapping[str, str], folder: Path) -> Iterator[Finding]:
    """Yield what there is to say about this machine.

    Args:
        environ: Environment of the process.
        folder: Where the command runs.
    """
    yield Finding("Python", good=True, found=f"{platform.python_version()} ({sys.executable})")
    for name in DISTRIBUTIONS:
        yield _distribution(name)
    try:
        home = Home.find(environ, folder)
    except VisgateError as error:
        yield Finding("project", good=False, found=error.detail, fix=error.hint)
        return
    yield from _programs(environ)
    free = shutil.disk_usage(next(folder for folder in home.root.parents if folder.exists())).free
    roomy = free >= MIN_FREE_BYTES
    yield Finding("free disk space", roomy, f"{free >> 30} GiB", "" if roomy else "make room for 2 GiB")
    yield from _cloud(home)


def _distribution(name: str) -> Finding:
    try:
        return Finding(name, good=True, found=version(name))
    except PackageNotFoundError:
        return Finding(name, good=False, found="not installed", fix="`make setup`, or install pulumi-visgate[local]")


def _programs(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        path = search_path(environ)
    except VisgateError as error:
        yield Finding("toolchain", good=False, found=error.detail, fix=error.hint)
        return
    for name in PROGRAMS:
        where = shutil.which(name, path=path)
        yield Finding(name, where is not None, where or "not found", "" if where else "`make setup`")


def _cloud(home: Home) -> Iterator[Finding]:
    try:
        parts = cloud.status(home)
        state = CloudState.load(home)
    except VisgateError as error:
        yield Finding("local cloud", good=False, found=error.detail, fix=error.hint)
        return
    strays = members(home.root)
    if state is None or not state.processes:
        names = ", ".join(str(process.pid) for process in strays)
        if strays:
            yield Finding("local cloud", good=False, found=f"stopped, but running: {names}", fix="`visgate local down`")
        else:
            yield Finding("local cloud", good=True, found="stopped; `visgate local up` starts it")
        return
    for part in parts:
        where = f"{part.state}, {part.url}" + (f", pid {part.pid}" if part.pid else "")
        fix = "" if part.healthy else f"`{part.remedy}`; its log is {part.log}"
        yield Finding(f"local {part.name}", part.healthy, where, fix)
