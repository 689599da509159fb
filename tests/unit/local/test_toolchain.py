import os
import sys
from pathlib import Path

import pytest

from pulumi_visgate.local.errors import LocalCloudError
from pulumi_visgate.local.toolchain import program, search_path, tool_folders


def script(folder: Path, text: str) -> Path:
    file = folder / "toolchain.py"
    file.write_text(text)
    return file


def test_the_checkouts_tools_are_asked_for(tmp_path: Path) -> None:
    found = script(tmp_path, "import os, sys; assert sys.argv[1:] == ['path']; print(os.pathsep.join(['/a', '/b']))")
    assert tool_folders(found) == [Path("/a"), Path("/b")]


def test_what_is_missing_is_said_in_its_words(tmp_path: Path) -> None:
    failing = script(tmp_path, "import sys; sys.exit('visgate: the engine is not there yet.')")
    with pytest.raises(LocalCloudError, match=r"^the engine is not there yet\. `make setup`"):
        tool_folders(failing)


def test_an_installed_wheel_has_none(tmp_path: Path) -> None:
    assert tool_folders(tmp_path / "none.py") == []


def test_this_pythons_programs_come_first_and_nothing_twice() -> None:
    own = str(Path(sys.executable).parent)
    folders = search_path({"PATH": f"/usr/bin:{own}:/bin"}).split(os.pathsep)
    assert folders[0] == own
    assert folders[-2:] == ["/usr/bin", "/bin"]
    assert len(folders) == len(set(folders))


def test_a_program_is_found_or_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    assert program("tool", str(tmp_path)) == tmp_path / "tool"
    with pytest.raises(LocalCloudError, match="versitygw is not installed"):
        program("versitygw", str(tmp_path))
