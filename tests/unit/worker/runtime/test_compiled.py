import io
import os
import tarfile
from pathlib import Path

import pytest

from visgate_worker.runtime.compiled import CACHE_ENV, CompiledCode


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENV, "")


def code(volume: Path, local: Path, key: str = "gpu flux torch") -> CompiledCode:
    made = CompiledCode(volume, local, key=key)
    made.restore()
    return made


def test_what_one_worker_has_compiled_the_next_one_finds(tmp_path: Path) -> None:
    first = code(tmp_path / "volume", tmp_path / "one")
    assert os.environ[CACHE_ENV] == str(tmp_path / "one")
    (tmp_path / "one/fx").mkdir()
    (tmp_path / "one/fx/graph.so").write_bytes(b"code")
    (tmp_path / "one/fx/x.lock").touch()
    assert first.keep()
    assert not first.keep()
    again = CompiledCode(tmp_path / "volume", tmp_path / "two", key="gpu flux torch")
    assert again.restore() == 1
    assert (tmp_path / "two/fx/graph.so").read_bytes() == b"code"
    assert not again.keep()
    assert code(tmp_path / "volume", tmp_path / "three", key="other gpu").restore() == 0


def test_a_damaged_file_on_the_volume_costs_time_and_nothing_else(tmp_path: Path) -> None:
    first = code(tmp_path / "volume", tmp_path / "one")
    (tmp_path / "one/graph.so").write_bytes(b"code")
    assert first.keep()
    (path,) = (tmp_path / "volume").rglob("*.tar")
    path.write_bytes(b"no archive")
    assert CompiledCode(tmp_path / "volume", tmp_path / "two", key="gpu flux torch").restore() == 0


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    first = code(tmp_path / "volume", tmp_path / "one")
    (tmp_path / "one/graph.so").write_bytes(b"code")
    first.keep()
    (path,) = (tmp_path / "volume").rglob("*.tar")
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("../outside")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    assert CompiledCode(tmp_path / "volume", tmp_path / "two", key="gpu flux torch").restore() == 0
    assert not (tmp_path / "outside").exists()


def test_a_volume_that_cannot_be_written_to_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "volume").write_text("")
    made = code(tmp_path / "volume", tmp_path / "one")
    (tmp_path / "one/graph.so").write_bytes(b"code")
    assert not made.keep()
