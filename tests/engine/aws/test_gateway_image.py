"""The gateway's image, built for real, and the prod stack's gateway and upkeep started from its root file system.

It needs minutes where the base of Debian's packages is not there yet, so it runs when `VISGATE_TEST_IMAGES` is set.
"""

import json
import os
import re
import stat
from collections.abc import Iterator

import pytest

from tests import registry as registries
from tests.contract.gateway_image import PIN
from tests.engine.aws.built import Root, gateway_root, run
from tests.engine.aws.processes import Starts
from tests.engine.aws.test_prod import test_prod_comes_serves_and_goes

__all__ = ["test_prod_comes_serves_and_goes"]

WHY_NOT = registries.missing() or ("" if os.environ.get("VISGATE_TEST_IMAGES") else "VISGATE_TEST_IMAGES is not set")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "the image can be built"),
]

USER = 1000
ADAPTER = "opt/extensions/lambda-adapter"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with gateway_root(tmp_path_factory.mktemp("image")) as found:
        yield found


@pytest.fixture
def gateway_image(root: Root) -> Starts:
    """What `test_prod_comes_serves_and_goes` starts here: the image itself."""
    return lambda module: root.command("python", "-m", module)


def test_it_is_what_is_locked_and_nothing_that_it_runs_can_be_written_by_it(root: Root) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    installed = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in json.loads(run(root.command("python", "-c", code))).items()
    }
    assert installed.pop("pulumi-visgate")
    lock = (root.folder / "opt/visgate/requirements.lock").read_text()
    locked = {name: version for name, version, _ in PIN.findall(lock)}
    assert {name: version for name, version in installed.items() if locked.get(name) != version} == {}
    assert not {"pip", "setuptools", "pulumi", "torch"} & set(installed)
    assert run(root.command("id", "-u")) == str(USER)
    writable = [
        path
        for path in (root.folder / "opt").rglob("*")
        if not path.is_symlink() and (path.stat().st_uid == USER or path.stat().st_mode & stat.S_IWOTH)
    ]
    assert writable == []
    assert (root.folder / ADAPTER).is_file()


def test_a_process_that_starts_compiles_nothing(root: Root) -> None:
    code = (
        "import sys, pulumi_visgate.gateway.__main__, pulumi_visgate.gateway.app\n"
        "print(*(found for m in sys.modules.values() if (found := getattr(m, '__cached__', None))))"
    )
    needed = [one for one in run(root.command("python", "-c", code)).split() if one.startswith("/opt/")]
    assert len(needed) > 100
    assert [one for one in needed if not (root.folder / one.lstrip("/")).is_file()] == []
