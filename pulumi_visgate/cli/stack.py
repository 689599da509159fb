"""A folder with a Pulumi project and one stack of it, by way of the `pulumi` command."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from pulumi_visgate.cli.console import redactor
from pulumi_visgate.client.errors import UsageError
from pulumi_visgate.errors import VisgateError

PROJECT_FILE = "Pulumi.yaml"
LOCAL_STACK = "local"
_TIMEOUT_S = 120
_PREVIEW_S = 600


class PulumiError(VisgateError):
    """The `pulumi` command failed."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack.

    Args:
        folder: Where `Pulumi.yaml` is.
        project: Name of the project.
        name: Name of the stack, without its organisation.
        full_name: Name as `pulumi` takes it.
        environ: Environment of the process.
    """

    folder: Path
    project: str
    name: str
    full_name: str
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, wanted: str | None, environ: Mapping[str, str]) -> Self:
        """Find the project and stack of a folder; make what is not there.

        Args:
            folder: Made when it does not exist.
            wanted: Name of the stack; the selected one when left out.
            environ: Environment of the process.

        Raises:
            UsageError: No stack is named or selected, or Pulumi is not installed.
            PulumiError: `pulumi` refused.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / PROJECT_FILE).exists():
            if wanted is None:
                raise _no_stack(folder)
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "runpod"
            (folder / PROJECT_FILE).write_text(f"name: {name}\nruntime: python\n", encoding="utf-8")
        project = str(_yaml(folder / PROJECT_FILE).get("name", ""))
        if wanted is None:
            try:
                wanted = _pulumi(folder, environ, "stack", "--show-name").strip()
            except PulumiError as error:
                raise _no_stack(folder) from error
        else:
            _pulumi(folder, environ, "stack", "select", "--create", wanted)
        return cls(folder, project, wanted.rsplit("/", 1)[-1], wanted, environ)

    @classmethod
    def existing(cls, folder: Path, wanted: str, environ: Mapping[str, str]) -> Self:
        """Find a stack that must be there.

        Args:
            folder: Of the project.
            wanted: Name of the stack.
            environ: Environment of the process.

        Raises:
            UsageError: There is no project here, or Pulumi is not installed.
            PulumiError: There is no such stack.
        """
        if not (folder / PROJECT_FILE).exists():
            detail = f"There is no {PROJECT_FILE} in {folder}."
            raise UsageError(detail, hint="Change into the folder of the project.")
        project = str(_yaml(folder / PROJECT_FILE).get("name", ""))
        _pulumi(folder, environ, "stack", "export", "--stack", wanted)
        return cls(folder, project, wanted.rsplit("/", 1)[-1], wanted, environ)

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs; secret ones are masked.

        Raises:
            PulumiError: `pulumi` refused.
        """
        found: dict[str, Any] = json.loads(self._ask("stack", "output", "--json"))
        return found

    def resources(self) -> list[dict[str, Any]]:
        """Return the stack's resources as the state has them; secrets are encrypted.

        Raises:
            PulumiError: `pulumi` refused.
        """
        found: list[dict[str, Any]] = (json.loads(self._ask("stack", "export")).get("deployment") or {}).get(
            "resources"
        ) or []
        return found

    def has_config(self, key: str) -> bool:
        """Tell whether the stack's configuration file has a key, such as `aws:region`."""
        return key in (_yaml(self._config_file()).get("config") or {})

    def expect_no_changes(self) -> None:
        """See that a preview has nothing to do.

        Raises:
            PulumiError: It has, or `pulumi` refused.
        """
        self._ask("preview", "--expect-no-changes", "--diff", timeout_s=_PREVIEW_S)

    def _ask(self, *arguments: str, timeout_s: int = _TIMEOUT_S) -> str:
        return _pulumi(self.folder, self.environ, *arguments, "--stack", self.full_name, timeout_s=timeout_s)

    def keep_secret(self, key: str, value: str) -> str:
        """Write a secret into the stack's configuration and return it as it is kept there, encrypted.

        Args:
            key: Without the project's name.
            value: In clear; it goes to `pulumi` through a pipe.

        Raises:
            PulumiError: `pulumi` refused, or the configuration is not in a file.
        """
        _pulumi(self.folder, self.environ, "config", "set", "--secret", "--stack", self.full_name, key, value=value)
        kept = _yaml(self._config_file()).get("config", {}).get(f"{self.project}:{key}", {})
        if not isinstance(kept, dict) or "secure" not in kept:
            detail = f"{self._config_file()} does not hold {key} after `pulumi config set --secret`."
            raise PulumiError(detail, hint="Stacks whose configuration is kept elsewhere cannot be imported into.")
        return str(kept["secure"])

    def owned(self) -> dict[str, str]:
        """Return the names in the program of everything that the stack has already, by their ids.

        Raises:
            PulumiError: `pulumi` refused.
        """
        exported = json.loads(_pulumi(self.folder, self.environ, "stack", "export", "--stack", self.full_name))
        resources = (exported.get("deployment") or {}).get("resources") or []
        own = (resource for resource in resources if "id" in resource and not resource.get("external"))
        return {resource["id"]: resource["urn"].rsplit("::", 1)[-1] for resource in own}

    def _config_file(self) -> Path:
        project = _yaml(self.folder / PROJECT_FILE)
        legacy = project.get("config")
        where = project.get("stackConfigDir") or (legacy if isinstance(legacy, str) else "")
        return self.folder / where / f"Pulumi.{self.name}.yaml"


def _no_stack(folder: Path) -> UsageError:
    detail = f"No stack is selected in {folder}."
    return UsageError(detail, hint="Name one with --stack, such as --stack dev; it is made when it does not exist.")


def _yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except yaml.YAMLError as error:
        detail = f"{file} is no YAML."
        raise UsageError(detail) from error
    return found if isinstance(found, dict) else {}


def stack_environment(stack: str, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of a stack's commands: that of the local cloud for the stack on it, else the caller's.

    Args:
        stack: Name of the stack.
        environ: Environment of the process.
        folder: Where the command runs.
    """
    if stack != LOCAL_STACK:
        return dict(environ)
    try:
        from pulumi_visgate.local.environment import cloud_environment  # noqa: PLC0415 - needs the [local] extra
        from pulumi_visgate.local.home import Home  # noqa: PLC0415
        from pulumi_visgate.local.state import CloudState  # noqa: PLC0415
        from pulumi_visgate.local.toolchain import search_path  # noqa: PLC0415
    except ModuleNotFoundError as error:
        detail = f"Stack {LOCAL_STACK} needs the extra [local], which is not installed."
        raise UsageError(detail, hint="`make setup` installs it.") from error
    home = Home.find(environ, folder)
    state = CloudState.load(home)
    if state is None:
        detail = "There is no local cloud here."
        raise UsageError(detail, hint="`make up` starts one, with the stack on it.")
    return {**environ, **cloud_environment(home, state, path=search_path(environ), environ=environ)}


def _pulumi(
    folder: Path, environ: Mapping[str, str], *arguments: str, value: str = "", timeout_s: int = _TIMEOUT_S
) -> str:
    program = shutil.which("pulumi", path=environ.get("PATH"))
    if program is None:
        detail = "The program pulumi is not installed."
        raise UsageError(detail, hint="https://www.pulumi.com/docs/install, or `make setup` in a checkout.")
    done = subprocess.run(  # noqa: S603, found on the caller's PATH
        [program, *arguments, "--non-interactive", "--color", "never"],
        cwd=folder,
        env={**os.environ, **environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        input=value,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        told = (
            done.stderr.strip().removeprefix("error: "),
            done.stdout.strip(),
        )  # such as the diff that there should not be
        said = redactor().text("\n".join(part for part in told if part))
        detail = f"`pulumi {arguments[0]} {arguments[1]}` failed: {said}"
        raise PulumiError(detail)
    return done.stdout
