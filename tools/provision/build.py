"""Builds a tool with Go from the pinned modules beside this package.

The committed `go.sum` holds every checksum, so neither a checksum database nor a network is needed once the modules
are in Go's own cache. The user's Go settings (GOPROXY, GOFLAGS, GOSUMDB, …) are respected.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.provision.errors import ProvisionError
from tools.provision.host import TOOLS_DIR, find_program
from tools.provision.pins import GoProgram, ModuleFile, Tool

_HEARTBEAT_S = 30.0
_TAIL_LINES = 8


def install(tool: Tool, folder: Path, say: Callable[[str], None]) -> None:
    """Builds a tool's programs and copies its scripts into `folder`.

    Raises:
        ProvisionError: There is no Go, or it failed.
    """
    go = find_program("go")
    if go is None:
        message = "no go is on PATH to build it with"
        raise ProvisionError(message)
    work = folder.parent / "go"
    work.mkdir()
    for program in tool.programs:
        say(f"building {program.filename} with Go (minutes on the first run)")
        _run_go(go, _build_arguments(program, folder), program.module, work, say)
    for script in tool.scripts:
        _copy_script(go, script, folder, work, say)


def _build_arguments(program: GoProgram, folder: Path) -> list[str]:
    return [
        "build",
        "-mod=readonly",
        "-trimpath",
        f"-ldflags=-s -w -X {program.stamp}",
        "-o",
        str(folder / program.filename),
        program.package,
    ]


def _copy_script(go: Path, script: ModuleFile, folder: Path, work: Path, say: Callable[[str], None]) -> None:
    arguments = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", script.dependency]
    module_dir = _run_go(go, arguments, script.module, work, say).strip()
    source = Path(module_dir) / script.path
    target = folder / script.filename
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        message = f"{script.path} is not in the Go module {script.dependency} ({error.strerror})"
        raise ProvisionError(message) from error
    target.chmod(0o755)


def _run_go(go: Path, arguments: Sequence[str], module: str, work: Path, say: Callable[[str], None]) -> str:
    """Runs Go inside a module and returns what it printed.

    It gets a process group of its own, so that its compilers end with it when this run is stopped.
    """
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOTMPDIR": str(work)}
    for name in ("GOOS", "GOARCH"):
        environment.pop(name, None)
    started = time.monotonic()
    output, log = work / "output", work / "log"
    with output.open("w") as stdout, log.open("w") as stderr:
        try:
            process = subprocess.Popen(
                [go, *arguments],
                cwd=TOOLS_DIR / module,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            message = f"{go} could not be started ({error.strerror})"
            raise ProvisionError(message) from error
        try:
            while (status := _poll(process)) is None:
                say(f"still building, {time.monotonic() - started:.0f} s")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status != 0:
        lines = log.read_text("utf-8", "replace").split("\n")
        said = [line for line in lines if line.strip() and not line.startswith("go: downloading ")]
        for line in said[-_TAIL_LINES:]:
            say(f"  {line}")
        message = f"go {arguments[0]} failed for {module}" + (f": {said[-1].strip()}" if said else "")
        raise ProvisionError(message)
    return output.read_text("utf-8")


def _poll(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_HEARTBEAT_S)
    except subprocess.TimeoutExpired:
        return None
