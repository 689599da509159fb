import shlex
import subprocess
import sys
from pathlib import Path

import typer

from pulumi_visgate.cli.app import app

CHECKOUT = Path(__file__).parents[3]


def test_the_reference_page_is_what_the_commands_say(tmp_path: Path) -> None:
    """`make docs` writes it."""
    recipe = next(line for line in (CHECKOUT / "Makefile").read_text().splitlines() if "utils docs" in line)
    program, *arguments = shlex.split(recipe.strip().lstrip("@"))
    page = arguments[-1]
    command: list[str | Path] = [
        Path(sys.executable).with_name(Path(program).name),
        *arguments[:-1],
        tmp_path / "cli.md",
    ]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    assert (CHECKOUT / page).read_text() == (tmp_path / "cli.md").read_text()


def test_every_command_and_option_has_a_help_text() -> None:
    pending = [("visgate", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"
        pending += [(f"{name} {sub}", found) for sub, found in getattr(command, "commands", {}).items()]
