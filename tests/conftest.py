"""Shared by every tier; fixtures of one tier live beside its tests."""

import os
import secrets
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
PROGRAM = ("Pulumi.yaml", "stacks")
RUN_S = 280
OWN = ("VISGATE_", "PULUMI_", "RUNPOD_")


@dataclass(frozen=True)
class LocalStack:
    """A project folder of its own, with a local cloud of its own, driven by the commands that a person types."""

    project: Path
    key: str = field(default_factory=lambda: f"rpa_{secrets.token_hex(20).upper()}", repr=False)
    _told: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def home(self) -> Path:
        return self.project / ".visgate"

    def environment(self) -> dict[str, str]:
        """What a shell has in which the key was exported and nothing else of this product."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith((*OWN, "HF_", "AWS_"))}
        return kept | {
            "RUNPOD_API_KEY": self.key,
            "PULUMI_HOME": str(self.project / "pulumi-home"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its whole output is in `stdout`."""
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def cloud(self) -> dict[str, str]:
        """What `visgate local env` told a shell when it was first asked."""
        if not self._told:
            script = 'eval "$(visgate local env)"; env -0'
            for pair in self.run("bash", "-c", script).stdout.split("\0"):
                name, _, value = pair.partition("=")
                if name == "PATH" or name.startswith((*OWN, "HF_")):
                    self._told[name] = value
        return dict(self._told)

    def pulumi(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the engine against the local cloud."""
        command = ("pulumi", *arguments, "--non-interactive", "--color", "never")
        return self.run(*command, check=check, **(self.cloud() | environment))


def _new_stack(folder: Path) -> Iterator[LocalStack]:
    for name in PROGRAM:
        source = CHECKOUT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    stack = LocalStack(folder)
    try:
        yield stack
    finally:
        stack.run("visgate", "local", "down")


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalStack, str]]:
    """The stack that `make up` has brought up, and what that has printed; leave it as you found it."""
    for stack in _new_stack(tmp_path_factory.mktemp("stack")):
        yield stack, stack.run("visgate", "quickstart").stdout


@pytest.fixture
def empty_project(tmp_path: Path) -> Iterator[LocalStack]:
    """A project in which nothing was started yet."""
    yield from _new_stack(tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a folder of units, or a file of another tier, in one process of a parallel run: what they share is dear."""
    for item in items:
        tier, layer, *_ = (*item.path.relative_to(CHECKOUT / "tests").parts, "")
        item.add_marker(pytest.mark.xdist_group("stack" if tier in {"e2e", "canary"} else f"{tier}/{layer}"))
        if operation := getattr(item, "operation_label", None):  # schemathesis gives all of its tests one id
            item._nodeid += f"[{operation}]"
    # A parallel run tells tests by their ids and would run only one of several.
    twice = sorted(name for name, times in Counter(item.nodeid for item in items).items() if times > 1)
    if twice:
        message = f"Several tests have one id: {', '.join(twice)}"
        raise pytest.UsageError(message)
