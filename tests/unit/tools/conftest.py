"""A machine made of fake programs: nothing here touches the network, the real Go or the user's cache."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "toolchain.py"
PULUMI_FILES = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")

FAKE_GO = """#!{python}
import json, os, pathlib, sys, time
with open({log!r}, "a") as log:
    json.dump({{"args": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}, log)
    log.write("\\n")
if message := os.environ.get("FAKE_GO_FAILS"):
    sys.exit("go: downloading something\\n" + message)
if sys.argv[1] == "list":
    print({modules!r})
    sys.exit()
if os.environ.get("FAKE_GO_MAKES") == "nothing":
    sys.exit()
time.sleep(float(os.environ.get("FAKE_GO_SLEEPS", "0")))
target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
stamp = next(a for a in sys.argv if a.startswith("-ldflags")).rsplit("=", 1)[1]
version = os.environ.get("FAKE_GO_STAMPS", stamp)
target.write_text("#!{python}\\nprint('Version : " + version + "')\\n")
target.chmod(0o755)
"""


@dataclass
class Machine:
    """A folder on PATH, a cache, a home, and a way to run the script there."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin.mkdir()
        (self.root / "home").mkdir()
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(self.root / "home"),
            "VISGATE_CACHE_DIR": str(self.cache),
            "https_proxy": "http://127.0.0.1:1",  # a port where nobody listens: no download can succeed
        }

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def entries(self) -> list[str]:
        folder = self.cache / "tools"
        return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []

    def install(self, version: str, *names: str, folder: Path | None = None, padding: int = 0) -> None:
        """Puts programs that print a version, and note that they were asked, into a folder on PATH."""
        folder = folder or self.bin
        folder.mkdir(exist_ok=True)
        for name in names:
            path = folder / name
            note = f"open({str(self.root / 'asked')!r}, 'a').write('{name}\\n')"
            path.write_text(f"#!{sys.executable}\n{note}\nprint('v{version}')\n#{'x' * padding}\n")
            path.chmod(0o755)

    def install_go(self) -> None:
        modules = self.root / "module"
        for script in ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python"):
            (modules / script).parent.mkdir(parents=True)
            (modules / script).write_text("#!/bin/sh\n")
            (modules / script).chmod(0o444)
        go = self.bin / "go"
        go.write_text(FAKE_GO.format(python=sys.executable, log=str(self.root / "go.log"), modules=str(modules)))
        go.chmod(0o755)

    def asked(self) -> list[str]:
        notes = self.root / "asked"
        return notes.read_text().split() if notes.exists() else []

    def go_calls(self) -> list[dict[str, Any]]:
        log = self.root / "go.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def built(self) -> list[str]:
        return [call["args"][-1].rsplit("/", 1)[-1] for call in self.go_calls() if call["args"][0] == "build"]

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            env={**self.environment, **variables},
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **variables) as process:
            stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def folders(self, *tools: str) -> list[Path]:
        printed = self.run("path", *tools).stdout.strip()
        return [Path(folder) for folder in printed.split(os.pathsep)] if printed else []


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Programs that a shell runs in the background ignore SIGINT, and what they start would, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
