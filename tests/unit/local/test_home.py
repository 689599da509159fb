import stat
from pathlib import Path

import pytest

from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.home import Home, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_environment_names_the_home(tmp_path: Path) -> None:
    assert Home.find({"VISGATE_HOME": str(tmp_path / "x")}, tmp_path).root == tmp_path / "x"


def test_the_home_is_beside_the_nearest_pulumi_yaml(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert Home.find({}, inner).root == tmp_path / ".visgate"


def test_a_folder_outside_any_project_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match=str(tmp_path)) as caught:
        Home.find({}, tmp_path)
    assert "VISGATE_HOME" in caught.value.hint


def test_everything_is_private_to_its_owner(tmp_path: Path) -> None:
    home = Home(tmp_path / ".visgate")
    home.make()
    home.make()
    assert mode(home.root) == 0o700
    assert mode(home.logs) == 0o700
    write_private(home.env_file, "one")
    write_private(home.env_file, "two")
    assert home.env_file.read_text() == "two"
    assert mode(home.env_file) == 0o600
    assert {path.name for path in home.root.iterdir() if path.is_file()} == {".gitignore", "env"}


def test_a_home_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    root = tmp_path / ".visgate"
    root.mkdir(mode=0o755)
    Home(root).make()
    assert mode(root) == 0o700
