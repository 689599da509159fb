"""The worker's image, built once for the tests of this folder; `make test-image` runs them, `make test` does not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import registry as registries
from tools.worker_image import Root, Workshop

HERE = Path(__file__).parent
CANARY = "canary-of-an-index-password"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = registries.missing()
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.timeout(3600))
            if missing:
                item.add_marker(pytest.mark.skip(reason=missing))


@dataclass(frozen=True)
class Built:
    """The image."""

    workshop: Workshop
    image: str


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """What `ContainerImage` builds of this checkout; layers are kept in the user's cache from run to run."""
    workshop = Workshop()
    pip_conf = tmp_path_factory.mktemp("index") / "pip.conf"
    pip_conf.write_text(f"# password: {CANARY}\n")
    return Built(workshop, workshop.build(pip_conf=pip_conf))


@pytest.fixture(scope="session")
def root(built: Built) -> Iterator[Root]:
    """Its root file system."""
    with built.workshop.root(built.image) as root:
        yield root
