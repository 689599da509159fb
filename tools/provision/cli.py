"""The command line: `ensure` finds or installs the tools, `path` says which folders go on PATH."""

import argparse
import hashlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from tools.provision import build, on_path, store
from tools.provision.errors import ProvisionError, UnusableCacheError
from tools.provision.host import TOOLS_DIR, find_program, platform_key
from tools.provision.pins import DEFAULT_TOOLS, GO_VERSION, TOOLS, Archive, Tool

WAYS = ("path", "download", "build")
EXIT_MISSING = 2


def main(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit status: 0, or 2 with one sentence about what is missing."""
    options = _parser().parse_args(arguments)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _stop)
    try:
        folders = _locate(options.tools or DEFAULT_TOOLS, install=options.command == "ensure")
    except ProvisionError as error:
        say(f"{error}.")
        return EXIT_MISSING
    except OSError as error:
        say(f"the tools could not be prepared: {error}.")
        return EXIT_MISSING
    except KeyboardInterrupt:
        say("stopped.")
        return 128 + signal.SIGINT
    if options.command == "path":
        print(os.pathsep.join(map(str, folders)))
    return 0


def say(line: str) -> None:
    """Tells the user something, on standard error."""
    print(f"visgate: {line}", file=sys.stderr, flush=True)


def entry_name(key: str, tool: Tool, way: str) -> str:
    """Names the cache entry after all that decides its content: version, platform, way and recipe."""
    content = (tool.programs, tool.scripts) if way == "build" else tool.archives.get(platform_key())
    recipe = hashlib.sha256(repr(content).encode())
    if way == "build":
        for module in sorted({program.module for program in tool.programs}):
            for name in ("go.mod", "go.sum"):
                recipe.update((TOOLS_DIR / module / name).read_bytes())
    return f"{key}-{tool.version}-{platform_key()}-{way}-{recipe.hexdigest()[:10]}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="toolchain.py", description="Finds or installs the tools of pulumi-visgate.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (
        ("ensure", "find each tool on PATH or in the cache, else download or build it"),
        ("path", "print the folders that belong on PATH, joined as PATH is"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("tools", nargs="*", metavar="TOOL", type=_tool_name, help=f"one of {', '.join(TOOLS)}")
    return parser


def _tool_name(value: str) -> str:
    if value not in TOOLS:
        message = f"{value!r} is not one of {', '.join(TOOLS)}"
        raise argparse.ArgumentTypeError(message)
    return value


def _locate(keys: Sequence[str], *, install: bool) -> list[Path]:
    folders: list[Path] = []
    for key in dict.fromkeys(keys):
        folders += [folder for folder in _locate_one(key, folders, install=install) if folder not in folders]
    return folders


def _locate_one(key: str, extra: Sequence[Path], *, install: bool) -> list[Path]:
    """Goes through the ways in order; whatever is there already comes before anything is installed."""
    tool, ways, reasons = TOOLS[key], _allowed_ways(), []
    if "path" in ways:
        try:
            return on_path.find_on_path(tool, extra)
        except ProvisionError as error:
            reasons.append(str(error))
    makers = {way: maker for way, maker in _makers(tool).items() if way in ways}
    for way in makers:
        entry = store.entry_path(entry_name(key, tool, way))
        if store.is_complete(entry):
            return [entry]
    if not install:
        message = f"{tool.label} is not there yet: run `python3 tools/toolchain.py ensure {key}`"
        raise ProvisionError(message)
    for way, maker in makers.items():
        try:
            entry = store.publish(entry_name(key, tool, way), partial(_make, tool, maker), say)
        except UnusableCacheError:
            raise
        except ProvisionError as error:
            reasons.append(str(error))
            continue
        say(f"{tool.label} {tool.version} is ready")
        return [entry]
    message = f"{tool.label} is missing ({'; '.join(reasons)}): {_remedy(tool, key, makers)}"
    raise ProvisionError(message)


def _remedy(tool: Tool, key: str, makers: Iterable[str]) -> str:
    choices = f"install {tool.remedy}"
    if "build" in makers:
        choices += (
            f", or see to what Go ({GO_VERSION}) reports"
            if find_program("go")
            else f", or Go {GO_VERSION} to build it here"
        )
    return f"{choices}, then run `python3 tools/toolchain.py ensure {key}` again"


def _allowed_ways() -> tuple[str, ...]:
    forced = os.environ.get("VISGATE_TOOLCHAIN")
    if not forced:
        return WAYS
    if forced not in WAYS:
        message = f"VISGATE_TOOLCHAIN is {forced!r}, which is not one of {', '.join(WAYS)}"
        raise ProvisionError(message)
    return (forced,)


def _makers(tool: Tool) -> dict[str, Callable[[Path], None]]:
    makers: dict[str, Callable[[Path], None]] = {}
    if archive := tool.archives.get(platform_key()):
        makers["download"] = partial(_download, archive)
    if tool.programs:
        makers["build"] = partial(_build, tool)
    return makers


def _build(tool: Tool, folder: Path) -> None:
    build.install(tool, folder, say)


def _download(archive: Archive, folder: Path) -> None:
    from tools.provision import download  # noqa: PLC0415 - its imports double the time of a run that has nothing to do

    download.install(archive, folder, say)


def _make(tool: Tool, maker: Callable[[Path], None], folder: Path) -> None:
    """Makes a tool in `folder` and sees that it is whole, runs here and has the pinned version."""
    maker(folder)
    if missing := [name for name in tool.files if not (folder / name).is_file()]:
        message = f"what was made lacks {', '.join(missing)}"
        raise ProvisionError(message)
    if not tool.version_args:
        return
    found = on_path.run_version(folder / tool.files[0], tool)
    if f"v{on_path.dotted(found)}" != tool.version:
        message = f"what was made is version {on_path.dotted(found)} instead of {tool.version}"
        raise ProvisionError(message)


def _stop(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
