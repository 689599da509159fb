from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_visgate.local.home import Home
from pulumi_visgate.local.processes import end_all, members


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home of its own; whatever process carries its mark ends with the test."""
    made = Home(tmp_path / ".visgate")
    made.make()
    yield made
    end_all(members(made.root), grace_s=1.0)
