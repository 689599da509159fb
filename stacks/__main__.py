"""Runs the program of the selected stack, which has its name: `local.py`, `dev.py` or `prod.py` beside this file."""

import runpy
import sys
from pathlib import Path

import pulumi

HERE = Path(__file__).parent


def main() -> None:
    """Run the program that is named like the stack, and export what it returns."""
    stack = pulumi.get_stack()
    programs = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
    if stack not in programs:
        message = f"There is no program for stack {stack!r} in stacks/; there is one for {', '.join(programs)}."
        raise pulumi.RunError(message)
    sys.path.insert(0, str(HERE.parent))  # so that a program finds what it shares with others
    program = runpy.run_path(str(HERE / f"{stack}.py"))
    for name, value in program["main"]().items():
        pulumi.export(name, value)


main()
