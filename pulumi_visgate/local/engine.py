"""The Pulumi engine on the local cloud's file backend, as a person would run it in the project's folder."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_visgate.local.environment import cloud_environment
from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import PRIVATE_FILE, Home
from pulumi_visgate.local.state import CloudState
from pulumi_visgate.local.toolchain import ENGINE_PROGRAM, program, search_path
from visgate_contract.redaction import Redactor

STACK = "local"
_SHOWN_LINES = 25
_QUERY_S = 120


class EngineError(LocalCloudError):
    """The engine failed; the detail ends with what it said last."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update did.

    Args:
        counts: Number of resources by operation, such as `create`, `update`, `same`.
    """

    counts: Mapping[str, int]

    def __getitem__(self, operation: str) -> int:
        return self.counts.get(operation, 0)

    @property
    def total(self) -> int:
        """Resources there are now."""
        return sum(number for operation, number in self.counts.items() if "delete" not in operation)


class Engine:
    """Runs `pulumi`.

    Args:
        program: Absolute path of it.
        project: Folder of `Pulumi.yaml`.
        environment: Its whole environment.
        log_file: Gets what it says.
        secrets: Values that no output may show.
        say: Told every line that it says.
    """

    def __init__(
        self,
        program: Path,
        *,
        project: Path,
        environment: Mapping[str, str],
        log_file: Path,
        secrets: tuple[str, ...] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._program = program
        self._project = project
        self._environment = dict(environment)
        self._log_file = log_file
        self._mask = Redactor(secrets)
        self._say = say

    @classmethod
    def of(
        cls,
        home: Home,
        state: CloudState,
        *,
        project: Path,
        environ: Mapping[str, str],
        say: Callable[[str], None] = lambda _: None,
    ) -> "Engine":
        """Return the engine for a local cloud.

        Args:
            home: Its home.
            state: Its ports and credentials.
            project: Folder of `Pulumi.yaml`.
            environ: Environment of the caller.
            say: Told every line that the engine says.

        Raises:
            LocalCloudError: There is no engine.
        """
        path = search_path(environ)
        variables = cloud_environment(home, state, path=path, environ=environ)
        return cls(
            program(ENGINE_PROGRAM, path),
            project=project,
            # The engine knows --event-log, which its own automation library uses too, only with this set.
            environment={**environ, **variables, "PULUMI_DEBUG_COMMANDS": "true"},
            log_file=home.log_file("pulumi"),
            secrets=(*state.secrets(), variables["RUNPOD_API_KEY"]),
            say=say,
        )

    def version(self) -> str:
        """Return the engine's version."""
        return self._query("version").strip().removeprefix("v")

    def has_stack(self, stack: str = STACK) -> bool:
        """Tell whether a stack exists."""
        return any(
            known["name"].rpartition("/")[2] == stack for known in json.loads(self._query("stack", "ls", "--json"))
        )

    def ensure_stack(self, stack: str = STACK) -> None:
        """Create a stack unless it exists."""
        if not self.has_stack(stack):
            self._query("stack", "init", stack, "--no-select")

    def up(self, stack: str = STACK, *, refresh: bool = False) -> Changes:
        """Run `pulumi up`.

        Args:
            stack: Which.
            refresh: Look first what has become of the resources.

        Raises:
            EngineError: It failed.
        """
        extra = ("--refresh",) if refresh else ()
        return self._update("up", "--stack", stack, "--yes", "--skip-preview", *extra)

    def destroy(self, stack: str = STACK) -> Changes:
        """Run `pulumi destroy`, after looking what is there still.

        Raises:
            EngineError: It failed.
        """
        return self._update("destroy", "--stack", stack, "--yes", "--skip-preview", "--refresh")

    def outputs(self, stack: str = STACK) -> dict[str, Any]:
        """Return the stack's outputs; secret ones are masked by the engine."""
        outputs: dict[str, Any] = json.loads(self._query("stack", "output", "--stack", stack, "--json"))
        return outputs

    def resources(self, stack: str = STACK) -> list[dict[str, Any]]:
        """Return the stack's resources as its state has them; secrets are encrypted."""
        deployment = json.loads(self._query("stack", "export", "--stack", stack)).get("deployment") or {}
        resources: list[dict[str, Any]] = deployment.get("resources") or []
        return resources

    def _update(self, *arguments: str) -> Changes:
        with tempfile.TemporaryDirectory() as folder:
            events = Path(folder) / "events.json"
            self._run(*arguments, "--non-interactive", "--color", "never", "--event-log", str(events))
            return Changes(_summary(events))

    def _run(self, *arguments: str) -> None:
        said: list[str] = []
        descriptor = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
        with (
            os.fdopen(descriptor, "w") as log,
            subprocess.Popen(  # noqa: S603 - the engine, by its absolute path
                [self._program, *arguments],
                cwd=self._project,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ) as process,
        ):
            for raw in process.stdout or ():
                line = self._mask.text(raw.rstrip())
                said.append(line)
                log.write(line + "\n")
                if line:
                    self._say(line)
        if process.returncode != 0:
            raise self._failed(arguments, [line for line in said if line])

    def _query(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - the engine, by its absolute path
            [self._program, *arguments, "--non-interactive", "--color", "never"],
            cwd=self._project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_QUERY_S,
            check=False,
        )
        if done.returncode != 0:
            raise self._failed(arguments, self._mask.text(done.stderr).splitlines())
        return done.stdout

    def _failed(self, arguments: tuple[str, ...], said: list[str]) -> EngineError:
        end = "\n".join(said[-_SHOWN_LINES:])
        command = "pulumi " + " ".join(arguments[:2]) if arguments[0] == "stack" else f"pulumi {arguments[0]}"
        hint = f"All that it said is in {self._log_file}."
        if "currently locked" in end:
            hint = f"If no other pulumi is at work on it: `pulumi cancel --stack {STACK} --yes`, then again."
        return EngineError(f"`{command}` failed:\n{end}", hint=hint)


def _summary(events: Path) -> dict[str, int]:
    for line in reversed(events.read_text().splitlines()):
        if summary := json.loads(line).get("summaryEvent"):
            changes: dict[str, int] = summary.get("resourceChanges") or {}
            return changes
    return {}
