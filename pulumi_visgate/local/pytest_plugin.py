"""pytest fixtures for tests against an emulated Runpod; see docs/emulator.md.

Loaded by every pytest run of every project that has this package, so nothing is imported before a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_visgate.local.emulator.testing import EmulatorServer, RunpodEmulator


@pytest.fixture(scope="session")
def runpod_emulator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorServer]:
    """One emulator process for the whole run."""
    from pulumi_visgate.local.emulator.testing import EmulatorServer  # noqa: PLC0415, keeps every other run fast

    folder = tmp_path_factory.mktemp("runpod-emulator")
    with EmulatorServer(folder / "data", folder / "volumes", ("--webhook-retry", "0.2", "--kill-grace", "3")) as server:
        yield server


@pytest.fixture
def runpod_emulator(runpod_emulator_server: EmulatorServer) -> Iterator[RunpodEmulator]:
    """The emulator, empty before and after each test."""
    from pulumi_visgate.local.emulator.testing import RunpodEmulator  # noqa: PLC0415, keeps every other run fast

    emulator = RunpodEmulator(runpod_emulator_server)
    try:
        yield emulator
        emulator.reset()
    finally:
        emulator.close()
