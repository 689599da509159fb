"""Whether a tool that the user installed is complete and new enough."""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.provision.errors import ProvisionError
from tools.provision.host import cache_root, find_program
from tools.provision.pins import Tool, Version

_VERSION = re.compile(r"(?<![\d.])v?(\d+)\.(\d+)\.(\d+)")
_VERSION_TIMEOUT_S = 20
_SMALLEST_PROGRAM = 1_000_000


def find_on_path(tool: Tool, extra: Sequence[Path] = ()) -> list[Path]:
    """Returns the folders of the tool's files that are not on PATH by themselves (usually none).

    Args:
        tool: What to look for.
        extra: Folders of other tools that will be on PATH too.

    Raises:
        ProvisionError: A file is missing, the tool does not run, or it is older than the minimum.
    """
    main = find_program(tool.files[0], extra)
    if main is None:
        message = f"no {tool.files[0]} is on PATH"
        raise ProvisionError(message)
    beside = main.resolve().parent
    added: list[Path] = []
    for name in tool.files[1:]:
        if find_program(name, extra) is not None:
            continue
        if find_program(name, [beside]) is None:
            message = f"{main} has no {name} beside it or on PATH"
            raise ProvisionError(message)
        added = [beside]
    if tool.version_args and (version := _version_of(main, tool)) < tool.minimum:
        message = f"{main} is version {dotted(version)}, older than {dotted(tool.minimum)}"
        raise ProvisionError(message)
    return added


def run_version(program: Path, tool: Tool) -> Version:
    """Asks a program for its version.

    Raises:
        ProvisionError: It does not run, or prints no version.
    """
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        finished = subprocess.run(
            [program, *tool.version_args],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_TIMEOUT_S,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{program} does not run ({_brief(error)})"
        raise ProvisionError(message) from error
    match = _VERSION.search(finished.stdout)
    if match is None:
        message = f"{program} prints no version"
        raise ProvisionError(message)
    return int(match[1]), int(match[2]), int(match[3])


def _version_of(program: Path, tool: Tool) -> Version:
    """Asks a program for its version once per file: starting the engine only to ask takes 0.2 s.

    Shims of version managers stand for another file that changes below them, so they are asked each time.
    """
    target = program.resolve()
    status = target.stat()
    if target.name != program.name or status.st_size < _SMALLEST_PROGRAM:
        return run_version(program, tool)
    fingerprint = [status.st_mtime_ns, status.st_size]
    memo = cache_root() / "tools" / "versions.json"
    known = _read_memo(memo)
    with contextlib.suppress(KeyError, ValueError, TypeError):
        remembered, (major, minor, patch) = known[str(target)]
        if remembered == fingerprint:
            return int(major), int(minor), int(patch)
    version = run_version(program, tool)
    known[str(target)] = [fingerprint, list(version)]
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        fresh = memo.with_name(f"versions.{os.getpid()}.json")
        fresh.write_text(json.dumps(known), "utf-8")
        fresh.replace(memo)
    return version


def _read_memo(memo: Path) -> dict[str, list[list[int]]]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memo.read_text("utf-8"))
        if isinstance(known, dict):
            return known
    return {}


def dotted(version: Version) -> str:
    """Writes a version with dots."""
    return ".".join(map(str, version))


def _brief(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"exit status {error.returncode}"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {_VERSION_TIMEOUT_S} s"
    return str(error)
