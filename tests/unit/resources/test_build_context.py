from pathlib import Path

import pytest

from pulumi_visgate.resources._build_context import identity, scan
from pulumi_visgate.resources.errors import BuildFailed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "Dockerfile": "FROM scratch\n",
        "requirements.lock": "torch==2\n",
        "src/worker/serve.py": "serve()\n",
        "src/worker/deep/er.py": "er()\n",
        "src/contract/tasks.py": "tasks()\n",
        "tests/test_serve.py": "assert True\n",
        ".git/HEAD": "ref: main\n",
        "src/worker/__pycache__/serve.cpython-311.pyc": "x",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".dockerignore").write_text("# not in the image\ntests\n**/*.md\n!README.md\n")
    return tmp_path


def parts(folder: Path) -> dict[str, str]:
    return scan(folder, "Dockerfile").content


def test_files_are_told_by_the_folder_they_are_in_without_what_is_ignored(folder: Path) -> None:
    assert set(parts(folder)) == {".dockerignore", "Dockerfile", "requirements.lock", "src/contract", "src/worker"}


@pytest.mark.parametrize(
    ("file", "part"),
    [("src/worker/deep/er.py", "src/worker"), ("requirements.lock", "requirements.lock"), ("Dockerfile", "Dockerfile")],
)
def test_another_byte_changes_its_part_alone(folder: Path, file: str, part: str) -> None:
    before = parts(folder)
    with (folder / file).open("a") as handle:
        handle.write("#")
    after = parts(folder)
    assert {name for name in before if before[name] != after[name]} == {part}


def test_what_is_ignored_and_dates_change_nothing(folder: Path) -> None:
    before = parts(folder)
    (folder / "tests/test_serve.py").write_text("assert False\n")
    (folder / "src/worker/NOTES.md").write_text("notes")
    (folder / "src/worker/serve.py").touch()
    assert parts(folder) == before
    (folder / "README.md").write_text("an exception to what is ignored")
    assert set(parts(folder)) - set(before) == {"README.md"}


def test_a_name_a_link_and_the_right_to_be_executed_are_content(folder: Path) -> None:
    seen = [parts(folder)["src/worker"]]
    (folder / "src/worker/serve.py").chmod(0o755)
    seen.append(parts(folder)["src/worker"])
    (folder / "src/worker/serve.py").rename(folder / "src/worker/other.py")
    seen.append(parts(folder)["src/worker"])
    (folder / "src/worker/link.py").symlink_to("nowhere.py")
    seen.append(parts(folder)["src/worker"])
    assert len(set(seen)) == 4


def test_the_recipe_is_part_of_the_identity(folder: Path) -> None:
    files = scan(folder, "Dockerfile").files
    one = identity(files, target=None, build_args={"A": "1", "B": "2"})
    assert one == identity(files, build_args={"B": "2", "A": "1"}, target=None)
    assert len({one, identity(files, target="build", build_args={}), identity(files, target=None, build_args={})}) == 3


def test_a_folder_without_its_dockerfile_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"context: .* has no docker/Dockerfile\. Name the folder") as refused:
        scan(tmp_path, "docker/Dockerfile")
    assert str(tmp_path) in refused.value.detail
