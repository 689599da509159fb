"""Random sequences: how many, and where one lives. The engine, the emulator and the S3 server are the engine tier's."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Stack, environment, runpod, s3_endpoint, tools_path

__all__ = ["environment", "runpod", "s3_endpoint", "tools_path"]  # fixtures of this folder, too

SHORT = (16107, 47166)
API_TIMEOUT_S = 6


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--seed", type=int, help="run this one sequence")
    group.addoption("--sequences", type=int, help="run so many sequences")
    group.addoption("--first", type=int, default=1, help="seed of the first of them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        option = metafunc.config.getoption
        seeds: Sequence[Any] = (*SHORT[1:], pytest.param(SHORT[0], marks=pytest.mark.long))
        if (one := option("--seed", None)) is not None:
            seeds = (one,)
        elif number := option("--sequences", None):
            seeds = range(option("--first"), option("--first") + number)
        metafunc.parametrize("seed", seeds)


@pytest.fixture
def stack(environment: dict[str, str], tmp_path: Path) -> Stack:
    """An empty stack of a project that no other sequence has, because bucket names are everybody's."""
    folder = tmp_path / "project"
    folder.mkdir()
    stack = Stack(folder, environment | {"VISGATE_API_TIMEOUT_S": str(API_TIMEOUT_S)})
    stack.write("")
    (folder / "Pulumi.yaml").write_text(f"name: chaos-{secrets.token_hex(4)}\nruntime: python\n")
    stack.run("stack", "init", "dev")
    return stack
