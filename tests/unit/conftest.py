"""Shared by the unit tests."""

import asyncio
from collections.abc import Iterator

import pulumi
import pytest


@pytest.fixture
def pulumi_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An event loop for Pulumi's mock runtime, whose threads make more of them and close none."""
    made: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", remembered)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    pulumi.runtime.settings.reset_options()  # else mocks are the engine of every later test of the process
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    for used in made:
        used.close()
