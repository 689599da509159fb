"""The `visgate` command; `main` is its entry point."""

from pulumi_visgate.cli.app import main

__all__ = ["main"]
